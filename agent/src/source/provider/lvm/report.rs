//! What `lvs` says about all logical volumes: its JSON, and the numbers and names in it.

use super::tools::Tools;
use crate::source::sys::DeviceNumber;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;

const FIELDS: &str = "vg_name,lv_name,lv_uuid,lv_kernel_major,lv_kernel_minor,segtype,pool_lv,pool_lv_uuid,thin_id,origin,\
                      origin_uuid,lv_tags,lv_size,data_percent,metadata_percent,lv_snapshot_invalid,vg_free";

/// A logical volume. Every field is text, empty where it has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Volume group.
    pub vg_name: String,
    /// Name; in brackets when it is internal.
    pub lv_name: String,
    /// Its id, for as long as it lives.
    pub lv_uuid: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
    /// `linear`, `thin`, `thin-pool` …
    pub segtype: String,
    /// Of a thin volume, its pool.
    pub pool_lv: String,
    /// The pool's id.
    pub pool_lv_uuid: String,
    thin_id: String,
    /// Of a snapshot, what it was taken of.
    pub origin: String,
    /// The origin's id.
    pub origin_uuid: String,
    lv_tags: String,
    lv_size: String,
    data_percent: String,
    metadata_percent: String,
    lv_snapshot_invalid: String,
    vg_free: String,
}

impl Volume {
    /// One of which nothing but the name is known.
    pub fn only_named(group: &str, name: &str) -> Self {
        Self { vg_name: group.to_owned(), lv_name: name.to_owned(), ..Self::default() }
    }

    /// `group/volume`, as LVM's programs take it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.vg_name, self.lv_name)
    }

    /// Number of the thin device in its pool.
    pub fn thin_id(&self) -> Option<u64> {
        self.thin_id.parse().ok()
    }

    /// Whether it is a thin volume.
    pub fn is_thin(&self) -> bool {
        self.segtype == "thin"
    }

    /// Whether this tag is on it.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.lv_tags.split(',').any(|other| other == tag)
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> Option<u64> {
        whole(&self.lv_size)
    }

    /// Free space of the volume group in bytes.
    pub fn group_free_bytes(&self) -> Option<u64> {
        whole(&self.vg_free)
    }

    /// How full a pool or a classic snapshot is, in percent, rounded up; data or metadata, whichever is fuller.
    pub fn fill_percent(&self) -> Option<u64> {
        [&self.data_percent, &self.metadata_percent].into_iter().filter_map(|text| percent(text)).max()
    }

    /// Whether a classic snapshot overflowed. Of other volumes LVM says that it does not know.
    pub fn is_invalid(&self) -> bool {
        ["snapshot invalid", "1"].contains(&self.lv_snapshot_invalid.as_str())
    }

    /// Its node; the kernel makes it, with or without udev.
    pub fn device_node(&self) -> Option<PathBuf> {
        let minor: u32 = self.lv_kernel_minor.parse().ok()?;
        Some(PathBuf::from(format!("/dev/dm-{minor}")))
    }

    fn is_device(&self, device: DeviceNumber) -> bool {
        DeviceNumber::parse(&format!("{}:{}", self.lv_kernel_major, self.lv_kernel_minor)) == Some(device)
    }
}

/// `group-volume` with hyphens inside of names doubled.
pub fn mapped_name(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}

/// Bytes, with or without a fraction of zero.
fn whole(text: &str) -> Option<u64> {
    text.split('.').next()?.parse().ok()
}

fn percent(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    Some(whole.parse::<u64>().ok()? + u64::from(fraction.bytes().any(|digit| digit != b'0')))
}

/// All volumes of this machine.
#[derive(Clone, Debug, Default)]
pub struct Volumes(Vec<Volume>);

#[derive(Deserialize)]
struct Report {
    // Named `lv` or `seg`, depending on the fields and the version.
    report: Vec<HashMap<String, Vec<Volume>>>,
}

impl Volumes {
    /// Asks LVM.
    pub fn ask(tools: &dyn Tools) -> Result<Self> {
        let args = ["lvs", "--all", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", FIELDS];
        Self::parse(&tools.run("lvm", &args)?)
    }

    /// From the JSON. A volume of several segments is there once.
    pub fn parse(json: &str) -> Result<Self> {
        let report: Report = serde_json::from_str(json).context("reading what `lvm lvs` reported")?;
        let mut volumes: Vec<Volume> = Vec::new();
        for volume in report.report.into_iter().flat_map(HashMap::into_values).flatten() {
            if !volumes.iter().any(|known| known.lv_uuid == volume.lv_uuid) {
                volumes.push(volume);
            }
        }
        Ok(Self(volumes))
    }

    /// The volume that a device shows.
    pub fn of_device(&self, device: DeviceNumber) -> Option<&Volume> {
        self.0.iter().find(|volume| volume.is_device(device))
    }

    /// By its id.
    pub fn by_uuid(&self, uuid: &str) -> Option<&Volume> {
        self.0.iter().find(|volume| volume.lv_uuid == uuid && !uuid.is_empty())
    }

    /// By its name.
    pub fn by_name(&self, group: &str, name: &str) -> Option<&Volume> {
        self.0.iter().find(|volume| volume.vg_name == group && volume.lv_name == name)
    }

    /// The pool of a thin volume.
    pub fn pool_of(&self, volume: &Volume) -> Option<&Volume> {
        self.by_uuid(&volume.pool_lv_uuid).or_else(|| self.by_name(&volume.vg_name, &volume.pool_lv))
    }

    /// Those of a volume group whose names begin like this.
    pub fn named<'v>(&'v self, group: &'v str, prefix: &'v str) -> impl Iterator<Item = &'v Volume> {
        self.0.iter().filter(move |volume| volume.vg_name == group && volume.lv_name.starts_with(prefix))
    }
}
