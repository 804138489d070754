//! Where restore jobs may write on this machine: below directories, and to devices, that its agent's own command line names, and files
//! below further directories. Nowhere unless one is.
//!
//! The server names the target, and it faces the network: without this rule it could write over any file of this machine.

use anyhow::{Context as _, Result};
use repo_format::Error;
use std::path::{Component, Path, PathBuf};

/// Directories and devices that may be restored to.
#[derive(Clone, Default, Debug)]
pub struct Places {
    /// For anything.
    all: Vec<PathBuf>,
    /// For files only, no images and no devices.
    files: Vec<PathBuf>,
}

impl Places {
    /// These for anything and these for files, as they are now. All of them have to be there.
    pub fn new(all: &[PathBuf], files: &[PathBuf]) -> Result<Self> {
        let real = |option: &'static str| {
            move |path: &PathBuf| {
                path.canonicalize().with_context(|| format!("{option} {}: it is not there", path.display()))
            }
        };
        Ok(Self {
            all: all.iter().map(real("--restore-to")).collect::<Result<_>>()?,
            files: files.iter().map(real("--restore-files")).collect::<Result<_>>()?,
        })
    }

    /// The directory as it really is, if files may be restored into it.
    pub fn allow_files(&self, directory: &Path) -> Result<PathBuf> {
        self.allow_in(directory, &[&self.all, &self.files])
    }

    /// Whether files may be restored at this path, which is real: no link is on the way.
    pub fn allow_in_place(&self, path: &Path) -> Result<()> {
        let is_allowed = self.all.iter().chain(&self.files).any(|place| path.starts_with(place));
        if is_allowed { Ok(()) } else { Err(self.refused(path, &[&self.all, &self.files])) }
    }

    /// The target as it really is, if it may be restored to: one of the places, or below one. Symbolic links on the way are followed
    /// first, so none of them leads out; a name that is not there yet is taken as it is.
    pub fn allow(&self, target: &Path) -> Result<PathBuf> {
        self.allow_in(target, &[&self.all])
    }

    fn allow_in(&self, target: &Path, places: &[&Vec<PathBuf>]) -> Result<PathBuf> {
        let odd = target.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir));
        let real = match target.canonicalize() {
            Ok(real) => real,
            Err(_) => {
                let parent = target.parent().context("a target has a directory that it is in")?;
                let name = target.file_name().context("a target has a name")?;
                let cannot = || format!("cannot restore to {}: its directory is not there", target.display());
                // A dangling link would be followed when the target is made.
                if target.symlink_metadata().is_ok() {
                    return Err(self.refused(target, places));
                }
                parent.canonicalize().with_context(cannot)?.join(name)
            }
        };
        let is_allowed =
            !odd && target.is_absolute() && places.iter().copied().flatten().any(|place| real.starts_with(place));
        if is_allowed { Ok(real) } else { Err(self.refused(target, places)) }
    }

    fn refused(&self, target: &Path, places: &[&Vec<PathBuf>]) -> anyhow::Error {
        let named: Vec<String> = places.iter().copied().flatten().map(|place| place.display().to_string()).collect();
        let allowed = match named.as_slice() {
            [] => "restores are allowed nowhere".to_owned(),
            named => format!("restores are allowed to {}", named.join(", ")),
        };
        let option = if places.len() > 1 { "--restore-files" } else { "--restore-to" };
        Error::Refused(format!(
            "{} is no place to restore to here: {allowed}; {option} of the agent on that machine says where",
            target.display()
        ))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_below_a_named_place_is_allowed_whatever_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (inside, outside) = (root.join("restores"), root.join("outside"));
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        symlink(&outside, inside.join("way-out")).unwrap();
        symlink(outside.join("file"), inside.join("link")).unwrap();
        symlink(outside.join("new"), inside.join("dangling")).unwrap();
        let places = Places::new(std::slice::from_ref(&inside), &[]).unwrap();
        for good in ["new.img", "sub/new.img", "sub"] {
            assert_eq!(places.allow(&inside.join(good)).unwrap(), inside.join(good));
        }
        assert_eq!(places.allow(&inside).unwrap(), inside, "files are restored into the directory itself");
        for bad in ["way-out/new.img", "link", "dangling", "sub/../../outside/file", "nowhere/new.img"] {
            assert!(places.allow(&inside.join(bad)).is_err(), "{bad}");
        }
        assert!(places.allow(&outside.join("file")).is_err() && places.allow(Path::new("restores/new")).is_err());
        assert!(places.allow(&root.join("restores-too")).is_err(), "a longer name is another place");
        assert!(Places::default().allow(&inside.join("new.img")).unwrap_err().to_string().contains("nowhere"));
        assert!(Places::new(&[root.join("missing")], &[]).is_err());
        let files = Places::new(&[], std::slice::from_ref(&inside)).unwrap();
        assert_eq!(files.allow_files(&inside.join("sub")).unwrap(), inside.join("sub"));
        assert!(files.allow(&inside.join("new.img")).is_err(), "no images where only files may go");
        assert!(files.allow_in_place(&inside.join("any/file")).is_ok());
        for bad in [root.clone(), outside.join("file"), root.join("restores-too")] {
            assert!(files.allow_in_place(&bad).is_err() && files.allow_files(&bad).is_err(), "{}", bad.display());
        }
    }
}
