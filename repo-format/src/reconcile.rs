//! Making the index say what the store holds: after a crash, after another process wrote, or from nothing ("rebuild").

use crate::error::{Error, Result};
use crate::id::PackId;
use crate::index::Index;
use crate::pack::{self, PackInfo, PackKind};
use crate::records::Records;
use crossbeam_channel::bounded;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far a reconciliation is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Packs that had to be read.
    pub packs_total: u64,
    /// Packs read so far.
    pub packs_done: u64,
    /// Entries found so far.
    pub entries: u64,
}

/// What a reconciliation found.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// Packs whose footers were entered.
    pub added: u64,
    /// Packs that are gone from the store and now from the index.
    pub removed: u64,
    /// Packs that cannot be used, and why. Their chunks count as unknown.
    pub damaged: Vec<(String, Error)>,
}

/// How a reconciliation runs.
pub struct Options<'a> {
    /// Threads that read footers.
    pub threads: usize,
    /// Called after each batch.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Stops it; what was entered stays, the next run goes on from there.
    pub cancel: &'a AtomicBool,
}

/// Packs that one transaction enters.
const BATCH_PACKS: usize = 64;

/// Enters the packs the index does not know and removes those that are gone.
pub fn reconcile(records: Records<'_>, index: &Index, options: &Options<'_>) -> Result<Reconciled> {
    let mut known: HashMap<PackId, _> = index.packs()?.into_iter().map(|pack| (pack.id, pack)).collect();
    let mut done = Reconciled::default();
    let mut missing = Vec::new();
    for kind in [PackKind::Tree, PackKind::Data] {
        records.store.list(kind.prefix(), &mut |key, size| match kind.parse_key(key) {
            Some(id) => match known.remove(&id) {
                Some(pack) if pack.kind == kind && pack.pack_bytes == size => {}
                Some(pack) => {
                    known.insert(id, pack);
                    missing.push((kind, id));
                }
                None => missing.push((kind, id)),
            },
            None => done.damaged.push((key.into(), Error::damaged(key, "it is no pack's name, or not in its place"))),
        })?;
    }
    done.removed = known.len() as u64;
    index.remove(&known.values().map(|pack| pack.number).collect::<Vec<_>>())?;
    // Who finds an entry in the index relies on it: a pack whose writer was killed before it was durable must become so first.
    records.store.persist(&missing.iter().map(|(kind, id)| kind.key(id)).collect::<Vec<_>>())?;
    missing.sort_unstable_by_key(|(kind, id)| (*kind == PackKind::Data, *id));
    read_footers(records, index, &missing, options, &mut done)?;
    Ok(done)
}

fn read_footers(
    records: Records<'_>,
    index: &Index,
    missing: &[(PackKind, PackId)],
    options: &Options<'_>,
    done: &mut Reconciled,
) -> Result<()> {
    let mut progress = Progress { packs_total: missing.len() as u64, ..Progress::default() };
    let (work_tx, work_rx) = bounded::<(PackKind, PackId)>(options.threads * 2);
    let (found_tx, found_rx) = bounded::<((PackKind, PackId), Result<PackInfo>)>(options.threads * 2);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, 64) {
            let (work_rx, found_tx) = (work_rx.clone(), found_tx.clone());
            scope.spawn(move || {
                for (kind, id) in work_rx {
                    let info = pack::load(records.store, kind, &id, records.repository, records.signers);
                    if found_tx.send(((kind, id), info)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((work_rx, found_tx));
        scope.spawn(move || {
            for pack in missing {
                if options.cancel.load(Ordering::Relaxed) || work_tx.send(*pack).is_err() {
                    return;
                }
            }
        });
        let mut batch = Vec::new();
        for ((kind, id), info) in found_rx {
            progress.packs_done += 1;
            match info {
                Ok(info) => {
                    progress.entries += info.rows.len() as u64;
                    batch.push((id, info));
                }
                // Deleted since the listing.
                Err(Error::Missing { .. }) => {}
                Err(error) if error.is_damage() => done.damaged.push((kind.key(&id), error)),
                Err(error) => return Err(error),
            }
            if batch.len() == BATCH_PACKS {
                enter(index, &mut batch, done)?;
                (options.progress)(progress);
            }
        }
        enter(index, &mut batch, done)?;
        (options.progress)(progress);
        if options.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    })
}

fn enter(index: &Index, batch: &mut Vec<(PackId, PackInfo)>, done: &mut Reconciled) -> Result<()> {
    index.insert(&batch.iter().map(|(id, info)| (*id, info)).collect::<Vec<_>>())?;
    done.added += batch.len() as u64;
    batch.clear();
    Ok(())
}
