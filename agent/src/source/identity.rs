//! Telling whether a disk is still the one that an earlier recovery point was made of.

use super::SourceKind;
use super::sys::{DeviceNumber, SysRoot};
use crate::facts::{DiskFacts, TableKind};
use serde::{Deserialize, Serialize};

/// What makes a disk this disk and no other. Two identities are the same disk only when all three parts are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct DiskIdentity {
    /// Where the value is from.
    pub kind: IdentityKind,
    /// A GUID, a serial number, …
    pub value: String,
    /// Size of the disk: a disk that grew needs a full look.
    pub size_bytes: u64,
}

/// Sources of identities, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// The disk's GUID in its partition table.
    GptGuid,
    /// The device mapper's name for a volume that stays the same (`LVM-…`).
    DmUuid,
    /// World-wide name of the device.
    Wwn,
    /// Serial number of the device.
    Serial,
    /// The disk signature in a master boot record.
    MbrSignature,
    /// UUID of the file system or volume right on the disk.
    FilesystemUuid,
    /// Nothing better than the absolute path.
    Path,
    /// Written by a newer program.
    #[serde(other)]
    Unknown,
}

impl DiskIdentity {
    pub(super) fn find(
        sys: &SysRoot,
        kind: SourceKind,
        number: Option<DeviceNumber>,
        facts: &DiskFacts,
        path: &str,
        size_bytes: u64,
    ) -> Self {
        let table = |wanted: TableKind| facts.table.as_ref().filter(|t| t.kind == wanted).and_then(|t| t.id.clone());
        let device = number.filter(|_| kind == SourceKind::Device);
        let attribute = |names: &[&str]| {
            let device = device?;
            names.iter().find_map(|name| sys.attribute(device, name).filter(|value| !value.is_empty()))
        };
        let content = || facts.content.as_ref().and_then(|content| content.uuid.clone());
        let candidates = [
            (IdentityKind::GptGuid, table(TableKind::Gpt)),
            (IdentityKind::DmUuid, attribute(&["dm/uuid"])),
            (IdentityKind::Wwn, attribute(&["wwid", "device/wwid"])),
            (IdentityKind::Serial, attribute(&["serial", "device/serial"])),
            (IdentityKind::MbrSignature, table(TableKind::Mbr)),
            (IdentityKind::FilesystemUuid, content()),
        ];
        let found = candidates.into_iter().find_map(|(kind, value)| Some((kind, value?)));
        let (kind, value) = found.unwrap_or((IdentityKind::Path, path.to_owned()));
        Self { kind, value, size_bytes }
    }
}
