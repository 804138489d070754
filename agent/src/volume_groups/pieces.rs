//! One disk put together from stretches of others: next to each other, in stripes, or nothing but zeros.

use std::io;
use std::sync::Arc;

use super::error::{Result, VolumeError};
use super::stack::Disk;
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

/// Where the bytes of a piece come from. Every window was checked to lie inside its disk.
pub(super) enum Source<'a> {
    /// From an offset of a disk on.
    Linear { disk: Disk<'a>, offset_bytes: u64 },
    /// In turns from an offset of each disk on.
    Striped { stripes: Vec<(Disk<'a>, u64)>, stripe_bytes: u64 },
    /// No disk at all.
    Zero,
    /// Nothing is left to be read.
    Error,
}

impl<'a> Source<'a> {
    /// A whole disk of a known size.
    pub(super) fn whole(disk: Disk<'a>, length_bytes: u64) -> Result<Self> {
        if disk.size_bytes() != length_bytes {
            return Err(VolumeError::corrupt("a volume is of another size than what it consists of"));
        }
        Ok(Self::Linear { disk, offset_bytes: 0 })
    }

    /// Stripes that each take `each_bytes`; with a single one that is all there is to it.
    pub(super) fn striped(stripes: Vec<(Disk<'a>, u64)>, stripe_bytes: u64, each_bytes: u64) -> Result<Self> {
        for (disk, offset_bytes) in &stripes {
            if offset_bytes.checked_add(each_bytes).is_none_or(|end| end > disk.size_bytes()) {
                return Err(VolumeError::corrupt("a volume reaches beyond the end of the disk that it lies on"));
            }
        }
        match stripes.as_slice() {
            [(disk, offset_bytes)] => Ok(Self::Linear { disk: Arc::clone(disk), offset_bytes: *offset_bytes }),
            _ if stripe_bytes == 0 || !each_bytes.is_multiple_of(stripe_bytes) || stripes.is_empty() => {
                Err(VolumeError::corrupt("a striped volume does not end with a whole stripe"))
            }
            _ => Ok(Self::Striped { stripes, stripe_bytes }),
        }
    }

    /// Reads from `offset_bytes` within the piece as much as lies together; returns how much that was, never nothing.
    fn read_some(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        match self {
            Self::Linear { disk, offset_bytes: start } => disk.read_exact_at(buf, start + offset_bytes)?,
            Self::Striped { stripes, stripe_bytes } => {
                let (number, within) = (offset_bytes / stripe_bytes, offset_bytes % stripe_bytes);
                let count = stripes.len() as u64;
                let (disk, start) = &stripes[in_memory(number % count)];
                let length = buf.len().min(in_memory(stripe_bytes - within));
                disk.read_exact_at(&mut buf[..length], start + number / count * stripe_bytes + within)?;
                return Ok(length);
            }
            Self::Zero => buf.fill(0),
            Self::Error => return Err(io::Error::other("this part of the logical volume was lost with a disk")),
        }
        Ok(buf.len())
    }
}

/// A stretch of the disk that is put together.
pub(super) struct Piece<'a> {
    pub(super) start_bytes: u64,
    pub(super) length_bytes: u64,
    pub(super) source: Source<'a>,
}

/// Pieces next to each other.
pub(super) struct Pieces<'a> {
    pieces: Vec<Piece<'a>>,
    size_bytes: u64,
}

impl<'a> Pieces<'a> {
    /// Each piece has to begin where the one before ends.
    pub(super) fn new(pieces: Vec<Piece<'a>>) -> Result<Self> {
        let mut size_bytes = 0_u64;
        for piece in &pieces {
            let end = piece.start_bytes.checked_add(piece.length_bytes);
            match end {
                Some(end) if piece.start_bytes == size_bytes && piece.length_bytes > 0 => size_bytes = end,
                _ => return Err(VolumeError::corrupt("the segments of a volume do not fit together")),
            }
        }
        Ok(Self { pieces, size_bytes })
    }
}

impl ReadAt for Pieces<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        if offset_bytes.checked_add(buf.len() as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buf, offset_bytes);
        while !rest.is_empty() {
            let index = self.pieces.partition_point(|piece| piece.start_bytes <= at).saturating_sub(1);
            let piece = &self.pieces[index];
            let within = at - piece.start_bytes;
            let length = rest.len().min(in_memory(piece.length_bytes - within));
            let read = piece.source.read_some(&mut rest[..length], within)?;
            rest = &mut rest[read..];
            at += read as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Pieces, Source};
    use crate::read_at::ReadAt;
    use std::sync::Arc;

    fn piece(start_bytes: u64, length_bytes: u64, source: Source<'static>) -> Piece<'static> {
        Piece { start_bytes, length_bytes, source }
    }

    #[test]
    fn pieces_and_stripes_are_read_across_their_borders() {
        let (a, b): (Arc<Vec<u8>>, Arc<Vec<u8>>) = (Arc::new((0..16).collect()), Arc::new((100..116).collect()));
        let striped = Source::striped(vec![(a.clone(), 4), (b.clone(), 0)], 2, 4).unwrap();
        let linear = Source::striped(vec![(b, 10)], 0, 3).unwrap();
        let disk = Pieces::new(vec![piece(0, 8, striped), piece(8, 3, linear), piece(11, 2, Source::Zero)]).unwrap();
        let expected = [4, 5, 100, 101, 6, 7, 102, 103, 110, 111, 112, 0, 0];
        for start in 0..=expected.len() {
            for end in start..=expected.len() {
                let mut read = vec![255; end - start];
                disk.read_exact_at(&mut read, start as u64).unwrap();
                assert_eq!(read, expected[start..end]);
            }
        }
        assert!(disk.read_exact_at(&mut [0; 2], 12).is_err());
        assert!(disk.read_exact_at(&mut [0; 2], u64::MAX).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let a: Arc<Vec<u8>> = Arc::new(vec![0; 16]);
        assert!(Source::striped(vec![(a.clone(), 13)], 0, 4).is_err(), "beyond the end");
        assert!(Source::striped(vec![(a.clone(), u64::MAX)], 0, 4).is_err());
        assert!(Source::striped(vec![(a.clone(), 0), (a.clone(), 0)], 3, 4).is_err(), "half a stripe");
        assert!(Source::striped(Vec::new(), 3, 3).is_err());
        assert!(Source::whole(a, 15).is_err());
        assert!(Pieces::new(vec![piece(0, 2, Source::Zero), piece(3, 2, Source::Zero)]).is_err(), "a gap");
        let lost = Pieces::new(vec![piece(0, 2, Source::Zero), piece(2, 2, Source::Error)]).unwrap();
        assert!(lost.read_exact_at(&mut [0; 2], 0).is_ok() && lost.read_exact_at(&mut [0; 2], 1).is_err());
    }
}
