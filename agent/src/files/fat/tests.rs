//! Images that mkfs.fat makes and mtools fills, and what damage and noise come to.

use super::*;
use crate::files::{list, lookup_path, walk};
use std::fs;
use std::path::Path;
use std::process::Command;

fn run(program: &str, args: &[&str], inside: &Path) {
    let done = Command::new(program).args(args).current_dir(inside).env("MTOOLS_SKIP_CHECK", "1").output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 11 & 0xff).unwrap()).collect()
}

/// An image of so many bits with files in it, made by other programs.
fn image(bits: &str, kibibytes: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path();
    fs::File::create(inside.join("disk")).unwrap().set_len(kibibytes << 10).unwrap();
    run("/usr/sbin/mkfs.fat", &["-F", bits, "-n", "LABEL", "disk"], inside);
    fs::create_dir_all(inside.join("etc/Ein langer Name mit Ärger")).unwrap();
    fs::write(inside.join("etc/hostname"), "iceberg\n").unwrap();
    fs::write(inside.join("etc/Ein langer Name mit Ärger/noise.bin"), noise(300_001)).unwrap();
    fs::write(inside.join("EMPTY.TXT"), "").unwrap();
    fs::create_dir(inside.join("many")).unwrap();
    for number in 0..300 {
        fs::write(inside.join(format!("many/a file with number {number:03}")), "").unwrap();
    }
    run("mcopy", &["-s", "-i", "disk", "etc", "EMPTY.TXT", "many", "::/"], inside);
    fs::read(inside.join("disk")).unwrap()
}

fn open(image: Vec<u8>) -> Result<Box<dyn FileSystem>> {
    crate::files::open(Arc::new(image))
}

fn names(fs: &dyn FileSystem, path: &str) -> Vec<String> {
    list(fs, path.as_bytes()).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn content(fs: &dyn FileSystem, path: &str) -> Result<Vec<u8>> {
    let file = fs.open_file(lookup_path(fs, path.as_bytes())?)?;
    let mut bytes = vec![0; usize::try_from(file.size_bytes()).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[test]
fn files_of_all_three_widths_are_read_as_they_were_written() {
    for (bits, kibibytes) in [("12", 2 << 10), ("16", 32 << 10), ("32", 48 << 10)] {
        let fs = open(image(bits, kibibytes)).unwrap();
        assert_eq!(fs.name(), "fat");
        assert_eq!(names(&*fs, "/"), ["EMPTY.TXT", "etc", "many"], "{bits}");
        assert_eq!(names(&*fs, "/etc"), ["Ein langer Name mit Ärger", "hostname"]);
        assert_eq!(names(&*fs, "/many"), (0..300).map(|n| format!("a file with number {n:03}")).collect::<Vec<_>>());
        assert_eq!(content(&*fs, "/etc/hostname").unwrap(), b"iceberg\n");
        assert_eq!(content(&*fs, "/etc/Ein langer Name mit Ärger/noise.bin").unwrap(), noise(300_001), "{bits}");
        assert!(content(&*fs, "/EMPTY.TXT").unwrap().is_empty());
        let modified = fs.metadata(lookup_path(&*fs, b"/etc/hostname").unwrap()).unwrap().modified.seconds;
        assert!(modified > 1_700_000_000, "{modified}");
        assert!(matches!(content(&*fs, "/etc"), Err(FilesError::WrongKind { .. })));
    }
}

#[test]
fn a_chain_that_ends_early_or_is_a_circle_is_damage_and_no_shorter_file() {
    let good = image("16", 32 << 10);
    let (table, first) = {
        let disk: Arc<dyn ReadAt> = Arc::new(good.clone());
        let fat = Fat::open(disk).unwrap();
        let id = lookup_path(&fat, "/etc/Ein langer Name mit Ärger/noise.bin".as_bytes()).unwrap();
        (usize::try_from(fat.geometry.table_offset_bytes).unwrap(), fat.entry(id).unwrap().unwrap().first_cluster)
    };
    let first = usize::try_from(first).unwrap();
    for value in [0xffff_u16, 0, 1, 0xfff7, 0xfff0, u16::try_from(first).unwrap()] {
        let mut bad = good.clone();
        bad[table + first * 2..][..2].copy_from_slice(&value.to_le_bytes());
        let fs = open(bad).unwrap();
        let told = content(&*fs, "/etc/Ein langer Name mit Ärger/noise.bin");
        assert!(matches!(told, Err(FilesError::Corrupt { .. })), "{value:#x}");
    }
}

/// Nothing that the bytes say may end in a panic or in more memory than there is.
#[test]
fn noise_in_an_image_is_an_error_or_other_files_and_nothing_worse() {
    let good = image("12", 2 << 10);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..400 {
        let mut bad = good.clone();
        for _ in 0..1 + random(30) {
            // Boot sector, table and root directory lie at the beginning.
            let within = if random(4) == 0 { bad.len() } else { 16 << 10 };
            let at = random(within);
            bad[at] = u8::try_from(random(256)).unwrap();
        }
        let Ok(fs) = open(bad) else { continue };
        let mut seen = 0;
        let _ = walk(&*fs, fs.root(), |entry| {
            seen += 1;
            if let Ok(metadata) = &entry.metadata
                && metadata.kind == FileKind::Regular
                && let Ok(file) = fs.open_file(entry.id)
            {
                let mut bytes = vec![0; usize::try_from(file.size_bytes().min(1 << 20)).unwrap()];
                let _ = file.read_exact_at(&mut bytes, 0);
            }
            // Directories that lie in the content of files have many entries.
            if seen > 20_000 { Err(FilesError::Cancelled) } else { Ok(()) }
        });
    }
}
