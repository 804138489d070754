//! A qcow2 image, version 3, uncompressed, in one pass.
//!
//! ```text
//! cluster 0   header
//! cluster 1…  L1 table: an entry for each 512 MiB of the disk, written last
//!             data clusters; behind the last one of each 512 MiB the L2 table that maps them
//!             refcount blocks, then the refcount table: all clusters of the file have a count of one
//! ```
//! Layout source: QEMU's `docs/interop/qcow2`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{CLUSTER_BYTES, ImageWriter};
use crate::lengths::in_memory;

const MAGIC: u32 = 0x5146_49FB;
const CLUSTER_BITS: u32 = 16;
const ENTRIES_PER_TABLE: u64 = CLUSTER_BYTES / 8;
const BYTES_PER_L2: u64 = ENTRIES_PER_TABLE * CLUSTER_BYTES;
/// Counts have 16 bits.
const COUNTS_PER_BLOCK: u64 = CLUSTER_BYTES / 2;
/// QEMU takes an L1 table of at most 32 MiB.
pub(super) const MAX_DISK_BYTES: u64 = (32 << 20) / 8 * BYTES_PER_L2;
/// Set where the cluster has a count of exactly one.
const COPIED: u64 = 1 << 63;
const HEADER_BYTES: u32 = 104;

pub(super) struct Qcow2<'a> {
    file: &'a File,
    disk_bytes: u64,
    l1: Vec<u64>,
    /// The table for the part of the disk that is being written.
    l2: Vec<u64>,
    l2_index: usize,
    /// First free cluster of the file.
    next_cluster: u64,
}

impl<'a> Qcow2<'a> {
    pub(super) fn new(file: &'a File, disk_bytes: u64) -> Self {
        let l1_entries = disk_bytes.div_ceil(BYTES_PER_L2);
        let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER_BYTES).max(1);
        Self {
            file,
            disk_bytes,
            l1: vec![0; in_memory(l1_entries)],
            l2: vec![0; in_memory(ENTRIES_PER_TABLE)],
            l2_index: 0,
            next_cluster: 1 + l1_clusters,
        }
    }

    /// Appends a cluster to the file and returns its offset.
    fn append(&mut self, cluster: &[u8]) -> io::Result<u64> {
        let offset = self.next_cluster * CLUSTER_BYTES;
        self.file.write_all_at(cluster, offset)?;
        self.next_cluster += 1;
        Ok(offset)
    }

    fn finish_l2(&mut self) -> io::Result<()> {
        if self.l2.iter().any(|entry| *entry != 0) {
            let table = big_endian(&self.l2);
            self.l1[self.l2_index] = self.append(&table)? | COPIED;
            self.l2.fill(0);
        }
        Ok(())
    }

    /// Appends the counts, those of their own blocks and table included; returns place and clusters of the table.
    fn append_counts(&mut self) -> io::Result<(u64, u64)> {
        let (blocks, table_clusters) = count_clusters(self.next_cluster);
        let total = self.next_cluster + blocks + table_clusters;
        let mut table = Vec::new();
        for index in 0..blocks {
            let counted = COUNTS_PER_BLOCK.min(total - index * COUNTS_PER_BLOCK);
            let mut block = vec![0; in_memory(CLUSTER_BYTES)];
            for count in block.chunks_exact_mut(2).take(in_memory(counted)) {
                count.copy_from_slice(&1_u16.to_be_bytes());
            }
            table.push(self.append(&block)?);
        }
        let table_offset = self.next_cluster * CLUSTER_BYTES;
        let mut bytes = big_endian(&table);
        bytes.resize(in_memory(table_clusters * CLUSTER_BYTES), 0);
        self.file.write_all_at(&bytes, table_offset)?;
        self.next_cluster += table_clusters;
        Ok((table_offset, table_clusters))
    }

    fn header(&self, table_offset: u64, table_clusters: u64) -> io::Result<Vec<u8>> {
        let small = |number: u64| u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        let mut header = Vec::new();
        let mut put32 = |numbers: &[u32]| numbers.iter().for_each(|n| header.extend(n.to_be_bytes()));
        // Magic, version, no backing file (offset of 64 bits, length).
        put32(&[MAGIC, 3, 0, 0, 0, CLUSTER_BITS]);
        header.extend(self.disk_bytes.to_be_bytes());
        // No encryption.
        header.extend(0_u32.to_be_bytes());
        header.extend(small(self.l1.len() as u64)?.to_be_bytes());
        header.extend(CLUSTER_BYTES.to_be_bytes());
        header.extend(table_offset.to_be_bytes());
        header.extend(small(table_clusters)?.to_be_bytes());
        // No internal snapshots (count, offset), no feature bits (three times 64).
        header.extend([0; 4 + 8 + 24]);
        // Counts of 2^4 bits.
        header.extend(4_u32.to_be_bytes());
        header.extend(HEADER_BYTES.to_be_bytes());
        debug_assert_eq!(header.len(), HEADER_BYTES as usize);
        Ok(header)
    }
}

impl ImageWriter for Qcow2<'_> {
    fn add(&mut self, offset_bytes: u64, cluster: &[u8]) -> io::Result<()> {
        let l2_index = in_memory(offset_bytes / BYTES_PER_L2);
        if l2_index != self.l2_index {
            self.finish_l2()?;
            self.l2_index = l2_index;
        }
        let place = self.append(cluster)?;
        self.l2[in_memory(offset_bytes % BYTES_PER_L2 / CLUSTER_BYTES)] = place | COPIED;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finish_l2()?;
        let (table_offset, table_clusters) = self.append_counts()?;
        self.file.write_all_at(&big_endian(&self.l1), CLUSTER_BYTES)?;
        self.file.write_all_at(&self.header(table_offset, table_clusters)?, 0)?;
        // The last data cluster of an odd disk is short, but clusters of the file are whole.
        self.file.set_len(self.next_cluster * CLUSTER_BYTES)
    }
}

/// Refcount blocks and clusters of the refcount table for `used` clusters and for themselves.
fn count_clusters(used: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (0, 0);
    loop {
        let needed = (used + blocks + table).div_ceil(COUNTS_PER_BLOCK);
        let needed_table = needed.div_ceil(ENTRIES_PER_TABLE).max(1);
        if (needed, needed_table) == (blocks, table) {
            return (blocks, table);
        }
        (blocks, table) = (needed, needed_table);
    }
}

fn big_endian(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::{COUNTS_PER_BLOCK, count_clusters};

    #[test]
    fn the_counts_count_themselves() {
        for used in [1, 2, COUNTS_PER_BLOCK - 2, COUNTS_PER_BLOCK - 1, COUNTS_PER_BLOCK, 1 << 30] {
            let (blocks, table) = count_clusters(used);
            assert!(blocks * COUNTS_PER_BLOCK >= used + blocks + table, "for {used}");
            assert!((blocks - 1) * COUNTS_PER_BLOCK < used + blocks + table, "for {used}");
        }
    }
}
