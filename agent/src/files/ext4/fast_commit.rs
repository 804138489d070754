//! Fast commits of ext4: small records behind the journal's log of what changed since its last full transaction.
//!
//! They are not replayed (the kernel does that by editing directories and extent trees); they are read as far as it takes to
//! say what is stale: which names came or went, which inodes changed. Nothing is said where there are none.
//!
//! Source: the kernel's fs/ext4/fast_commit.{h,c}. A record counts when a tail with its checksum follows it, as in the kernel's scan.

use std::collections::BTreeSet;

use crate::facts::checksum::crc32c_continue;
use crate::facts::fields::Fields;
use crate::files::escape::escape_name;

const TAG_BYTES: usize = 4;
const ADD_RANGE: u16 = 1;
const DEL_RANGE: u16 = 2;
const CREAT: u16 = 3;
const LINK: u16 = 4;
const UNLINK: u16 = 5;
const INODE: u16 = 6;
const PAD: u16 = 7;
const TAIL: u16 = 8;
const HEAD: u16 = 9;

/// What is remembered one by one; the rest is counted.
const MAX_REMEMBERED: usize = 10_000;
/// What a note names one by one.
const MAX_NAMED: usize = 8;

/// A name that came or went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    came: bool,
    directory: u32,
    inode: u32,
    name: Vec<u8>,
}

/// What fast commits changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    names: BTreeSet<Name>,
    inodes: BTreeSet<u32>,
}

/// Reads the blocks of the fast-commit area in their order until one says that it is the last, or is of another transaction.
pub(super) struct Scan {
    /// Number of the transaction that the records are added to.
    sequence: u32,
    checksum: u32,
    is_begun: bool,
    /// Read and not yet confirmed by a tail.
    pending: Changes,
    confirmed: Changes,
}

impl Scan {
    pub(super) fn new(sequence: u32) -> Self {
        Self { sequence, checksum: 0, is_begun: false, pending: Changes::default(), confirmed: Changes::default() }
    }

    /// Takes the next block. False when nothing that counts can follow.
    pub(super) fn take(&mut self, block: &[u8]) -> bool {
        let mut rest = block;
        while rest.len() >= TAG_BYTES {
            let f = Fields(rest);
            let (kind, length) = (f.le16(0), usize::from(f.le16(2)));
            let Some(record) = rest.get(..TAG_BYTES + length) else { return false };
            if !self.record(kind, record) {
                return false;
            }
            rest = &rest[TAG_BYTES + length..];
        }
        true
    }

    /// One record with its tag. False ends the scan.
    fn record(&mut self, kind: u16, record: &[u8]) -> bool {
        let (f, value) = (Fields(record), &record[TAG_BYTES..]);
        match kind {
            HEAD if value.len() >= 8 && f.le32(8) == self.sequence => self.is_begun = true,
            TAIL if value.len() >= 8 => return self.tail(record),
            _ if !self.is_begun => return false,
            ADD_RANGE | DEL_RANGE | INODE if value.len() >= 4 => self.pending.inode(f.le32(4)),
            CREAT | LINK | UNLINK if value.len() >= 8 => {
                let name = value[8..].to_vec();
                self.pending.name(Name { came: kind != UNLINK, directory: f.le32(4), inode: f.le32(8), name });
            }
            PAD => {}
            _ => return false,
        }
        self.checksum = crc32c_continue(self.checksum, record);
        true
    }

    /// A tail confirms what came before it, by a checksum over that and its own first half.
    fn tail(&mut self, record: &[u8]) -> bool {
        let f = Fields(record);
        let computed = crc32c_continue(self.checksum, &record[..TAG_BYTES + 4]);
        if !self.is_begun || f.le32(4) != self.sequence || f.le32(8) != computed {
            return false;
        }
        self.confirmed.absorb(std::mem::take(&mut self.pending));
        self.checksum = 0;
        true
    }

    /// What counts.
    pub(super) fn finish(self) -> Changes {
        self.confirmed
    }
}

impl Changes {
    fn inode(&mut self, inode: u32) {
        if self.inodes.len() < MAX_REMEMBERED {
            self.inodes.insert(inode);
        }
    }

    fn name(&mut self, name: Name) {
        if self.names.len() < MAX_REMEMBERED {
            self.names.insert(name);
        }
    }

    fn absorb(&mut self, other: Self) {
        other.inodes.into_iter().for_each(|inode| self.inode(inode));
        other.names.into_iter().for_each(|name| self.name(name));
    }

    /// What is stale, for a person; `None` when nothing is.
    pub(super) fn note(&self) -> Option<String> {
        if self.names.is_empty() && self.inodes.is_empty() {
            return None;
        }
        let names = self.names.iter().map(|name| {
            let verb = if name.came { "does not show" } else { "still shows" };
            let text = escape_name(&name.name);
            format!("{verb} {text} in the directory of inode {} (its inode is {})", name.directory, name.inode)
        });
        let inodes = self.inodes.iter().map(|inode| format!("shows inode {inode} as it was before"));
        let count = self.names.len() + self.inodes.len();
        let mut named: Vec<String> = names.chain(inodes).take(MAX_NAMED).collect();
        if count > named.len() {
            named.push(format!("and {} more", count - named.len()));
        }
        Some(format!(
            "its last changes are fast commits, which this reader does not replay, so it {}. To see the newest state, mount the point with \
             `icecore mount --overlay` and the partition's image in it without `noload`",
            named.join("; it ")
        ).replace("; it and", "; and"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
    }

    fn head(sequence: u32) -> Vec<u8> {
        record(HEAD, &[0_u32.to_le_bytes(), sequence.to_le_bytes()].concat())
    }

    /// A block of these records, with the tail that confirms them.
    fn block(sequence: u32, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = records.concat();
        let rest = 1024 - bytes.len() - TAG_BYTES;
        let mut tail = record(TAIL, &vec![0; rest]);
        tail[4..8].copy_from_slice(&sequence.to_le_bytes());
        let checksum = crc32c_continue(crc32c_continue(0, &bytes), &tail[..8]);
        tail[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes.extend(tail);
        assert_eq!(bytes.len(), 1024);
        bytes
    }

    fn created(name: &[u8]) -> Vec<u8> {
        record(CREAT, &[&2_u32.to_le_bytes()[..], &13_u32.to_le_bytes(), name].concat())
    }

    fn note_of(blocks: &[Vec<u8>]) -> Option<String> {
        let mut scan = Scan::new(7);
        for block in blocks {
            if !scan.take(block) {
                break;
            }
        }
        scan.finish().note()
    }

    #[test]
    fn what_a_tail_confirms_is_named() {
        let inode = record(INODE, &[&13_u32.to_le_bytes()[..], &[0; 128]].concat());
        let removed = record(UNLINK, &[&2_u32.to_le_bytes()[..], &12_u32.to_le_bytes(), b"old\x1bname"].concat());
        let note = note_of(&[block(7, &[head(7), created(b"new"), inode, removed])]).unwrap();
        assert!(note.contains("does not show new in the directory of inode 2 (its inode is 13)"), "{note}");
        assert!(note.contains("still shows old") && !note.contains('\u{1b}'), "{note}");
        assert!(note.contains("shows inode 13 as it was before") && note.contains("mount --overlay"), "{note}");
        let many: Vec<_> = (0..12).map(|i| record(ADD_RANGE, &[i, 1, 0, 0, 0, 0, 0, 0])).collect();
        assert!(note_of(&[block(7, &[vec![head(7)], many].concat())]).unwrap().contains("; and 4 more"));
    }

    #[test]
    fn what_no_tail_confirms_and_what_is_old_is_not() {
        assert_eq!(note_of(&[vec![0; 1024]]), None);
        assert_eq!(note_of(&[block(6, &[head(6), created(b"old")])]), None);
        assert_eq!(note_of(&[block(7, &[created(b"without a head")])]), None);
        let mut torn = block(7, &[head(7), created(b"torn")]);
        torn[30] ^= 1;
        assert_eq!(note_of(&[torn]), None);
        // A second commit in the next block, and a third that was torn.
        let mut third = block(7, &[created(b"third")]);
        third[20] ^= 1;
        let note = note_of(&[block(7, &[head(7), created(b"first")]), block(7, &[created(b"second")]), third]).unwrap();
        assert!(note.contains("first") && note.contains("second") && !note.contains("third"), "{note}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), kind in 0..12_u16) {
            let mut scan = Scan::new(u32::from(kind));
            scan.take(&[head(u32::from(kind)), record(kind, &bytes), bytes].concat());
            scan.finish().note();
        }
    }
}
