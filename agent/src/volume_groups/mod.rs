//! LVM2 volume groups: the logical volumes on the disks of one recovery point, each as a disk of its own.
//!
//! `label` and `discovery` find physical volumes and the text that counts, `text` and `group` understand it, `stack` puts volumes together
//! out of `pieces`, mirrors (`raid1`), thin pools (`thin`) and classic snapshots (`snapshot`). Nothing is written, nothing is repaired,
//! and no volume shows bytes of which it is not certain that the kernel would show the same: the others say why not.

mod discovery;
mod error;
mod group;
pub(crate) mod label;
mod pieces;
mod raid1;
mod snapshot;
mod stack;
pub(crate) mod text;
mod thin;

pub use error::{Result, VolumeError};

use std::collections::HashMap;
use std::sync::Arc;

use crate::read_at::ReadAt;
use discovery::{Found, FoundGroup, LabelledDisk};
use group::{Group, Layout};
use stack::{Disks, Stack};

/// All that the disks of a recovery point say of volume groups.
pub struct VolumeGroups<'a> {
    /// In the order in which they were found. Groups of the same name stay apart by their UUID.
    pub groups: Vec<VolumeGroup<'a>>,
    /// What a person should know, such as a damaged copy of the metadata.
    pub notes: Vec<String>,
}

/// A volume group with its visible volumes.
pub struct VolumeGroup<'a> {
    /// Its name; not unique.
    pub name: String,
    /// As `vgs` shows it.
    pub uuid: String,
    /// Which of the disks that were given belong to it, by their place.
    pub disks: Vec<usize>,
    /// UUIDs of physical volumes that are not among the disks, or of which an old state may be.
    pub missing: Vec<String>,
    /// Those that a person would see, in the order of the metadata.
    pub volumes: Vec<LogicalVolume<'a>>,
}

/// A visible logical volume.
pub struct LogicalVolume<'a> {
    /// Without the group's name.
    pub name: String,
    /// As `lvs` shows it.
    pub uuid: String,
    /// What it shows when it can be read.
    pub size_bytes: u64,
    /// The type as `lvs` names it, such as `linear`, `raid1` or `thin`; several with a plus sign between.
    pub kind: String,
    disk: Result<Arc<dyn ReadAt + 'a>>,
}

impl<'a> LogicalVolume<'a> {
    /// Its content as a disk. It may be read from any thread; damage that is met later is an error of that read.
    pub fn open(&self) -> Result<Arc<dyn ReadAt + 'a>> {
        self.disk.clone()
    }

    /// Why it cannot be read here.
    pub fn refusal(&self) -> Option<&VolumeError> {
        self.disk.as_ref().err()
    }
}

impl<'a> VolumeGroups<'a> {
    /// Looks for physical volumes on `disks`: all whole disks and partitions of one recovery point that may hold one, each given once.
    /// Only an unreadable disk or a limit is an error; what cannot be read for other reasons says so where it stands.
    pub fn read(disks: &[Arc<dyn ReadAt + 'a>]) -> Result<Self> {
        let mut found = Found::on(disks)?;
        let mut notes = std::mem::take(&mut found.notes);
        let known = |uuid: &str| found.groups.iter().any(|g| g.group.physical.values().any(|p| p.uuid == uuid));
        for disk in found.disks.iter().filter(|disk| !known(&disk.uuid)) {
            notes.push(format!("physical volume {} belongs to no group that is known here", disk.uuid));
        }
        let groups = found.groups.iter().map(|group| VolumeGroup::build(group, &found.disks, disks)).collect();
        Ok(Self { groups, notes })
    }
}

impl<'a> VolumeGroup<'a> {
    fn build(found: &FoundGroup, labelled: &[LabelledDisk], disks: &[Arc<dyn ReadAt + 'a>]) -> Self {
        let group = &*found.group;
        let below = disks_of(group, labelled, disks);
        let mut missing: Vec<String> =
            below.iter().filter(|(_, disk)| is_missing(disk)).map(|(n, _)| n.clone()).collect();
        missing.sort_unstable();
        let uuid_of = |name: &String| group.physical.get(name).map_or_else(String::new, |p| p.uuid.clone());
        let mut stack = Stack::new(group, &below);
        let volumes = group.logical.iter().filter_map(|volume| stack.listed(volume)).collect::<Vec<_>>();
        let volumes = volumes.into_iter().map(|volume| {
            let disk = match (&group.obstacle, found.is_contradicted) {
                (_, true) => Err(VolumeError::corrupt("two copies of the metadata of the same age differ")),
                (Some(obstacle), _) => Err(VolumeError::unsupported(obstacle.clone())),
                (None, false) => stack.shown(volume),
            };
            LogicalVolume {
                name: volume.name.clone(),
                uuid: volume.uuid.clone(),
                size_bytes: disk.as_ref().map_or_else(|_| group.bytes(volume.extents).unwrap_or(0), |d| d.size_bytes()),
                kind: if stack.is_store(&volume.name) { "snapshot".to_owned() } else { kind_of(volume) },
                disk,
            }
        });
        Self {
            name: group.name.clone(),
            uuid: group.uuid.clone(),
            volumes: volumes.collect(),
            disks: labelled
                .iter()
                .filter(|d| group.physical.values().any(|p| p.uuid == d.uuid))
                .map(|d| d.index)
                .collect(),
            missing: missing.iter().map(uuid_of).collect(),
        }
    }
}

fn is_missing(disk: &Result<Arc<dyn ReadAt + '_>>) -> bool {
    matches!(disk, Err(VolumeError::Missing { .. }))
}

/// Matches the group's physical volumes with the disks by UUID.
fn disks_of<'a>(group: &Group, labelled: &[LabelledDisk], disks: &[Arc<dyn ReadAt + 'a>]) -> Disks<'a> {
    let mut by_uuid: HashMap<&str, Vec<&LabelledDisk>> = HashMap::new();
    for disk in labelled {
        by_uuid.entry(&disk.uuid).or_default().push(disk);
    }
    let disk_of = |uuid: &str, is_missing: bool| {
        let name = format!("physical volume {uuid}");
        match by_uuid.get(uuid).map_or(&[][..], Vec::as_slice) {
            [] => Err(VolumeError::Missing { what: format!("the {name}") }),
            // What is on it may be old.
            _ if is_missing => Err(VolumeError::Missing {
                what: format!("the current state of {name}, which the group went on without,"),
            }),
            [one] if one.group_uuid.as_ref().is_some_and(|own| *own != group.uuid) => {
                Err(VolumeError::corrupt(format!("by its own metadata {name} belongs to another group")))
            }
            [one] => disks.get(one.index).cloned().ok_or_else(|| VolumeError::Missing { what: format!("the {name}") }),
            _ => Err(VolumeError::corrupt(format!("several disks of this recovery point say that they are {name}"))),
        }
    };
    group.physical.iter().map(|(name, p)| (name.clone(), disk_of(&p.uuid, p.is_missing))).collect()
}

/// The types of a volume's segments, each once.
fn kind_of(volume: &group::LogicalVolume) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for segment in &volume.segments {
        let kind = match &segment.layout {
            Layout::Striped { areas, .. } if areas.len() == 1 => "linear",
            _ => segment.kind.as_str(),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join("+")
}
