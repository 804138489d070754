//! Physical volumes of LVM made byte by byte, so that tests can say anything in their metadata.

use std::fmt::Write;
use std::sync::Arc;

use agent::read_at::ReadAt;
use agent::volume_groups::{VolumeError, VolumeGroups};

use crate::population::pattern;

pub const EXTENT: usize = 64 << 10;
/// Where extents begin.
pub const DATA: usize = 1 << 20;
/// The first metadata area.
pub const AREA: usize = 4096;
pub const AREA_BYTES: usize = 256 << 10;
/// The second one, at the end of the space before the data.
pub const SECOND_AREA: usize = 512 << 10;

/// One physical volume; its extents are filled with a pattern.
#[derive(Clone)]
pub struct Made {
    pub bytes: Vec<u8>,
}

impl Made {
    /// A disk with the label of the physical volume `number` and metadata nowhere.
    pub fn new(number: u8, extents: usize) -> Self {
        let mut bytes = vec![0; DATA];
        bytes.extend(pattern(extents * EXTENT, u64::from(number) + 1));
        let mut made = Self { bytes };
        made.label(number, 1);
        made
    }

    /// Writes the label into a sector.
    pub fn label(&mut self, number: u8, sector: usize) {
        let mut label = vec![0; 512];
        label[..8].copy_from_slice(b"LABELONE");
        put64(&mut label, 8, sector as u64);
        put32(&mut label, 20, 32);
        label[24..32].copy_from_slice(b"LVM2 001");
        label[32..64].copy_from_slice(uuid(number).replace('-', "").as_bytes());
        let areas = [DATA, 0, 0, 0, AREA, AREA_BYTES, SECOND_AREA, AREA_BYTES, 0, 0];
        put64(&mut label, 64, self.bytes.len() as u64);
        for (index, value) in areas.into_iter().enumerate() {
            put64(&mut label, 72 + index * 8, value as u64);
        }
        let sum = checksum(&label[20..]);
        put32(&mut label, 16, sum);
        self.bytes[sector * 512..][..512].copy_from_slice(&label);
    }

    /// Writes a text into an area, `at` bytes from its beginning; what does not fit goes behind the header.
    pub fn text_at(&mut self, area: usize, at: usize, text: &str) {
        let text = text.as_bytes();
        let straight = text.len().min(AREA_BYTES - at);
        self.bytes[area + at..][..straight].copy_from_slice(&text[..straight]);
        self.bytes[area + 512..][..text.len() - straight].copy_from_slice(&text[straight..]);
        let mut header = vec![0; 512];
        header[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
        put32(&mut header, 20, 1);
        for (index, value) in [area, AREA_BYTES, at, text.len()].into_iter().enumerate() {
            put64(&mut header, 24 + index * 8, value as u64);
        }
        put32(&mut header, 56, checksum(text));
        let sum = checksum(&header[4..]);
        put32(&mut header, 0, sum);
        self.bytes[area..][..512].copy_from_slice(&header);
    }

    pub fn text(mut self, text: &str) -> Self {
        self.text_at(AREA, 512, text);
        self
    }

    /// The text in the first area, without its end.
    pub fn said(&self) -> String {
        let bytes = self.bytes[AREA + 512..].split(|byte| *byte == 0).next().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// The bytes of extents.
    pub fn extents(&self, first: usize, count: usize) -> &[u8] {
        &self.bytes[DATA + first * EXTENT..][..count * EXTENT]
    }

    pub fn extents_mut(&mut self, first: usize, count: usize) -> &mut [u8] {
        &mut self.bytes[DATA + first * EXTENT..][..count * EXTENT]
    }
}

pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// LVM's checksum, bit by bit.
pub fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
    bytes.iter().fold(0xF597_A6CF, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// The UUID of the physical volume `number`.
pub fn uuid(number: u8) -> String {
    format!("AAAAAA-0000-0000-0000-0000-0000-00000{number}")
}

/// The text of a group `vg` on `physical` volumes of 64 extents with these descriptions of logical volumes.
pub fn group(sequence: u32, physical: u8, logical: &str) -> String {
    let mut text = format!(
        "vg {{\nid = \"vguuid\"\nseqno = {sequence}\nformat = \"lvm2\"\nstatus = [\"READ\", \"WRITE\"]\nextent_size = 128\n"
    );
    text.push_str("physical_volumes {\n");
    for number in 0..physical {
        let id = uuid(number);
        writeln!(
            text,
            "pv{number} {{\nid = \"{id}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\npe_start = 2048\npe_count = 64\n}}"
        )
        .unwrap();
    }
    format!("{text}}}\nlogical_volumes {{\n{logical}}}\n}}\n# made\ncontents = \"Text Format Volume Group\"\n\0")
}

/// A visible volume of segments.
pub fn volume(name: &str, segments: &[String]) -> String {
    described(name, "\"READ\", \"WRITE\", \"VISIBLE\"", segments)
}

/// A part of another volume.
pub fn hidden(name: &str, segments: &[String]) -> String {
    described(name, "\"READ\", \"WRITE\"", segments)
}

/// A volume with flags.
pub fn described(name: &str, flags: &str, segments: &[String]) -> String {
    let mut text = format!("{name} {{\nid = \"uuid-{name}\"\nstatus = [{flags}]\nsegment_count = {}\n", segments.len());
    for (index, segment) in segments.iter().enumerate() {
        write!(text, "segment{} {{\n{segment}}}\n", index + 1).unwrap();
    }
    format!("{text}}}\n")
}

/// A segment of any type.
pub fn segment(first: usize, count: usize, kind: &str, rest: &str) -> String {
    format!("start_extent = {first}\nextent_count = {count}\ntype = \"{kind}\"\n{rest}\n")
}

/// A segment that lies on one disk or volume.
pub fn linear(first: usize, count: usize, on: &str, at: usize) -> String {
    segment(first, count, "striped", &format!("stripe_count = 1\nstripes = [\n\"{on}\", {at}\n]"))
}

/// Reads the groups on disks.
pub fn groups(disks: &[&Made]) -> VolumeGroups<'static> {
    let disks: Vec<Arc<dyn ReadAt>> =
        disks.iter().map(|disk| Arc::new(disk.bytes.clone()) as Arc<dyn ReadAt>).collect();
    VolumeGroups::read(&disks).unwrap()
}

/// All bytes of a volume of the only group, or why there are none.
pub fn content(found: &VolumeGroups<'_>, name: &str) -> Result<Vec<u8>, VolumeError> {
    assert_eq!(found.groups.len(), 1);
    let volume = found.groups[0].volumes.iter().find(|volume| volume.name == name).expect("the volume is listed");
    let disk = volume.open()?;
    assert_eq!(disk.size_bytes(), volume.size_bytes);
    Ok(whole(&*disk).unwrap())
}

/// All bytes of a disk, in pieces that fit nothing.
pub fn whole(disk: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; disk.size_bytes() as usize];
    for (index, piece) in bytes.chunks_mut(100_003).enumerate() {
        disk.read_exact_at(piece, index as u64 * 100_003)?;
    }
    Ok(bytes)
}

/// What is said of a volume that cannot be read.
pub fn refusal(found: &VolumeGroups<'_>, name: &str) -> String {
    content(found, name).err().unwrap_or_else(|| panic!("{name} is not refused")).to_string()
}
