//! Our reader sees the same files as ntfs-3g, for each way an NTFS volume can be laid out.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use agent::files::{self, FileSystem};

use crate::images::{Workshop, disk, require_root};
use crate::ntfs_image::{self, set_raw, write_pieces};
use crate::population::{self, pattern};
use crate::{facts, images};

const COMPRESSED: [u8; 4] = 0x800_u32.to_le_bytes();

fn fill(dir: &Path, many: u32) {
    odd_names(&dir.join("odd"));
    population::sizes(&dir.join("sizes"));
    sparse(&dir.join("sparse"));
    population::special(&dir.join("special"));
    population::links(&dir.join("links"));
    streams(&dir.join("streams"));
    times(&dir.join("times"));
    let many_dir = dir.join("many");
    fs::create_dir(&many_dir).unwrap();
    for number in 0..many {
        File::create(many_dir.join(format!("a file with a rather long name, number {number}"))).unwrap();
    }
    // Leaves gaps of deleted entries behind.
    for number in (0..many).step_by(7) {
        fs::remove_file(many_dir.join(format!("a file with a rather long name, number {number}"))).unwrap();
    }
    let mut deep = dir.join("deep");
    for level in 0..60 {
        deep = deep.join(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "found").unwrap();
}

fn odd_names(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let (long, wide) = ("n".repeat(255), "é".repeat(255));
    let names: [&[u8]; 10] = [
        b" ",
        b"a\nb",
        b"-rf",
        b"...",
        "été \u{202e} 日本 🦀".as_bytes(),
        b"*?[]\\'\"",
        b"\x01",
        // A half of a surrogate pair.
        b"\xED\xA0\x80",
        long.as_bytes(),
        wide.as_bytes(),
    ];
    for (index, name) in names.iter().enumerate() {
        fs::write(dir.join(OsStr::from_bytes(name)), format!("odd name {index}")).unwrap();
    }
    // More names than one record holds.
    for number in 0..40 {
        fs::hard_link(dir.join(" "), dir.join(format!("{number} {}", "l".repeat(100)))).unwrap();
    }
}

fn sparse(dir: &Path) {
    fs::create_dir(dir).unwrap();
    write_pieces(&dir.join("only a hole"), 3 << 20, std::iter::empty());
    write_pieces(&dir.join("two ends"), 9 << 20, [0, (9 << 20) - 5000].map(|at| (at, pattern(5000, at))).into_iter());
    // More extents than one record holds.
    let teeth = (0..400).map(|tooth| (tooth * 20_000, pattern(100, tooth)));
    write_pieces(&dir.join("a comb"), 400 * 20_000, teeth);
    // The bytes behind the end of the first writing are not initialized.
    let file = File::create(dir.join("grown")).unwrap();
    file.write_all_at(&pattern(10_000, 3), 0).unwrap();
    file.set_len(300_000).unwrap();
    file.write_all_at(&pattern(10, 4), 100_000).unwrap();
}

fn streams(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let path = dir.join("with streams");
    fs::write(&path, "content").unwrap();
    xattr::set(&path, "user.Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n").unwrap();
    xattr::set(&path, "user.empty", b"").unwrap();
    xattr::set(&path, "user.été", &pattern(3000, 1)).unwrap();
    xattr::set(&path, "user.large", &pattern(65536, 2)).unwrap();
    // The content of a file under system compression, but only of such.
    xattr::set(&path, "user.WofCompressedData", b"x").unwrap();
    xattr::set(dir, "user.of a directory", b"x").unwrap();
}

fn times(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let long = Duration::from_secs(1 << 33);
    // Of times before 1970, ntfs-3g only shows whole seconds.
    let part = Duration::from_nanos(123_456_700);
    for (index, time) in [UNIX_EPOCH, UNIX_EPOCH - long, UNIX_EPOCH + long + part].into_iter().enumerate() {
        let file = File::create(dir.join(index.to_string())).unwrap();
        file.set_modified(time).unwrap();
    }
}

fn compare(mkfs: &[&str], mebibytes: u64, options: &str, many: u32) {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", mebibytes, mkfs);
    fill(&ntfs_image::mount(&workshop, &image, options).dir, many);
    compare_image(&workshop, &image);
}

fn compare_image(workshop: &Workshop, image: &Path) {
    let mounted = ntfs_image::mount(workshop, image, ",ro");
    let fs = files::open(disk(image)).unwrap();
    assert_eq!(fs.name(), "ntfs");
    assert_eq!(fs.notes(), [""; 0]);
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
    extents_cover_what_is_not_zero(&*fs);
    space_is_the_same(&mounted.dir, &*fs);
}

/// Of files that ntfs-3g does not count by the length of their content in the file table.
fn space_is_the_same(dir: &Path, fs: &dyn FileSystem) {
    files::walk(fs, fs.root(), |entry| {
        let ours = entry.metadata.unwrap();
        if ours.kind == files::FileKind::Regular && ours.allocated_bytes > 0 {
            let theirs = fs::symlink_metadata(dir.join(OsStr::from_bytes(entry.path))).unwrap().blocks() * 512;
            assert_eq!(ours.allocated_bytes.next_multiple_of(512), theirs, "{}", String::from_utf8_lossy(entry.path));
        }
        Ok(())
    })
    .unwrap();
}

/// What `data_extents` leaves out must be zero.
fn extents_cover_what_is_not_zero(fs: &dyn FileSystem) {
    files::walk(fs, fs.root(), |entry| {
        if entry.metadata.is_ok_and(|metadata| metadata.kind == files::FileKind::Regular) {
            let content = fs.open_file(entry.id).unwrap();
            let mut bytes = vec![1; content.size_bytes() as usize];
            content.read_exact_at(&mut bytes, 0).unwrap();
            let mut end_before = 0;
            for extent in content.data_extents() {
                assert!(extent.length_bytes > 0 && extent.offset_bytes >= end_before);
                end_before = extent.offset_bytes + extent.length_bytes;
                bytes[extent.offset_bytes as usize..end_before as usize].fill(0);
            }
            assert!(bytes.iter().all(|byte| *byte == 0), "{}", String::from_utf8_lossy(entry.path));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_volume_as_made_by_default_reads_the_same() {
    compare(&[], 32, "", 300);
}

#[test]
fn a_volume_with_small_clusters_and_a_large_directory_reads_the_same() {
    compare(&["-c", "512"], 32, "", 2000);
}

#[test]
fn a_volume_with_clusters_of_2_mib_reads_the_same() {
    compare(&["-c", "2097152"], 2048, "", 300);
}

#[test]
fn a_volume_with_sectors_of_4_kib_reads_the_same() {
    compare(&["-s", "4096"], 32, "", 300);
}

#[test]
fn a_volume_with_the_smallest_sectors_reads_the_same() {
    compare(&["-s", "256", "-c", "256"], 32, "", 300);
}

#[test]
fn a_volume_with_clusters_larger_than_index_blocks_reads_the_same() {
    compare(&["-c", "65536"], 64, "", 300);
}

#[test]
fn special_files_and_links_of_linux_under_windows_read_the_same() {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", 8, &[]);
    {
        let mounted = ntfs_image::mount(&workshop, &image, ",special_files=wsl");
        population::special(&mounted.dir.join("special"));
        population::links(&mounted.dir.join("links"));
    }
    let mounted = ntfs_image::mount(&workshop, &image, ",ro");
    let fs = files::open(disk(&image)).unwrap();
    // ntfs-3g shows such devices and pipes without any permissions.
    let [expected, actual] = [facts::of_directory(&mounted.dir), facts::of_file_system(&*fs)];
    facts::assert_same(&facts::without_permissions(expected), &facts::without_permissions(actual));
}

#[test]
fn compressed_files_read_the_same() {
    require_root();
    let workshop = Workshop::new();
    for cluster in ["512", "4096"] {
        let image = ntfs_image::format(&workshop, &format!("{cluster}.img"), 24, &["-c", cluster]);
        {
            let mounted = ntfs_image::mount(&workshop, &image, "");
            let dir = mounted.dir.join("compressed");
            fs::create_dir(&dir).unwrap();
            set_raw(&dir, "attrib", &COMPRESSED);
            population::sizes(&dir.join("sizes"));
            sparse(&dir.join("sparse"));
            compressible(&dir);
        }
        let fs = files::open(disk(&image)).unwrap();
        let id = files::lookup_path(&*fs, b"compressed/text").unwrap();
        let metadata = fs.metadata(id).unwrap();
        assert!(metadata.allocated_bytes < metadata.size_bytes / 2, "it was not compressed");
        compare_image(&workshop, &image);
    }
}

fn compressible(dir: &Path) {
    let text = (0..30_000).fold(String::new(), |text, number| text + &number.to_string() + " words\n");
    fs::write(dir.join("text"), &text).unwrap();
    let zeros = [pattern(70_000, 1), vec![0; 200_000], vec![b'x'; 100_000], pattern(10, 2)].concat();
    fs::write(dir.join("mixed"), zeros).unwrap();
    // Units of 64 or 8 KiB that become shorter by just one cluster.
    for (noise, zeros) in [(60_000, 5536), (7500, 692)] {
        let barely = [pattern(noise, 1), vec![0; zeros], pattern(noise, 2), vec![0; zeros]].concat();
        fs::write(dir.join(format!("{noise} of noise")), barely).unwrap();
    }
    fs::write(dir.join("overwritten"), &text).unwrap();
    let file = File::options().write(true).open(dir.join("overwritten")).unwrap();
    for at in [0, 65_530, 100_000, 200_123] {
        file.write_all_at(&pattern(500, at), at).unwrap();
    }
    file.set_len(250_001).unwrap();
    file.set_len(400_000).unwrap();
}

#[test]
fn a_file_table_in_many_pieces_is_read_whole() {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", 14, &["-c", "512"]);
    {
        let mounted = ntfs_image::mount(&workshop, &image, "");
        let dir = &mounted.dir;
        let (kept, freed) = (File::create(dir.join("kept")).unwrap(), File::create(dir.join("freed")).unwrap());
        // Fills the volume with two files in turn; one leaves gaps that the table has to grow into.
        let (mut kept_bytes, mut freed_bytes) = (0, 0);
        let (large, small) = (pattern(16 << 10, 1), pattern(3 << 10, 2));
        while kept.write_all_at(&large, kept_bytes).is_ok() && freed.write_all_at(&small, freed_bytes).is_ok() {
            kept_bytes += large.len() as u64;
            freed_bytes += small.len() as u64;
        }
        drop((kept, freed));
        fs::remove_file(dir.join("freed")).unwrap();
        for number in 0..1500 {
            File::create(dir.join(number.to_string())).unwrap();
        }
    }
    let bytes = fs::read(&image).unwrap();
    let record = ntfs_image::record_at(&bytes, 0);
    let data = ntfs_image::attribute_at(&bytes[record..record + 1024], 0x80);
    let data_bytes = u16::from_le_bytes([bytes[record + data + 4], bytes[record + data + 5]]);
    assert!(data_bytes > 64 + 3 * 50, "the table is in too few pieces: its run list fits into {data_bytes} bytes");
    compare_image(&workshop, &image);
}

#[test]
fn copies_of_a_volume_in_use_read_the_same() {
    require_root();
    let workshop = Workshop::new();
    let image = ntfs_image::format(&workshop, "disk.img", 16, &[]);
    let mounted = ntfs_image::mount(&workshop, &image, "");
    for round in 0..6_u64 {
        let dir = mounted.dir.join(format!("round {round}"));
        fs::create_dir(&dir).unwrap();
        for number in 0..60_u64 {
            let content = pattern(100 + 500 * number as usize, round + number);
            fs::write(dir.join(format!("file {number}, {}", "n".repeat(60))), content).unwrap();
        }
        let open = File::create(dir.join("open")).unwrap();
        open.write_all_at(&pattern(100_000, round), 50_000 * round).unwrap();
        if round > 0 {
            fs::remove_dir_all(mounted.dir.join(format!("round {}", round - 1))).unwrap();
        }
        let torn = workshop.copy(&image, &format!("torn {round}.img"));
        let truth = ntfs_image::mount(&workshop, &torn, ",ro");
        let fs = files::open(images::disk(&torn)).unwrap();
        facts::assert_same(&facts::of_directory(&truth.dir), &facts::of_file_system(&*fs));
    }
}
