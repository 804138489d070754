//! Sectors that say who wrote them: where, as which write of which writer, when; with a checksum over all of it.
//!
//! A sector that was torn, moved, mixed up or made up is found by looking at it alone. The rest of a stamp is filled with
//! numbers that follow from its sequence, so that every byte of a sector counts.

use anyhow::{Context, Result, ensure};

/// The kernel's unit; larger sectors carry several stamps.
pub const SECTOR_BYTES: usize = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"icestamp");
const WORDS: usize = SECTOR_BYTES / 8;

/// What a sector says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Who wrote it.
    pub writer: u64,
    /// Which write of that writer, from 1.
    pub sequence: u64,
    /// Where it was written.
    pub sector: u64,
    /// When the write was made, by the monotonic clock.
    pub made_ns: u64,
}

impl Stamp {
    /// Fills one sector.
    pub fn encode(&self, sector: &mut [u8]) {
        let mut words = [0; WORDS];
        words[..5].copy_from_slice(&[MAGIC, self.writer, self.sequence, self.sector, self.made_ns]);
        let mut state = self.sequence ^ self.sector.rotate_left(32) ^ self.writer.rotate_left(17);
        for word in &mut words[5..WORDS - 1] {
            state = scramble(state);
            *word = state;
        }
        words[WORDS - 1] = checksum(&words[..WORDS - 1]);
        for (bytes, word) in sector.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads a sector that was found at `sector_number`; `None` when it is all zeroes.
    pub fn decode(sector: &[u8], sector_number: u64) -> Result<Option<Self>> {
        if sector.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(sector.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().context("eight bytes are eight bytes")?);
        }
        ensure!(words[0] == MAGIC, "sector {sector_number} carries no stamp");
        let [_, writer, sequence, sector, made_ns] = [words[0], words[1], words[2], words[3], words[4]];
        ensure!(
            words[WORDS - 1] == checksum(&words[..WORDS - 1]),
            "sector {sector_number} is torn: its stamp says write {sequence} of writer {writer}, its checksum is wrong"
        );
        ensure!(
            sector == sector_number,
            "sector {sector_number} holds what write {sequence} of writer {writer} wrote to sector {sector}"
        );
        Ok(Some(Self { writer, sequence, sector, made_ns }))
    }
}

fn scramble(state: u64) -> u64 {
    let mixed = (state ^ (state >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 32)
}

fn checksum(words: &[u64]) -> u64 {
    words.iter().fold(MAGIC, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The monotonic clock.
pub fn now_ns() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(now.tv_sec())? * 1_000_000_000 + u64::try_from(now.tv_nsec())?)
}

#[cfg(test)]
mod tests {
    use super::{SECTOR_BYTES, Stamp};

    const STAMP: Stamp = Stamp { writer: 3, sequence: 77, sector: 1234, made_ns: 5 };

    #[test]
    fn a_stamp_reads_as_it_was_written() -> anyhow::Result<()> {
        let mut sector = [0; SECTOR_BYTES];
        STAMP.encode(&mut sector);
        assert_eq!(Stamp::decode(&sector, 1234)?, Some(STAMP));
        Ok(())
    }

    #[test]
    fn a_sector_of_zeroes_was_never_written() -> anyhow::Result<()> {
        assert_eq!(Stamp::decode(&[0; SECTOR_BYTES], 9)?, None);
        Ok(())
    }

    #[test]
    fn every_changed_bit_is_found() {
        let mut sector = [0; SECTOR_BYTES];
        STAMP.encode(&mut sector);
        for bit in 0..SECTOR_BYTES * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(Stamp::decode(&sector, 1234).is_err(), "bit {bit}");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_sector_at_another_place_is_found() {
        let mut sector = [0; SECTOR_BYTES];
        STAMP.encode(&mut sector);
        assert!(Stamp::decode(&sector, 1235).is_err());
    }
}
