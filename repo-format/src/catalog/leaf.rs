//! A leaf of a catalog: files in the order of their paths, each told by how its path differs from the one before.
//!
//! Where a leaf ends follows from the paths themselves, so that two lists that differ in one place have all other leaves in common.

use std::cmp::Ordering;

/// Most bytes of a leaf before it is compressed.
pub const MAX_LEAF_BYTES: usize = 1 << 20;
/// Longest path.
pub const MAX_PATH_BYTES: usize = 16 << 10;
/// A leaf is not cut before it has so many bytes.
const LEAST_BYTES: usize = 96 << 10;
/// Behind that, one path in so many ends it.
const ONE_IN: u32 = 4096;
/// What an entry takes at most: its path and seven numbers.
const MAX_ENTRY_BYTES: usize = MAX_PATH_BYTES + 7 * MAX_NUMBER_BYTES;
const MAX_NUMBER_BYTES: usize = 10;

/// What a file is; the numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Nothing but its name could be read.
    Damaged = 0,
    /// A file with content.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A character device.
    CharDevice = 4,
    /// A block device.
    BlockDevice = 5,
    /// A named pipe.
    Fifo = 6,
    /// A Unix socket.
    Socket = 7,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Damaged,
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::Symlink,
            4 => Self::CharDevice,
            5 => Self::BlockDevice,
            6 => Self::Fifo,
            7 => Self::Socket,
            _ => return None,
        })
    }
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its path from the file system's root, without a slash in front.
    pub path: Vec<u8>,
    /// What it is.
    pub facts: Facts,
}

/// What a catalog knows of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Facts {
    /// Its kind.
    pub kind: Kind,
    /// Length of its content.
    pub size_bytes: u64,
    /// When its content changed last: seconds since 1970, and nanoseconds forward from there.
    pub modified: (i64, u32),
    /// Its number in the file system.
    pub inode: u64,
}

/// The order of paths: a directory, then all below it, then what follows it.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(key).cmp(b.iter().map(key))
}

/// Whether this is a path that an entry may have.
pub fn is_path(path: &[u8]) -> bool {
    path.len() <= MAX_PATH_BYTES
        && path.split(|byte| *byte == b'/').all(|name| !name.is_empty() && name != b"." && name != b"..")
        && !path.contains(&0)
}

/// Makes leaves of entries that come in order.
#[derive(Default)]
pub struct Builder {
    bytes: Vec<u8>,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// A finished leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Its encoded entries.
    pub bytes: Vec<u8>,
    /// Its first path.
    pub first: Vec<u8>,
}

impl Builder {
    /// Adds an entry; false, and nothing added, when it does not follow the one before or has no path that an entry may have. A leaf that
    /// is complete with it comes out.
    pub fn add(&mut self, entry: &Entry, finished: &mut Vec<Finished>) -> bool {
        if !is_path(&entry.path) || (!self.last.is_empty() && order(&self.last, &entry.path) != Ordering::Less) {
            return false;
        }
        if self.bytes.is_empty() {
            self.first.clone_from(&entry.path);
        }
        let before: &[u8] = if self.bytes.is_empty() { &[] } else { &self.last };
        encode(entry, before, &mut self.bytes);
        self.last.clone_from(&entry.path);
        let is_full = self.bytes.len() + MAX_ENTRY_BYTES > MAX_LEAF_BYTES;
        if is_full || (self.bytes.len() >= LEAST_BYTES && ends_leaf(&entry.path)) {
            finished.extend(self.cut());
        }
        true
    }

    /// What is left, when no more comes.
    pub fn finish(mut self) -> Option<Finished> {
        self.cut()
    }

    fn cut(&mut self) -> Option<Finished> {
        let bytes = std::mem::take(&mut self.bytes);
        (!bytes.is_empty()).then(|| Finished { bytes, first: std::mem::take(&mut self.first) })
    }
}

fn ends_leaf(path: &[u8]) -> bool {
    let hash = blake3::hash(path);
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).is_multiple_of(ONE_IN)
}

fn encode(entry: &Entry, before: &[u8], to: &mut Vec<u8>) {
    let shared = entry.path.iter().zip(before).take_while(|(a, b)| a == b).count();
    let Facts { kind, size_bytes, modified: (seconds, nanoseconds), inode } = entry.facts;
    put_number(shared as u64, to);
    put_number((entry.path.len() - shared) as u64, to);
    to.extend_from_slice(&entry.path[shared..]);
    to.push(kind as u8);
    put_number(size_bytes, to);
    put_number((seconds.cast_unsigned() << 1) ^ (seconds >> 63).cast_unsigned(), to);
    put_number(nanoseconds.into(), to);
    put_number(inode, to);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// Visits the entries of a leaf in their order; what is wrong where it is none. In the memory of one path, whatever the leaf says.
pub fn each(bytes: &[u8], visit: &mut dyn FnMut(&[u8], Facts)) -> Result<(), &'static str> {
    if bytes.is_empty() || bytes.len() > MAX_LEAF_BYTES {
        return Err("it has no entries, or too many");
    }
    let mut rest = Rest(bytes);
    let (mut before, mut path) = (Vec::new(), Vec::new());
    while !rest.0.is_empty() {
        let facts = rest.entry(&mut path)?;
        if !is_path(&path) || (!before.is_empty() && order(&before, &path) != Ordering::Less) {
            return Err("its paths are not in order");
        }
        visit(&path, facts);
        before.clone_from(&path);
    }
    Ok(())
}

struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    /// Turns the path before into the next one, and returns its facts.
    fn entry(&mut self, path: &mut Vec<u8>) -> Result<Facts, &'static str> {
        let (shared, length) = (self.length()?, self.length()?);
        if shared > path.len() {
            return Err("a path shares more than the one before it has");
        }
        let (differs, rest) = self.0.split_at_checked(length).ok_or("it ends within a path")?;
        path.truncate(shared);
        path.extend_from_slice(differs);
        let (kind, rest) = rest.split_first().ok_or("it ends within an entry")?;
        self.0 = rest;
        let kind = Kind::from_number(*kind).ok_or("an entry has a kind that is none")?;
        let size_bytes = self.number()?;
        let seconds = self.number()?;
        let seconds = (seconds >> 1).cast_signed() ^ -((seconds & 1).cast_signed());
        let nanoseconds = u32::try_from(self.number()?).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000);
        let modified = (seconds, nanoseconds.ok_or("an entry has a time that is none")?);
        let inode = self.number()?;
        Ok(Facts { kind, size_bytes, modified, inode })
    }

    fn length(&mut self) -> Result<usize, &'static str> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= MAX_PATH_BYTES);
        length.ok_or("a path is too long")
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends within a number")?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err("a number is too large");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too long")
    }
}

/// Paths in JSON: as text where they are UTF-8, else their digits behind a slash, with which no path begins.
pub(crate) mod path_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(path: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(path) {
            Ok(text) => to.serialize_str(text),
            Err(_) => to.serialize_str(&format!("/{}", crate::id::hex(path))),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let Some(digits) = text.strip_prefix('/') else { return Ok(text.into_bytes()) };
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        };
        digits.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or_else(|| D::Error::custom("a path is cut"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &str, size_bytes: u64) -> Entry {
        let facts = Facts { kind: Kind::Regular, size_bytes, modified: (1_700_000_000, 5), inode: size_bytes + 9 };
        Entry { path: path.as_bytes().to_vec(), facts }
    }

    fn leaves(entries: &[Entry]) -> Vec<Finished> {
        let (mut builder, mut finished) = (Builder::default(), Vec::new());
        assert!(entries.iter().all(|entry| builder.add(entry, &mut finished)));
        finished.extend(builder.finish());
        finished
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Entry>, &'static str> {
        let mut entries = Vec::new();
        each(bytes, &mut |path, facts| entries.push(Entry { path: path.to_vec(), facts })).map(|()| entries)
    }

    fn many(count: u64) -> Vec<Entry> {
        (0..count).map(|number| entry(&format!("usr/share/doc/package-{number:06}/copyright"), number)).collect()
    }

    #[test]
    fn a_directory_comes_before_all_below_it_and_they_before_its_neighbours() {
        let mut paths = ["a b", "a", "a.txt", "a/z", "a/b/c", "a/b", "b"];
        paths.sort_by(|a, b| order(a.as_bytes(), b.as_bytes()));
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/z", "a b", "a.txt", "b"]);
    }

    #[test]
    fn entries_come_out_of_leaves_as_they_went_in() {
        let entries = many(60_000);
        let leaves = leaves(&entries);
        assert!(leaves.len() > 2, "{} leaves", leaves.len());
        let decoded: Vec<Entry> = leaves.iter().flat_map(|leaf| decode(&leaf.bytes).unwrap()).collect();
        assert!(decoded == entries);
        for leaf in &leaves {
            assert_eq!(decode(&leaf.bytes).unwrap()[0].path, leaf.first);
            assert!(leaf.bytes.len() <= MAX_LEAF_BYTES);
        }
    }

    /// What makes a day's catalog small: where two lists agree, they have the same leaves.
    #[test]
    fn lists_that_differ_in_one_place_share_all_leaves_but_a_few() {
        let entries = many(100_000);
        let before: Vec<Vec<u8>> = leaves(&entries).into_iter().map(|leaf| leaf.bytes).collect();
        let mut changed = entries.clone();
        changed.remove(30_000);
        changed.insert(60_000, entry("usr/share/doc/package-060001/", 0));
        changed[60_000].path.extend(b"a new file");
        let after: Vec<Vec<u8>> = leaves(&changed).into_iter().map(|leaf| leaf.bytes).collect();
        let new = after.iter().filter(|leaf| !before.contains(leaf)).count();
        assert!(before.len() >= 8 && new <= 4, "{new} of {} leaves are new, of {} before", after.len(), before.len());
    }

    #[test]
    fn what_is_out_of_order_or_no_path_is_not_added() {
        let (mut builder, mut finished) = (Builder::default(), Vec::new());
        assert!(builder.add(&entry("b", 1), &mut finished));
        for bad in ["b", "a", "", "/c", "c/", "c//d", "c/../d", ".", "c\0"] {
            assert!(!builder.add(&entry(bad, 1), &mut finished), "{bad:?}");
        }
        assert!(!builder.add(&entry(&"c".repeat(MAX_PATH_BYTES + 1), 1), &mut finished));
        assert!(builder.add(&entry(&"c".repeat(MAX_PATH_BYTES), 1), &mut finished));
        let leaf = builder.finish().unwrap();
        assert_eq!(decode(&leaf.bytes).unwrap().len(), 2);
    }

    #[test]
    fn a_cut_leaf_is_refused_or_shorter_and_never_a_panic() {
        let bytes = leaves(&many(20)).remove(0).bytes;
        let whole = decode(&bytes).unwrap();
        for end in 0..bytes.len() {
            if let Ok(shorter) = decode(&bytes[..end]) {
                assert!(whole.starts_with(&shorter));
            }
        }
        assert!(
            decode(&[0, 1, b'a', 1, 0, 0, 0, 0, 2, 1, b'b', 1, 0, 0, 0, 0]).is_err(),
            "it shares more than there is"
        );
        assert!(decode(&[0, 1, b'a', 8, 0, 0, 0, 0]).is_err(), "no kind");
        assert!(decode(&[0, 1, b'a', 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn facts_of_any_size_survive(
            size_bytes: u64, seconds: i64, nanoseconds in 0_u32..1_000_000_000, inode: u64, kind in 0_u8..8,
        ) {
            let facts = Facts { kind: Kind::from_number(kind).unwrap(), size_bytes, modified: (seconds, nanoseconds), inode };
            let entry = Entry { path: b"a/b".to_vec(), facts };
            let leaf = leaves(std::slice::from_ref(&entry)).remove(0);
            prop_assert_eq!(decode(&leaf.bytes).unwrap(), vec![entry]);
        }

        #[test]
        fn any_bytes_are_entries_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
