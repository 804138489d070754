//! What is said to be readable is opened, and nothing else: the two answers come from different looks at a disk.

use std::sync::Arc;

use agent::facts::content::{self, ContentKind};
use agent::files::{self, FilesError};
use agent::read_at::{FileDisk, ReadAt};

use super::images::Workshop;

/// Every format that facts know and a program here makes, with how to make it. A new one that is read has to stand here.
const MADE: &[(ContentKind, u64, &[&str])] = &[
    (ContentKind::Ext2, 8, &["mkfs.ext2", "-q", "-F"]),
    (ContentKind::Ext3, 8, &["mkfs.ext3", "-q", "-F"]),
    (ContentKind::Ext4, 8, &["mkfs.ext4", "-q", "-F"]),
    (ContentKind::Fat, 4, &["mkfs.fat", "-F", "12"]),
    (ContentKind::Fat, 32, &["mkfs.fat", "-F", "16"]),
    (ContentKind::Fat, 40, &["mkfs.fat", "-F", "32"]),
    (ContentKind::Xfs, 320, &["mkfs.xfs", "-q", "-f"]),
    (ContentKind::Btrfs, 128, &["mkfs.btrfs", "-q", "-f"]),
    (ContentKind::Ntfs, 16, &["mkntfs", "-q", "-F", "-f"]),
    (ContentKind::Swap, 4, &["mkswap"]),
];

/// All kinds, so that one that is read cannot be left out above.
const KINDS: &[ContentKind] = &[
    ContentKind::Ext2,
    ContentKind::Ext3,
    ContentKind::Ext4,
    ContentKind::Xfs,
    ContentKind::Btrfs,
    ContentKind::Fat,
    ContentKind::Exfat,
    ContentKind::Ntfs,
    ContentKind::Iso9660,
    ContentKind::Swap,
    ContentKind::Lvm2,
    ContentKind::Luks1,
    ContentKind::Luks2,
    ContentKind::MdRaid,
    ContentKind::Unknown,
];

#[test]
fn what_is_said_to_be_readable_is_opened_and_nothing_else_is() {
    let workshop = Workshop::new();
    for (number, (kind, mebibytes, mkfs)) in MADE.iter().enumerate() {
        let image = workshop.format(&format!("image{number}"), *mebibytes, mkfs);
        let disk: Arc<dyn ReadAt> = Arc::new(FileDisk::new(std::fs::File::open(&image).unwrap()).unwrap());
        assert_eq!(content::probe(&*disk).unwrap().map(|content| content.kind), Some(*kind), "{mkfs:?}");
        match files::open(disk) {
            Ok(fs) => {
                assert!(files::reads(*kind), "{} opens what is said to be unreadable", fs.name());
                fs.read_dir(fs.root()).unwrap();
            }
            Err(FilesError::NotRecognised) => assert!(!files::reads(*kind), "{kind:?} is promised"),
            Err(error) => panic!("{kind:?}: {error}"),
        }
    }
}

#[test]
fn every_kind_that_is_read_is_tried_above() {
    for kind in KINDS.iter().filter(|kind| files::reads(**kind)) {
        assert!(MADE.iter().any(|(made, ..)| made == kind), "{kind:?} is read, and nothing here makes one");
    }
}
