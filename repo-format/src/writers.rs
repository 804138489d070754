//! The writers' records: who may sign what is stored, and what is done while one of them is damaged.
//!
//! A writer's newest record counts. When it is damaged and an older one is sound, signatures can still be checked, since a writer has
//! one key for ever; whether it was revoked is then unknown, so it may begin no session and nobody relies on its group. Without any
//! sound record what the writer signed cannot be verified. Replacing what is damaged is `repair`.

use crate::error::{Error, Result};
use crate::id::{RepositoryId, WriterId};
use crate::keys::{Keys, MasterSecret};
use crate::record::{self, MaySign};
use crate::records::Records;
use crate::sign::{KnownWriter, Signer, Signers, Standing, VerifyKey};
use crate::store::Store;
use crate::writer_key::WriterRecord;
use std::collections::BTreeMap;

/// An object that was to be read when the repository was opened, and could not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsound {
    /// Its key.
    pub object: String,
    /// What is wrong with it, with the object named.
    pub what: String,
    /// The writer it describes.
    pub writer: Option<WriterId>,
    /// Whether a newer sound record takes its place, so that nothing depends on it.
    pub is_replaced: bool,
}

/// A record of a writer.
struct Read {
    revision: u32,
    object: String,
    record: Result<WriterRecord>,
}

/// All records, by writer and revision; the newest of a writer is the last.
#[derive(Default)]
pub(crate) struct Writers {
    read: BTreeMap<WriterId, Vec<Read>>,
    /// Objects whose names are no writer's.
    strange: Vec<Unsound>,
}

/// Key of a writer's record.
pub(crate) fn key(writer: &WriterId, revision: u32) -> String {
    format!("writers/{writer}-{revision:08x}")
}

/// Whether there is a record of a writer, of whatever content.
pub(crate) fn is_recorded(store: &dyn Store, writer: WriterId) -> Result<bool> {
    Ok(store.keys("writers/")?.iter().filter_map(|object| parse(object)).any(|(named, _)| named == writer))
}

/// The writer and the revision that a key names.
fn parse(object: &str) -> Option<(WriterId, u32)> {
    let (writer, revision) = object.strip_prefix("writers/")?.split_once('-')?;
    Some((writer.parse().ok()?, u32::from_be_bytes(crate::id::unhex(revision)?)))
}

/// Writes a record.
pub(crate) fn put(
    store: &dyn Store,
    repository: &RepositoryId,
    master: &MasterSecret,
    writer: &WriterRecord,
    revision: u32,
) -> Result<()> {
    let bytes = record::encode_json(record::WRITER, repository, &master.operator_signer(), writer)?;
    store.put(&key(&writer.writer, revision), &bytes)
}

/// Reads all records. One that is lost is remembered as such and hides no other.
pub(crate) fn read(store: &dyn Store, repository: &RepositoryId, signers: &Signers) -> Result<Writers> {
    let mut writers = Writers::default();
    // Keys are sorted: the revisions of a writer come in their order.
    for object in store.keys("writers/")? {
        let Some((writer, revision)) = parse(&object) else {
            let what = Error::damaged(&object, "it is no writer's name").to_string();
            writers.strange.push(Unsound { object, what, writer: None, is_replaced: false });
            continue;
        };
        let record = match read_one(store, &object, writer, repository, signers) {
            Err(error) if !error.is_loss() => return Err(error),
            other => other,
        };
        writers.read.entry(writer).or_default().push(Read { revision, object, record });
    }
    Ok(writers)
}

fn read_one(
    store: &dyn Store,
    object: &str,
    writer: WriterId,
    repository: &RepositoryId,
    signers: &Signers,
) -> Result<WriterRecord> {
    let bytes = store.get(object)?;
    let found: WriterRecord = record::decode(object, record::WRITER, &bytes)?
        .alone(object, &bytes)?
        .verified(object, repository, signers, MaySign::Operator)?
        .json(object)?;
    found.key()?;
    if found.writer == writer { Ok(found) } else { Err(Error::damaged(object, "it belongs to another writer")) }
}

/// Looks at a record that shall be added: whose it is, its revision, and the revision that comes next for that writer. A later
/// revision may only revoke, and nothing takes that back: records do not hold their revision, so an old one could be put as a new one.
pub(crate) fn check_next(records: Records<'_>, (object, bytes): (&str, &[u8])) -> Result<(WriterId, u32, u32)> {
    let wrong = |what: &str| Error::damaged(object, what);
    let (writer, revision) = parse(object).ok_or_else(|| wrong("it is no writer's name"))?;
    let record: WriterRecord = records.decode(object, record::WRITER, bytes, MaySign::Operator)?;
    record.key()?;
    if record.writer != writer {
        return Err(wrong("it belongs to another writer"));
    }
    let known = read(records.store, records.repository, records.signers)?;
    let Some(highest) = known.highest_revision(&writer) else { return Ok((writer, revision, 0)) };
    let before = known.of(&writer).ok_or_else(|| wrong("no sound record of this writer comes before it"))?;
    let changes_nothing_else = WriterRecord { revoked_at: record.revoked_at, ..before.clone() } == record;
    if !changes_nothing_else || (before.revoked_at.is_some() && record.revoked_at != before.revoked_at) {
        return Err(wrong("it changes more than whether the writer is revoked"));
    }
    let next = highest.checked_add(1).ok_or_else(|| wrong("no revision comes after the last"))?;
    Ok((writer, revision, next))
}

impl Writers {
    /// The sound records in their newest revision.
    pub(crate) fn newest_sound(&self) -> Vec<WriterRecord> {
        self.read.values().filter_map(|read| newest_sound(read).map(|(_, record)| record.clone())).collect()
    }

    /// Highest revision of a writer that stands in the store, sound or not.
    pub(crate) fn highest_revision(&self, writer: &WriterId) -> Option<u32> {
        self.read.get(writer).and_then(|read| read.last()).map(|read| read.revision)
    }

    /// The newest sound record of a writer.
    pub(crate) fn of(&self, writer: &WriterId) -> Option<&WriterRecord> {
        self.read.get(writer).and_then(|read| newest_sound(read)).map(|(_, record)| record)
    }

    /// Everything that could not be read.
    pub(crate) fn unsound(&self) -> Vec<Unsound> {
        let mut found = self.strange.clone();
        for (writer, read) in &self.read {
            let sound = newest_sound(read).map(|(revision, _)| revision);
            found.extend(read.iter().filter_map(|one| {
                let what = one.record.as_ref().err()?.to_string();
                let is_replaced = sound.is_some_and(|sound| sound > one.revision);
                Some(Unsound { object: one.object.clone(), what, writer: Some(*writer), is_replaced })
            }));
        }
        found
    }

    /// Enters every writer whose signatures can be checked.
    pub(crate) fn enter_into(&self, signers: &mut Signers, keys: Option<&Keys>, builtin: WriterId) -> Result<()> {
        for (writer, read) in &self.read {
            let newest_is_sound = read.last().is_some_and(|newest| newest.record.is_ok());
            let known = match newest_sound(read) {
                Some((_, record)) => known(record, newest_is_sound)?,
                None => match keys.and_then(|keys| derived(keys, *writer, builtin)) {
                    Some(known) => known,
                    None => continue,
                },
            };
            signers.writers.insert(*writer, known);
        }
        Ok(())
    }
}

fn newest_sound(read: &[Read]) -> Option<(u32, &WriterRecord)> {
    read.iter().rev().find_map(|one| one.record.as_ref().ok().map(|record| (one.revision, record)))
}

fn known(record: &WriterRecord, is_newest: bool) -> Result<KnownWriter> {
    let standing = match (is_newest, record.revoked_at) {
        (_, Some(_)) => Standing::Revoked,
        (true, None) => Standing::Active,
        (false, None) => Standing::Unknown,
    };
    Ok(KnownWriter {
        verify_key: record.key()?,
        trust_group: record.trust_group.clone().filter(|_| is_newest),
        standing,
    })
}

/// What the keys at hand say of a writer without a sound record: the built-in one's key derives from the master secret and it is never
/// revoked; of itself a writer knows the key.
fn derived(keys: &Keys, writer: WriterId, builtin: WriterId) -> Option<KnownWriter> {
    let own = keys.writer();
    let (verify_key, standing): (VerifyKey, Standing) = match keys.master_for("knowing the built-in writer") {
        Ok(master) if writer == builtin => {
            (Signer::new(writer, &master.builtin_writer_seed(writer)).verify_key(), Standing::Active)
        }
        _ if writer == own.writer => (own.signer().verify_key(), Standing::Unknown),
        _ => return None,
    };
    Some(KnownWriter { verify_key, trust_group: None, standing })
}
