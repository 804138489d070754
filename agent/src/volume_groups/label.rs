//! What LVM writes to the beginning of a physical volume: its label, and the areas in which the metadata's text lies.
//!
//! Reading says what is there and whether checksums agree; who uses it decides what a wrong checksum means: facts describe what they see,
//! a reader of volumes trusts nothing that is not sound.

use std::io;

use crc::{Algorithm, Crc};

use crate::facts::fields::{Fields, read_bytes};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const SECTOR_BYTES: usize = 512;
/// The label lies in one of the first four sectors.
const LABEL_SECTORS: usize = 4;
/// Lists of areas are this long at most; the tools make one data area and up to two metadata areas.
const MAX_AREAS: usize = 16;
const AREA_HEADER_BYTES: usize = 512;
const AREA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// The text of thousands of volumes is a few MiB; the usual area is 1 MiB.
pub(crate) const MAX_TEXT_BYTES: u64 = 16 << 20;
/// Flag of a text that the tools were told to ignore; it may be old.
const TEXT_IGNORED: u32 = 1;

/// The checksum of labels, headers and texts: CRC-32 with a beginning of its own and no inversion at the end.
static CHECKSUM: Crc<u32> = Crc::<u32>::new(&Algorithm {
    width: 32,
    poly: 0x04C1_1DB7,
    init: 0xF365_E9AF,
    refin: true,
    refout: true,
    xorout: 0,
    check: 0,
    residue: 0,
});

/// The label of a physical volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    /// With dashes, as `pvs` shows it.
    pub(crate) uuid: Option<String>,
    /// Size of the device when the volume was made.
    pub(crate) device_bytes: u64,
    /// Offset and length of each metadata area, in bytes.
    pub(crate) metadata_areas: Vec<(u64, u64)>,
    /// Whether its checksum and its own number are right.
    pub(crate) is_sound: bool,
}

impl Label {
    /// The first sound label, else the first; `None` when there is none.
    pub(crate) fn read(disk: &dyn ReadAt) -> io::Result<Option<Self>> {
        let Some(sectors) = read_bytes(disk, 0, LABEL_SECTORS * SECTOR_BYTES)? else { return Ok(None) };
        let sectors = (0_u64..).zip(sectors.chunks_exact(SECTOR_BYTES));
        let labels: Vec<Self> = sectors.filter_map(|(number, sector)| Self::parse(sector, number)).collect();
        let sound = labels.iter().position(|label| label.is_sound).unwrap_or(0);
        Ok(labels.into_iter().nth(sound))
    }

    fn parse(sector: &[u8], number: u64) -> Option<Self> {
        let fields = Fields(sector);
        if !(fields.has(0, b"LABELONE") && fields.has(24, b"LVM2 001")) {
            return None;
        }
        let is_sound = fields.le64(8) == number && CHECKSUM.checksum(sector.get(20..)?) == fields.le32(16);
        let header_at = in_memory(u64::from(fields.le32(20)));
        let Some(header) = sector.get(header_at..) else { return Some(Self::default()) };
        let header = Fields(header);
        Some(Self {
            uuid: header.text(0, 32).map(|id| dashed(&id)),
            device_bytes: header.le64(32),
            metadata_areas: metadata_areas(header),
            is_sound,
        })
    }
}

/// Two lists of (offset, size) follow the header, each ended by zeros: data areas, then metadata areas.
fn metadata_areas(header: Fields<'_>) -> Vec<(u64, u64)> {
    let area = |i: usize| (header.le64(40 + i * 16), header.le64(48 + i * 16));
    let data_areas = (0..MAX_AREAS).find(|i| area(*i) == (0, 0)).unwrap_or(0);
    (data_areas + 1..).map(area).take(MAX_AREAS).take_while(|area| *area != (0, 0)).collect()
}

/// `abcdef-ghij-…`: six, five times four, six.
fn dashed(id: &str) -> String {
    let mut text = String::with_capacity(id.len() + 6);
    for (i, c) in id.chars().enumerate() {
        if matches!(i, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(c);
    }
    text
}

/// The text in a metadata area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AreaText {
    pub(crate) bytes: Vec<u8>,
    /// Whether the checksums of the header and of the text are right.
    pub(crate) is_sound: bool,
    /// Whether the tools were told not to use it.
    pub(crate) is_ignored: bool,
}

impl AreaText {
    /// The committed text; `None` when the area holds none, or nothing of its header makes sense. The text lies in a ring behind the header.
    pub(crate) fn read(disk: &dyn ReadAt, (area_offset, area_bytes): (u64, u64)) -> io::Result<Option<Self>> {
        let header_bytes = AREA_HEADER_BYTES as u64;
        if area_offset == 0 || area_bytes <= header_bytes {
            return Ok(None);
        }
        let Some(header) = read_bytes(disk, area_offset, AREA_HEADER_BYTES)? else { return Ok(None) };
        let header_sum = CHECKSUM.checksum(header.get(4..).unwrap_or_default());
        let header = Fields(&header);
        let (offset, length) = (header.le64(40), header.le64(48));
        let fits = (header_bytes..area_bytes).contains(&offset) && (1..=MAX_TEXT_BYTES).contains(&length);
        if !header.has(4, AREA_MAGIC) || !fits || length > area_bytes - header_bytes {
            return Ok(None);
        }
        let straight = length.min(area_bytes - offset);
        let mut bytes = Vec::new();
        for (at, part) in [(offset, straight), (header_bytes, length - straight)] {
            let Some(start) = area_offset.checked_add(at) else { return Ok(None) };
            let Some(read) = read_bytes(disk, start, in_memory(part))? else { return Ok(None) };
            bytes.extend(read);
        }
        let is_at_home = header.le32(20) == 1 && header.le64(24) == area_offset && header.le64(32) == area_bytes;
        let is_sound = is_at_home && header_sum == header.le32(0) && CHECKSUM.checksum(&bytes) == header.le32(56);
        Ok(Some(Self { bytes, is_sound, is_ignored: header.le32(60) & TEXT_IGNORED != 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Label, dashed};

    #[test]
    fn areas_after_a_list_without_an_end_are_not_looked_for() {
        let mut sector = vec![0; 2048];
        sector[512..520].copy_from_slice(b"LABELONE");
        sector[532] = 32;
        sector[536..544].copy_from_slice(b"LVM2 001");
        sector[544..1024].fill(0xFF);
        let label = Label::read(&sector).unwrap().unwrap();
        assert!(!label.is_sound);
        assert!(label.metadata_areas.len() <= super::MAX_AREAS);
    }

    #[test]
    fn identifiers_are_shown_as_the_tools_show_them() {
        assert_eq!(dashed("gEPpqIjr3ZNxBBOYCybm4pEglHqA3IW4"), "gEPpqI-jr3Z-NxBB-OYCy-bm4p-EglH-qA3IW4");
    }
}
