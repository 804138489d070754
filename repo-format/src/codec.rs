//! Compression of one chunk: zstd, or raw when it does not pay. Stateless between chunks, so that any chunk can be read alone.

use crate::error::{Error, Result};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// How an entry's payload is encoded. Part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The payload is the plaintext.
    Raw = 0,
    /// The payload is one zstd frame.
    Zstd = 1,
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compression levels a user may choose; zstd's own.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
/// What a user gets who chooses none.
pub const DEFAULT_LEVEL: i32 = 1;

/// At its fastest level zstd looks for matches of six bytes with a table of 8 Ki places. Twice the places and five bytes make chunks of
/// 64 KiB smaller at about the same speed.
const FAST_LEVEL: i32 = 1;
const FAST_HASH_LOG: u32 = 14;
const FAST_MIN_MATCH: u32 = 5;

/// A chunk must shrink by this part to be stored compressed; less is not worth the time a restore spends.
const LEAST_GAIN: usize = 32;

/// Compresses chunks; reused, one for each worker.
pub struct Encoder {
    zstd: Compressor<'static>,
    check: Decoder,
    again: Vec<u8>,
}

impl Encoder {
    /// An encoder at a zstd level within [`LEVELS`].
    pub fn new(level: i32) -> Result<Self> {
        if !LEVELS.contains(&level) {
            let allowed = format!("{} to {}", LEVELS.start(), LEVELS.end());
            return Err(Error::Limit { what: "the compression level", value: level.unsigned_abs().into(), allowed });
        }
        let fail = |e: std::io::Error| Error::Refused(format!("zstd cannot start: {e}"));
        let mut zstd = Compressor::new(level).map_err(fail)?;
        if level == FAST_LEVEL {
            zstd.set_parameter(CParameter::HashLog(FAST_HASH_LOG)).map_err(fail)?;
            zstd.set_parameter(CParameter::MinMatch(FAST_MIN_MATCH)).map_err(fail)?;
        }
        // The length stands in the footer and the entry is authenticated: neither is needed again.
        zstd.include_contentsize(false).map_err(fail)?;
        zstd.include_checksum(false).map_err(fail)?;
        zstd.include_dictid(false).map_err(fail)?;
        Ok(Self { zstd, check: Decoder::new()?, again: Vec::new() })
    }

    /// Encodes `plain` into `out` (replaced) and proves that it decodes to the same bytes again.
    pub fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<Kind> {
        out.clear();
        if looks_random(plain) {
            out.extend_from_slice(plain);
            return Ok(Kind::Raw);
        }
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let written = self.zstd.compress_to_buffer(plain, out);
        if written.is_err() || out.len() + plain.len() / LEAST_GAIN >= plain.len() {
            out.clear();
            out.extend_from_slice(plain);
            return Ok(Kind::Raw);
        }
        self.again.resize(plain.len(), 0);
        if self.check.decode(Kind::Zstd, out, &mut self.again).is_err() || self.again != plain {
            return Err(Error::SelfCheck("zstd"));
        }
        Ok(Kind::Zstd)
    }
}

/// Decompresses chunks; reused, one for each worker.
pub struct Decoder(Decompressor<'static>);

impl Decoder {
    /// A decoder.
    pub fn new() -> Result<Self> {
        Decompressor::new().map(Self).map_err(|e| Error::Refused(format!("zstd cannot start: {e}")))
    }

    /// Decodes `payload` into `plain`, which has exactly the length of the plaintext.
    pub fn decode(&mut self, kind: Kind, payload: &[u8], plain: &mut [u8]) -> Result<()> {
        let length = match kind {
            Kind::Raw if payload.len() == plain.len() => {
                plain.copy_from_slice(payload);
                plain.len()
            }
            Kind::Raw => payload.len(),
            Kind::Zstd => self
                .0
                .decompress_to_buffer(payload, plain)
                .map_err(|e| Error::damaged("a chunk", format!("it does not decompress: {e}")))?,
        };
        if length != plain.len() {
            return Err(Error::damaged("a chunk", format!("it is {length} bytes long instead of {}", plain.len())));
        }
        Ok(())
    }
}

/// Whether every byte is zero. The loop over words compiles to wide vector instructions.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|part| {
        let (words, rest) = part.as_chunks::<8>();
        words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0 && rest.iter().all(|b| *b == 0)
    })
}

const PROBE_PARTS: usize = 16;
const PROBE_PART_BYTES: usize = 256;
/// Of 4096 random bytes about this many pairs are equal (4096²/2/256); text and code have several times more.
const RANDOM_PAIRS: u32 = 32_768 + 2_048;

/// Whether a sample of the bytes is spread as evenly as random bytes are: already compressed, or encrypted.
fn looks_random(plain: &[u8]) -> bool {
    if plain.len() < PROBE_PARTS * PROBE_PART_BYTES * 4 {
        return false;
    }
    let stride = plain.len() / PROBE_PARTS;
    let mut counts = [0_u32; 256];
    for part in plain.chunks_exact(stride).take(PROBE_PARTS) {
        part[..PROBE_PART_BYTES].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    }
    counts.iter().map(|count| count * count.saturating_sub(1) / 2).sum::<u32>() < RANDOM_PAIRS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, SeededEntropy};

    fn round_trip(plain: &[u8]) -> (Kind, usize) {
        let mut out = Vec::new();
        let kind = Encoder::new(1).unwrap().encode(plain, &mut out).unwrap();
        let mut again = vec![0xFF; plain.len()];
        Decoder::new().unwrap().decode(kind, &out, &mut again).unwrap();
        assert_eq!(again, plain);
        (kind, out.len())
    }

    #[test]
    fn text_shrinks_and_random_bytes_stay_raw() {
        let text: Vec<u8> = (0..65536_u32).flat_map(|i| (i * i % 977).to_string().into_bytes()).take(65536).collect();
        let (kind, stored) = round_trip(&text);
        assert!(kind == Kind::Zstd && stored < 40_000, "{stored}");
        for length in [1, 100, 4096, 65536] {
            let mut random = vec![0; length];
            SeededEntropy::new(5).fill(&mut random);
            assert_eq!(round_trip(&random), (Kind::Raw, length));
        }
    }

    #[test]
    fn wrong_lengths_and_garbage_are_errors() {
        let mut decoder = Decoder::new().unwrap();
        assert!(decoder.decode(Kind::Raw, b"abc", &mut [0; 2]).is_err());
        assert!(decoder.decode(Kind::Zstd, b"garbage", &mut [0; 2]).is_err());
        let mut out = Vec::new();
        assert_eq!(Encoder::new(1).unwrap().encode(&[7; 1000], &mut out).unwrap(), Kind::Zstd);
        assert!(decoder.decode(Kind::Zstd, &out, &mut [0; 999]).is_err());
        assert!(decoder.decode(Kind::Zstd, &out, &mut [0; 1001]).is_err());
    }

    #[test]
    fn one_bit_makes_a_chunk_not_zero() {
        let mut bytes = vec![0; 10_007];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for at in [0, 7, 8, 4095, 4096, 9_999, 10_006] {
            bytes[at] = 0x80;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }

    #[test]
    fn levels_outside_the_range_are_refused() {
        assert!(Encoder::new(0).is_err() && Encoder::new(20).is_err() && Encoder::new(19).is_ok());
    }
}
