//! Repairing the few objects that every process reads first: the configuration and the writers' records. Data is healed by backups.

use crate::config::{self, CONFIG_COPY_KEY, CONFIG_KEY, Config, DEFAULT_CHUNK_BYTES};
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::keys::{MasterSecret, WriterKeys};
use crate::repository::{Access, Repository};
use crate::sign::{Signer, Signers};
use crate::store::Store;
use crate::writer_key::WriterRecord;
use crate::writers::{self, Unsound, Writers};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

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

/// Opens a repository of which both configuration objects are lost, and writes them again: a recovery kit and what else is stored say
/// all that was in them. The record of the built-in writer names it, and proves that the kit is of this repository; the newest point
/// that opens says the size of a chunk.
///
/// Refused while the configuration can be read. May be cut anywhere and run again.
pub fn rebuild_config(
    store: Arc<dyn Store>,
    (repository, master): (RepositoryId, MasterSecret),
    entropy: Arc<dyn Entropy>,
) -> Result<Repository> {
    match config::read(&*store, &mut |_| {}) {
        Err(Error::NoRepository) => {}
        Err(error) if error.is_loss() => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::Refused("the configuration is not lost; nothing was written".into())),
    }
    let builtin = builtin_writer(&*store, &repository, &master)?;
    let with = |chunk_bytes| -> Result<Repository> {
        let config = Config::new((repository, builtin.writer), &master, chunk_bytes, builtin.created_at)?;
        let access = Access::Master(master.clone());
        Repository::open_with((store.clone(), config), access, entropy.clone(), Vec::new())
    };
    let config = with(chunk_bytes_of_points(&with(DEFAULT_CHUNK_BYTES)?)?)?.config().encode(&master)?;
    for object in [CONFIG_KEY, CONFIG_COPY_KEY] {
        store.put(object, &config)?;
    }
    Repository::open(store, Access::Master(master), entropy)
}

/// The writer whose key follows from the master secret.
fn builtin_writer(store: &dyn Store, repository: &RepositoryId, master: &MasterSecret) -> Result<WriterRecord> {
    let signers = Signers { operator: master.operator_signer().verify_key(), writers: HashMap::new() };
    let is_builtin = |record: &WriterRecord| {
        let signer = Signer::new(record.writer, &master.builtin_writer_seed(record.writer));
        record.key().is_ok_and(|key| key == signer.verify_key())
    };
    let found = writers::read(store, repository, &signers)?;
    found.newest_sound().into_iter().find(is_builtin).ok_or_else(|| {
        let what = "no sound writer's record here is of the repository that this recovery kit is for, and without one the \
                    configuration cannot be made again; put config, or the objects below writers/, back from a replica";
        Error::Refused(what.into())
    })
}

fn chunk_bytes_of_points(repo: &Repository) -> Result<u32> {
    let mut why = "there is none".to_owned();
    for at in repo.points()?.into_iter().rev() {
        match repo.open_point_unverified(at) {
            Ok((_, manifest)) => return Ok(manifest.chunk_bytes),
            Err(error) if error.is_loss() => why = error.to_string(),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Refused(format!("no recovery point says how large a chunk of this repository is: {why}")))
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
