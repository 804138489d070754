//! Which files of a hook directory are hooks, and which of them may be trusted.
//!
//! A hook runs with the agent's rights, usually root's; so nobody else may be able to write to it or to a directory above it.

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Endings that editors, package managers and people give to files that are not meant.
const LEFTOVERS: [&str; 17] = [
    "~",
    ".bak",
    ".old",
    ".orig",
    ".rej",
    ".save",
    ".swp",
    ".swo",
    ".tmp",
    ".disabled",
    ".example",
    ".sample",
    ".rpmnew",
    ".rpmsave",
    ".rpmorig",
    ".md",
    ".txt",
];
/// And what stands in the middle of such names.
const LEFTOVER_PARTS: [&str; 2] = [".dpkg-", ".ucf-"];
/// More files than anybody has hooks.
const MAX_SCRIPTS: usize = 256;

/// Scripts in the order of their names, and those that must not be run, with the reason.
pub type Scripts = (Vec<PathBuf>, Vec<(PathBuf, String)>);

/// Looks through the directory. A directory that cannot be read or trusted is an error.
pub fn scripts(directory: &Path) -> Result<Scripts> {
    let shown = directory.display();
    let entries = fs::read_dir(directory).with_context(|| format!("looking for hooks in {shown}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("looking for hooks in {shown}"))?;
        if is_hook_name(&entry.file_name()) {
            paths.push(entry.path());
        }
        if paths.len() > MAX_SCRIPTS {
            anyhow::bail!("{shown} holds more than {MAX_SCRIPTS} hooks; is it the directory that you mean?");
        }
    }
    paths.sort();
    let (mut good, mut refused) = (Vec::new(), Vec::new());
    for path in paths {
        match judge(&path) {
            Verdict::Run => good.push(path),
            Verdict::Ignore => {}
            Verdict::Refuse(why) => refused.push((path, why)),
        }
    }
    Ok((good, refused))
}

/// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit, and no leftover of an editor.
fn is_hook_name(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let is_leftover = LEFTOVERS.iter().any(|end| name.ends_with(end))
        || LEFTOVER_PARTS.iter().any(|part| name.contains(part))
        || name.to_ascii_uppercase().starts_with("README");
    plain && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !is_leftover
}

enum Verdict {
    Run,
    Ignore,
    Refuse(String),
}

fn judge(path: &Path) -> Verdict {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => return Verdict::Refuse(format!("it cannot be looked at: {error}")),
    };
    if meta.is_dir() {
        return Verdict::Ignore;
    }
    if !meta.is_file() {
        return Verdict::Refuse("it is no file".to_owned());
    }
    if meta.mode() & 0o111 == 0 {
        // Left out in silence, it would make a point look consistent that is not.
        return Verdict::Refuse(
            "it is not executable; make it so (chmod 755), or rename it to end in .disabled".to_owned(),
        );
    }
    match untrusted(path) {
        Ok(None) => Verdict::Run,
        Ok(Some(why)) => Verdict::Refuse(why),
        Err(error) => Verdict::Refuse(format!("it cannot be looked at: {error}")),
    }
}

/// Why somebody else could change what this file holds; looks at the file behind links and at all directories above it.
fn untrusted(path: &Path) -> std::io::Result<Option<String>> {
    let real = fs::canonicalize(path)?;
    for part in real.ancestors() {
        let meta = fs::metadata(part)?;
        let shown = part.display();
        if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
            return Ok(Some(format!("{shown} belongs to user {}, not to root; chown root it", meta.uid())));
        }
        // In a sticky directory others cannot replace what is not theirs.
        let is_shielded = meta.is_dir() && meta.mode() & 0o1000 != 0;
        if meta.mode() & 0o022 != 0 && !is_shielded {
            return Ok(Some(format!("others than its owner may write to {shown}; chmod go-w it")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{is_hook_name, scripts};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    fn file(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn leftovers_of_editors_and_packages_are_no_hooks() {
        for name in ["10-postgresql", "a", "50_mysql.sh", "9.x"] {
            assert!(is_hook_name(name.as_ref()), "{name}");
        }
        for name in [
            "",
            ".hidden",
            "10-a~",
            "#10-a#",
            "10-a.bak",
            "10-a.swp",
            "10-a.dpkg-old",
            "10-a.rpmsave",
            "README",
            "readme.first",
            "has space",
            "a.disabled",
            "a;b",
            "-x",
            "ü",
        ] {
            assert!(!is_hook_name(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn scripts_come_in_the_order_of_their_names_without_directories() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-b", "10-c", "30-a", "10-c~"] {
            file(dir.path(), name, 0o755);
        }
        fs::create_dir(dir.path().join("00-directory")).unwrap();
        symlink(dir.path().join("20-b"), dir.path().join("40-link")).unwrap();
        let (good, refused) = scripts(dir.path()).unwrap();
        let names: Vec<_> = good.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["10-c", "20-b", "30-a", "40-link"]);
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn what_others_can_write_or_nobody_can_run_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "10-group", 0o775);
        file(dir.path(), "20-world", 0o757);
        file(dir.path(), "30-plain", 0o644);
        symlink("/nowhere/at/all", dir.path().join("40-dangling")).unwrap();
        let (good, refused) = scripts(dir.path()).unwrap();
        assert!(good.is_empty(), "{good:?}");
        let said: Vec<_> = refused.iter().map(|(_, why)| why.as_str()).collect();
        assert!(said[0].contains("chmod go-w") && said[1].contains("chmod go-w"), "{said:?}");
        assert!(said[2].contains("not executable") && said[3].contains("cannot be looked at"), "{said:?}");
    }

    #[test]
    fn a_directory_above_that_others_can_write_to_is_refused_too() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        file(&open, "10-a", 0o755);
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(scripts(&open).unwrap().0.len(), 0);
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(scripts(&open).unwrap().0.len(), 1, "sticky: others cannot replace it");
    }

    #[test]
    fn a_directory_that_is_missing_is_an_error() {
        assert!(scripts(Path::new("/no/such/directory")).is_err());
    }
}
