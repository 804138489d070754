//! The used bytes against the file systems' own tools: everything else is overwritten in a copy, and the copy must
//! pass the checker and hold the same files.

use super::{UsedBytes, swap_header_extent, used_bytes};
use crate::extents::{Extent, ExtentList};
use crate::facts::test_images::{Image, is_root, run, run_with_input};
use proptest::prelude::{any, proptest};
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;

fn only(image: &Image) -> ExtentList {
    match used_bytes(&image.disk()).unwrap() {
        UsedBytes::Only(extents) => extents,
        UsedBytes::Everything { reason } => panic!("expected the used bytes, got everything because {reason}"),
    }
}

fn distrust_reason(image: &Image) -> String {
    match used_bytes(&image.disk()).unwrap() {
        UsedBytes::Everything { reason } => reason,
        UsedBytes::Only(extents) => panic!("expected distrust, got {} bytes", extents.total_bytes()),
    }
}

/// Files of many sizes, deterministic and incompressible enough to be told apart.
fn fill(dir: &Path, files: u32, seed: u32) {
    for i in 0..files {
        let size = usize::try_from((i * 7919 + seed) % 60_000 + 1).unwrap();
        let bytes: Vec<u8> = (0..size).map(|b| u8::try_from((b * 31 + i as usize + b / 251) % 251).unwrap()).collect();
        fs::write(dir.join(format!("file-{seed}-{i}")), bytes).unwrap();
    }
    fs::create_dir(dir.join(format!("dir-{seed}"))).unwrap();
    std::os::unix::fs::symlink("file-0", dir.join(format!("link-{seed}"))).unwrap();
}

/// Fills everything that is said to be unused with 0xA5, which no checker takes for a fresh block.
fn spoil_unused(image: &Image, used: &ExtentList) {
    let size = fs::metadata(&image.path).unwrap().len();
    let junk = vec![0xA5; 1 << 20];
    for extent in ExtentList::whole(size).subtract(used).iter() {
        let mut at = extent.offset_bytes();
        while at < extent.end_bytes() {
            let count = junk.len().min(usize::try_from(extent.end_bytes() - at).unwrap());
            image.write(&junk[..count], at);
            at += count as u64;
        }
    }
}

/// The tool prints the first block of the first and of the last free cluster.
fn free_blocks_by_dumpe2fs(image: &Image, block_bytes: u64, cluster_bytes: u64) -> ExtentList {
    let text = run("dumpe2fs", &[image.str()]);
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("Free blocks: "));
    lines
        .flat_map(|line| line.split(", "))
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.trim().parse().unwrap(), last.trim().parse().unwrap());
            let end = (last * block_bytes + cluster_bytes).min(fs::metadata(&image.path).unwrap().len());
            Extent::from_bounds(first * block_bytes, end).unwrap()
        })
        .collect()
}

/// Makes an ext file system with `options`, fills it, deletes every second file, and checks the answer in three ways.
fn check_ext(size_bytes: u64, block_bytes: u64, options: &[&str]) {
    let cluster_bytes = match options {
        [.., "-C", cluster] => cluster.parse().unwrap(),
        _ => block_bytes,
    };
    let image = Image::sparse(size_bytes);
    let files = image.subdir("files");
    fill(&files, 60, 1);
    let block = block_bytes.to_string();
    let mut args = vec!["-q", "-F", "-b", &block, "-d", files.to_str().unwrap()];
    args.extend(options);
    args.push(image.str());
    run("mke2fs", &args);
    let removals: String = (0..60).step_by(2).map(|i| format!("rm /file-1-{i}\n")).collect();
    run_with_input("debugfs", &["-w", "-f", "-", image.str()], &removals);

    let used = only(&image);
    let (size, free) = (ExtentList::whole(size_bytes), free_blocks_by_dumpe2fs(&image, block_bytes, cluster_bytes));
    let wrongly_free = size.subtract(&used).subtract(&free);
    assert!(wrongly_free.is_empty(), "{options:?}: said to be free but used: {wrongly_free:?}");
    let wasted = free.intersect(&used).total_bytes();
    assert!(wasted * 20 <= free.total_bytes(), "{options:?}: {wasted} free bytes are called used");

    let before = image.subdir("before");
    run("debugfs", &["-R", &format!("rdump / {}", before.display()), image.str()]);
    spoil_unused(&image, &used);
    run("e2fsck", &["-f", "-n", image.str()]);
    let after = image.subdir("after");
    run("debugfs", &["-R", &format!("rdump / {}", after.display()), image.str()]);
    run("diff", &["-r", "--no-dereference", before.to_str().unwrap(), after.to_str().unwrap()]);
    assert!(before.join("file-1-1").exists() && !before.join("file-1-2").exists());
}

#[test]
fn ext2_without_sparse_superblocks_is_understood() {
    check_ext(96 * MIB, 1024, &["-t", "ext2", "-O", "^sparse_super,^resize_inode"]);
}

#[test]
fn ext3_is_understood() {
    check_ext(64 * MIB, 1024, &["-t", "ext3"]);
}

#[test]
fn ext4_with_its_usual_features_is_understood() {
    check_ext(400 * MIB, 4096, &["-t", "ext4"]);
}

#[test]
fn ext4_with_old_group_checksums_is_understood() {
    check_ext(320 * MIB, 4096, &["-t", "ext4", "-O", "^metadata_csum,uninit_bg,^64bit"]);
}

#[test]
fn ext4_with_descriptors_in_meta_groups_is_understood() {
    check_ext(320 * MIB, 1024, &["-t", "ext4", "-O", "meta_bg,^resize_inode"]);
}

#[test]
fn ext4_with_bigalloc_is_understood() {
    check_ext(400 * MIB, 4096, &["-t", "ext4", "-O", "bigalloc", "-C", "65536"]);
    check_ext(256 * MIB, 1024, &["-t", "ext4", "-O", "bigalloc", "-C", "16384"]);
}

#[test]
fn ext4_with_two_backup_superblocks_is_understood() {
    check_ext(512 * MIB, 1024, &["-t", "ext4", "-O", "sparse_super2,^resize_inode", "-E", "num_backup_sb=2"]);
}

#[test]
fn ext4_that_leaves_the_end_of_its_partition_counts_it_as_used() {
    let image = Image::sparse(64 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", image.str(), "40M"]);
    assert!(only(&image).contains(Extent::from_bounds(40 * MIB, 64 * MIB).unwrap()));
}

#[test]
fn ext4_of_a_tebibyte_on_a_larger_disk_is_read() {
    let image = Image::sparse(15 << 40);
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-E",
            "lazy_itable_init=1,nodiscard,packed_meta_blocks=1",
            "-i",
            "67108864",
            image.str(),
            "1T",
        ],
    );
    assert!(only(&image).intersect(&ExtentList::whole(1 << 40)).total_bytes() < 8 << 30);
}

#[test]
fn ext4_that_was_used_through_a_mount_keeps_every_file() {
    if !is_root() {
        return check_ext(128 * MIB, 4096, &["-t", "ext4"]);
    }
    let image = Image::sparse(300 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", image.str()]);
    use_through_mount(&image, "rw");
    let used = only(&image);
    let before = listing(&image, "ro,noload");
    spoil_unused(&image, &used);
    run("e2fsck", &["-f", "-n", image.str()]);
    assert_eq!(before, listing(&image, "ro,noload"));
}

#[test]
fn xfs_keeps_every_file() {
    let variants: [&[&str]; 3] = [&["-m", "crc=1,rmapbt=1,reflink=1"], &["-b", "size=1024"], &["-d", "agcount=7"]];
    for options in variants {
        check_xfs(options, is_root());
    }
}

#[test]
fn xfs_free_space_trees_of_several_levels_are_walked_from_leaf_to_leaf() {
    // Only a mounted file system gets that fragmented; without root the trees of the other tests have one level.
    if !is_root() {
        return;
    }
    let image = Image::sparse(700 * MIB);
    run("mkfs.xfs", &["-q", "-f", "-b", "size=1024", "-d", "agcount=2", image.str()]);
    let mounted = image.mount("rw");
    for i in 0..3000 {
        fs::write(mounted.at.join(format!("f{i}")), [7; 900]).unwrap();
        if i % 100 == 99 {
            nix::unistd::sync();
        }
    }
    (0..3000).step_by(2).for_each(|i| fs::remove_file(mounted.at.join(format!("f{i}"))).unwrap());
    drop(mounted);
    let level = run("xfs_db", &["-r", "-f", "-c", "agf 0", "-c", "p bnolevel", image.str()]);
    assert!(!level.trim().ends_with("= 1"), "the tree has several levels: {level}");
    let used = only(&image);
    assert_eq!(700 * MIB - used.total_bytes(), xfs_free_bytes(&image));
    spoil_unused(&image, &used);
    run("xfs_repair", &["-n", "-f", image.str()]);
}

#[test]
fn xfs_of_version_4_is_understood() {
    // Many kernels no longer mount it, so it holds nothing but its own metadata here.
    check_xfs(&["-m", "crc=0"], false);
}

fn check_xfs(options: &[&str], with_mounts: bool) {
    let image = Image::sparse(700 * MIB);
    let mut args = vec!["-q", "-f"];
    args.extend(options);
    args.push(image.str());
    run("mkfs.xfs", &args);
    if with_mounts {
        use_through_mount(&image, "rw");
    }
    let used = only(&image);
    assert_eq!(700 * MIB - used.total_bytes(), xfs_free_bytes(&image), "{options:?}");
    let before = with_mounts.then(|| listing(&image, "ro,norecovery"));
    spoil_unused(&image, &used);
    run("xfs_repair", &["-n", "-f", image.str()]);
    assert_eq!(before, with_mounts.then(|| listing(&image, "ro,norecovery")), "{options:?}");
}

/// Sum of the pieces in the trees, as the file system's own tool reads them (without the free lists).
fn xfs_free_bytes(image: &Image) -> u64 {
    let number = |place: &str, field: &str| -> u64 {
        let text = run("xfs_db", &["-r", "-f", "-c", place, "-c", &format!("p {field}"), image.str()]);
        text.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap()
    };
    let groups = 0..number("sb 0", "agcount");
    groups.map(|group| number(&format!("agf {group}"), "freeblks")).sum::<u64>() * number("sb 0", "blocksize")
}

/// Fills, deletes half, fills again.
fn use_through_mount(image: &Image, options: &str) {
    let mounted = image.mount(options);
    fill(&mounted.at, 900, 1);
    for i in (0..900).step_by(2) {
        fs::remove_file(mounted.at.join(format!("file-1-{i}"))).unwrap();
    }
    fill(&mounted.at, 200, 2);
}

/// Every path with a checksum of its content.
fn listing(image: &Image, options: &str) -> String {
    let mounted = image.mount(options);
    let script = format!(
        "cd {} && find . -printf '%p %y %m %l\\n' | sort && find . -type f | sort | xargs sha256sum",
        mounted.at.display()
    );
    let text = run("sh", &["-c", &script]);
    assert!(text.lines().count() > 500, "the files are there");
    text
}

#[test]
fn ext4_in_use_is_not_believed() {
    let image = Image::sparse(64 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", image.str()]);
    run("debugfs", &["-w", "-R", "feature needs_recovery", image.str()]);
    assert!(distrust_reason(&image).contains("journal"));
    run("debugfs", &["-w", "-R", "feature -needs_recovery", image.str()]);
    only(&image);
    run("debugfs", &["-w", "-R", "ssv state 2", image.str()]);
    assert!(distrust_reason(&image).contains("unmounted"));
}

#[test]
fn xfs_in_use_is_not_believed() {
    if !is_root() {
        return;
    }
    let image = Image::sparse(400 * MIB);
    run("mkfs.xfs", &["-q", "-f", image.str()]);
    let mounted = image.mount("rw");
    fill(&mounted.at, 50, 3);
    nix::unistd::sync();
    assert!(distrust_reason(&image).contains("log"));
    drop(mounted);
    only(&image);
}

#[test]
fn any_flipped_byte_of_ext4_metadata_leads_to_distrust_or_the_same_answer() {
    let image = Image::sparse(40 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", image.str()]);
    let used = only(&image);
    let mut disk = fs::read(&image.path).unwrap();
    let bitmap = first_bitmap(&disk);
    // Superblock, descriptors, then both bitmaps of the first group.
    for at in (1024..2048).chain(4096..4096 + 64).chain(BITMAP_SAMPLES.map(|i| bitmap + i)) {
        disk[at] ^= 0x10;
        match used_bytes(&disk).unwrap() {
            UsedBytes::Everything { .. } => {}
            UsedBytes::Only(extents) => assert_eq!(extents, used, "byte {at}"),
        }
        disk[at] ^= 0x10;
    }
}

const BITMAP_SAMPLES: [usize; 4] = [0, 1, 700, 1249];

fn first_bitmap(bytes: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes[4096..4100].try_into().unwrap())).unwrap() * 4096
}

#[test]
fn a_swap_header_is_one_page_and_a_hibernated_system_is_no_swap_space() {
    let image = Image::sparse(MIB);
    run("mkswap", &[image.str()]);
    assert_eq!(swap_header_extent(&image.disk()).unwrap(), Extent::new(0, 4096));
    image.write(b"S1SUSPEND", 4086);
    assert_eq!(swap_header_extent(&image.disk()).unwrap(), None);
}

proptest! {
    #[test]
    fn damaged_ext_superblocks_never_panic(noise in proptest::collection::vec((0..4096_usize, any::<u8>()), 1..40)) {
        let mut bytes = vec![0; 256 << 10];
        bytes[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]);
        bytes[1024 + 0x3A] = 1;
        bytes[1024 + 0x4] = 200;
        bytes[1024 + 0x14] = 1;
        bytes[1024 + 0x21] = 0x20;
        bytes[1024 + 0x28] = 16;
        noise.iter().filter(|(at, _)| !(1024 + 0x38..1024 + 0x3C).contains(at)).for_each(|(at, value)| bytes[*at] = *value);
        used_bytes(&bytes).unwrap();
    }

    #[test]
    fn damaged_xfs_superblocks_never_panic(noise in proptest::collection::vec((4..600_usize, any::<u8>()), 0..60)) {
        let mut bytes = vec![0; 256 << 10];
        bytes[..4].copy_from_slice(b"XFSB");
        bytes[102..104].copy_from_slice(&512_u16.to_be_bytes());
        bytes[100..102].copy_from_slice(&4_u16.to_be_bytes());
        bytes[4..8].copy_from_slice(&4096_u32.to_be_bytes());
        bytes[8..16].copy_from_slice(&64_u64.to_be_bytes());
        bytes[84..88].copy_from_slice(&64_u32.to_be_bytes());
        bytes[88..92].copy_from_slice(&1_u32.to_be_bytes());
        bytes[55] = 8;
        bytes[99] = 16;
        bytes[124] = 6;
        noise.iter().for_each(|(at, value)| bytes[*at] = *value);
        used_bytes(&bytes).unwrap();
    }
}
