//! Adds records to the log of an XFS image, for what a mounted file system hardly ever leaves in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR_BYTES: usize = 512;
const MAGIC: [u8; 4] = [0xFE, 0xED, 0xBA, 0xBE];
/// The header that all transactions begin with: a magic number, a type, and numbers nobody reads.
const TRANSACTION_HEADER: [u8; 16] = [0x4E, 0x41, 0x52, 0x54, 40, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

/// A log that has not yet gone around.
pub struct Log {
    file: File,
    start_bytes: u64,
    uuid: [u8; 16],
    sectors: u32,
    transactions: u32,
}

/// One item: its description and what belongs to it.
pub type Item = Vec<Vec<u8>>;

/// Numbers of the superblock that tests need.
pub struct Geometry {
    pub block_bytes: u64,
    pub ag_blocks: u64,
    ag_block_log: u32,
    pub inode_bytes: u64,
    inodes_per_block_log: u32,
    log_blocks: u64,
    log_start: u64,
    uuid: [u8; 16],
}

impl Geometry {
    pub fn of(image: &Path) -> Self {
        let mut bytes = [0; SECTOR_BYTES];
        File::open(image).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        let be32 = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            block_bytes: be32(4).into(),
            ag_blocks: be32(84).into(),
            ag_block_log: bytes[124].into(),
            inode_bytes: u16::from_be_bytes([bytes[104], bytes[105]]).into(),
            inodes_per_block_log: bytes[123].into(),
            log_blocks: be32(96).into(),
            log_start: u64::from(be32(48)) << 32 | u64::from(be32(52)),
            uuid: bytes[32..48].try_into().unwrap(),
        }
    }

    /// Byte of the disk where a numbered block begins.
    pub fn block_at(&self, numbered: u64) -> u64 {
        let (ag, block) = (numbered >> self.ag_block_log, numbered & ((1 << self.ag_block_log) - 1));
        (ag * self.ag_blocks + block) * self.block_bytes
    }

    /// Byte of the disk where an inode begins.
    pub fn inode_at(&self, number: u64) -> u64 {
        let in_block = number & ((1 << self.inodes_per_block_log) - 1);
        self.block_at(number >> self.inodes_per_block_log) + in_block * self.inode_bytes
    }
}

impl Log {
    pub fn of(image: &Path) -> Self {
        let geometry = Geometry::of(image);
        Self {
            file: File::options().read(true).write(true).open(image).unwrap(),
            start_bytes: geometry.block_at(geometry.log_start),
            uuid: geometry.uuid,
            sectors: u32::try_from(geometry.log_blocks * geometry.block_bytes / SECTOR_BYTES as u64).unwrap(),
            transactions: 0,
        }
    }

    fn sector(&self, at: u32) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        self.file.read_exact_at(&mut sector, self.start_bytes + u64::from(at) * SECTOR_BYTES as u64).unwrap();
        sector
    }

    /// The first sector that was never written, and where the records before it begin.
    fn head(&self) -> (u32, Vec<u32>) {
        let (mut at, mut starts) = (0, Vec::new());
        while at < self.sectors {
            let sector = self.sector(at);
            // A mount leaves empty records of the cycle before, zero, ahead of the head.
            if !sector.starts_with(&MAGIC) || sector[4..8] == [0; 4] {
                break;
            }
            let word = |at: usize| u32::from_be_bytes(sector[at..at + 4].try_into().unwrap());
            let headers = if word(8) == 2 { word(320).div_ceil(32 << 10).max(1) } else { 1 };
            starts.push(at);
            at += headers + word(12).div_ceil(SECTOR_BYTES as u32);
        }
        assert!(self.sector(at)[4..8] == [0; 4], "the log has gone around");
        (at, starts)
    }

    /// Where records begin.
    pub fn records(&self) -> Vec<u32> {
        self.head().1
    }

    /// Changes a byte in the data of a record.
    pub fn damage(&self, start: u32) {
        let at = self.start_bytes + u64::from(start + 1) * SECTOR_BYTES as u64 + 100;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at).unwrap();
        self.file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
    }

    /// Appends a committed transaction and returns its number. What is before it is needed no more when `is_alone`.
    pub fn append(&mut self, items: &[Item], is_alone: bool) -> u64 {
        self.transactions += 1;
        let id = 0x7000_0000 + self.transactions;
        let mut data = Vec::new();
        let mut operation = |flags: u8, region: &[u8]| {
            data.extend_from_slice(&id.to_be_bytes());
            data.extend_from_slice(&u32::try_from(region.len()).unwrap().to_be_bytes());
            data.extend_from_slice(&[0x69, flags, 0, 0]);
            data.extend_from_slice(region);
        };
        operation(1, &[]);
        operation(0, &TRANSACTION_HEADER);
        items.iter().flatten().for_each(|region| operation(0, region));
        operation(2, &[]);
        let operations = 3 + items.iter().map(Vec::len).sum::<usize>();
        self.write(data, u32::try_from(operations).unwrap(), is_alone)
    }

    fn write(&self, mut data: Vec<u8>, operations: u32, is_alone: bool) -> u64 {
        let (head, starts) = self.head();
        let last = starts[starts.len() - 1];
        let before = self.sector(last);
        let cycle = u32::from_be_bytes(before[4..8].try_into().unwrap());
        data.resize(data.len().next_multiple_of(SECTOR_BYTES), 0);
        assert!(data.len() <= 32 << 10);
        let mut header = before;
        let lsn = u64::from(cycle) << 32 | u64::from(head);
        header[12..16].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        header[16..24].copy_from_slice(&lsn.to_be_bytes());
        if is_alone {
            header[24..32].copy_from_slice(&lsn.to_be_bytes());
        }
        header[32..36].fill(0);
        header[36..40].copy_from_slice(&last.to_be_bytes());
        header[40..44].copy_from_slice(&operations.to_be_bytes());
        header[44..300].fill(0);
        header[300..304].copy_from_slice(&1_u32.to_be_bytes());
        header[304..320].copy_from_slice(&self.uuid);
        header[320..324].copy_from_slice(&(32_u32 << 10).to_be_bytes());
        for (index, sector) in data.chunks_mut(SECTOR_BYTES).enumerate() {
            header[44 + index * 4..48 + index * 4].copy_from_slice(&sector[..4]);
            sector[..4].copy_from_slice(&cycle.to_be_bytes());
        }
        let crc = crc32c(&[&header[..328], &data]);
        header[32..36].copy_from_slice(&crc.to_le_bytes());
        let record = [&header[..], &data].concat();
        self.file.write_all_at(&record, self.start_bytes + u64::from(head) * SECTOR_BYTES as u64).unwrap();
        lsn
    }
}

/// Puts numbers of a host's byte order one after another.
#[derive(Default)]
pub struct Region(pub Vec<u8>);

impl Region {
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

/// Pieces of 128 bytes of a block, from the first byte that is given.
pub fn block_item(at: u64, length: u64, flags: u16, first: usize, bytes: &[u8]) -> Item {
    assert!(first.is_multiple_of(128) && bytes.len().is_multiple_of(128) && length <= 4096);
    let map = (first / 128..(first + bytes.len()) / 128).fold(0_u32, |map, piece| map | 1 << piece);
    let regions = if bytes.is_empty() { 1 } else { 2 };
    let description = Region::default().u16(0x123C).u16(regions).u16(flags).u16((length / 512) as u16);
    let mut item = vec![description.u64(at / 512).u32(1).u32(map).0];
    if !bytes.is_empty() {
        item.push(bytes.to_vec());
    }
    item
}

/// The checksum of blocks and log records.
pub fn crc32c(pieces: &[&[u8]]) -> u32 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = crc.digest();
    pieces.iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}
