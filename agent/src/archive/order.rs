//! Which paths may stand in an archive: relative ones, each below a directory that came before, no name twice.
//!
//! Names come in the order of their bytes, so one name a level is all that has to be remembered. A file system in which a name is a link
//! and a directory at once would otherwise lead whoever unpacks it through the link.

use crate::files::{MAX_DEPTH, escape_name};
use anyhow::{Result, ensure};

/// Longer names exist in no file system that is read here.
const MAX_NAME_BYTES: usize = 1024;

pub(super) struct Order {
    /// The directories that lead to the last member, each with the last name in it.
    levels: Vec<Level>,
    has_begun: bool,
}

struct Level {
    name: Vec<u8>,
    last: Vec<u8>,
}

impl Order {
    /// For an archive whose members stand below a directory of this name.
    pub(super) fn below(top: &[u8]) -> Result<Self> {
        ensure!(top.is_empty() || is_name(top), "no directory of an archive can be called {}", escape_name(top));
        Ok(Self { levels: Vec::new(), has_begun: false })
    }

    /// Takes the next path, or says why it cannot be the next.
    pub(super) fn check(&mut self, path: &[u8], is_directory: bool) -> Result<()> {
        let shown = || escape_name(path);
        if !self.has_begun {
            ensure!(path.is_empty() && is_directory, "an archive begins with its directory and not with {}", shown());
            self.has_begun = true;
            self.levels.push(Level { name: Vec::new(), last: Vec::new() });
            return Ok(());
        }
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        ensure!(names.iter().all(|name| is_name(name)), "{} is no path that can be unpacked safely", shown());
        ensure!(names.len() <= MAX_DEPTH, "{} is too deep", shown());
        let (name, parents) = names.split_last().map_or((&b""[..], &[][..]), |(name, parents)| (*name, parents));
        self.levels.truncate(names.len());
        let leads_here = self.levels.len() == names.len()
            && self.levels.iter().skip(1).zip(parents).all(|(level, parent)| level.name == *parent);
        ensure!(leads_here, "{} is in no directory of the archive", shown());
        if let Some(level) = self.levels.last_mut() {
            ensure!(level.last.as_slice() < name, "{} comes twice or out of order", shown());
            level.last = name.to_vec();
        }
        if is_directory {
            self.levels.push(Level { name: name.to_vec(), last: Vec::new() });
        }
        Ok(())
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= MAX_NAME_BYTES
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(paths: &[(&str, bool)]) -> Result<()> {
        let mut order = Order::below(b"top")?;
        order.check(b"", true)?;
        paths.iter().try_for_each(|(path, is_directory)| order.check(path.as_bytes(), *is_directory))
    }

    #[test]
    fn a_tree_in_the_order_of_its_names_passes() {
        let tree =
            [("a", true), ("a/b", true), ("a/b/c", false), ("a/d", false), ("a0", false), ("b", true), ("b/a", true)];
        taken(&tree).unwrap();
    }

    #[test]
    fn what_could_lead_out_of_the_directory_is_refused() {
        for (paths, told) in [
            (&[("..", true)][..], "safely"),
            (&[("/etc", true)], "safely"),
            (&[("a", true), ("a/../b", false)], "safely"),
            (&[("a", true), ("a/.", false)], "safely"),
            (&[("a", true), ("a//b", false)], "safely"),
            (&[("", true)], "safely"),
            (&[("a\0b", false)], "safely"),
            // A link and a directory of one name.
            (&[("a", false), ("a/passwd", false)], "no directory"),
            (&[("a", false), ("a", true)], "twice"),
            (&[("a", true), ("b", true), ("a/c", false)], "no directory"),
            (&[("b", false), ("a", false)], "out of order"),
            (&[("x/y", false)], "no directory"),
        ] {
            let error = taken(paths).unwrap_err().to_string();
            assert!(error.contains(told), "{paths:?}: {error}");
        }
        assert!(Order::below(b"..").is_err() && Order::below(b"a/b").is_err() && Order::below(b"").is_ok());
    }
}
