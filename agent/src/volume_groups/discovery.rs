//! From disks to groups: finds physical volumes by their labels and, among all copies of each group's text, the one that counts.
//!
//! A copy counts when its checksums are right; the newest counts most. Copies of the same age that differ contradict each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Result, VolumeError};
use super::group::Group;
use super::label::{AreaText, Label};
use crate::read_at::ReadAt;

/// All texts together; hostile disks cannot make us read and check more.
const MAX_ALL_TEXT_BYTES: usize = 64 << 20;

/// A disk with a sound label.
pub(super) struct LabelledDisk {
    /// Its place among the disks that were given.
    pub(super) index: usize,
    pub(super) uuid: String,
    /// UUID of the group that its own newest text describes.
    pub(super) group_uuid: Option<String>,
}

/// What was found on all disks.
#[derive(Default)]
pub(super) struct Found {
    pub(super) disks: Vec<LabelledDisk>,
    pub(super) groups: Vec<FoundGroup>,
    /// Sentences about damage.
    pub(super) notes: Vec<String>,
    texts: HashMap<Vec<u8>, Option<Arc<Group>>>,
    text_bytes: usize,
}

/// The text of a group that counts.
pub(super) struct FoundGroup {
    pub(super) group: Arc<Group>,
    /// Another text of the same age says something else.
    pub(super) is_contradicted: bool,
}

impl Found {
    /// Looks at all disks.
    pub(super) fn on(disks: &[Arc<dyn ReadAt + '_>]) -> Result<Self> {
        let mut found = Self::default();
        for (index, disk) in disks.iter().enumerate() {
            let label = Label::read(&**disk).map_err(|e| VolumeError::read(format!("the label of disk {index}"), e))?;
            match label {
                Some(Label { uuid: Some(uuid), metadata_areas, is_sound: true, .. }) => {
                    let group_uuid = found.take_texts(&**disk, &uuid, &metadata_areas)?;
                    found.disks.push(LabelledDisk { index, uuid, group_uuid });
                }
                Some(_) => found.notes.push(format!("the LVM label of disk {index} of those given is damaged")),
                None => {}
            }
        }
        found.texts.clear();
        Ok(found)
    }

    /// Takes the texts of one disk; returns the UUID of the group that the newest of them describes.
    fn take_texts(&mut self, disk: &dyn ReadAt, uuid: &str, areas: &[(u64, u64)]) -> Result<Option<String>> {
        let mut own: Option<Arc<Group>> = None;
        for area in areas {
            let text = AreaText::read(disk, *area);
            let text = text.map_err(|e| VolumeError::read(format!("the metadata of physical volume {uuid}"), e))?;
            let Some(text) = text.filter(|text| !text.is_ignored) else { continue };
            if !text.is_sound {
                self.notes.push(format!("a copy of the metadata on physical volume {uuid} has a wrong checksum"));
                continue;
            }
            let Some(group) = self.parsed(uuid, text.bytes)? else { continue };
            self.take(&group);
            if own.as_ref().is_none_or(|own| own.sequence < group.sequence) {
                own = Some(group);
            }
        }
        Ok(own.map(|group| group.uuid.clone()))
    }

    /// Copies are mostly the same, so each text is understood once only.
    fn parsed(&mut self, uuid: &str, bytes: Vec<u8>) -> Result<Option<Arc<Group>>> {
        if let Some(known) = self.texts.get(&bytes) {
            return Ok(known.clone());
        }
        self.text_bytes = self.text_bytes.saturating_add(bytes.len());
        if self.text_bytes > MAX_ALL_TEXT_BYTES {
            return Err(VolumeError::Limit { what: "the metadata of all groups", limit: MAX_ALL_TEXT_BYTES as u64 });
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| VolumeError::corrupt("the metadata is no text"));
        let group = match text.and_then(Group::parse) {
            Ok(group) => Some(Arc::new(group)),
            Err(error) => {
                self.notes.push(format!("a copy of the metadata on physical volume {uuid} cannot be used: {error}"));
                None
            }
        };
        self.texts.insert(bytes, group.clone());
        Ok(group)
    }

    fn take(&mut self, group: &Arc<Group>) {
        let Some(known) = self.groups.iter_mut().find(|known| known.group.uuid == group.uuid) else {
            self.groups.push(FoundGroup { group: Arc::clone(group), is_contradicted: false });
            return;
        };
        if known.group.sequence < group.sequence {
            *known = FoundGroup { group: Arc::clone(group), is_contradicted: false };
        } else if known.group.sequence == group.sequence && known.group != *group {
            known.is_contradicted = true;
        }
    }
}
