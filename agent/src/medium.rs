//! What the file systems of a recovery point lie on: its disks, and the logical volumes that lie on those.
//!
//! A logical volume is known by the names of its group and its own, `GROUP/VOLUME`, wherever a disk is by its name.

use crate::facts::DiskFacts;
use crate::facts::content::{Content, ContentKind, is_raid_member};
use crate::output;
use crate::point_disk::PointDisk;
use crate::read_at::{ReadAt, Slice};
use crate::volume_groups::{LogicalVolume, VolumeGroup, VolumeGroups};
use crate::volumes::{self, Meant, Volume};
use anyhow::{Context as _, Result, bail};
use repo_format::manifest::{Disk, Manifest};
use repo_format::reader::Reader;
use std::collections::HashSet;
use std::sync::Arc;

/// A disk of a point, or a logical volume on its disks.
pub struct Medium<'r> {
    /// Name of the disk, or of group and volume with a slash between.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The disks of the point that it lies on, by their names.
    pub on: Vec<String>,
    /// Where its partitions lie, if the point says, or where it was looked for already.
    recorded: Option<DiskFacts>,
    /// Its bytes, or why they cannot be had.
    content: Result<Arc<dyn ReadAt + 'r>, String>,
}

impl<'r> Medium<'r> {
    /// All of a point: its disks, then the logical volumes.
    pub fn all(reader: &'r Reader<'r>, manifest: &Manifest) -> Result<Vec<Self>> {
        let mut disks = Vec::new();
        let mut physical = Vec::new();
        for disk in &manifest.disks {
            let content: Arc<dyn ReadAt + 'r> = Arc::new(PointDisk::new(reader, manifest, Some(&disk.name))?);
            let medium = Self::of_disk(disk, content.clone());
            let places = medium.recorded.as_ref().map(|facts| physical_volumes(facts, disk)).unwrap_or_default();
            for (offset_bytes, length_bytes) in places {
                let slice = Slice::new(content.clone(), offset_bytes, length_bytes)?;
                // Half of a mirror of md has LVM's label too, and may be an old half.
                if is_raid_member(&slice)? {
                    continue;
                }
                physical.push((disk.name.as_str(), Arc::new(slice) as Arc<dyn ReadAt + 'r>));
            }
            disks.push(medium);
        }
        if !physical.is_empty() {
            let logical = Self::logical(&physical, &disks)?;
            disks.extend(logical);
        }
        Ok(disks)
    }

    /// Whether the point says that some of its disks hold volume groups.
    pub fn may_have_logical(manifest: &Manifest) -> bool {
        let has =
            |disk: &Disk| volumes::recorded_facts(disk).is_some_and(|facts| !physical_volumes(&facts, disk).is_empty());
        manifest.disks.iter().any(has)
    }

    /// The one of this name.
    pub fn named(reader: &'r Reader<'r>, manifest: &Manifest, name: &str) -> Result<Self> {
        if let Some(disk) = manifest.disks.iter().find(|disk| disk.name == name) {
            return Ok(Self::of_disk(disk, Arc::new(PointDisk::new(reader, manifest, Some(name))?)));
        }
        let mut all = Self::all(reader, manifest)?;
        let at = all.iter().position(|medium| medium.name == name);
        let names = || all.iter().map(|medium| output::name(&medium.name)).collect::<Vec<_>>().join(", ");
        let at = at
            .with_context(|| format!("there is no disk {} in this point; there is: {}", output::name(name), names()))?;
        Ok(all.swap_remove(at))
    }

    /// The one that is meant: of this name, the point's only disk, or, where no partition is named either, the only one with files.
    pub fn chosen(
        reader: &'r Reader<'r>,
        manifest: &Manifest,
        disk: Option<&str>,
        partition: Option<u32>,
    ) -> Result<Self> {
        if let Some(name) = disk {
            return Self::named(reader, manifest, name);
        }
        if partition.is_none() {
            let mut all = Self::all(reader, manifest)?;
            if let Some((at, _)) = Self::meant(&all)? {
                return Ok(all.swap_remove(at));
            }
        }
        let name = manifest.disk(None)?.name.clone();
        Self::named(reader, manifest, &name)
    }

    /// Which volume of which is meant when nobody names one, where that is clear.
    pub fn meant(all: &[Self]) -> Result<Option<(usize, usize)>> {
        let mut places = Vec::new();
        let mut known = Vec::new();
        for (at, medium) in all.iter().enumerate() {
            for (number, volume) in medium.volumes()?.into_iter().enumerate() {
                places.push((at, number));
                known.push(volume);
            }
        }
        match volumes::meant(&known) {
            Meant::One(at) => Ok(places.get(at).copied()),
            Meant::Several | Meant::None => Ok(None),
        }
    }

    fn of_disk(disk: &Disk, content: Arc<dyn ReadAt + 'r>) -> Self {
        Self {
            name: disk.name.clone(),
            size_bytes: disk.size_bytes,
            on: vec![disk.name.clone()],
            recorded: volumes::recorded_facts(disk),
            content: Ok(content),
        }
    }

    fn logical(physical: &[(&str, Arc<dyn ReadAt + 'r>)], disks: &[Self]) -> Result<Vec<Self>> {
        let contents: Vec<_> = physical.iter().map(|(_, content)| content.clone()).collect();
        let groups = VolumeGroups::read(&contents).context("the volume groups on the disks cannot be read")?;
        let mut taken: HashSet<String> = disks.iter().map(|medium| medium.name.clone()).collect();
        let mut found = Vec::new();
        for group in &groups.groups {
            let mut on: Vec<String> =
                group.disks.iter().filter_map(|at| Some(physical.get(*at)?.0.to_owned())).collect();
            on.dedup();
            found.extend(group.volumes.iter().map(|volume| Self::of_volume(group, volume, on.clone(), &mut taken)));
        }
        Ok(found)
    }

    fn of_volume(
        group: &VolumeGroup<'r>,
        volume: &LogicalVolume<'r>,
        on: Vec<String>,
        taken: &mut HashSet<String>,
    ) -> Self {
        let mut name = format!("{}/{}", group.name, volume.name);
        // Groups may have the same name; their ids differ.
        if !taken.insert(name.clone()) {
            name = format!("{}/{}", group.uuid, volume.name);
            taken.insert(name.clone());
        }
        let why = |error: String| format!("{} ({}): {error}", output::name(&name), volume.kind);
        // Damage that is met at once is the volume's alone, and hides none of the others.
        let looked = volume.open().map_err(|error| error.to_string()).and_then(|content| {
            let facts = DiskFacts::read(&*content, volumes::SECTOR_BYTES).map_err(|error| error.to_string())?;
            Ok((content, facts))
        });
        let (content, recorded) = match looked {
            Ok((content, facts)) => (Ok(content), Some(facts)),
            Err(error) => (Err(why(error)), None),
        };
        Self { name, size_bytes: volume.size_bytes, on, recorded, content }
    }

    /// Its bytes; an error says why a logical volume cannot be read.
    pub fn content(&self) -> Result<&(dyn ReadAt + 'r)> {
        match &self.content {
            Ok(content) => Ok(&**content),
            Err(why) => bail!("{why}"),
        }
    }

    /// Whether it lies on disks and is none itself.
    pub fn is_logical(&self) -> bool {
        self.on.as_slice() != [self.name.as_str()]
    }

    /// Its partitions, or it itself: as the point recorded them, else as its bytes tell.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let facts = match (&self.recorded, &self.content) {
            (Some(facts), _) => facts.clone(),
            (None, Ok(content)) => DiskFacts::read(&**content, volumes::SECTOR_BYTES)?,
            (None, Err(_)) => DiskFacts::default(),
        };
        Ok(volumes::volumes(&facts, self.size_bytes))
    }

    /// The volume of this number, or the one that is meant; none where that is not clear.
    pub fn volume(&self, partition: Option<u32>) -> Result<Option<Volume>> {
        let known = self.volumes()?;
        let at = match (partition, volumes::meant(&known)) {
            (Some(_), _) => known.iter().position(|volume| volume.partition == partition),
            (None, Meant::One(at)) => Some(at),
            (None, Meant::Several | Meant::None) => None,
        };
        Ok(at.and_then(|at| known.into_iter().nth(at)))
    }
}

/// Where physical volumes lie on a disk, as the point recorded it.
fn physical_volumes(facts: &DiskFacts, disk: &Disk) -> Vec<(u64, u64)> {
    let is_physical = |content: &Option<Content>| content.as_ref().is_some_and(|found| found.kind == ContentKind::Lvm2);
    let known = volumes::volumes(facts, disk.size_bytes).into_iter();
    known
        .filter(|volume| is_physical(&volume.content))
        .map(|volume| (volume.offset_bytes, volume.length_bytes))
        .collect()
}
