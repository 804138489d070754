//! What is restored equals what was there; what the target holds stays unless it may be replaced.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use agent::files::restore::{ProblemKind, RestoreOptions, RestoreOutcome, restore};
use agent::files::{self, FileSystem, FilesError};

use crate::facts;
use crate::images::{Workshop, disk, require_root};
use crate::population::{Extent, fill};

const SMALL: Extent = Extent { many: 50, attribute_bytes: 200 };
const KEEP: RestoreOptions = RestoreOptions { overwrite: false };
const REPLACE: RestoreOptions = RestoreOptions { overwrite: true };

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
