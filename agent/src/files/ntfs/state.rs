//! Whether the volume was at rest: its own flag, and its log of changes that are not in their places yet.
//!
//! The log is not replayed. Its records say how to change structures of Windows' driver, which alone knows them all.

use super::file::File;
use super::fixups;
use super::mft::Mft;
use super::record::kind;
use super::stream::Stream;
use crate::files::Result;
use crate::files::fields::Fields;
use crate::lengths::in_memory;

const MIRROR_RECORD: u64 = 1;
const LOG_RECORD: u64 = 2;
const VOLUME_RECORD: u64 = 3;
const FLAG_DIRTY: u16 = 0x0001;
const RESTART_MAGIC: &[u8; 4] = b"RSTR";
const RESTART_PAGE_BYTES: std::ops::RangeInclusive<usize> = 512..=64 << 10;
const RESTART_FLAG_CLEAN: u16 = 0x0002;
const NO_CLIENT: u16 = 0xFFFF;
/// An emptied log is filled with these bytes.
const EMPTY: u8 = 0xFF;

/// Checks the version and says what a person should know of the state.
pub(super) fn notes(mft: &Mft<'_>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (number, name) in [(MIRROR_RECORD, "mirror"), (LOG_RECORD, "log"), (VOLUME_RECORD, "volume")] {
        if mft.is_damaged(number) && mft.record(number).is_ok() {
            notes.push(format!("the file record of the {name} is damaged; its copy in the mirror was used"));
        }
    }
    let is_marked = match volume(mft) {
        Ok((3, _, flags)) => flags & FLAG_DIRTY != 0,
        Ok((major, minor, _)) => return Err(super::unsupported(format!("version {major}.{minor}"))),
        Err(error) => {
            notes.push(format!("the version and state of the volume cannot be read ({error})"));
            false
        }
    };
    let is_log_clean = File::of_number(mft, LOG_RECORD)
        .and_then(|log| log.stream(kind::DATA, ""))
        .and_then(|log| log.map_or(Ok(false), |log| is_clean(mft, &log)));
    match is_log_clean {
        Ok(true) if !is_marked => {}
        Ok(true) => notes.push("the volume is marked as not cleanly unmounted; its last changes may be missing".into()),
        Ok(false) => notes.push("the volume was in use; changes that were only in its log are not shown".into()),
        Err(error) => notes.push(format!(
            "the log cannot be read ({error}); if the volume was in use, changes that were only there are not shown"
        )),
    }
    Ok(notes)
}

/// Both parts of the version, and the flags.
fn volume(mft: &Mft<'_>) -> Result<(u8, u8, u16)> {
    let volume = File::of_number(mft, VOLUME_RECORD)?;
    let information = volume.small(kind::VOLUME_INFORMATION, "", 1024, "volume information")?;
    let information = information.ok_or_else(|| volume.damaged("has no volume information"))?;
    let f = Fields::new(&information, "volume information");
    Ok((f.byte(8)?, f.byte(9)?, f.le16(0xA)?))
}

/// Whether the log holds nothing that its driver would still have to do.
fn is_clean(mft: &Mft<'_>, log: &Stream) -> Result<bool> {
    let mut newest: Option<Restart> = None;
    let mut start = [0; 0x20];
    log.read(&mft.clusters, &mut start, 0)?;
    if start.iter().all(|byte| *byte == EMPTY) {
        return Ok(true);
    }
    // Two restart pages are written in turn; the second begins where the first one says that it ends.
    let page_bytes = Fields::new(&start, "log").length32(0x10)?;
    let page_bytes = if RESTART_PAGE_BYTES.contains(&page_bytes) { page_bytes } else { 4096 };
    for page in 0..2 {
        let at = page * page_bytes as u64;
        if at + page_bytes as u64 > log.size_bytes {
            break;
        }
        let mut bytes = vec![0; in_memory(page_bytes as u64)];
        log.read(&mft.clusters, &mut bytes, at)?;
        if let Ok(restart) = Restart::parse(&mut bytes)
            && newest.as_ref().is_none_or(|newest| newest.sequence < restart.sequence)
        {
            newest = Some(restart);
        }
    }
    Ok(newest.is_some_and(|newest| newest.is_clean))
}

struct Restart {
    sequence: u64,
    is_clean: bool,
}

impl Restart {
    fn parse(page: &mut [u8]) -> Result<Self> {
        fixups::apply(page, RESTART_MAGIC, "restart page of the log")?;
        let f = Fields::new(page, "restart page of the log");
        let area = f.length16(0x18)?;
        let has_no_client = f.le16(area + 0xC)? == NO_CLIENT;
        let is_clean = has_no_client || f.le16(area + 0xE)? & RESTART_FLAG_CLEAN != 0;
        Ok(Self { sequence: f.le64(area)?, is_clean })
    }
}
