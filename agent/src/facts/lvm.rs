//! LVM2 physical volumes: from the label and the metadata's text, the names and sizes of the logical volumes.
//!
//! Enough to describe a recovery point and to find a volume again; what lies on the volumes is read by [`crate::volume_groups`].

use crate::read_at::ReadAt;
use crate::volume_groups::label::{AreaText, Label};
use crate::volume_groups::text::Section;
use serde::{Deserialize, Serialize};
use std::io;

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
    let Some(label) = Label::read(disk)? else { return Ok(None) };
    let mut volume =
        LvmPhysicalVolume { uuid: label.uuid, device_bytes: label.device_bytes, ..LvmPhysicalVolume::default() };
    let first = label.metadata_areas.first();
    if let Some(text) = first.map(|area| AreaText::read(disk, *area)).transpose()?.flatten() {
        let text = String::from_utf8_lossy(&text.bytes);
        // A description that contradicts itself describes nothing.
        if let Some(root) = Section::parse(&text).ok().filter(|root| root.sections.len() == 1) {
            describe(&root, &mut volume);
        }
    }
    Ok(Some(volume))
}

fn describe(root: &Section, volume: &mut LvmPhysicalVolume) {
    let Some((name, group)) = root.sections.first() else { return };
    let number = |section: &Section, key| section.number(key).ok().flatten().unwrap_or(0);
    let extent_bytes = number(group, "extent_size").saturating_mul(512);
    let size = |segments: &Section| {
        let extents = segments.sections.iter().map(|(_, segment)| number(segment, "extent_count"));
        extents.fold(0_u64, |sum, count| sum.saturating_add(count.saturating_mul(extent_bytes)))
    };
    volume.volume_group = Some(name.clone());
    if let Ok(Some(volumes)) = group.section("logical_volumes") {
        let described = volumes.sections.iter().take(MAX_VOLUMES);
        let described = described.map(|(name, s)| LogicalVolume { name: name.clone(), size_bytes: size(s) });
        volume.logical_volumes = described.collect();
    }
}
