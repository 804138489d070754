//! The files that a mount shows: names, sizes, and how each maps to bytes of a disk. No FUSE here.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::overlay::Overlay;
use super::{MountError, MountOptions, MountedDisk, MountedPartition};
use crate::read_at::ReadAt;

/// Leaves room for `.p128.img` below the 255 bytes of a file name.
const MAX_NAME_BYTES: usize = 200;

/// A disk and what was written to it since it was mounted.
struct Layered {
    disk: Arc<dyn ReadAt>,
    overlay: Option<Overlay>,
}

/// One file: a window of a disk.
pub(super) struct ImageFile {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    offset_bytes: u64,
    layered: Arc<Layered>,
}

/// All files, in the order of their inode numbers.
pub(super) struct ImageFiles {
    files: Vec<ImageFile>,
    writable: bool,
}

impl ImageFiles {
    pub(super) fn new(disks: Vec<MountedDisk>, options: &MountOptions) -> Result<Self, MountError> {
        let mut taken = HashSet::new();
        let mut files = Vec::new();
        for disk in disks {
            let name = free_name(&safe_name(&disk.name), &disk.partitions, &mut taken);
            let overlay = if options.overlay { Some(Overlay::new(options.overlay_dir.as_deref())?) } else { None };
            let size_bytes = disk.disk.size_bytes();
            let layered = Arc::new(Layered { disk: disk.disk, overlay });
            let window = |name, offset_bytes, size_bytes| ImageFile {
                name,
                size_bytes,
                offset_bytes,
                layered: Arc::clone(&layered),
            };
            files.push(window(disk_file_name(&name), 0, size_bytes));
            for partition in disk.partitions {
                let end = partition.offset_bytes.checked_add(partition.length_bytes);
                if end.is_none_or(|end| end > size_bytes) {
                    return Err(MountError::BadPartition { disk: disk.name, partition: partition.number });
                }
                let file_name = partition_file_name(&name, partition.number);
                files.push(window(file_name, partition.offset_bytes, partition.length_bytes));
            }
        }
        Ok(Self { files, writable: options.overlay })
    }

    pub(super) fn writable(&self) -> bool {
        self.writable
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    pub(super) fn get(&self, index: usize) -> Option<&ImageFile> {
        self.files.get(index)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

impl ImageFile {
    /// Up to `length` bytes, fewer only at the end of the file.
    pub(super) fn read(&self, offset_bytes: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; self.clip(offset_bytes, length)];
        let at = self.offset_bytes + offset_bytes.min(self.size_bytes);
        match &self.layered.overlay {
            Some(overlay) => overlay.read(&*self.layered.disk, &mut buf, at)?,
            None => self.layered.disk.read_exact_at(&mut buf, at)?,
        }
        Ok(buf)
    }

    /// Writes to the overlay and returns how much fitted before the end of the file.
    pub(super) fn write(&self, offset_bytes: u64, data: &[u8]) -> io::Result<usize> {
        let overlay = self.layered.overlay.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        let length = self.clip(offset_bytes, data.len());
        if length == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        overlay.write(&*self.layered.disk, &data[..length], self.offset_bytes + offset_bytes)?;
        Ok(length)
    }

    fn clip(&self, offset_bytes: u64, length: usize) -> usize {
        let left = self.size_bytes.saturating_sub(offset_bytes);
        usize::try_from(left).unwrap_or(usize::MAX).min(length)
    }
}

fn disk_file_name(name: &str) -> String {
    format!("{name}.img")
}

fn partition_file_name(name: &str, number: u32) -> String {
    format!("{name}.p{number}.img")
}

/// Something that can be a file name and looks harmless in a shell.
fn safe_name(name: &str) -> String {
    let mut safe = String::new();
    for character in name.chars() {
        let replaced = if character == '/' || character.is_control() { '_' } else { character };
        if safe.len() + replaced.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        safe.push(replaced);
    }
    if safe.is_empty() || safe.starts_with('.') { format!("disk{safe}") } else { safe }
}

/// Two disks may have the same name, or one be called like a partition of the other: a number keeps them apart.
fn free_name(wanted: &str, partitions: &[MountedPartition], taken: &mut HashSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut counter = 1;
    loop {
        let mut file_names = vec![disk_file_name(&name)];
        file_names.extend(partitions.iter().map(|partition| partition_file_name(&name, partition.number)));
        if file_names.iter().all(|file_name| !taken.contains(file_name)) {
            taken.extend(file_names);
            return name;
        }
        counter += 1;
        name = format!("{wanted}-{counter}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{free_name, safe_name};

    #[test]
    fn names_become_possible_file_names() {
        assert_eq!(safe_name("/dev/sda"), "_dev_sda");
        assert_eq!(safe_name(".."), "disk..");
        assert_eq!(safe_name(""), "disk");
        assert_eq!(safe_name("a\0b\nc"), "a_b_c");
        assert!(safe_name(&"é".repeat(300)).len() <= 200);
    }

    #[test]
    fn equal_names_are_numbered() {
        let mut taken = HashSet::new();
        assert_eq!(free_name("sda", &[], &mut taken), "sda");
        assert_eq!(free_name("sda", &[], &mut taken), "sda-2");
    }
}
