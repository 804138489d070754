//! Devices that are read as they are, in the belief that nobody writes to them.

use super::{CHUNK, CHUNKS};
use crate::facts::test_images::{Image, LoopDevice, is_root};
use crate::source::Source;
use crate::source::provider::direct::Direct;
use crate::source::provider::{Provider, Snapshot};
use repo_format::manifest::Consistency;
use std::fs::File;
use std::os::unix::fs::FileExt;

fn taken(device: &LoopDevice) -> Box<dyn Snapshot> {
    let disks = || vec![("disk".to_owned(), Source::open(&device.path).unwrap())];
    let direct = Direct { allow_live: false };
    let promise = direct.promise(&disks()).unwrap().unwrap();
    direct.take(disks(), promise).unwrap()
}

/// A disk was mounted, written to and unmounted while it was read for an hour. Who uses it was asked before and after, and nobody did: the
/// point said "offline" and held many instants.
#[test]
fn a_device_that_was_written_to_and_let_go_meanwhile_is_not_offline() {
    if !is_root() {
        return;
    }
    let image = Image::sparse(CHUNKS * CHUNK);
    let device = LoopDevice::new(&image.path);
    let snapshot = taken(&device);
    let file = File::options().write(true).open(&device.path).unwrap();
    // Not synced: what only the page cache has was seen by a reader all the same.
    file.write_all_at(&[1; 4096], 0).unwrap();
    drop(file);
    let error = snapshot.check().expect_err("it was written to").to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

#[test]
fn a_device_that_was_only_read_is_offline() {
    if !is_root() {
        return;
    }
    let image = Image::sparse(CHUNKS * CHUNK);
    let device = LoopDevice::new(&image.path);
    // Written before it is taken, and perhaps not on the medium yet.
    let file = File::options().write(true).open(&device.path).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    drop(file);
    let snapshot = taken(&device);
    let mut bytes = [0; 4096];
    File::open(&device.path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(snapshot.check().unwrap(), Consistency::Offline);
}
