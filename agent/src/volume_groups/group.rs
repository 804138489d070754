//! A volume group as its metadata describes it: physical volumes, logical volumes and the segments that these are made of.
//!
//! Everything here comes from one text. What the text cannot know (which disks are there, what lies on them) is not asked here.

use std::collections::HashMap;

use super::error::{Result, VolumeError};
use super::text::{Section, Value};

/// Unit of most numbers in the metadata.
pub(super) const SECTOR_BYTES: u64 = 512;
const MAX_LOGICAL_VOLUMES: usize = 16_384;
const MAX_PHYSICAL_VOLUMES: usize = 4096;

/// Flags of a group that change nothing about where its bytes lie.
const GROUP_STATUS: [&str; 7] = ["EXPORTED", "RESIZEABLE", "PVMOVE", "READ", "WRITE", "CLUSTERED", "SHARED"];
/// The same of a logical volume, and those that this reader heeds.
const VOLUME_STATUS: [&str; 10] =
    ["READ", "WRITE", "FIXED_MINOR", VISIBLE, "PVMOVE", "LOCKED", "NOTSYNCED", REBUILD, WRITE_MOSTLY, "CACHE_VOL"];
const VISIBLE: &str = "VISIBLE";
const REBUILD: &str = "REBUILD";
const WRITE_MOSTLY: &str = "WRITEMOSTLY";

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) uuid: String,
    /// Grows with every change.
    pub(super) sequence: u64,
    pub(super) extent_bytes: u64,
    /// By the names that the text gives them, such as `pv0`.
    pub(super) physical: HashMap<String, PhysicalVolume>,
    pub(super) logical: Vec<LogicalVolume>,
    /// Why none of its volumes can be read.
    pub(super) obstacle: Option<String>,
}

/// A physical volume as the group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PhysicalVolume {
    pub(super) uuid: String,
    /// Where its extents begin.
    pub(super) data_offset_bytes: u64,
    pub(super) extents: u64,
    /// The group went on without it: what is on it may be old.
    pub(super) is_missing: bool,
}

/// A logical volume, visible or part of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogicalVolume {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) is_visible: bool,
    /// Its bytes are being written anew from other halves of a mirror.
    pub(super) is_rebuilt: bool,
    /// Half of a mirror that may lag behind.
    pub(super) is_write_mostly: bool,
    pub(super) extents: u64,
    pub(super) segments: Vec<Segment>,
    /// What of its description is not understood or contradicts itself.
    pub(super) obstacle: Option<Obstacle>,
}

/// Why a volume cannot be read, as far as the text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Unsupported(String),
    Corrupt(String),
}

impl From<Obstacle> for VolumeError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Unsupported(what) => Self::Unsupported { what },
            Obstacle::Corrupt(what) => Self::Corrupt { what },
        }
    }
}

/// Consecutive extents of a logical volume, all mapped in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first_extent: u64,
    pub(super) extents: u64,
    /// The type, such as `striped`, without flags.
    pub(super) kind: String,
    pub(super) layout: Layout,
}

/// How the extents of a segment are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One area after the other in turns, `stripe_bytes` from each; with one area just that.
    Striped { stripe_bytes: u64, areas: Vec<Area> },
    /// As striped, over the whole of other volumes.
    Raid0 { stripe_bytes: u64, images: Vec<String> },
    /// The same bytes on each; names of the metadata's and the data's volumes.
    Raid1 { halves: Vec<(String, String)> },
    /// A volume in a thin pool.
    Thin { pool: String, device_id: u64, external_origin: Option<String> },
    /// The pool itself, which is no volume of its own.
    ThinPool { metadata: String, data: String, chunk_bytes: u64, transaction_id: u64, has_messages: bool },
    /// A classic snapshot; only hidden volumes are made of it.
    Snapshot { origin: String, store: String, chunk_bytes: u64, is_merging: bool },
    /// Reads as zeros.
    Zero,
    /// Nothing is left of it.
    Error,
    /// Something else, with what to say of it.
    Unknown(String),
}

/// Where a stripe begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// A physical volume by its name in the text, or else a logical one.
    pub(super) on: String,
    pub(super) first_extent: u64,
}

impl Group {
    /// Reads the text of a group.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let root = Section::parse(text)?;
        let [(name, section)] = root.sections.as_slice() else {
            return Err(VolumeError::corrupt("the metadata does not describe one volume group"));
        };
        let extent_bytes = section.needed_number("extent_size")?.checked_mul(SECTOR_BYTES).filter(|bytes| *bytes > 0);
        let extent_bytes = extent_bytes.ok_or_else(|| VolumeError::corrupt("the size of extents is impossible"))?;
        let none = Section::default();
        let physical = section.section("physical_volumes")?.unwrap_or(&none);
        let logical = section.section("logical_volumes")?.unwrap_or(&none);
        limited("physical volumes", physical.sections.len(), MAX_PHYSICAL_VOLUMES)?;
        limited("logical volumes", logical.sections.len(), MAX_LOGICAL_VOLUMES)?;
        let mut group = Self {
            name: name.clone(),
            uuid: section.needed_text("id")?.to_owned(),
            sequence: section.needed_number("seqno")?,
            extent_bytes,
            physical: HashMap::new(),
            logical: Vec::new(),
            obstacle: unknown_flag(section, &GROUP_STATUS)?
                .map(|flag| format!("volume group {name} has the unknown flag {flag}")),
        };
        if section.text("format")?.is_some_and(|format| format != "lvm2") {
            group.obstacle = Some(format!("volume group {name} is of an unknown format"));
        }
        for (name, volume) in &physical.sections {
            if group.physical.insert(name.clone(), PhysicalVolume::parse(volume)?).is_some() {
                return Err(VolumeError::corrupt(format!("the metadata describes {name} twice")));
            }
        }
        group.logical = logical.sections.iter().map(|(n, s)| LogicalVolume::parse(n, s)).collect::<Result<_>>()?;
        group.check_names()?;
        group.mark_overlaps();
        Ok(group)
    }

    pub(super) fn bytes(&self, extents: u64) -> Result<u64> {
        extents.checked_mul(self.extent_bytes).ok_or_else(|| VolumeError::corrupt("a size is impossible"))
    }

    fn check_names(&self) -> Result<()> {
        let mut names = std::collections::HashSet::new();
        match self
            .logical
            .iter()
            .find(|volume| !names.insert(volume.name.as_str()) || self.physical.contains_key(&volume.name))
        {
            Some(volume) => Err(VolumeError::corrupt(format!("the metadata describes {} twice", volume.name))),
            None => Ok(()),
        }
    }

    /// Extents of a disk belong to one volume only: volumes that share some cannot both be right.
    fn mark_overlaps(&mut self) {
        let mut taken: Vec<(&str, u64, u64, usize)> = Vec::new();
        for (index, volume) in self.logical.iter().enumerate() {
            for segment in &volume.segments {
                let Layout::Striped { areas, .. } = &segment.layout else { continue };
                let extents = segment.extents / (areas.len() as u64).max(1);
                let on_disk = areas.iter().filter(|area| self.physical.contains_key(&area.on));
                taken.extend(
                    on_disk.map(|a| (a.on.as_str(), a.first_extent, a.first_extent.saturating_add(extents), index)),
                );
            }
        }
        taken.sort_unstable();
        let mut shared = Vec::new();
        // The one that reaches furthest among those before: a long one may cover several.
        let mut furthest: Option<(&str, u64, usize)> = None;
        for (on, first, end, index) in taken {
            match furthest {
                Some((before_on, before_end, before)) if before_on == on && first < before_end => {
                    shared.extend([before, index]);
                    if end > before_end {
                        furthest = Some((on, end, index));
                    }
                }
                _ => furthest = Some((on, end, index)),
            }
        }
        for index in shared {
            if let Some(volume) = self.logical.get_mut(index) {
                let what = format!("volume {} shares extents with another volume", volume.name);
                volume.obstacle = Some(Obstacle::Corrupt(what));
            }
        }
    }
}

impl PhysicalVolume {
    fn parse(section: &Section) -> Result<Self> {
        let flags = [section.texts("status")?, section.texts("flags")?].concat();
        let offset = section.needed_number("pe_start")?.checked_mul(SECTOR_BYTES);
        Ok(Self {
            uuid: section.needed_text("id")?.to_owned(),
            data_offset_bytes: offset.ok_or_else(|| VolumeError::corrupt("a physical volume's data begin nowhere"))?,
            extents: section.needed_number("pe_count")?,
            is_missing: flags.contains(&"MISSING"),
        })
    }
}

impl LogicalVolume {
    /// A description that is not understood is an obstacle of this volume only.
    fn parse(name: &str, section: &Section) -> Result<Self> {
        let status = section.texts("status")?;
        let unknown = unknown_flag(section, &VOLUME_STATUS)?;
        let unknown = unknown.map(|flag| Obstacle::Unsupported(format!("it has the unknown flag {flag}")));
        let mut volume = Self {
            name: name.to_owned(),
            uuid: section.text("id")?.unwrap_or_default().to_owned(),
            is_visible: status.contains(&VISIBLE),
            is_rebuilt: status.contains(&REBUILD),
            is_write_mostly: status.contains(&WRITE_MOSTLY),
            extents: 0,
            segments: Vec::new(),
            obstacle: unknown,
        };
        match volume.take_segments(section) {
            Err(VolumeError::Corrupt { what }) if volume.obstacle.is_none() => {
                volume.obstacle = Some(Obstacle::Corrupt(what));
            }
            Err(other) if volume.obstacle.is_none() => return Err(other),
            _ => {}
        }
        Ok(volume)
    }

    /// Segments follow each other without a gap, as their names count.
    fn take_segments(&mut self, section: &Section) -> Result<()> {
        let wrong = || VolumeError::corrupt(format!("the segments of volume {} do not fit together", self.name));
        let count = section.needed_number("segment_count")?;
        if count != section.sections.len() as u64 {
            return Err(wrong());
        }
        let mut segments = Vec::new();
        let mut extents = 0_u64;
        for ((name, part), number) in section.sections.iter().zip(1_u64..) {
            let segment = Segment::parse(part)?;
            if *name != format!("segment{number}") || segment.first_extent != extents || segment.extents == 0 {
                return Err(wrong());
            }
            extents = extents.checked_add(segment.extents).ok_or_else(wrong)?;
            segments.push(segment);
        }
        (self.extents, self.segments) = (extents, segments);
        Ok(())
    }
}

impl Segment {
    fn parse(section: &Section) -> Result<Self> {
        let kind = section.needed_text("type")?;
        Ok(Self {
            first_extent: section.needed_number("start_extent")?,
            extents: section.needed_number("extent_count")?,
            kind: kind.split('+').next().unwrap_or_default().to_owned(),
            layout: Layout::parse(kind, section)?,
        })
    }
}

/// Keys that every segment may have.
const EVERY_SEGMENT: [&str; 4] = ["start_extent", "extent_count", "type", "tags"];
const RAID: [&str; 7] =
    ["data_copies", "region_size", "stripe_size", "writebehind", "min_recovery_rate", "max_recovery_rate", "raids"];
const SNAPSHOT: [&str; 4] = ["origin", "cow_store", "merging_store", "chunk_size"];
const THIN: [&str; 6] = ["thin_pool", "transaction_id", "device_id", "origin", "indirect_origin", "external_origin"];
const THIN_POOL: [&str; 7] =
    ["metadata", "pool", "transaction_id", "chunk_size", "discards", "zero_new_blocks", "crop_metadata"];

impl Layout {
    fn parse(kind: &str, section: &Section) -> Result<Self> {
        match kind {
            "striped" | "linear" => {
                known_keys(kind, section, &[&["stripe_count", "stripe_size", "stripes"]], || Self::striped(section))
            }
            "raid0" => known_keys(kind, section, &[&["stripe_count", "stripe_size", "raid0_lvs"]], || {
                Self::raid0(section, section.texts("raid0_lvs")?)
            }),
            "raid0_meta" => known_keys(kind, section, &[&["stripe_count"], &RAID], || {
                Self::raid0(section, pairs(section)?.into_iter().map(|(_, image)| image).collect())
            }),
            "raid1" => known_keys(kind, section, &[&["device_count"], &RAID], || Self::raid1(section)),
            "thin" if section.value("merge")?.is_some() => {
                Ok(Self::Unknown("it is about to be replaced by one of its snapshots (a merge)".into()))
            }
            "thin" => known_keys(kind, section, &[&THIN], || Self::thin(section)),
            "thin-pool" => known_keys(kind, section, &[&THIN_POOL], || Self::thin_pool(section)),
            "snapshot" => known_keys(kind, section, &[&SNAPSHOT], || Self::snapshot(section)),
            "zero" => known_keys(kind, section, &[], || Ok(Self::Zero)),
            "error" => Ok(Self::Error),
            other => Ok(Self::Unknown(name_of(other))),
        }
    }

    fn striped(section: &Section) -> Result<Self> {
        let pairs = section.list("stripes")?.chunks(2);
        let area = |pair: &[Value]| match pair {
            [Value::Text(on), Value::Number(first)] => {
                u64::try_from(*first).ok().map(|first_extent| Area { on: on.clone(), first_extent })
            }
            _ => None,
        };
        let areas: Option<Vec<Area>> = pairs.map(area).collect();
        let areas = areas.ok_or_else(|| VolumeError::corrupt("a list of stripes is not understood"))?;
        counted(section, "stripe_count", areas.len())?;
        Ok(Self::Striped { stripe_bytes: stripe_bytes(section, areas.len())?, areas })
    }

    fn raid0(section: &Section, images: Vec<&str>) -> Result<Self> {
        counted(section, "stripe_count", images.len())?;
        let images: Vec<String> = images.into_iter().map(str::to_owned).collect();
        Ok(Self::Raid0 { stripe_bytes: stripe_bytes(section, images.len())?, images })
    }

    fn raid1(section: &Section) -> Result<Self> {
        let pairs = pairs(section)?;
        counted(section, "device_count", pairs.len())?;
        let copies = section.number("data_copies")?;
        if copies.is_some_and(|copies| copies != pairs.len() as u64) {
            return Err(VolumeError::corrupt("a mirror has another number of copies than of volumes"));
        }
        Ok(Self::Raid1 { halves: pairs.into_iter().map(|(m, d)| (m.to_owned(), d.to_owned())).collect() })
    }

    fn thin(section: &Section) -> Result<Self> {
        Ok(Self::Thin {
            pool: section.needed_text("thin_pool")?.to_owned(),
            device_id: section.needed_number("device_id")?,
            external_origin: section.text("external_origin")?.map(str::to_owned),
        })
    }

    fn thin_pool(section: &Section) -> Result<Self> {
        Ok(Self::ThinPool {
            metadata: section.needed_text("metadata")?.to_owned(),
            data: section.needed_text("pool")?.to_owned(),
            chunk_bytes: sectors(section.needed_number("chunk_size")?)?,
            transaction_id: section.needed_number("transaction_id")?,
            has_messages: !section.sections.is_empty(),
        })
    }

    fn snapshot(section: &Section) -> Result<Self> {
        let merging = section.text("merging_store")?;
        let store = match merging {
            Some(store) => store,
            None => section.needed_text("cow_store")?,
        };
        Ok(Self::Snapshot {
            origin: section.needed_text("origin")?.to_owned(),
            store: store.to_owned(),
            chunk_bytes: sectors(section.needed_number("chunk_size")?)?,
            is_merging: merging.is_some(),
        })
    }
}

/// A key that is not known may mean that the bytes lie elsewhere: such a segment is not read.
fn known_keys(
    kind: &str,
    section: &Section,
    known: &[&[&str]],
    read: impl FnOnce() -> Result<Layout>,
) -> Result<Layout> {
    let is_known = |key: &str| EVERY_SEGMENT.contains(&key) || known.iter().any(|keys| keys.contains(&key));
    match section.values.iter().find(|(key, _)| !is_known(key)) {
        Some((key, _)) => {
            Ok(Layout::Unknown(format!("it is of the type {kind} with {key}, which this reader does not know")))
        }
        None => read(),
    }
}

/// Names in pairs: a volume with the metadata of a part of a RAID, and that part.
fn pairs(section: &Section) -> Result<Vec<(&str, &str)>> {
    let names = section.texts("raids")?;
    let pair = |pair: &[_]| match pair {
        [metadata, data] => Ok((*metadata, *data)),
        _ => Err(VolumeError::corrupt("a list of RAID volumes is not understood")),
    };
    names.chunks(2).map(pair).collect()
}

fn counted(section: &Section, key: &str, found: usize) -> Result<()> {
    match section.number(key)? {
        Some(count) if count == found as u64 && found > 0 => Ok(()),
        _ => Err(VolumeError::corrupt(format!("`{key}` in the metadata does not count what is there"))),
    }
}

fn stripe_bytes(section: &Section, stripes: usize) -> Result<u64> {
    match section.number("stripe_size")? {
        Some(size) if size > 0 => sectors(size),
        _ if stripes == 1 => Ok(0),
        _ => Err(VolumeError::corrupt("the size of stripes is missing")),
    }
}

fn sectors(count: u64) -> Result<u64> {
    count.checked_mul(SECTOR_BYTES).ok_or_else(|| VolumeError::corrupt("a size is impossible"))
}

fn limited(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count > limit { Err(VolumeError::Limit { what, limit: limit as u64 }) } else { Ok(()) }
}

/// A status flag that is not known forbids reading; the tools do not go on either.
fn unknown_flag(section: &Section, known: &[&str]) -> Result<Option<String>> {
    Ok(section.texts("status")?.into_iter().find(|flag| !known.contains(flag)).map(str::to_owned))
}

/// What to say of a type that is not read here.
fn name_of(kind: &str) -> String {
    let (plain, flags) = kind.split_once('+').unwrap_or((kind, ""));
    let what = match plain {
        "cache" => "its blocks may be newer in a cache (dm-cache)",
        "cache-pool" => "it is the pool of a cache, not a volume of its own",
        "writecache" => "its blocks may be newer in a write cache (dm-writecache)",
        "mirror" => "it is a mirror of the old kind (dm-mirror) or being moved, whose halves may differ",
        "integrity" => "it has checksums of its own (dm-integrity)",
        "vdo" | "vdo-pool" => "it is compressed and deduplicated (VDO)",
        raid if raid.starts_with("raid") => return format!("it is of the type {kind}, which needs the kernel's RAID"),
        _ if flags.is_empty() => return format!("it is of the type {kind}, which this reader does not know"),
        _ => return format!("it is of the type {plain} with {flags}, which this reader does not know"),
    };
    what.to_owned()
}
