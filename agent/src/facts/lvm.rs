//! LVM2 physical volumes: the label, the metadata area and, from its text, the names and sizes of the logical volumes.
//!
//! Enough to describe a recovery point and to find a volume again; activating volumes is the kernel's and lvm2's work.

use super::fields::{Fields, read_bytes};
use crate::read_at::ReadAt;
use serde::{Deserialize, Serialize};
use std::io;

/// The label lies in one of the first four sectors.
const LABEL_SECTORS: usize = 4;
const MDA_HEADER_BYTES: usize = 512;
const MDA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// Text metadata of hundreds of volumes is some 100 KiB.
const MAX_TEXT_BYTES: u64 = 16 << 20;
const MAX_VOLUMES: usize = 4096;

/// What a physical volume says about its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct LvmPhysicalVolume {
    /// With dashes, as `pvs` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Size of the device when the volume was made.
    pub device_bytes: u64,
    /// `None` while the volume belongs to no group, or its metadata is unreadable or kept on other volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_group: Option<String>,
    /// Visible and hidden volumes of the whole group, in the order of the metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logical_volumes: Vec<LogicalVolume>,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct LogicalVolume {
    /// Without the group's name.
    pub name: String,
    /// Sum of its segments.
    pub size_bytes: u64,
}

/// `None` when there is no label. A label with damaged metadata is still a physical volume.
pub(super) fn read(disk: &dyn ReadAt) -> io::Result<Option<LvmPhysicalVolume>> {
    let Some(sectors) = read_bytes(disk, 0, LABEL_SECTORS * 512)? else { return Ok(None) };
    let is_label = |sector: &&[u8]| sector.starts_with(b"LABELONE") && Fields(sector).has(24, b"LVM2 001");
    let Some(label) = sectors.chunks_exact(512).find(is_label) else { return Ok(None) };
    let header_at = usize::try_from(Fields(label).le32(20)).unwrap_or(usize::MAX);
    let Some(header) = label.get(header_at..) else { return Ok(Some(LvmPhysicalVolume::default())) };
    let header = Fields(header);
    let mut volume = LvmPhysicalVolume {
        uuid: header.text(0, 32).map(|id| dashed(&id)),
        device_bytes: header.le64(32),
        ..LvmPhysicalVolume::default()
    };
    if let Some(text) = read_text(disk, metadata_area(header))? {
        describe(&text, &mut volume);
    }
    Ok(Some(volume))
}

/// Two lists of (offset, size) follow the header, each ended by zeros: data areas, then metadata areas.
fn metadata_area(header: Fields<'_>) -> (u64, u64) {
    let is_end = |i: &usize| header.le64(40 + i * 16) == 0 && header.le64(48 + i * 16) == 0;
    let data_areas = (0..16).find(is_end).unwrap_or(0);
    let at = 40 + (data_areas + 1) * 16;
    (header.le64(at), header.le64(at + 8))
}

/// The text is in a ring inside the area; the slot in the area's header says where and how long.
fn read_text(disk: &dyn ReadAt, (area_offset, area_bytes): (u64, u64)) -> io::Result<Option<String>> {
    if area_offset == 0 || area_bytes <= MDA_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let Some(header) = read_bytes(disk, area_offset, MDA_HEADER_BYTES)? else { return Ok(None) };
    let header = Fields(&header);
    let (offset, length) = (header.le64(40), header.le64(48));
    let fits = offset >= MDA_HEADER_BYTES as u64 && offset < area_bytes && (1..=MAX_TEXT_BYTES).contains(&length);
    if !header.has(4, MDA_MAGIC) || !fits || length > area_bytes - MDA_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let straight = length.min(area_bytes - offset);
    let mut text = Vec::new();
    for (at, part) in [(offset, straight), (MDA_HEADER_BYTES as u64, length - straight)] {
        let Some(start) = area_offset.checked_add(at) else { return Ok(None) };
        let Some(bytes) = read_bytes(disk, start, usize::try_from(part).unwrap_or(usize::MAX))? else {
            return Ok(None);
        };
        text.extend(bytes);
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
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

/// Walks the text line by line: `name {` opens a section, `}` closes it, `key = value` sets.
fn describe(text: &str, volume: &mut LvmPhysicalVolume) {
    let mut sections: Vec<&str> = Vec::new();
    let mut extent_bytes = 0_u64;
    for line in text.lines().map(str::trim) {
        let line = line.split(['#', '\0']).next().unwrap_or_default().trim();
        if let Some(name) = line.strip_suffix('{') {
            sections.push(name.trim());
            enter_section(&sections, volume);
        } else if line == "}" {
            sections.pop();
        } else if let Some((key, value)) = line.split_once('=') {
            let number = value.trim().parse::<u64>().unwrap_or(0);
            match (sections.as_slice(), key.trim()) {
                ([_], "extent_size") => extent_bytes = number.saturating_mul(512),
                ([_, "logical_volumes", _, _], "extent_count") => {
                    if let Some(last) = volume.logical_volumes.last_mut() {
                        last.size_bytes = last.size_bytes.saturating_add(number.saturating_mul(extent_bytes));
                    }
                }
                _ => {}
            }
        }
    }
}

fn enter_section(sections: &[&str], volume: &mut LvmPhysicalVolume) {
    match sections {
        [group] => volume.volume_group = Some((*group).to_owned()),
        [_, "logical_volumes", name] if volume.logical_volumes.len() < MAX_VOLUMES => {
            volume.logical_volumes.push(LogicalVolume { name: (*name).to_owned(), size_bytes: 0 });
        }
        _ => {}
    }
}
