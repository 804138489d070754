//! Builds logical volumes out of what lies below them: disks, other volumes, pools, snapshots.
//!
//! Each volume is built once, whoever needs it; those that cannot be read are kept with the reason, which all above them share.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Result, VolumeError};
use super::group::{Area, Group, Layout, LogicalVolume, Segment};
use super::pieces::{Piece, Pieces, Source};
use super::raid1::{Half, current_half};
use super::snapshot::SnapshotVolume;
use super::thin::{Pool, ThinVolume};
use crate::read_at::ReadAt;

/// Volumes on volumes: a snapshot of a thin volume in a pool on mirrors of disks is five deep.
const MAX_DEPTH: usize = 16;

/// Something to read from.
pub(super) type Disk<'a> = Arc<dyn ReadAt + 'a>;

/// The disk of each physical volume of a group, by its name in the text, or why it cannot be used.
pub(super) type Disks<'a> = HashMap<String, Result<Disk<'a>>>;

/// The volumes of one group.
pub(super) struct Stack<'g, 'a> {
    group: &'g Group,
    disks: &'g Disks<'a>,
    by_name: HashMap<&'g str, &'g LogicalVolume>,
    /// What volumes are to classic snapshots.
    roles: HashMap<&'g str, Vec<(Role, &'g Segment)>>,
    built: HashMap<&'g str, Result<Disk<'a>>>,
    pools: HashMap<&'g str, Result<Arc<Pool<'a>>>>,
    depth: usize,
}

impl<'g, 'a: 'g> Stack<'g, 'a> {
    pub(super) fn new(group: &'g Group, disks: &'g Disks<'a>) -> Self {
        let by_name = group.logical.iter().map(|volume| (volume.name.as_str(), volume)).collect();
        let roles = roles(group);
        Self { group, disks, by_name, roles, built: HashMap::new(), pools: HashMap::new(), depth: 0 }
    }

    /// The volume that a person sees in place of this one, if any. The metadata has two volumes for a classic snapshot: one, with a
    /// name that nobody knows, says what it is a snapshot of; the store has the name. The first stands for it in the order.
    pub(super) fn listed(&self, volume: &'g LogicalVolume) -> Option<&'g LogicalVolume> {
        match volume.segments.first().map(|segment| &segment.layout) {
            Some(Layout::Snapshot { store, .. }) => self.by_name.get(store.as_str()).copied(),
            _ => Some(volume).filter(|volume| volume.is_visible && !self.is_store(&volume.name)),
        }
    }

    /// Whether the volume is what a person calls a classic snapshot.
    pub(super) fn is_store(&self, name: &str) -> bool {
        self.roles.get(name).is_some_and(|roles| roles.iter().any(|(role, _)| *role == Role::Store))
    }

    /// The content of a volume as the kernel would show it, to a person or to a volume above.
    pub(super) fn shown(&mut self, volume: &'g LogicalVolume) -> Result<Disk<'a>> {
        match self.roles.get(volume.name.as_str()).map_or(&[][..], Vec::as_slice) {
            [] => self.volume(&volume.name),
            [(Role::Store, hidden)] => self.snapshot(volume, hidden),
            _ if self.is_store(&volume.name) => {
                Err(VolumeError::corrupt(format!("volume {} belongs to two snapshots", volume.name)))
            }
            _ => Err(VolumeError::unsupported("a snapshot is being merged into it")),
        }
    }

    /// A volume that another consists of: it is no part of a snapshot itself.
    fn part(&mut self, name: &str) -> Result<Disk<'a>> {
        match self.roles.get(name) {
            Some(_) => Err(VolumeError::unsupported(format!("it lies on {name}, which is part of a snapshot"))),
            None => self.volume(name),
        }
    }

    /// The bytes of a volume by its own segments.
    fn volume(&mut self, name: &str) -> Result<Disk<'a>> {
        let missing = || VolumeError::corrupt(format!("volume {name} does not exist in the metadata"));
        let volume = *self.by_name.get(name).ok_or_else(missing)?;
        if let Some(built) = self.built.get(volume.name.as_str()) {
            return built.clone();
        }
        if self.depth >= MAX_DEPTH {
            return Err(VolumeError::Limit { what: "the depth of volumes on volumes", limit: MAX_DEPTH as u64 });
        }
        // Whoever comes here again while it is being built stands on itself.
        let circle = VolumeError::corrupt(format!("volume {name} consists of itself"));
        self.built.insert(&volume.name, Err(circle));
        self.depth += 1;
        let built = self.build(volume);
        self.depth -= 1;
        self.built.insert(&volume.name, built.clone());
        built
    }

    fn build(&mut self, volume: &'g LogicalVolume) -> Result<Disk<'a>> {
        if let Some(obstacle) = &volume.obstacle {
            return Err(obstacle.clone().into());
        }
        let mut pieces = Vec::new();
        for segment in &volume.segments {
            let piece = Piece {
                start_bytes: self.group.bytes(segment.first_extent)?,
                length_bytes: self.group.bytes(segment.extents)?,
                source: self.source(volume, segment)?,
            };
            pieces.push(piece);
        }
        Ok(Arc::new(Pieces::new(pieces)?))
    }

    fn source(&mut self, volume: &'g LogicalVolume, segment: &'g Segment) -> Result<Source<'a>> {
        let length_bytes = self.group.bytes(segment.extents)?;
        match &segment.layout {
            Layout::Striped { stripe_bytes, areas } => self.striped(*stripe_bytes, areas, segment.extents),
            Layout::Raid0 { stripe_bytes, images } => self.raid0(*stripe_bytes, images, length_bytes),
            Layout::Raid1 { halves } => self.raid1(halves, length_bytes),
            Layout::Thin { pool, device_id, external_origin } => {
                if volume.segments.len() != 1 {
                    return Err(VolumeError::corrupt(format!("thin volume {} has several segments", volume.name)));
                }
                let pool = self.pool(pool)?;
                let origin = external_origin.as_ref().map(|origin| self.part(origin)).transpose()?;
                let thin = ThinVolume::new(pool, *device_id, origin, length_bytes)?;
                Source::whole(Arc::new(thin), length_bytes)
            }
            Layout::ThinPool { .. } => {
                Err(VolumeError::unsupported("it is a pool, whose bytes belong to the thin volumes in it"))
            }
            Layout::Snapshot { .. } => Err(VolumeError::corrupt("a snapshot is used as if it were a plain volume")),
            Layout::Zero => Ok(Source::Zero),
            Layout::Error => Ok(Source::Error),
            Layout::Unknown(what) => Err(VolumeError::unsupported(what.clone())),
        }
    }

    fn striped(&mut self, stripe_bytes: u64, areas: &[Area], extents: u64) -> Result<Source<'a>> {
        let wrong = || VolumeError::corrupt("a striped segment is no multiple of its stripes");
        let each = extents / areas.len() as u64;
        if !extents.is_multiple_of(areas.len() as u64) {
            return Err(wrong());
        }
        let mut stripes = Vec::new();
        for area in areas {
            stripes.push((self.below(area, each)?, self.offset_below(area)?));
        }
        Source::striped(stripes, stripe_bytes, self.group.bytes(each)?)
    }

    /// The disk or volume that an area lies on; the area lies inside it.
    fn below(&mut self, area: &Area, extents: u64) -> Result<Disk<'a>> {
        let Some(physical) = self.group.physical.get(&area.on) else { return self.part(&area.on) };
        let disk = self.disks.get(&area.on).cloned();
        let disk =
            disk.ok_or_else(|| VolumeError::corrupt(format!("{} does not exist in the metadata", area.on)))??;
        match area.first_extent.checked_add(extents) {
            Some(end) if end <= physical.extents => Ok(disk),
            _ => Err(VolumeError::corrupt(format!("a segment lies outside physical volume {}", physical.uuid))),
        }
    }

    fn offset_below(&self, area: &Area) -> Result<u64> {
        let start = self.group.bytes(area.first_extent)?;
        let data_offset = self.group.physical.get(&area.on).map_or(0, |physical| physical.data_offset_bytes);
        start.checked_add(data_offset).ok_or_else(|| VolumeError::corrupt("a segment begins at an impossible offset"))
    }

    fn raid0(&mut self, stripe_bytes: u64, images: &[String], length_bytes: u64) -> Result<Source<'a>> {
        let each = length_bytes / (images.len() as u64).max(1);
        let mut stripes = Vec::new();
        for image in images {
            let disk = self.part(image)?;
            if disk.size_bytes() != each {
                return Err(VolumeError::corrupt(format!("RAID volume {image} is of another size than its share")));
            }
            stripes.push((disk, 0));
        }
        Source::striped(stripes, stripe_bytes, each)
    }

    fn raid1(&mut self, halves: &[(String, String)], length_bytes: u64) -> Result<Source<'a>> {
        let mut found = Vec::new();
        for (metadata, data) in halves {
            let flags = self.by_name.get(data.as_str()).copied();
            found.push(Half {
                name: data.clone(),
                metadata: self.part(metadata),
                data: self.part(data),
                is_rebuilt: flags.is_some_and(|volume| volume.is_rebuilt),
                is_write_mostly: flags.is_some_and(|volume| volume.is_write_mostly),
            });
        }
        let disk = current_half(&found, length_bytes)?;
        Source::whole(disk, length_bytes)
    }

    fn pool(&mut self, name: &str) -> Result<Arc<Pool<'a>>> {
        let missing = || VolumeError::corrupt(format!("pool {name} does not exist in the metadata"));
        let volume = *self.by_name.get(name).ok_or_else(missing)?;
        if let Some(pool) = self.pools.get(volume.name.as_str()) {
            return pool.clone();
        }
        let pool = self.open_pool(volume);
        self.pools.insert(&volume.name, pool.clone());
        pool
    }

    fn open_pool(&mut self, volume: &'g LogicalVolume) -> Result<Arc<Pool<'a>>> {
        if let Some(obstacle) = &volume.obstacle {
            return Err(obstacle.clone().into());
        }
        let segments: Vec<&Layout> = volume.segments.iter().map(|segment| &segment.layout).collect();
        match segments.as_slice() {
            [Layout::ThinPool { metadata, data, chunk_bytes, transaction_id, has_messages }] => {
                let (metadata, data) = (self.part(metadata)?, self.part(data)?);
                Ok(Arc::new(Pool::open(metadata, data, *chunk_bytes, (*transaction_id, *has_messages))?))
            }
            [Layout::Unknown(what)] => Err(VolumeError::unsupported(what.clone())),
            _ => Err(VolumeError::corrupt(format!("volume {} is no thin pool", volume.name))),
        }
    }

    fn snapshot(&mut self, store: &'g LogicalVolume, hidden: &'g Segment) -> Result<Disk<'a>> {
        let Layout::Snapshot { origin, chunk_bytes, is_merging, .. } = &hidden.layout else {
            return Err(VolumeError::corrupt("a snapshot is described as something else"));
        };
        if *is_merging {
            return Err(VolumeError::unsupported("it is a snapshot that is being merged into its origin"));
        }
        let size_bytes = self.group.bytes(hidden.extents)?;
        let (origin, store) = (self.part(origin)?, self.volume(&store.name)?);
        Ok(Arc::new(SnapshotVolume::open(origin, store, *chunk_bytes, size_bytes)?))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Where a snapshot keeps what differs from its origin.
    Store,
    /// A snapshot is being written back to it.
    MergingOrigin,
}

fn roles(group: &Group) -> HashMap<&str, Vec<(Role, &Segment)>> {
    let mut roles: HashMap<&str, Vec<(Role, &Segment)>> = HashMap::new();
    for segment in group.logical.iter().flat_map(|volume| &volume.segments) {
        if let Layout::Snapshot { origin, store, is_merging, .. } = &segment.layout {
            roles.entry(store).or_default().push((Role::Store, segment));
            if *is_merging {
                roles.entry(origin).or_default().push((Role::MergingOrigin, segment));
            }
        }
    }
    roles
}
