//! What `ls` shows of a file, ready for a table or for JSON. It renders nothing itself.

use serde::{Deserialize, Serialize};

use super::{
    DeviceNumber, FileId, FileKind, FileSystem, FilesError, Metadata, Result, Timestamp, escape_name, lookup_path,
    split_path,
};

/// One line of a listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListEntry {
    /// The name, escaped (see [`escape_name`]).
    pub name: String,
    /// The exact bytes as hexadecimal digits, only where escaping changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// Inode number.
    pub inode: u64,
    /// Kind of file; missing when the inode is damaged.
    pub kind: Option<FileKind>,
    /// Like `drwxr-xr-x`.
    pub mode: String,
    /// The permission bits as a number.
    pub permissions: u32,
    /// Names of this file.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of the content.
    pub size_bytes: u64,
    /// RFC 3339 UTC.
    pub modified_at: String,
    /// Where a symbolic link leads, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
    /// For device files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceNumber>,
    /// Why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The entries of the directory at `path` sorted by name, or the one entry when `path` is no directory.
pub fn list(fs: &dyn FileSystem, path: &[u8]) -> Result<Vec<ListEntry>> {
    let id = lookup_path(fs, path)?;
    if fs.metadata(id)?.kind != FileKind::Directory {
        return Ok(vec![stat(fs, path)?]);
    }
    let mut children = fs.read_dir(id)?;
    children.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(children.iter().map(|child| describe(fs, &child.name, child.id)).collect())
}

/// The one entry at `path`, a directory itself and not what is in it.
pub fn stat(fs: &dyn FileSystem, path: &[u8]) -> Result<ListEntry> {
    let id = lookup_path(fs, path)?;
    fs.metadata(id)?;
    Ok(describe(fs, split_path(path).last().unwrap_or(&&b"/"[..]), id))
}

pub(super) fn describe(fs: &dyn FileSystem, name: &[u8], id: FileId) -> ListEntry {
    match fs.metadata(id) {
        Ok(metadata) => entry(fs, name, &metadata),
        Err(error) => damaged(name, id, &error),
    }
}

fn entry(fs: &dyn FileSystem, name: &[u8], metadata: &Metadata) -> ListEntry {
    let (link_target, error) = match metadata.kind {
        FileKind::Symlink => match fs.read_link(metadata.id) {
            Ok(target) => (Some(escape_name(&target)), None),
            Err(error) => (None, Some(error.to_string())),
        },
        _ => (None, None),
    };
    ListEntry {
        kind: Some(metadata.kind),
        mode: mode_text(metadata),
        permissions: metadata.permissions,
        links: metadata.links,
        uid: metadata.uid,
        gid: metadata.gid,
        size_bytes: metadata.size_bytes,
        modified_at: time_text(metadata.modified),
        link_target,
        device: metadata.device,
        error,
        ..nameless(name, metadata.id)
    }
}

fn damaged(name: &[u8], id: FileId, error: &FilesError) -> ListEntry {
    ListEntry { error: Some(error.to_string()), ..nameless(name, id) }
}

fn nameless(name: &[u8], id: FileId) -> ListEntry {
    let escaped = escape_name(name);
    let changed = escaped.as_bytes() != name;
    ListEntry {
        name_hex: changed.then(|| name.iter().map(|byte| format!("{byte:02x}")).collect()),
        name: escaped,
        inode: id.0,
        kind: None,
        mode: "??????????".to_owned(),
        permissions: 0,
        links: 0,
        uid: 0,
        gid: 0,
        size_bytes: 0,
        modified_at: String::new(),
        link_target: None,
        device: None,
        error: None,
    }
}

fn mode_text(metadata: &Metadata) -> String {
    let mut text = String::with_capacity(10);
    text.push(match metadata.kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    });
    let bits = metadata.permissions;
    for (shift, special, with_x, without_x) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let triple = bits >> shift;
        text.push(if triple & 4 != 0 { 'r' } else { '-' });
        text.push(if triple & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & special != 0, triple & 1 != 0) {
            (true, true) => with_x,
            (true, false) => without_x,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A time as listings show it: RFC 3339 UTC, where such a time has one.
pub fn time_text(time: Timestamp) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    match jiff::Timestamp::new(time.seconds, nanoseconds) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("{}s since 1970", time.seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::{mode_text, time_text};
    use crate::files::{FileId, FileKind, Metadata, Timestamp};

    fn with_permissions(kind: FileKind, permissions: u32) -> Metadata {
        let never = Timestamp::default();
        Metadata {
            id: FileId(1),
            kind,
            permissions,
            uid: 0,
            gid: 0,
            links: 1,
            size_bytes: 0,
            allocated_bytes: 0,
            accessed: never,
            modified: never,
            changed: never,
            created: None,
            device: None,
        }
    }

    #[test]
    fn modes_look_like_those_of_ls() {
        assert_eq!(mode_text(&with_permissions(FileKind::Directory, 0o1777)), "drwxrwxrwt");
        assert_eq!(mode_text(&with_permissions(FileKind::Regular, 0o4755)), "-rwsr-xr-x");
        assert_eq!(mode_text(&with_permissions(FileKind::Regular, 0o2644)), "-rw-r-Sr--");
    }

    #[test]
    fn times_before_1970_and_after_2038_are_shown() {
        assert_eq!(time_text(Timestamp { seconds: -1, nanoseconds: 0 }), "1969-12-31T23:59:59Z");
        assert_eq!(time_text(Timestamp { seconds: 1 << 33, nanoseconds: 5 }), "2242-03-16T12:56:32.000000005Z");
    }
}
