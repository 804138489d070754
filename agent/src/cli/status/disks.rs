//! The disks of this machine in `icecore status`: what the next backup of each would read, and why.

use super::super::console::table;
use super::super::list::Entry;
use agent::output;
use agent::source::provider::module::outlook::{Outlook, outlook};
use agent::source::sys::SysRoot;
use agent::tracker::Module;
use agent::tracker::attached::attached;
use agent::tracker::host::HostModule;
use jiff::Timestamp;
use repo_format::manifest::{Disk, Manifest};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// A disk of the newest point of a name, or one that is tracked for nobody here.
#[derive(Serialize)]
pub struct DiskStatus {
    /// Name of the points; none for a tracked disk that is in none of them.
    name: Option<String>,
    device: String,
    /// When it was last backed up.
    latest_at: Option<Timestamp>,
    #[serde(flatten)]
    next: Outlook,
}

/// Block devices of this machine that are in the newest point of a name, and those that are tracked.
pub fn disks(entries: &[Entry], host: &str) -> Vec<DiskStatus> {
    let mut newest: BTreeMap<&str, &Manifest> = BTreeMap::new();
    for entry in entries {
        // In the order of time: later ones take the place.
        if let Entry::Open(_, manifest) = entry {
            newest.insert(&manifest.name, manifest);
        }
    }
    let module = HostModule::open();
    let mut found = Vec::new();
    for manifest in newest.values().filter(|manifest| manifest.host == host) {
        for disk in manifest.disks.iter().filter(|disk| is_block_device(&disk.path)) {
            found.push(DiskStatus {
                name: Some(manifest.name.clone()),
                device: disk.path.clone(),
                latest_at: Some(manifest.created_at),
                next: next(module.as_ref(), disk),
            });
        }
    }
    for device in attached(&SysRoot::host()).iter().map(|device| device.to_string_lossy().into_owned()) {
        if !found.iter().any(|known| is_same(&known.device, &device)) {
            let why = "no point of this repository has it".into();
            found.push(DiskStatus { name: None, device, latest_at: None, next: Outlook::Everything { why } });
        }
    }
    found
}

fn next(module: Result<&HostModule, &agent::tracker::TrackerError>, disk: &Disk) -> Outlook {
    match module {
        Ok(module) => outlook(module as &dyn Module, Path::new(&disk.path), disk.tracker.as_ref(), disk.size_bytes),
        Err(error) => Outlook::Everything { why: error.to_string() },
    }
}

fn is_block_device(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device())
}

/// One may be a link to the other.
fn is_same(one: &str, other: &str) -> bool {
    let sys = SysRoot::host();
    one == other
        || sys.resolve_device(Path::new(one)).is_some_and(|found| sys.resolve_device(Path::new(other)) == Some(found))
}

/// As a table; nothing without disks.
pub fn text(disks: &[DiskStatus]) -> String {
    if disks.is_empty() {
        return String::new();
    }
    let row = |disk: &DiskStatus| {
        let next = match &disk.next {
            Outlook::Changes { known_bytes: 0 } => "what changed since then".into(),
            Outlook::Changes { known_bytes } => {
                format!("what changed since then, {} so far", output::bytes(*known_bytes))
            }
            Outlook::Everything { why } => format!("everything: {}", output::lines(why)),
        };
        let latest = disk.latest_at.map_or_else(|| "never".into(), output::time);
        vec![output::name(&disk.device), disk.name.as_deref().map(output::name).unwrap_or_default(), latest, next]
    };
    format!("\n{}", table(&["DISK", "POINTS", "LAST BACKUP", "THE NEXT ONE READS"], disks.iter().map(row).collect()))
}
