//! Where file systems lie on a disk of a recovery point: its partitions, as the point recorded them or as its bytes tell.
//!
//! Which of them is meant when nobody names one is decided here ([`meant`]), for the command line, the keeper and the page alike.

use crate::facts::content::Content;
use crate::facts::{DiskFacts, Partition};
use crate::files;
use crate::output;
use crate::point_disk::PointDisk;
use crate::source::SourceFacts;
use repo_format::manifest::{Disk, Manifest};
use std::io;

/// Sector size where a point does not say.
pub const SECTOR_BYTES: u32 = 512;

/// Facts as the point recorded them; `None` when a program wrote them that this one does not understand.
pub fn recorded_facts(disk: &Disk) -> Option<DiskFacts> {
    serde_json::from_value::<SourceFacts>(disk.facts.clone()).ok().map(|facts| facts.disk)
}

/// Facts as recorded, else as the disk's bytes tell them.
pub fn facts(disk: &PointDisk<'_>) -> io::Result<DiskFacts> {
    match recorded_facts(disk.disk()) {
        Some(facts) => Ok(facts),
        None => DiskFacts::read(disk, SECTOR_BYTES),
    }
}

/// The partitions that have bytes of their own and lie on a disk of this size.
pub fn partitions(facts: &DiskFacts, size_bytes: u64) -> impl Iterator<Item = &Partition> {
    let inside = move |partition: &&Partition| {
        let end = partition.offset_bytes.checked_add(partition.length_bytes);
        !partition.extended && end.is_some_and(|end| end <= size_bytes)
    };
    facts.partitions.iter().filter(inside)
}

/// A partition, or a disk without partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its number; none for the disk itself.
    pub partition: Option<u32>,
    /// The name that the partition table gives it.
    pub name: Option<String>,
    /// Where it begins on the disk.
    pub offset_bytes: u64,
    /// Its length.
    pub length_bytes: u64,
    /// What its first bytes say it holds.
    pub content: Option<Content>,
    /// Whether it is what the machine's firmware starts from, and so hardly ever what somebody looks for.
    pub is_efi_system: bool,
}

impl Volume {
    /// Whether its files can be read here.
    pub fn is_readable(&self) -> bool {
        self.content.as_ref().is_some_and(|content| files::reads(content.kind))
    }

    /// What it holds, such as `ext4`.
    pub fn holds(&self) -> Option<String> {
        let name = serde_json::to_value(self.content.as_ref()?.kind).ok()?;
        name.as_str().map(str::to_owned)
    }

    /// The same, with what tells it from its neighbours.
    fn described(&self) -> String {
        let mut said = vec![self.holds().unwrap_or_else(|| "unknown content".into())];
        let label = self.name.as_deref().or_else(|| self.content.as_ref()?.label.as_deref());
        said.extend(label.map(output::name));
        if self.is_efi_system {
            said.push("EFI system partition".into());
        }
        said.push(output::bytes(self.length_bytes));
        said.join(", ")
    }
}

/// Whether files of what [`Volume::holds`] calls this can be read here.
pub fn reads(holds: &str) -> bool {
    serde_json::from_value(holds.into()).is_ok_and(files::reads)
}

/// The volumes of a disk: its partitions, or the disk itself where it has none.
pub fn volumes(facts: &DiskFacts, size_bytes: u64) -> Vec<Volume> {
    let of_partition = |partition: &Partition| Volume {
        partition: Some(partition.number),
        name: partition.name.clone(),
        offset_bytes: partition.offset_bytes,
        length_bytes: partition.length_bytes,
        content: partition.content.clone(),
        is_efi_system: partition.is_efi_system(),
    };
    let known: Vec<Volume> = partitions(facts, size_bytes).map(of_partition).collect();
    if !known.is_empty() {
        return known;
    }
    vec![Volume {
        partition: None,
        name: None,
        offset_bytes: 0,
        length_bytes: size_bytes,
        content: facts.content.clone(),
        is_efi_system: false,
    }]
}

/// Which volume is meant when nobody names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// The one of this number in the list.
    One(usize),
    /// Somebody has to say.
    Several,
    /// Nothing here can be read.
    None,
}

/// The only volume, or the only one with files; an EFI system partition counts only where nothing else has files.
pub fn meant<'v>(volumes: impl IntoIterator<Item = &'v Volume>) -> Meant {
    let all: Vec<&Volume> = volumes.into_iter().collect();
    let only = |wanted: &dyn Fn(&Volume) -> bool| {
        let mut found = (0..all.len()).filter(|at| wanted(all[*at]));
        match (found.next(), found.next()) {
            (None, _) => Meant::None,
            (Some(at), None) => Meant::One(at),
            (Some(_), Some(_)) => Meant::Several,
        }
    };
    if all.len() == 1 {
        return Meant::One(0);
    }
    match only(&|volume| volume.is_readable() && !volume.is_efi_system) {
        Meant::None => only(&Volume::is_readable),
        found => found,
    }
}

/// The disk that is meant when nobody names disk or partition, where that is clear and the disk has to be named. Logical volumes aside.
pub fn meant_disk(manifest: &Manifest) -> Option<&str> {
    let of_disk = |disk: &Disk| volumes(&recorded_facts(disk).unwrap_or_default(), disk.size_bytes);
    let all: Vec<(&Disk, Volume)> =
        manifest.disks.iter().flat_map(|disk| of_disk(disk).into_iter().map(move |volume| (disk, volume))).collect();
    match meant(all.iter().map(|(_, volume)| volume)) {
        Meant::One(at) => Some(all[at].0.name.as_str()),
        Meant::Several | Meant::None => None,
    }
}

/// The partitions with what they hold, for a person who has to choose one.
pub fn listed(volumes: &[Volume]) -> String {
    let one = |volume: &Volume| volume.partition.map(|number| format!("{number} ({})", volume.described()));
    volumes.iter().filter_map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::content::ContentKind;
    use serde_json::json;

    fn volume(number: u32, holds: &str, is_efi_system: bool) -> Volume {
        let content = (!holds.is_empty()).then(|| serde_json::from_value(json!({ "kind": holds })).unwrap());
        let (offset_bytes, length_bytes) = (u64::from(number) << 20, 1 << 20);
        Volume { partition: Some(number), name: None, offset_bytes, length_bytes, content, is_efi_system }
    }

    fn choice(of: &[(&str, bool)]) -> Meant {
        let volumes: Vec<Volume> =
            (1..).zip(of).map(|(number, (holds, is_efi))| volume(number, holds, *is_efi)).collect();
        meant(&volumes)
    }

    #[test]
    fn the_only_volume_with_files_is_meant_and_no_choice_is_made_between_two() {
        assert_eq!(choice(&[("fat", true), ("swap", false), ("ext4", false)]), Meant::One(2));
        assert_eq!(choice(&[("fat", true), ("swap", false)]), Meant::One(0), "nothing else has files");
        assert_eq!(choice(&[("fat", true), ("fat", true)]), Meant::Several);
        assert_eq!(choice(&[("fat", false), ("ext4", false)]), Meant::Several, "FAT may hold what is looked for");
        assert_eq!(choice(&[("fat", true), ("ext4", false), ("ext2", false)]), Meant::Several);
        assert_eq!(choice(&[("swap", false), ("", false)]), Meant::None);
        assert_eq!(choice(&[("", false)]), Meant::One(0), "what it holds is told when it is opened");
        assert_eq!(choice(&[]), Meant::None);
    }

    #[test]
    fn a_list_to_choose_from_says_what_each_holds() {
        let mut volumes = vec![volume(1, "fat", true), volume(2, "ext4", false), volume(3, "", false)];
        volumes[1].name = Some("root\n".into());
        let listed = listed(&volumes);
        assert!(listed.starts_with("1 (fat, EFI system partition, 1"), "{listed}");
        assert!(listed.contains("; 2 (ext4, root") && listed.contains("3 (unknown content, "), "{listed}");
        assert_eq!(volumes[0].content.as_ref().unwrap().kind, ContentKind::Fat);
    }
}
