//! Short names for the disks of one recovery point.
//!
//! Names must not depend on the order of the sources: the next backup finds a disk's parent by its name.

use std::collections::HashSet;
use std::path::{Component, Path};

/// One name per path: its last component, with as many parents before it (joined by `-`) as make all of them different.
/// Equal paths still get different names, by their order.
pub fn disk_names(paths: &[impl AsRef<Path>]) -> Vec<String> {
    let parts: Vec<Vec<String>> = paths.iter().map(|path| components(path.as_ref())).collect();
    let mut names: Vec<String> = (0..parts.len()).map(|i| shortest_unique(&parts, i)).collect();
    let mut taken = HashSet::new();
    for name in &mut names {
        let mut candidate = name.clone();
        let mut suffix = 2;
        while !taken.insert(candidate.clone()) {
            candidate = format!("{name}-{suffix}");
            suffix += 1;
        }
        *name = candidate;
    }
    names
}

fn components(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(super::printable(name)),
        _ => None,
    });
    normal.collect()
}

/// The last `count` components.
fn tail(parts: &[String], count: usize) -> String {
    parts[parts.len().saturating_sub(count)..].join("-")
}

fn shortest_unique(all: &[Vec<String>], own: usize) -> String {
    let longest = all[own].len().max(1);
    let is_unique = |count: &usize| {
        let name = tail(&all[own], *count);
        all.iter().enumerate().all(|(other, parts)| other == own || tail(parts, *count) != name)
    };
    let name = tail(&all[own], (1..=longest).find(is_unique).unwrap_or(longest));
    if name.is_empty() { "disk".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::disk_names;

    #[test]
    fn a_name_is_the_last_component_when_that_is_unique() {
        assert_eq!(disk_names(&["/dev/sda", "/srv/vm/disk.img"]), ["sda", "disk.img"]);
    }

    #[test]
    fn equal_last_components_take_their_parents_along_in_any_order() {
        assert_eq!(disk_names(&["/srv/a/disk.img", "/srv/b/disk.img"]), ["a-disk.img", "b-disk.img"]);
        assert_eq!(disk_names(&["/srv/b/disk.img", "/srv/a/disk.img"]), ["b-disk.img", "a-disk.img"]);
        assert_eq!(disk_names(&["/disk.img", "/a/disk.img"]), ["disk.img", "a-disk.img"]);
    }

    #[test]
    fn names_differ_whatever_the_paths_are() {
        assert_eq!(disk_names(&["/a/x", "/a/x", "/a-x", "/"]), ["a-x", "a-x-2", "a-x-3", "disk"]);
    }
}
