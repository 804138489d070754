//! The module's source files on their way into the build root, and the modules on their way out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Makes `target` hold the source files of `source`. Unchanged files keep their times, so make does nothing for them.
pub fn synchronise(source: &Path, target: &Path) -> Result<()> {
    ensure!(source.join("Kbuild").is_file(), "there is no module to build in {}", source.display());
    let wanted: BTreeSet<PathBuf> = files(source)?.into_iter().filter(|path| is_source(path)).collect();
    for path in &wanted {
        let bytes = std::fs::read(source.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        let copy = target.join(path);
        if std::fs::read(&copy).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(parent) = copy.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    for path in files(target)? {
        // A file that went away must not be compiled; generated ones (`*.mod.c`) are make's own.
        let generated = path.to_string_lossy().ends_with(".mod.c");
        if is_source(&path) && !generated && !wanted.contains(&path) {
            std::fs::remove_file(target.join(path))?;
        }
    }
    Ok(())
}

/// All modules below `target`.
pub fn modules(target: &Path) -> Result<Vec<PathBuf>> {
    let modules = files(target)?.into_iter().filter(|path| path.extension() == Some(OsStr::new("ko")));
    Ok(modules.map(|path| target.join(path)).collect())
}

fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    name == "Kbuild" || matches!(extension, "rs" | "c" | "h" | "S")
}

/// The paths of all files below `dir`, relative to it; none when it does not exist.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let path = dir.join(&relative);
        if !path.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            let name = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(name);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{files, synchronise};

    #[test]
    fn only_changed_sources_are_written_and_vanished_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        std::fs::create_dir_all(source.join("map")).unwrap();
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(source.join("Kbuild"), "obj-m := a.o").unwrap();
        std::fs::write(source.join("map/active.rs"), "new").unwrap();
        std::fs::write(source.join("README.md"), "not compiled").unwrap();
        std::fs::write(target.join("gone.rs"), "old").unwrap();
        std::fs::write(target.join("a.o"), "object").unwrap();
        std::fs::write(target.join("a.mod.c"), "generated").unwrap();
        synchronise(&source, &target).unwrap();
        let expected = ["Kbuild", "a.mod.c", "a.o", "map/active.rs"].map(|path| Path::new(path).to_owned());
        assert_eq!(files(&target).unwrap(), expected);

        let written = std::fs::metadata(target.join("Kbuild")).unwrap().modified().unwrap();
        synchronise(&source, &target).unwrap();
        assert_eq!(std::fs::metadata(target.join("Kbuild")).unwrap().modified().unwrap(), written);
    }
}
