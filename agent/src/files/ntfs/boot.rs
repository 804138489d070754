//! The boot sector: the geometry everything else is counted in.

use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

pub(super) const LENGTH_BYTES: usize = 512;
const NAME: &[u8] = b"NTFS    ";
const END_MARK: [u8; 2] = [0x55, 0xAA];
/// The largest Windows formats.
const MAX_CLUSTER_BYTES: u64 = 2 << 20;
/// File records are one or four KiB in practice; a positive count of clusters could make them larger.
const RECORD_BYTES: std::ops::RangeInclusive<u64> = 512..=64 << 10;
/// The first sixteen exabytes hold no more; keeps products of clusters and their size inside 64 bits.
const MAX_VOLUME_BYTES: u64 = 1 << 62;

/// Sizes and places of one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) cluster_bytes: u64,
    /// Clusters of the volume; the copy of the boot sector behind them does not count.
    pub(super) clusters: u64,
    pub(super) record_bytes: u64,
    pub(super) mft_cluster: u64,
    pub(super) mirror_cluster: u64,
}

/// Whether this is the boot sector of an NTFS volume.
pub(super) fn has_magic(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(NAME) && sector.get(510..512) == Some(&END_MARK)
}

/// Checks every field that something depends on.
pub(super) fn parse(sector: &[u8]) -> Result<Geometry> {
    let f = Fields::new(sector, "boot sector");
    let sector_bytes = u64::from(f.le16(0x0B)?);
    if !sector_bytes.is_power_of_two() || !(256..=4096).contains(&sector_bytes) {
        return Err(FilesError::corrupt(format!("the boot sector claims sectors of {sector_bytes} bytes")));
    }
    let cluster_bytes = sectors_per_cluster(f.byte(0x0D)?)
        .map(|sectors| sectors * sector_bytes)
        .filter(|bytes| (512..=MAX_CLUSTER_BYTES).contains(bytes) || *bytes == sector_bytes)
        .ok_or_else(|| FilesError::corrupt("the boot sector claims an impossible cluster size"))?;
    let volume_bytes = f.le64(0x28)?.checked_mul(sector_bytes).filter(|bytes| *bytes <= MAX_VOLUME_BYTES);
    let clusters =
        volume_bytes.ok_or_else(|| FilesError::corrupt("the boot sector claims an impossible size"))? / cluster_bytes;
    let record_bytes = record_bytes(f.byte(0x40)?, cluster_bytes)?;
    let (mft_cluster, mirror_cluster) = (f.le64(0x30)?, f.le64(0x38)?);
    if mft_cluster >= clusters {
        return Err(FilesError::corrupt("the boot sector places the file table outside the volume"));
    }
    Ok(Geometry { cluster_bytes, clusters, record_bytes, mft_cluster, mirror_cluster })
}

/// Up to 128 as it is, above that the power of two whose exponent is the negated signed byte.
fn sectors_per_cluster(stored: u8) -> Option<u64> {
    match stored {
        1..=128 if stored.is_power_of_two() => Some(u64::from(stored)),
        0xF4..=0xFF => Some(1 << (256 - u32::from(stored))),
        _ => None,
    }
}

/// Positive in clusters; negative, the exponent of a power of two bytes.
fn record_bytes(stored: u8, cluster_bytes: u64) -> Result<u64> {
    let bytes = match stored.cast_signed() {
        clusters @ 1.. => Some(u64::from(clusters.unsigned_abs()) * cluster_bytes),
        exponent @ -31..=-1 => Some(1 << exponent.unsigned_abs()),
        _ => None,
    };
    bytes
        .filter(|bytes| bytes.is_power_of_two() && RECORD_BYTES.contains(bytes))
        .ok_or_else(|| FilesError::corrupt("the boot sector claims an impossible size of file records"))
}

#[cfg(test)]
mod tests {
    use super::{parse, record_bytes, sectors_per_cluster};

    #[test]
    fn cluster_sizes_are_counts_or_negative_exponents() {
        assert_eq!(sectors_per_cluster(8), Some(8));
        assert_eq!(sectors_per_cluster(128), Some(128));
        assert_eq!(sectors_per_cluster(0xF8), Some(256));
        assert_eq!(sectors_per_cluster(0xF4), Some(4096));
        for odd in [0, 3, 129, 0xF3] {
            assert_eq!(sectors_per_cluster(odd), None, "{odd}");
        }
    }

    #[test]
    fn record_sizes_are_clusters_or_negative_exponents() {
        assert_eq!(record_bytes(0xF6, 4096).unwrap(), 1024);
        assert_eq!(record_bytes(1, 4096).unwrap(), 4096);
        assert_eq!(record_bytes(2, 512).unwrap(), 1024);
        for odd in [0, 3, 0x80, 0xE0, 0xFF] {
            record_bytes(odd, 4096).unwrap_err();
        }
    }

    #[test]
    fn an_empty_sector_is_refused() {
        parse(&[0; 512]).unwrap_err();
    }
}
