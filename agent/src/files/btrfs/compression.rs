//! Compressed extents: the three methods, and a small cache because a reader comes back for each piece of one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{NAME, lzo};
use crate::files::{FilesError, Result};

/// The longest extent that is ever compressed, before and after.
pub(super) const MAX_BYTES: u64 = 128 << 10;
const CACHE_BYTES: usize = 4 << 20;
/// Kernels write and read windows of 128 KiB at most; bounds the memory of the decompressor.
const ZSTD_WINDOW_LOG: u32 = 17;

/// How the bytes of an extent are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Zlib,
    Lzo,
    Zstd,
}

impl Method {
    /// By its number in an extent; nothing for plain data.
    pub(super) fn of_number(number: u8) -> Result<Option<Self>> {
        Ok(Some(match number {
            0 => return Ok(None),
            1 => Self::Zlib,
            2 => Self::Lzo,
            3 => Self::Zstd,
            other => {
                let feature = format!("the unknown compression {other}");
                return Err(FilesError::Unsupported { file_system: NAME, feature });
            }
        }))
    }

    /// Exactly `length_bytes` of data. What was compressed may be shorter, as at the end of a file: the rest is zeros.
    /// What is longer is not wanted.
    pub(super) fn decompress(self, input: &[u8], length_bytes: usize, sector_bytes: usize) -> Result<Vec<u8>> {
        let mut output = match self {
            Self::Zlib => zlib(input, length_bytes)?,
            Self::Lzo => lzo::decompress_frame(input, sector_bytes, length_bytes)?,
            Self::Zstd => zstd(input, length_bytes)?,
        };
        output.resize(length_bytes, 0);
        Ok(output)
    }
}

fn damaged(method: &str) -> FilesError {
    FilesError::corrupt(format!("data compressed with {method} is damaged"))
}

fn zlib(input: &[u8], length_bytes: usize) -> Result<Vec<u8>> {
    let mut output = vec![0; length_bytes];
    let mut decoder = Decompress::new(true);
    let (mut taken, mut made) = (0, 0);
    while made < length_bytes {
        let (in_before, out_before) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(&input[taken..], &mut output[made..], FlushDecompress::None)
            .map_err(|_| damaged("zlib"))?;
        let (read, written) = (decoder.total_in() - in_before, decoder.total_out() - out_before);
        taken += crate::lengths::in_memory(read);
        made += crate::lengths::in_memory(written);
        if status == Status::StreamEnd {
            break;
        }
        if read == 0 && written == 0 {
            return Err(damaged("zlib"));
        }
    }
    output.truncate(made);
    Ok(output)
}

fn zstd(input: &[u8], length_bytes: usize) -> Result<Vec<u8>> {
    let failed = |_: std::io::Error| damaged("zstd");
    let mut decoder = Decoder::new().map_err(failed)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(failed)?;
    let mut output = vec![0; length_bytes];
    let mut source = InBuffer::around(input);
    let mut target = OutBuffer::around(output.as_mut_slice());
    while target.pos() < length_bytes {
        let before = (source.pos(), target.pos());
        let left = decoder.run(&mut source, &mut target).map_err(failed)?;
        if left == 0 {
            break;
        }
        if before == (source.pos(), target.pos()) {
            return Err(damaged("zstd"));
        }
    }
    let made = target.pos();
    output.truncate(made);
    Ok(output)
}

/// Where decompressed bytes came from: all that decides what they are and whether they were verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) logical: u64,
    pub(super) stored_bytes: u64,
    pub(super) length_bytes: u64,
    pub(super) method: Method,
    pub(super) is_checked: bool,
}

/// The extents decompressed last. The lock guards the queue only and is never held while reading or decompressing.
#[derive(Default)]
pub(super) struct ExtentCache {
    entries: Mutex<VecDeque<(Source, Arc<[u8]>)>>,
}

impl ExtentCache {
    pub(super) fn get(&self, source: &Source) -> Option<Arc<[u8]>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find(|(known, _)| known == source).map(|(_, bytes)| Arc::clone(bytes))
    }

    pub(super) fn insert(&self, source: Source, bytes: &Arc<[u8]>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back((source, Arc::clone(bytes)));
        while entries.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > CACHE_BYTES {
            entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Method;
    use std::io::Write;

    fn plain() -> Vec<u8> {
        (0..40_000_u32).flat_map(|n| (n / 7).to_le_bytes()).take(100_000).collect()
    }

    fn zlib_of(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Both methods with what they make of the bytes, padded to a sector as on the disk.
    fn stored(bytes: &[u8]) -> [(Method, Vec<u8>); 2] {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(17).unwrap();
        encoder.write_all(bytes).unwrap();
        [(Method::Zlib, zlib_of(bytes)), (Method::Zstd, encoder.finish().unwrap())].map(|(method, mut stored)| {
            stored.resize(stored.len().next_multiple_of(4096), 0);
            (method, stored)
        })
    }

    #[test]
    fn what_is_shorter_ends_in_zeros_and_what_is_longer_is_cut() {
        let plain = plain();
        for (method, stored) in stored(&plain) {
            assert_eq!(method.decompress(&stored, 100_000, 4096).unwrap(), plain);
            let longer = method.decompress(&stored, 102_400, 4096).unwrap();
            assert_eq!((&longer[..100_000], &longer[100_000..]), (&plain[..], &[0; 2400][..]));
            assert_eq!(method.decompress(&stored, 50_000, 4096).unwrap(), &plain[..50_000]);
        }
    }

    #[test]
    fn streams_that_are_cut_or_changed_are_refused() {
        for (method, stored) in stored(&plain()) {
            assert!(method.decompress(&stored[..stored.len() / 2], 100_000, 4096).is_err(), "{method:?}");
            let mut changed = stored.clone();
            changed[..8].fill(0xFF);
            assert!(method.decompress(&changed, 100_000, 4096).is_err(), "{method:?}");
            assert!(method.decompress(&[], 10, 4096).is_err(), "{method:?}");
        }
    }

    #[test]
    fn a_window_that_no_kernel_writes_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(22).unwrap();
        encoder.write_all(&vec![7; 5 << 20]).unwrap();
        let stored = encoder.finish().unwrap();
        assert!(Method::Zstd.decompress(&stored, 1 << 20, 4096).is_err());
    }

    #[test]
    fn unknown_methods_are_refused_by_name() {
        assert_eq!(Method::of_number(0).unwrap(), None);
        assert!(Method::of_number(4).unwrap_err().to_string().contains("compression 4"));
    }
}
