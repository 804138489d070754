//! Tar as GNU tar writes it: names of any bytes and length, times to the nanosecond, names of one file as links to the first.
//!
//! Extended attributes and ACLs are left out, and sockets, which no archive holds.

use super::{Content, Member, Pack};
use crate::files::{FileId, FileKind, Timestamp, escape_name};
use anyhow::{Result, ensure};
use std::collections::HashMap;
use std::io::{Read as _, Write};
use tar::{Builder, EntryType, Header};

/// Files with several names that are remembered; names beyond come with the content again.
const MAX_LINKED: usize = 200_000;
/// Bytes of a name in a header; what is longer stands before it.
const SHORT_NAME_BYTES: usize = 100;
/// The largest device number that the field takes.
const MAX_DEVICE: u32 = 0o7_777_777;

pub(super) struct Tar<W: Write> {
    builder: Builder<W>,
    /// The first name of files that have several.
    linked: HashMap<FileId, Vec<u8>>,
}

impl<W: Write> Tar<W> {
    pub(super) fn new(to: W) -> Self {
        Self { builder: Builder::new(to), linked: HashMap::new() }
    }

    /// The first name, when this is another name of a file that is in the archive.
    fn first_name(&mut self, member: &Member) -> Option<Vec<u8>> {
        if member.metadata.kind != FileKind::Regular || member.metadata.links < 2 {
            return None;
        }
        let first = self.linked.get(&member.metadata.id).cloned();
        if first.is_none() && self.linked.len() < MAX_LINKED {
            self.linked.insert(member.metadata.id, member.path.clone());
        }
        first
    }

    /// A name before the header that it belongs to, when it is too long for that.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> Result<()> {
        if name.len() <= SHORT_NAME_BYTES {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        put(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        Ok(self.builder.append(&header, name.chain(&[0][..]))?)
    }

    /// The time, where the header cannot hold it as it is.
    fn exact_time(&mut self, time: Timestamp) -> Result<()> {
        if time.nanoseconds == 0 && time.seconds >= 0 {
            return Ok(());
        }
        Ok(self.builder.append_pax_extensions([("mtime", decimal(time).as_bytes())])?)
    }
}

impl<W: Write> Pack for Tar<W> {
    fn add(&mut self, member: &Member, content: &mut Content<'_>) -> Result<()> {
        let first_name = self.first_name(member);
        let mut header = Header::new_gnu();
        let kind = match member.metadata.kind {
            FileKind::Regular if first_name.is_some() => EntryType::Link,
            FileKind::Regular => EntryType::Regular,
            FileKind::Directory => EntryType::Directory,
            FileKind::Symlink => EntryType::Symlink,
            FileKind::CharDevice => EntryType::Char,
            FileKind::BlockDevice => EntryType::Block,
            FileKind::Fifo => EntryType::Fifo,
            FileKind::Socket => return Ok(()),
        };
        header.set_entry_type(kind);
        header.set_mode(member.metadata.permissions);
        header.set_uid(member.metadata.uid.into());
        header.set_gid(member.metadata.gid.into());
        header.set_size(if kind == EntryType::Regular { member.metadata.size_bytes } else { 0 });
        header.set_mtime(u64::try_from(member.metadata.modified.seconds).unwrap_or(0));
        if let Some(device) = member.metadata.device {
            let shown = escape_name(&member.path);
            ensure!(device.major.max(device.minor) <= MAX_DEVICE, "{shown} has a device number that no tar holds");
            header.set_device_major(device.major)?;
            header.set_device_minor(device.minor)?;
        }
        let mut path = member.path.clone();
        if kind == EntryType::Directory {
            path.push(b'/');
        }
        let target = first_name.or_else(|| member.link_target.clone()).unwrap_or_default();
        self.exact_time(member.metadata.modified)?;
        self.long(EntryType::GNULongLink, &target)?;
        self.long(EntryType::GNULongName, &path)?;
        put(&mut header.as_old_mut().linkname, &target);
        put(&mut header.as_old_mut().name, &path);
        header.set_cksum();
        match kind {
            EntryType::Regular => self.builder.append(&header, content)?,
            _ => self.builder.append(&header, std::io::empty())?,
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.builder.finish()?)
    }
}

/// The beginning of a name in a field of a header.
fn put(field: &mut [u8; SHORT_NAME_BYTES], name: &[u8]) {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
}

/// Seconds with a fraction, as pax writes them.
fn decimal(time: Timestamp) -> String {
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanoseconds) if seconds >= 0 => format!("{seconds}.{nanoseconds:09}"),
        // Nanoseconds go forward in time also before 1970.
        (seconds, nanoseconds) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_have_their_fraction_on_the_right_side() {
        let shown = |seconds, nanoseconds| decimal(Timestamp { seconds, nanoseconds });
        assert_eq!(shown(5, 7), "5.000000007");
        assert_eq!((shown(-1, 500_000_000), shown(-2, 250_000_000)), ("-0.500000000".into(), "-1.750000000".into()));
        assert_eq!(shown(-3, 0), "-3");
    }
}
