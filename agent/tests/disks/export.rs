//! Exported images hold the disk, says qemu-img.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use agent::export::{ExportError, ExportFormat, export};
use agent::extents::Extent;
use agent::read_at::ReadAt;

use crate::images::{Workshop, disk, run};
use crate::population::pattern;

const SCATTERED: [(u64, u64); 6] =
    [(0, 100), (200, 70_000), (70_300, 1), (1 << 20, 5 << 20), (600 << 20, 65_536), ((1 << 30) + 511, 1)];

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn extents(list: &[(u64, u64)]) -> Vec<Extent> {
    list.iter().map(|(offset, length)| Extent::new(*offset, *length).unwrap()).collect()
}

/// A sparse image with data in the extents and nowhere else.
fn source(workshop: &Workshop, size_bytes: u64, data: &[(u64, u64)]) -> PathBuf {
    let path = workshop.path("source.img");
    let file = File::create(&path).unwrap();
    file.set_len(size_bytes).unwrap();
    for (offset, length) in data {
        file.write_all_at(&pattern(*length as usize, *offset), *offset).unwrap();
    }
    path
}

fn qemu_compare(source: &Path, format: ExportFormat, image: &Path) {
    let (source, image) = (source.to_str().unwrap(), image.to_str().unwrap());
    run("qemu-img", &["compare", "-f", "raw", "-F", format.name(), source, image]);
    if format != ExportFormat::Raw {
        run("qemu-img", &["check", "-f", format.name(), image]);
    }
}

fn round_trip(format: ExportFormat, size_bytes: u64, data: &[(u64, u64)]) -> u64 {
    let workshop = Workshop::new();
    let source = source(&workshop, size_bytes, data);
    let image = workshop.path("image");
    let mut last = 0;
    let outcome = export(&*disk(&source), extents(data), format, &image, false, &mut |done| {
        assert!(done >= last);
        last = done;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(outcome.disk_bytes, size_bytes);
    assert_eq!(last, data.iter().map(|(_, length)| length).sum::<u64>());
    qemu_compare(&source, format, &image);
    fs::metadata(&image).unwrap().blocks() * 512
}

#[test]
fn raw_images_equal_the_disk_and_stay_sparse() {
    assert!(round_trip(ExportFormat::Raw, (1 << 30) + 512, &SCATTERED) < 6 << 20);
}

#[test]
fn qcow2_images_equal_the_disk_and_stay_small() {
    assert!(round_trip(ExportFormat::Qcow2, (1 << 30) + 512, &SCATTERED) < 7 << 20);
}

#[test]
fn vmdk_images_equal_the_disk_and_stay_small() {
    assert!(round_trip(ExportFormat::Vmdk, (1 << 30) + 512, &SCATTERED) < 7 << 20);
}

#[test]
fn empty_disks_are_exported() {
    for format in [ExportFormat::Raw, ExportFormat::Qcow2, ExportFormat::Vmdk] {
        round_trip(format, 1 << 20, &[]);
    }
}

/// Compares the ends only: qemu-img takes ten seconds to compare a terabyte of nothing.
fn check_ends(format: ExportFormat, size_bytes: u64) {
    let workshop = Workshop::new();
    let data = [(0, 4096), (size_bytes - 4096, 4096)];
    let source = source(&workshop, size_bytes, &data);
    let image = workshop.path("image");
    export(&*disk(&source), extents(&data), format, &image, false, &mut go_on).unwrap();
    run("qemu-img", &["check", "-f", format.name(), image.to_str().unwrap()]);
    for (offset, _) in data {
        let block = workshop.path("block");
        // `count` counts from the start of the disk, whatever `skip` says; the end needs none.
        let part = if offset == 0 { "count=1".to_owned() } else { format!("skip={}", offset / 4096) };
        let (from, to) = (format!("if={}", image.display()), format!("of={}", block.display()));
        run("qemu-img", &["dd", "-f", format.name(), "-O", "raw", "bs=4096", &part, &from, &to]);
        assert!(fs::read(&block).unwrap() == pattern(4096, offset), "at {offset}");
    }
}

#[test]
fn disks_of_terabytes_are_exported() {
    check_ends(ExportFormat::Qcow2, 5 << 40);
    check_ends(ExportFormat::Vmdk, 1 << 40);
}

#[test]
fn a_disk_too_large_for_vmdk_is_refused_with_an_alternative() {
    struct Huge;
    impl ReadAt for Huge {
        fn size_bytes(&self) -> u64 {
            3 << 40
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Other.into())
        }
    }
    let workshop = Workshop::new();
    let image = workshop.path("image");
    let error = export(&Huge, extents(&[]), ExportFormat::Vmdk, &image, false, &mut go_on).unwrap_err();
    assert!(error.to_string().contains("export it as qcow2"), "{error}");
}

#[test]
fn an_existing_target_stays_unless_it_may_be_replaced() {
    let workshop = Workshop::new();
    let source = source(&workshop, 1 << 20, &[(0, 5000)]);
    let image = workshop.path("image");
    fs::write(&image, "mine").unwrap();
    let go =
        |overwrite| export(&*disk(&source), extents(&[(0, 5000)]), ExportFormat::Qcow2, &image, overwrite, &mut go_on);
    assert!(matches!(go(false), Err(ExportError::Exists { .. })));
    assert_eq!(fs::read(&image).unwrap(), b"mine");
    go(true).unwrap();
    qemu_compare(&source, ExportFormat::Qcow2, &image);
}

#[test]
fn a_failed_or_cancelled_export_leaves_nothing_behind() {
    let workshop = Workshop::new();
    let source = source(&workshop, 1 << 20, &[(0, 5000)]);
    let dir = workshop.path("out");
    fs::create_dir(&dir).unwrap();
    let image = dir.join("image");
    let beyond = extents(&[(0, 5000), (1 << 20, 1)]);
    let failed = export(&*disk(&source), beyond, ExportFormat::Raw, &image, false, &mut go_on);
    assert!(matches!(failed, Err(ExportError::BadExtents { offset_bytes: 1_048_576 })));
    let stop = &mut |_| ControlFlow::Break(());
    let cancelled = export(&*disk(&source), extents(&[(0, 5000)]), ExportFormat::Raw, &image, false, stop);
    assert!(matches!(cancelled, Err(ExportError::Cancelled)));
    let directory = export(&*disk(&source), extents(&[]), ExportFormat::Raw, &dir, true, &mut go_on);
    assert!(matches!(directory, Err(ExportError::NotAFile { .. })));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}
