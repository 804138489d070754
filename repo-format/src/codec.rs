//! Compression of chunks: raw when it does not pay, else a piece of a zstd frame that a few neighbouring chunks share.
//!
//! A chunk of 64 KiB alone compresses several percent worse than in company. So neighbours share a frame that is flushed after
//! each of them: every chunk keeps its own piece, and reading one needs at most the pieces before it in its frame.

use crate::error::{Error, Result};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

/// How an entry's payload is encoded. Part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The payload is the plaintext.
    Raw = 0,
    /// The payload begins a zstd frame; up to its end the frame yields the plaintext.
    Zstd = 1,
    /// The payload continues the frame of the entry before it.
    Continued = 2,
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::Continued),
            _ => None,
        }
    }

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Zstd => "zstd",
            Self::Continued => "zstd, continued",
        }
    }
}

/// Compression levels a user may choose; zstd's own.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
/// What a user gets who chooses none.
pub const DEFAULT_LEVEL: i32 = 1;

/// Most entries of one frame that a reader accepts.
pub const MAX_FRAME_ENTRIES: u32 = 16;
/// Most plaintext of one frame that a reader accepts, and its window.
pub const MAX_FRAME_BYTES: u32 = 1 << 20;
const WINDOW_LOG: u32 = MAX_FRAME_BYTES.ilog2();
/// Plaintext after which a writer begins a new frame. Half of it is decompressed on the way to a chunk that is read alone.
const FRAME_BYTES: u32 = 512 << 10;

/// A chunk must shrink by this part to be stored compressed; less is not worth the time a restore spends.
const LEAST_GAIN: usize = 32;

/// How much a frame holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct FrameLength {
    entries: u32,
    plain_bytes: u32,
}

impl FrameLength {
    /// The frame with one more entry, where it stays within `limit_bytes` and the format.
    pub(crate) fn with(self, plain_bytes: u32, limit_bytes: u32) -> Option<Self> {
        let longer = Self { entries: self.entries + 1, plain_bytes: self.plain_bytes.checked_add(plain_bytes)? };
        (longer.entries <= MAX_FRAME_ENTRIES && longer.plain_bytes <= limit_bytes).then_some(longer)
    }
}

/// Compresses chunks; reused, one for each worker.
pub struct Encoder {
    zstd: CCtx<'static>,
    check: Decoder,
    again: Vec<u8>,
    /// The frame that the next chunk may continue.
    frame: Option<FrameLength>,
}

impl Encoder {
    /// An encoder at a zstd level within [`LEVELS`].
    pub fn new(level: i32) -> Result<Self> {
        if !LEVELS.contains(&level) {
            let allowed = format!("{} to {}", LEVELS.start(), LEVELS.end());
            return Err(Error::Limit { what: "the compression level", value: level.unsigned_abs().into(), allowed });
        }
        let mut zstd = CCtx::try_create().ok_or_else(no_memory)?;
        // The length stands in the footer and the entry is authenticated: neither is needed again.
        let parameters = [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ];
        for parameter in parameters {
            zstd.set_parameter(parameter).map_err(refused)?;
        }
        Ok(Self { zstd, check: Decoder::new()?, again: Vec::new(), frame: None })
    }

    /// The next chunk begins a frame. Call it wherever the next entry may not stand right behind the last one in one pack.
    pub fn end_frame(&mut self) {
        self.frame = None;
    }

    /// Encodes `plain` behind what is in `out` and proves that it decodes to the same bytes again.
    pub fn encode_behind(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<Kind> {
        let start = out.len();
        if !looks_random(plain)
            && let Some(kind) = self.compress(plain, out)?
        {
            return Ok(kind);
        }
        self.end_frame();
        out.truncate(start);
        out.extend_from_slice(plain);
        Ok(Kind::Raw)
    }

    /// The kind, unless it does not pay; then the frame is of no more use.
    fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<Option<Kind>> {
        let plain_bytes = u32::try_from(plain.len()).map_err(|_| Error::SelfCheck("zstd"))?;
        let longer = self.frame.take().and_then(|frame| frame.with(plain_bytes, FRAME_BYTES));
        let kind = if longer.is_some() { Kind::Continued } else { Kind::Zstd };
        if kind == Kind::Zstd {
            self.zstd.reset(ResetDirective::SessionOnly).map_err(refused)?;
        }
        let start = out.len();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()) + FLUSH_ROOM_BYTES);
        let mut input = InBuffer::around(plain);
        let left = self
            .zstd
            .compress_stream2(&mut OutBuffer::around_pos(out, start), &mut input, ZSTD_EndDirective::ZSTD_e_flush)
            .map_err(refused)?;
        if left != 0 || input.pos() != plain.len() {
            return Err(Error::SelfCheck("zstd"));
        }
        let payload = &out[start..];
        if payload.len() + plain.len() / LEAST_GAIN >= plain.len() {
            return Ok(None);
        }
        self.again.resize(plain.len(), 0);
        if self.check.decode(kind, payload, &mut self.again).is_err() || self.again != plain {
            return Err(Error::SelfCheck("zstd"));
        }
        self.frame = longer.or_else(|| FrameLength::default().with(plain_bytes, u32::MAX));
        Ok(Some(kind))
    }
}

/// A flush may add the headers of a frame and of an empty block.
const FLUSH_ROOM_BYTES: usize = 64;

fn no_memory() -> Error {
    Error::Refused("zstd cannot start: not enough memory".into())
}

fn refused(code: usize) -> Error {
    Error::Refused(format!("zstd cannot work: {}", get_error_name(code)))
}

/// Decompresses payloads; reused, one for each worker.
pub struct Decoder(DCtx<'static>);

impl Decoder {
    /// A decoder.
    pub fn new() -> Result<Self> {
        let mut zstd = DCtx::try_create().ok_or_else(no_memory)?;
        zstd.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(refused)?;
        Ok(Self(zstd))
    }

    /// Decodes `payload` into `plain`, which has exactly the length of the plaintext. A continued payload is decoded right after
    /// the one it continues.
    pub fn decode(&mut self, kind: Kind, payload: &[u8], plain: &mut [u8]) -> Result<()> {
        match kind {
            Kind::Raw if payload.len() == plain.len() => plain.copy_from_slice(payload),
            Kind::Raw => return Err(wrong_length(payload.len(), plain.len())),
            Kind::Zstd => {
                self.0.reset(ResetDirective::SessionOnly).map_err(refused)?;
                self.decompress(payload, plain)?;
            }
            Kind::Continued => self.decompress(payload, plain)?,
        }
        Ok(())
    }

    fn decompress(&mut self, payload: &[u8], plain: &mut [u8]) -> Result<()> {
        let length = plain.len();
        let mut input = InBuffer::around(payload);
        let found = self.yield_into(&mut input, plain)?;
        if found != length {
            return Err(wrong_length(found, length));
        }
        if self.yield_into(&mut input, &mut [0])? != 0 || input.pos() != payload.len() {
            return Err(Error::damaged("a chunk", format!("it decompresses to more than {length} bytes")));
        }
        Ok(())
    }

    /// Fills `plain` as far as the input goes; returns how far.
    fn yield_into(&mut self, input: &mut InBuffer<'_>, plain: &mut [u8]) -> Result<usize> {
        let mut output = OutBuffer::around(plain);
        loop {
            let before = (input.pos(), output.pos());
            self.0.decompress_stream(&mut output, input).map_err(|code| {
                Error::damaged("a chunk", format!("it does not decompress: {}", get_error_name(code)))
            })?;
            if output.pos() == output.capacity() || before == (input.pos(), output.pos()) {
                return Ok(output.pos());
            }
        }
    }
}

fn wrong_length(found: usize, expected: usize) -> Error {
    Error::damaged("a chunk", format!("it is {found} bytes long instead of {expected}"))
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
        let kind = Encoder::new(1).unwrap().encode_behind(plain, &mut out).unwrap();
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
        assert_eq!(Encoder::new(1).unwrap().encode_behind(&[7; 1000], &mut out).unwrap(), Kind::Zstd);
        assert!(decoder.decode(Kind::Zstd, &out, &mut [0; 999]).is_err());
        assert!(decoder.decode(Kind::Zstd, &out, &mut [0; 1001]).is_err());
    }

    fn text(seed: u32) -> Vec<u8> {
        (0..65536_u32).flat_map(|i| (i * (i ^ seed) % 977).to_string().into_bytes()).take(65536).collect()
    }

    #[test]
    fn neighbours_share_a_frame_and_decode_in_order() {
        let mut encoder = Encoder::new(1).unwrap();
        let chunks: Vec<Vec<u8>> = (0..20).map(text).collect();
        let mut pieces = Vec::new();
        for chunk in &chunks {
            let mut out = Vec::new();
            pieces.push((encoder.encode_behind(chunk, &mut out).unwrap(), out));
        }
        let frame = usize::try_from(FRAME_BYTES).unwrap() / 65536;
        for (number, (kind, _)) in pieces.iter().enumerate() {
            assert_eq!(*kind, if number % frame == 0 { Kind::Zstd } else { Kind::Continued }, "{number}");
        }
        // Beginning at any frame, leaving off anywhere.
        for start in [0, frame, 2 * frame] {
            let mut decoder = Decoder::new().unwrap();
            for number in start..(start + frame).min(20) {
                let mut again = vec![0; 65536];
                decoder.decode(pieces[number].0, &pieces[number].1, &mut again).unwrap();
                assert_eq!(again, chunks[number], "{number}");
            }
        }
        let alone = Decoder::new().unwrap().decode(Kind::Continued, &pieces[1].1, &mut [0; 65536]);
        assert!(alone.is_err(), "a continued piece means nothing by itself");
    }

    #[test]
    fn pieces_of_every_length_come_back() {
        let mut long = text(3);
        (4..20).for_each(|seed| long.extend(text(seed)));
        for level in [1, 3, 9, 19] {
            let mut encoder = Encoder::new(level).unwrap();
            // Around the blocks of zstd (128 KiB) and the limits of a frame. A piece that did not decode would be an error here.
            for length in [131_072, 131_071, 131_073, 262_144, 1, 65_536, 524_288, 524_289, 1 << 20, 4096, 4095, 100] {
                let mut out = Vec::new();
                assert!(encoder.encode_behind(&long[..length], &mut out).is_ok(), "{level} {length}");
                assert!(out.len() <= length);
            }
        }
    }

    #[test]
    fn a_chunk_that_stays_raw_ends_the_frame() {
        let mut encoder = Encoder::new(1).unwrap();
        let mut random = vec![0; 65536];
        SeededEntropy::new(5).fill(&mut random);
        let kinds = [&text(1), &text(2), &random, &text(3), &text(4)]
            .map(|chunk| encoder.encode_behind(chunk, &mut Vec::new()).unwrap());
        assert_eq!(kinds, [Kind::Zstd, Kind::Continued, Kind::Raw, Kind::Zstd, Kind::Continued]);
        encoder.end_frame();
        assert_eq!(encoder.encode_behind(&text(5), &mut Vec::new()).unwrap(), Kind::Zstd);
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
