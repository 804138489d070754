//! NTFS, read-only, as Windows 2000 and later write it.
//!
//! The log is not replayed; a note says when it held changes. Names are compared by their exact bytes. Both ways of
//! compression are read; what other filter drivers of Windows would produce is refused by name, and so are encrypted
//! files. The file system's own files are not shown.
//!
//! Layout source: the documentation of the Linux-NTFS project and Microsoft's specifications MS-FSCC, MS-XCA and MS-PATCH.

mod attribute_list;
mod boot;
mod compressed;
mod content;
mod extended;
mod file;
mod file_name;
mod fixups;
mod huffman;
mod index;
mod lznt1;
mod lzx;
mod metadata;
mod mft;
mod names;
mod nature;
mod record;
mod reparse;
mod runs;
mod state;
mod stream;
mod volume;
mod wof;
#[cfg(test)]
mod wof_samples;
mod xattr;
mod xpress;

use std::sync::Arc;

use self::content::Content;
use self::file::File;
use self::mft::Mft;
use self::nature::{Nature, Standard};
use self::record::kind;
use self::stream::{Place, Stream};
use self::volume::Clusters;
use self::wof::Packed;
use crate::files::{DirEntry, ExtendedAttribute, FileContent, FileId, FileSystem, FilesError, Metadata, Result};
use crate::read_at::ReadAt;

const NAME: &str = "ntfs";
const ROOT_RECORD: u64 = 5;
/// Records below this one are the file system's own.
const FIRST_USER_RECORD: u64 = 24;

/// An opened NTFS volume.
pub struct Ntfs<'a> {
    mft: Mft<'a>,
    root: FileId,
    notes: Vec<String>,
}

/// Whether `disk` starts with an NTFS boot sector.
pub fn probe(disk: &dyn ReadAt) -> Result<bool> {
    if disk.size_bytes() < boot::LENGTH_BYTES as u64 {
        return Ok(false);
    }
    Ok(boot::has_magic(&read_boot_sector(disk)?))
}

impl<'a> Ntfs<'a> {
    /// Checks the boot sector, finds the file table and looks at the state of the volume.
    pub fn open(disk: Arc<dyn ReadAt + 'a>) -> Result<Self> {
        if !probe(&*disk)? {
            return Err(FilesError::NotRecognised);
        }
        let geometry = boot::parse(&read_boot_sector(&*disk)?)?;
        let (mft, mut notes) = Mft::open(Clusters::new(disk, geometry))?;
        notes.extend(state::notes(&mft)?);
        let root = file::id(File::of_number(&mft, ROOT_RECORD)?.record.reference)?;
        Ok(Self { mft, root, notes })
    }

    fn file(&self, id: FileId) -> Result<File<'_, 'a>> {
        let file = File::open(&self.mft, id)?;
        if file.number() < FIRST_USER_RECORD && id != self.root {
            return Err(file.damaged("is the file system's own and has a name all the same"));
        }
        Ok(file)
    }
}

impl FileSystem for Ntfs<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn root(&self) -> FileId {
        self.root
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        metadata::of(&self.file(id)?, id)
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        let file = self.file(id)?;
        if nature::of(&file, &Standard::of(&file)?)? != Nature::Directory {
            return Err(FilesError::WrongKind { inode: file.number(), wanted: "directory" });
        }
        index::read(&file)
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        let file = self.file(id)?;
        match nature::of(&file, &Standard::of(&file)?)? {
            Nature::Link(target) => Ok(target),
            _ => Err(FilesError::WrongKind { inode: file.number(), wanted: "symbolic link" }),
        }
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
        xattr::read(&self.file(id)?)
    }

    fn left_out(&self, id: FileId) -> Result<Vec<String>> {
        xattr::left_out(&self.file(id)?)
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        let file = self.file(id)?;
        let standard = Standard::of(&file)?;
        let packing = match nature::of(&file, &standard)? {
            Nature::Regular => None,
            Nature::Packed(packing) => Some(packing),
            Nature::Opaque(how) => return Err(unsupported(how)),
            _ => return Err(FilesError::WrongKind { inode: file.number(), wanted: "regular file" }),
        };
        let empty = Stream { size_bytes: 0, is_encrypted: false, place: Place::Here(Vec::new()) };
        let stream = file.stream(kind::DATA, "")?.unwrap_or(empty);
        if stream.is_encrypted || standard.is_encrypted() && stream.size_bytes > 0 {
            return Err(FilesError::Encrypted { inode: file.number() });
        }
        let clusters = &self.mft.clusters;
        let Some(packing) = packing else { return Ok(Box::new(Content::new(clusters, stream))) };
        let packed = file.stream(kind::DATA, wof::STREAM)?;
        let packed = packed.ok_or_else(|| file.damaged("is under system compression and has no packed stream"))?;
        if packed.is_encrypted {
            return Err(FilesError::Encrypted { inode: file.number() });
        }
        Ok(Box::new(Packed::new(clusters, packed, packing, stream.size_bytes)))
    }
}

fn unsupported(feature: String) -> FilesError {
    FilesError::Unsupported { file_system: NAME, feature }
}

fn read_boot_sector(disk: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut bytes = vec![0; boot::LENGTH_BYTES];
    disk.read_exact_at(&mut bytes, 0).map_err(|source| FilesError::Read {
        offset_bytes: 0,
        length_bytes: bytes.len() as u64,
        source,
    })?;
    Ok(bytes)
}
