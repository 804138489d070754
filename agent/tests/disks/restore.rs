//! What is restored equals what was there; what the target holds stays unless it may be replaced.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agent::files::restore::{Existing, ProblemKind, RestoreOptions, RestoreOutcome, TEMPORARY, restore};
use agent::files::{self, FileSystem, FilesError};

use crate::facts;
use crate::images::{Workshop, disk, require_root};
use crate::population::{Extent, fill};

const SMALL: Extent = Extent { many: 50, attribute_bytes: 200 };
const KEEP: RestoreOptions =
    RestoreOptions { existing: Existing::Leave, is_real: false, one_file_system: false, dry_run: false };
const REPLACE: RestoreOptions =
    RestoreOptions { existing: Existing::Replace, is_real: false, one_file_system: false, dry_run: false };

struct Scene {
    workshop: Workshop,
    image: PathBuf,
}

impl Scene {
    fn new() -> Self {
        require_root();
        let workshop = Workshop::new();
        let image = workshop.format("disk.img", 96, &["mkfs.ext4", "-q", "-F"]);
        fill(&workshop.mount(&image, "rw").dir, SMALL);
        Self { workshop, image }
    }

    /// Targets lie on an ext4 of their own: not every temporary directory takes all attributes.
    fn target(&self) -> crate::images::Mounted {
        let image = self.workshop.format("target.img", 96, &["mkfs.ext4", "-q", "-F"]);
        self.workshop.mount(&image, "rw")
    }

    fn open(&self) -> Box<dyn FileSystem> {
        files::open(disk(&self.image)).unwrap()
    }
}

fn run(fs: &dyn FileSystem, paths: &[&str], target: &Path, options: RestoreOptions) -> RestoreOutcome {
    let paths: Vec<_> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    restore(fs, &paths, target, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_whole_file_system_comes_back_with_everything() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    let outcome = run(&*scene.open(), &["/"], &dir, KEEP);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    let mounted = scene.workshop.mount(&scene.image, "ro");
    let (mut expected, mut actual) = (facts::of_directory(&mounted.dir), facts::of_directory(&dir));
    // The root is the directory the user named and keeps its own metadata.
    expected.remove(&b""[..]);
    actual.remove(&b""[..]);
    facts::assert_same(&expected, &actual);
    let hole = fs::metadata(dir.join("sparse/only a hole")).unwrap();
    let ends = fs::metadata(dir.join("sparse/two ends")).unwrap();
    assert_eq!(hole.blocks(), 0);
    assert!(ends.blocks() * 512 < 1 << 20);
    assert_eq!((outcome.hard_links, outcome.special_files), (2, 4));
    assert!(outcome.bytes_written < outcome.bytes_content);
}

#[test]
fn wanted_paths_come_back_below_their_parents_and_share_them() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    let wanted = ["links/elsewhere/third", "/links/first", "attributes/acl", "/attributes/acl/"];
    let outcome = run(&*scene.open(), &wanted, &dir, KEEP);
    assert_eq!((outcome.regular_files, outcome.hard_links, outcome.directories), (2, 1, 3));
    let first = fs::metadata(dir.join("links/first")).unwrap();
    assert_eq!(first.ino(), fs::metadata(dir.join("links/elsewhere/third")).unwrap().ino());
    assert!(!dir.join("links/second").exists());
}

#[test]
fn existing_files_stay_unless_they_may_be_replaced() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    fs::create_dir_all(dir.join("links")).unwrap();
    fs::write(dir.join("links/first"), "mine").unwrap();
    let kept = run(&*scene.open(), &["links/first"], &dir, KEEP);
    assert_eq!((kept.existing, kept.regular_files), (1, 0));
    assert_eq!(kept.problems[0].kind, ProblemKind::Exists);
    assert_eq!(kept.problems[0].path, "/links/first");
    assert_eq!(fs::read(dir.join("links/first")).unwrap(), b"mine");
    let replaced = run(&*scene.open(), &["links/first"], &dir, REPLACE);
    assert_eq!((replaced.existing, replaced.regular_files), (0, 1));
    assert_eq!(fs::read(dir.join("links/first")).unwrap(), b"linked");
}

#[test]
fn symbolic_links_in_the_target_lead_nowhere() {
    let scene = Scene::new();
    let target = scene.target();
    let (dir, outside) = (target.dir.join("restored"), target.dir.join("outside"));
    fs::create_dir_all(dir.join("sizes")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    symlink(&outside, dir.join("links")).unwrap();
    symlink(outside.join("victim"), dir.join("sizes/100")).unwrap();
    let outcome = run(&*scene.open(), &["links", "sizes/100"], &dir, REPLACE);
    assert_eq!(outcome.existing, 1);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(dir.join("sizes/100")).unwrap().is_file());
    symlink(&outside, target.dir.join("way")).unwrap();
    let paths = [b"sizes/100".to_vec()];
    let options = RestoreOptions { is_real: true, ..REPLACE };
    let through = restore(&*scene.open(), &paths, &target.dir.join("way"), options, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(through, Err(FilesError::Target { .. })), "a link took the place of the target");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_path_that_does_not_exist_or_climbs_fails_before_anything_is_written() {
    let scene = Scene::new();
    let target = scene.target();
    for bad in ["links/no such", "links/../sizes", "links/symbolic/x"] {
        let paths = [b"links/first".to_vec(), bad.as_bytes().to_vec()];
        let result = restore(&*scene.open(), &paths, &target.dir, KEEP, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(result, Err(FilesError::NotFound { .. } | FilesError::NotADirectory { .. })), "{bad}");
        assert!(!target.dir.join("links").exists());
    }
}

#[test]
fn a_restore_can_be_cancelled() {
    let scene = Scene::new();
    let target = scene.target();
    let mut calls = 0;
    let result = restore(&*scene.open(), &[b"/".to_vec()], &target.dir, KEEP, &mut |progress| {
        calls += 1;
        if progress.files >= 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(result, Err(FilesError::Cancelled)));
    assert!(calls < 10);
}

#[test]
fn a_full_target_ends_the_restore_and_leaves_no_half_file() {
    let scene = Scene::new();
    let image = scene.workshop.format("small.img", 2, &["mkfs.ext4", "-q", "-F", "-O", "^has_journal"]);
    let small = scene.workshop.mount(&image, "rw");
    let paths = [b"sizes/2097152".to_vec()];
    let result = restore(&*scene.open(), &paths, &small.dir, KEEP, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(result, Err(FilesError::Target { .. })));
    assert!(!small.dir.join("sizes/2097152").exists());
}

#[test]
fn listings_show_escaped_names_kinds_and_links() {
    let scene = Scene::new();
    let fs = scene.open();
    let links = files::list(&*fs, b"links").unwrap();
    let symbolic = links.iter().find(|entry| entry.name == "symbolic").unwrap();
    assert_eq!((symbolic.mode.as_str(), symbolic.link_target.as_deref()), ("lrwxrwxrwx", Some("first")));
    let odd = files::list(&*fs, b"/odd/").unwrap();
    let escaped = odd.iter().find(|entry| entry.name == "a\\nb").unwrap();
    assert_eq!(escaped.name_hex.as_deref(), Some("610a62"));
    assert_eq!(files::stat(&*fs, b"special/null").unwrap().device.unwrap().minor, 3);
    assert_eq!(files::stat(&*fs, b"/").unwrap().name, "/");
}

/// "Restored" was said while everything lay in the page cache. Whoever then cut the power, or whose target could not write it back, had
/// files of zeroes. The target's image, as it is at that moment, is what a power cut leaves.
#[test]
fn what_is_restored_survives_a_power_cut_right_after() {
    let scene = Scene::new();
    let image = scene.workshop.format("target.img", 96, &["mkfs.ext4", "-q", "-F"]);
    let target = scene.workshop.mount(&image, "rw");
    let outcome = run(&*scene.open(), &["/"], &target.dir.join("restored"), KEEP);
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    let after_the_cut = scene.workshop.copy(&image, "after the cut.img");
    let mounted = scene.workshop.mount(&after_the_cut, "rw");
    let (expected, actual) = (facts::of_directory(&target.dir), facts::of_directory(&mounted.dir));
    facts::assert_same(&expected, &actual);
}

const FILES: [&str; 2] = ["links", "sizes"];

fn beside() -> RestoreOptions {
    RestoreOptions { existing: Existing::Beside("restored-2026-11-30".into()), ..KEEP }
}

/// No file of the target is on its way to its name.
fn no_temporary_file_in(dir: &Path) {
    let names = facts::of_directory(dir);
    let left = names.keys().find(|name| String::from_utf8_lossy(name).contains(TEMPORARY));
    assert!(left.is_none(), "{left:?}");
}

#[test]
fn what_differs_is_restored_beside_and_what_is_the_same_is_left_in_peace() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    run(&*scene.open(), &FILES, &dir, KEEP);
    let again = run(&*scene.open(), &FILES, &dir, beside());
    let others = again.regular_files + again.symlinks + again.hard_links;
    assert_eq!((others, again.beside, again.existing, again.failed), (0, 0, 0, 0), "{:?}", again.problems);
    assert!(again.unchanged > 5);
    fs::write(dir.join("sizes/100"), "mine").unwrap();
    fs::remove_file(dir.join("links/symbolic")).unwrap();
    fs::create_dir(dir.join("links/symbolic")).unwrap();
    let beside_them = run(&*scene.open(), &FILES, &dir, beside());
    assert_eq!((beside_them.beside, beside_them.failed), (2, 0), "{:?}", beside_them.problems);
    assert_eq!(beside_them.problems[0].kind, ProblemKind::Beside);
    assert_eq!(fs::read(dir.join("sizes/100")).unwrap(), b"mine");
    assert_eq!(fs::metadata(dir.join("sizes/100.restored-2026-11-30")).unwrap().len(), 100);
    assert!(fs::symlink_metadata(dir.join("links/symbolic.restored-2026-11-30")).unwrap().is_symlink());
    let third = run(&*scene.open(), &["sizes/100"], &dir, beside());
    assert_eq!(third.beside, 1);
    assert_eq!(fs::metadata(dir.join("sizes/100.restored-2026-11-30-2")).unwrap().len(), 100);
    no_temporary_file_in(&dir);
}

/// What the files of a directory hold, by name; what is on its way has no name yet.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let named = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> = named
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.starts_with(TEMPORARY))
        .collect();
    found.sort();
    found
}

#[test]
fn at_every_moment_a_file_is_the_old_one_or_the_new_one() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    run(&*scene.open(), &["sizes"], &dir, KEEP);
    let whole = contents(&dir.join("sizes"));
    let old = |name: &str| format!("the old {name}").into_bytes();
    for (name, _) in &whole {
        fs::write(dir.join("sizes").join(name), old(name)).unwrap();
    }
    let paths = [b"sizes".to_vec()];
    let mut looks = 0;
    let outcome = restore(&*scene.open(), &paths, &dir, REPLACE, &mut |_| {
        looks += 1;
        for ((name, now), (_, new)) in contents(&dir.join("sizes")).iter().zip(&whole) {
            assert!(*now == old(name) || now == new, "{name} is half of something");
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap().replaced, whole.len() as u64);
    assert!(looks > whole.len());
    assert_eq!(contents(&dir.join("sizes")), whole);
    no_temporary_file_in(&dir);
}

#[test]
fn a_restore_that_is_cancelled_leaves_every_old_file_and_no_other() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    run(&*scene.open(), &["sizes"], &dir, KEEP);
    fs::write(dir.join("sizes/100"), "mine").unwrap();
    let before = contents(&dir.join("sizes"));
    let paths = [b"sizes".to_vec()];
    let done = restore(&*scene.open(), &paths, &dir, REPLACE, &mut |now| {
        if now.bytes_written > 1 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(done, Err(FilesError::Cancelled)));
    assert_eq!(contents(&dir.join("sizes")), before);
    no_temporary_file_in(&dir);
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    let options = RestoreOptions { dry_run: true, ..KEEP };
    let nothing_there = run(&*scene.open(), &FILES, &dir, options.clone());
    assert!(!dir.exists() && nothing_there.regular_files > 5 && nothing_there.bytes_written == 0);
    fs::create_dir_all(dir.join("sizes")).unwrap();
    fs::write(dir.join("sizes/100"), "mine").unwrap();
    let before = facts::of_directory(&dir);
    assert_eq!(run(&*scene.open(), &FILES, &dir, options.clone()).existing, 1);
    let beside_it = run(&*scene.open(), &FILES, &dir, RestoreOptions { dry_run: true, ..beside() });
    assert_eq!((beside_it.beside, beside_it.regular_files), (1, nothing_there.regular_files));
    let over_it = run(&*scene.open(), &FILES, &dir, RestoreOptions { existing: Existing::Replace, ..options });
    assert_eq!((over_it.replaced, over_it.existing), (1, 0));
    facts::assert_same(&before, &facts::of_directory(&dir));
}

#[test]
fn nothing_is_written_through_a_mount_that_lies_in_the_way() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    fs::create_dir_all(dir.join("sizes")).unwrap();
    let image = scene.workshop.format("other.img", 8, &["mkfs.ext4", "-q", "-F"]);
    let other = scene.workshop.mount(&image, "rw");
    fs::create_dir(other.dir.join("inner")).unwrap();
    let (inner, at) = (other.dir.join("inner"), dir.join("sizes"));
    crate::images::run("mount", &["--bind", inner.to_str().unwrap(), at.to_str().unwrap()]);
    let outcome = run(&*scene.open(), &FILES, &dir, RestoreOptions { one_file_system: true, ..REPLACE });
    crate::images::run("umount", &[at.to_str().unwrap()]);
    assert_eq!(outcome.failed, 1, "{:?}", outcome.problems);
    assert!(outcome.problems[0].message.contains("another file system"), "{:?}", outcome.problems);
    assert_eq!(fs::read_dir(other.dir.join("inner")).unwrap().count(), 0);
    assert!(dir.join("links/first").exists(), "the rest is restored");
}

#[test]
fn directories_on_the_way_to_what_is_wanted_keep_their_own_metadata() {
    let scene = Scene::new();
    let target = scene.target();
    let dir = target.dir.join("restored");
    fs::create_dir_all(dir.join("links/elsewhere")).unwrap();
    let mode = |path: &str, mode: Option<u32>| {
        let path = dir.join(path);
        if let Some(mode) = mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::metadata(&path).unwrap().mode() & 0o7777
    };
    mode("links", Some(0o711));
    mode("links/elsewhere", Some(0o711));
    run(&*scene.open(), &["links/elsewhere"], &dir, REPLACE);
    assert_eq!(mode("links", None), 0o711);
    assert_ne!(mode("links/elsewhere", None), 0o711);
}
