//! Repairing the few objects that every process reads first: the configuration and the writers' records. Data is healed by backups.

use crate::config::{CONFIG_COPY_KEY, CONFIG_KEY, Config};
use crate::error::{Error, Result};
use crate::keys::WriterKeys;
use crate::repository::Repository;
use crate::sign::Signer;
use crate::writer_key::WriterRecord;
use crate::writers::{self, Unsound, Writers};
use jiff::Timestamp;

/// What a repair did.
#[derive(Default, Debug)]
pub struct Repaired {
    /// Objects that were written.
    pub written: Vec<String>,
    /// Damaged objects that were removed after another took their place.
    pub removed: Vec<String>,
    /// What is still damaged.
    pub left: Vec<Unsound>,
}

/// Writes the configuration's lost copy, the record of the built-in writer, and, with its keys, the record of another writer. Needs the
/// master secret. May be cut anywhere and run again.
pub fn repair(repo: &Repository, writer: Option<&WriterKeys>, now: Timestamp) -> Result<Repaired> {
    let master = repo.keys().master_for("repairing the repository")?;
    repo.config().check_writable()?;
    let mut done = Repaired::default();
    repair_config(repo, &mut done)?;
    let found = repo.read_writers()?;
    let builtin = repo.config().builtin_writer;
    let seed = master.builtin_writer_seed(builtin);
    let description = WriterRecord::new(&Signer::new(builtin, &seed), "built-in", None, repo.config().created_at);
    repair_writer(repo, &found, description, &mut done)?;
    if let Some(keys) = writer {
        if keys.repository != repo.config().repository || keys.operator != repo.signers().operator {
            return Err(Error::Refused("the writer key file is of another repository".into()));
        }
        repair_writer(repo, &found, WriterRecord::new(&keys.signer(), "repaired", None, now), &mut done)?;
    }
    let found = repo.read_writers()?;
    for object in found.unsound().into_iter().filter(|object| object.is_replaced) {
        repo.store().delete(&object.object)?;
        done.removed.push(object.object);
    }
    done.left = repo.read_writers()?.unsound();
    Ok(done)
}

/// Writes whichever of the two objects is lost, with the other's bytes.
fn repair_config(repo: &Repository, done: &mut Repaired) -> Result<()> {
    let read = |object: &str| -> Result<Vec<u8>> {
        let bytes = repo.store().get(object)?;
        let config = Config::decode(object, &bytes)?;
        match config.repository == repo.config().repository && config.operator_key == repo.config().operator_key {
            true => Ok(bytes),
            false => Err(Error::damaged(object, "it is of another repository")),
        }
    };
    let (lost, bytes) = match (read(CONFIG_KEY), read(CONFIG_COPY_KEY)) {
        (Ok(first), Ok(copy)) if first == copy => return Ok(()),
        (Ok(first), Ok(_)) => (CONFIG_COPY_KEY, first),
        (Ok(first), Err(error)) if error.is_loss() => (CONFIG_COPY_KEY, first),
        (Err(error), Ok(copy)) if error.is_loss() => (CONFIG_KEY, copy),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    repo.store().put(lost, &bytes)?;
    done.written.push(lost.to_owned());
    Ok(())
}

/// Writes a new revision where the newest one is lost. A sound older one keeps its words; whether it was revoked since is not known, and
/// who gives its key says that it may go on.
fn repair_writer(repo: &Repository, found: &Writers, mut new: WriterRecord, done: &mut Repaired) -> Result<()> {
    let writer = new.writer;
    let is_lost = |object: &Unsound| object.writer == Some(writer) && !object.is_replaced;
    let highest = found.highest_revision(&writer);
    if highest.is_some() && !found.unsound().iter().any(is_lost) {
        return Ok(());
    }
    if let Some(older) = found.of(&writer) {
        if older.verify_key != new.verify_key {
            return Err(Error::Refused(format!("the key given is not that of writer {writer}")));
        }
        new = older.clone();
    }
    let revision = highest.map_or(Some(0), |highest| highest.checked_add(1));
    let revision =
        revision.ok_or_else(|| Error::damaged(writers::key(&writer, u32::MAX), "there is no revision after it"))?;
    let master = repo.keys().master_for("repairing the repository")?;
    writers::put(repo.store(), &repo.config().repository, master, &new, revision)?;
    done.written.push(writers::key(&writer, revision));
    Ok(())
}
