//! A raw image: the disk's bytes at the disk's offsets, holes where there is nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::ImageWriter;

pub(super) struct Raw<'a> {
    file: &'a File,
}

impl<'a> Raw<'a> {
    pub(super) fn new(file: &'a File, disk_bytes: u64) -> io::Result<Self> {
        file.set_len(disk_bytes)?;
        Ok(Self { file })
    }
}

impl ImageWriter for Raw<'_> {
    fn add(&mut self, offset_bytes: u64, cluster: &[u8]) -> io::Result<()> {
        self.file.write_all_at(cluster, offset_bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
