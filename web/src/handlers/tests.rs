//! Stories about people: how they get in, what they change, and what is refused. Each file one noun.

mod account;
mod alerts;
mod events;
mod jobs;
mod keeping;
mod log_in;
mod objects;
mod plans;
mod resources;
mod retention;

use web_api::job::BackupResult;
use web_api::unit::ByteCount;

/// What a backup of the series `web` ends with.
fn backup_result(point: String, sequence: u64) -> BackupResult {
    let none = ByteCount(0);
    BackupResult {
        point,
        point_name: "web".into(),
        sequence,
        full_read_reason: None,
        provider: "direct".into(),
        source_bytes: none,
        changed_bytes: none,
        read_bytes: none,
        stored_bytes: none,
        took_ms: 0,
        warnings: Vec::new(),
        disks: Vec::new(),
    }
}
