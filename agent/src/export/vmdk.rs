//! A vmdk image, monolithic sparse (hosted sparse extent with an embedded descriptor), in one pass.
//!
//! ```text
//! sector 0          header
//! sector 1…20       descriptor, a text
//! sector 128…       the redundant grain directory and its tables, the grain directory and its tables, written last
//! aligned to 64 KiB grains of 64 KiB, in the order of the disk
//! ```
//! All numbers are little-endian and places are sectors of 512 bytes, 32 bits wide in the tables. Layout source:
//! VMware's "Virtual Disk Format 5.0".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{CLUSTER_BYTES, ImageWriter};
use crate::lengths::in_memory;

const SECTOR_BYTES: u64 = 512;
const GRAIN_SECTORS: u64 = CLUSTER_BYTES / SECTOR_BYTES;
const GRAINS_PER_TABLE: u64 = 512;
const TABLE_BYTES: u64 = GRAINS_PER_TABLE * 4;
const TABLE_SECTORS: u64 = TABLE_BYTES / SECTOR_BYTES;
const BYTES_PER_TABLE: u64 = GRAINS_PER_TABLE * CLUSTER_BYTES;
/// Places in the file have 32 bits, so a full disk and its tables must stay below 2 TiB; a gibibyte is for the tables.
pub(super) const MAX_DISK_BYTES: u64 = (2 << 40) - (1 << 30);
const DESCRIPTOR_SECTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
const FIRST_DIRECTORY_SECTOR: u64 = 128;
/// Valid new-line test, redundant directory in use.
const FLAGS: u32 = 0x3;

pub(super) struct Vmdk<'a> {
    file: &'a File,
    disk_bytes: u64,
    /// Where the grains are, in sectors; 0 for nothing. 128 MiB for the largest disk.
    grains: Vec<u32>,
    layout: Layout,
    next_sector: u64,
}

/// Places of the directories and tables, in sectors.
struct Layout {
    tables: u64,
    redundant_directory: u64,
    directory: u64,
    first_grain: u64,
}

impl Layout {
    fn new(disk_bytes: u64) -> Self {
        let tables = disk_bytes.div_ceil(BYTES_PER_TABLE);
        let directory_sectors = (tables * 4).div_ceil(SECTOR_BYTES);
        let redundant_directory = FIRST_DIRECTORY_SECTOR;
        let directory = redundant_directory + directory_sectors + tables * TABLE_SECTORS;
        let end = directory + directory_sectors + tables * TABLE_SECTORS;
        Self { tables, redundant_directory, directory, first_grain: end.next_multiple_of(GRAIN_SECTORS) }
    }

    fn directory_bytes(&self) -> u64 {
        (self.tables * 4).next_multiple_of(SECTOR_BYTES)
    }
}

impl<'a> Vmdk<'a> {
    pub(super) fn new(file: &'a File, disk_bytes: u64) -> Self {
        let layout = Layout::new(disk_bytes);
        let grains = vec![0; in_memory(layout.tables * GRAINS_PER_TABLE)];
        Self { file, disk_bytes, grains, next_sector: layout.first_grain, layout }
    }

    /// One directory and the tables behind it.
    fn write_directory(&self, sector: u64, tables: &[u8]) -> io::Result<()> {
        let first_table = sector + self.layout.directory_bytes() / SECTOR_BYTES;
        let mut directory = Vec::new();
        for index in 0..self.layout.tables {
            directory.extend(narrow(first_table + index * TABLE_SECTORS)?.to_le_bytes());
        }
        self.file.write_all_at(&directory, sector * SECTOR_BYTES)?;
        self.file.write_all_at(tables, first_table * SECTOR_BYTES)
    }

    fn capacity_sectors(&self) -> u64 {
        self.disk_bytes.div_ceil(SECTOR_BYTES)
    }

    fn header(&self) -> Vec<u8> {
        let mut header = b"KDMV".to_vec();
        header.extend(1_u32.to_le_bytes());
        header.extend(FLAGS.to_le_bytes());
        for sectors in [self.capacity_sectors(), GRAIN_SECTORS, DESCRIPTOR_SECTOR, DESCRIPTOR_SECTORS] {
            header.extend(sectors.to_le_bytes());
        }
        header.extend(512_u32.to_le_bytes());
        for sector in [self.layout.redundant_directory, self.layout.directory, self.layout.first_grain] {
            header.extend(sector.to_le_bytes());
        }
        // Shut down cleanly; the line ends show whether the file went through a text conversion; not compressed.
        header.extend([0, b'\n', b' ', b'\r', b'\n', 0, 0]);
        header.resize(in_memory(SECTOR_BYTES), 0);
        header
    }

    fn descriptor(&self, file_name: &str) -> String {
        let sectors = self.capacity_sectors();
        // The largest geometry that BIOSes know; everything newer counts sectors.
        let cylinders = (sectors / (255 * 63)).clamp(1, 65_535);
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n\n\
             # Extent description\nRW {sectors} SPARSE \"{file_name}\"\n\n\
             # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"lsilogic\"\n"
        )
    }
}

impl ImageWriter for Vmdk<'_> {
    fn add(&mut self, offset_bytes: u64, cluster: &[u8]) -> io::Result<()> {
        self.grains[in_memory(offset_bytes / CLUSTER_BYTES)] = narrow(self.next_sector)?;
        self.file.write_all_at(cluster, self.next_sector * SECTOR_BYTES)?;
        self.next_sector += GRAIN_SECTORS;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let tables: Vec<u8> = self.grains.iter().flat_map(|sector| sector.to_le_bytes()).collect();
        self.write_directory(self.layout.redundant_directory, &tables)?;
        self.write_directory(self.layout.directory, &tables)?;
        // The name is not used for an extent in the same file, and the image is going to be renamed.
        let descriptor = self.descriptor("disk.vmdk");
        self.file.write_all_at(descriptor.as_bytes(), DESCRIPTOR_SECTOR * SECTOR_BYTES)?;
        self.file.write_all_at(&self.header(), 0)?;
        self.file.set_len(self.next_sector * SECTOR_BYTES)
    }
}

fn narrow(sector: u64) -> io::Result<u32> {
    u32::try_from(sector).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
