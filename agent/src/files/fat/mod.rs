//! FAT with 12, 16 or 32 bits an entry, read only. exFAT is another format and is not read here.
//!
//! A file is named by where its entry lies on the disk. A chain of clusters that ends early, leads out of the disk or in a circle is damage
//! and never a shorter file or directory.

mod content;
mod directory;
mod geometry;
mod names;
mod table;

use super::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result, Timestamp,
};
use crate::read_at::ReadAt;
use content::Content;
use directory::Entry;
use geometry::Geometry;
use std::sync::{Arc, Mutex, PoisonError};
use table::Chain;

/// No entry lies in the boot sector.
const ROOT: FileId = FileId(1);
/// More bytes than a directory can have.
const MAX_DIRECTORY_BYTES: u64 = 65_536 * directory::ENTRY_BYTES as u64;

/// Whether a FAT file system begins at the first byte.
pub fn probe(disk: &dyn ReadAt) -> Result<bool> {
    geometry::is_fat(disk)
}

/// An opened FAT file system.
pub struct Fat<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    geometry: Geometry,
    notes: Vec<String>,
    /// The chain of the file that was read last: pieces of one file follow each other.
    last: Mutex<Option<(u32, Arc<Chain>)>>,
}

impl<'a> Fat<'a> {
    /// Opens it; the table and directories are read when they are needed.
    pub fn open(disk: Arc<dyn ReadAt + 'a>) -> Result<Self> {
        let geometry = Geometry::read(&*disk)?;
        let mut notes = vec!["FAT records times without a time zone; they are shown as if they were UTC".to_owned()];
        if geometry.is_dirty {
            notes.push("it was not unmounted; the last changes before the backup may be incomplete".to_owned());
        }
        Ok(Self { disk, geometry, notes, last: Mutex::new(None) })
    }

    fn chain(&self, first: u32, most_bytes: u64) -> Result<Arc<Chain>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, chain)) = &*last
            && *known == first
        {
            return Ok(chain.clone());
        }
        let chain = Arc::new(Chain::follow(&*self.disk, &self.geometry, first, most_bytes)?);
        *last = Some((first, chain.clone()));
        Ok(chain)
    }

    /// The root has no entry; everything else does.
    fn entry(&self, id: FileId) -> Result<Option<Entry>> {
        if id == ROOT {
            return Ok(None);
        }
        let mut bytes = [0; directory::ENTRY_BYTES];
        let offset_bytes = id.0.checked_mul(directory::ENTRY_BYTES as u64);
        let offset_bytes = offset_bytes.ok_or_else(|| FilesError::corrupt("an entry that lies nowhere"))?;
        read(&*self.disk, &mut bytes, offset_bytes)?;
        Ok(Some(Entry::of(&bytes, self.geometry.is_wide())))
    }

    /// Where the bytes of a directory lie.
    fn directory(&self, id: FileId) -> Result<Content<'_>> {
        let first = match self.entry(id)? {
            None => match self.geometry.root {
                geometry::Root::Region { offset_bytes, length_bytes } => {
                    return Ok(Content::at(&*self.disk, offset_bytes, length_bytes));
                }
                geometry::Root::Cluster(first) => first,
            },
            Some(entry) if entry.is_directory() => entry.first_cluster,
            Some(_) => return Err(FilesError::WrongKind { inode: id.0, wanted: "directory" }),
        };
        let chain = Arc::new(Chain::follow(&*self.disk, &self.geometry, first, MAX_DIRECTORY_BYTES)?);
        let length_bytes = chain.clusters * self.geometry.cluster_bytes;
        Ok(Content::new(&*self.disk, &self.geometry, chain, length_bytes))
    }
}

impl FileSystem for Fat<'_> {
    fn name(&self) -> &'static str {
        "fat"
    }

    fn root(&self) -> FileId {
        ROOT
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        let entry = self.entry(id)?;
        let is_directory = entry.as_ref().is_none_or(Entry::is_directory);
        let is_read_only = entry.as_ref().is_some_and(Entry::is_read_only);
        let size_bytes =
            entry.as_ref().filter(|entry| !entry.is_directory()).map_or(0, |entry| entry.size_bytes.into());
        let never = Timestamp::default();
        let modified = entry.as_ref().map_or(never, |entry| entry.modified);
        Ok(Metadata {
            id,
            kind: if is_directory { FileKind::Directory } else { FileKind::Regular },
            permissions: if is_directory { 0o755 } else { 0o644 } & if is_read_only { !0o222 } else { !0 },
            uid: 0,
            gid: 0,
            links: 1,
            size_bytes,
            allocated_bytes: size_bytes.next_multiple_of(self.geometry.cluster_bytes),
            accessed: entry.as_ref().map_or(never, |entry| entry.accessed),
            modified,
            changed: modified,
            created: entry.as_ref().and_then(|entry| entry.created),
            device: None,
        })
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        directory::read(&self.directory(id)?)
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        Err(FilesError::WrongKind { inode: id.0, wanted: "symbolic link" })
    }

    fn extended_attributes(&self, _: FileId) -> Result<Vec<ExtendedAttribute>> {
        Ok(Vec::new())
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        let entry = self.entry(id)?.filter(|entry| !entry.is_directory());
        let entry = entry.ok_or(FilesError::WrongKind { inode: id.0, wanted: "regular file" })?;
        let size_bytes = u64::from(entry.size_bytes);
        if size_bytes == 0 {
            return Ok(Box::new(Content::at(&*self.disk, 0, 0)));
        }
        let chain = self.chain(entry.first_cluster, u64::MAX)?;
        if chain.clusters * self.geometry.cluster_bytes < size_bytes {
            let what = format!("entry {} has {size_bytes} bytes, and clusters for fewer", id.0);
            return Err(FilesError::corrupt(what));
        }
        Ok(Box::new(Content::new(&*self.disk, &self.geometry, chain, size_bytes)))
    }
}

fn read(disk: &dyn ReadAt, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
    let length_bytes = buf.len() as u64;
    disk.read_exact_at(buf, offset_bytes).map_err(|source| FilesError::Read { offset_bytes, length_bytes, source })
}

#[cfg(test)]
mod tests;
