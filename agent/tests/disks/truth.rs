//! Our reader sees the same files as the kernel, for each way ext2, ext3 and ext4 can be laid out.

use agent::files;

use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::{Extent, fill};

const SMALL: Extent = Extent { many: 700, attribute_bytes: 200 };

fn compare(mkfs: &[&str], family: &str, extent: Extent) {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 96, mkfs);
    fill(&workshop.mount(&image, "user_xattr,acl").dir, extent);
    let mounted = workshop.mount(&image, "ro");
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!(fs.name(), family);
    assert_eq!(fs.notes(), [""; 0]);
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
}

#[test]
fn ext2_with_small_blocks_and_triple_indirect_files_reads_the_same() {
    compare(&["mkfs.ext2", "-q", "-F", "-b", "1024"], "ext2", SMALL);
}

#[test]
fn ext3_reads_the_same() {
    compare(&["mkfs.ext3", "-q", "-F", "-b", "4096", "-I", "128"], "ext3", SMALL);
}

#[test]
fn ext4_as_made_by_default_with_a_directory_of_20_000_reads_the_same() {
    compare(&["mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "24000"], "ext4", Extent { many: 20_000, ..SMALL });
}

#[test]
fn ext4_without_extents_reads_the_same() {
    compare(&["mkfs.ext4", "-q", "-F", "-O", "^extent,^64bit"], "ext4", SMALL);
}

#[test]
fn ext4_with_inline_data_reads_the_same() {
    compare(&["mkfs.ext4", "-q", "-F", "-O", "inline_data", "-I", "512"], "ext4", SMALL);
}

#[test]
fn ext4_with_clusters_reads_the_same() {
    compare(&["mkfs.ext4", "-q", "-F", "-O", "bigalloc", "-C", "16384"], "ext4", SMALL);
}

#[test]
fn ext4_with_small_clusters_and_spread_descriptors_reads_the_same() {
    compare(&["mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "bigalloc,meta_bg,^resize_inode"], "ext4", SMALL);
}

#[test]
fn ext4_with_spread_descriptors_and_small_blocks_reads_the_same() {
    let mkfs = ["mkfs.ext4", "-q", "-F", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode,sparse_super2"];
    compare(&mkfs, "ext4", Extent { many: 5000, ..SMALL });
}

#[test]
fn ext4_with_attribute_values_in_inodes_reads_the_same() {
    let extent = Extent { attribute_bytes: 50_000, ..SMALL };
    compare(&["mkfs.ext4", "-q", "-F", "-O", "ea_inode"], "ext4", extent);
}

#[test]
fn ext4_with_old_options_reads_the_same() {
    let mkfs = ["mkfs.ext4", "-q", "-F", "-O", "^metadata_csum,^64bit,^filetype,^dir_index,^flex_bg"];
    compare(&mkfs, "ext4", SMALL);
}

#[test]
fn a_disk_without_a_known_file_system_is_refused() {
    let workshop = Workshop::new();
    let image = workshop.path("empty.img");
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    assert!(matches!(files::open(disk(&image)), Err(files::FilesError::NotRecognised)));
    std::fs::write(&image, b"tiny").unwrap();
    assert!(matches!(files::open(disk(&image)), Err(files::FilesError::NotRecognised)));
}

#[test]
fn an_unknown_feature_is_refused_by_name() {
    let workshop = Workshop::new();
    let image = workshop.format("journal.img", 8, &["mkfs.ext4", "-q", "-F", "-O", "journal_dev"]);
    let error = files::open(disk(&image)).err().unwrap();
    assert!(error.to_string().contains("an external journal device"), "{error}");
}

#[test]
fn an_encrypted_file_is_refused_by_name_and_its_neighbours_are_read() {
    let workshop = Workshop::new();
    let source = workshop.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("secret"), "x").unwrap();
    std::fs::write(source.join("open"), "y").unwrap();
    let image = workshop.format("disk.img", 8, &["mkfs.ext4", "-q", "-F", "-d", source.to_str().unwrap()]);
    // Extents and encrypted.
    let command = "set_inode_field /secret flags 0x80800";
    run("debugfs", &["-w", "-R", command, image.to_str().unwrap()]);
    let fs = files::open(disk(&image)).unwrap();
    let secret = files::lookup_path(&*fs, b"secret").unwrap();
    assert!(matches!(fs.open_file(secret), Err(files::FilesError::Encrypted { .. })));
    let open = files::lookup_path(&*fs, b"open").unwrap();
    let mut content = [0];
    fs.open_file(open).unwrap().read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"y");
}
