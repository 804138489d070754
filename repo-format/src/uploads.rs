//! Packs on their way to the store: in the order they were filled by one thread, or several at a time where the store says so.
//!
//! However many there are: a tree pack is put when every pack that was handed over before it is durable, since its nodes may reference what is
//! in them (FORMAT.md, first invariant), and after a failure nothing more is begun.

use crate::claims::Claims;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::pack::{FinishedPack, PackKind};
use crate::reader::Reader;
use crate::repository::Repository;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

/// Packs by the number of their handing over.
type Numbered = (u64, FinishedPack);

/// What the threads tell each other. The lock is held for a look or a note only.
#[derive(Default)]
struct Order {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Every pack below this number is durable.
    durable_below: u64,
    /// Those above it that are.
    early: BTreeSet<u64>,
    failed: bool,
}

impl Order {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all packs before this one are durable; false when one of them never will be.
    fn wait_for_all_before(&self, number: u64) -> bool {
        let waits = |state: &mut State| !state.failed && state.durable_below < number;
        let state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        !state.failed
    }

    fn is_durable(&self, number: u64) {
        let mut state = self.lock();
        state.early.insert(number);
        while let Some(next) = Some(state.durable_below).filter(|next| state.early.contains(next)) {
            state.early.remove(&next);
            state.durable_below += 1;
        }
        self.changed.notify_all();
    }

    fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }
}

/// Lets the others stop when a thread ends by a panic.
struct FailOnDrop<'o>(&'o Order);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

/// Room of packs that are stored, for those that are filled next. Never more than there were packs at once.
type Rooms = Arc<Mutex<Vec<Vec<u8>>>>;

/// The threads, and the way to them.
pub(crate) struct Uploads<'scope> {
    sender: Sender<Numbered>,
    rooms: Rooms,
    next: AtomicU64,
    threads: Vec<ScopedJoinHandle<'scope, Result<()>>>,
}

impl<'scope> Uploads<'scope> {
    /// Starts as many threads as the store takes objects at once.
    pub(crate) fn begin<'r>(
        scope: &'scope Scope<'scope, '_>,
        reader: &'scope Reader<'r>,
        claims: &'scope Claims<'r>,
        stored_bytes: &Arc<AtomicU64>,
    ) -> Self {
        // One pack waits beside those under way: memory is bounded by that.
        let (sender, packs) = bounded::<Numbered>(1);
        let (order, rooms) = (Arc::new(Order::default()), Rooms::default());
        let start = |_| {
            let (packs, order, rooms, stored) = (packs.clone(), order.clone(), rooms.clone(), stored_bytes.clone());
            scope.spawn(move || upload(reader, claims, &packs, (&order, &rooms), &stored))
        };
        let threads = (0..reader.repository().store().puts_at_once().max(1)).map(start).collect();
        Self { sender, rooms, next: AtomicU64::new(0), threads }
    }

    /// Room for a data pack, if one is free.
    pub(crate) fn room(&self) -> Option<Vec<u8>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Hands a pack over, in the caller's order; false when nobody takes it because one before it failed.
    pub(crate) fn send(&self, pack: FinishedPack) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.sender.send((number, pack)).is_ok()
    }

    /// Waits until everything handed over is durable; the first failure if there was one.
    pub(crate) fn finish(self) -> Result<()> {
        drop(self.sender);
        let mut failed: Option<Error> = None;
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Who stopped because another failed has nothing to say of its own.
            failed = match (failed, ended) {
                (None | Some(Error::Interrupted), Err(error)) => Some(error),
                (failed, _) => failed,
            };
        }
        failed.map_or(Ok(()), Err)
    }
}

fn upload(
    reader: &Reader<'_>,
    claims: &Claims<'_>,
    packs: &Receiver<Numbered>,
    (order, rooms): (&Order, &Rooms),
    stored: &AtomicU64,
) -> Result<()> {
    let fail = FailOnDrop(order);
    for (number, pack) in packs {
        let must_wait = pack.info.header.kind == PackKind::Tree;
        let goes_on = if must_wait { order.wait_for_all_before(number) } else { !order.lock().failed };
        if !goes_on {
            // The thread that failed says why.
            return Err(Error::Interrupted);
        }
        let room = store_pack(reader.repository(), reader.index(), claims, pack, stored)?;
        order.is_durable(number);
        // Tree packs are small and few: theirs is not worth keeping.
        if let Some(room) = room.filter(|_| !must_wait) {
            rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        }
    }
    std::mem::forget(fail);
    Ok(())
}

/// Durable first, then known. Returns the pack's room, if it is free again.
fn store_pack(
    repo: &Repository,
    index: &Index,
    claims: &Claims<'_>,
    pack: FinishedPack,
    stored: &AtomicU64,
) -> Result<Option<Vec<u8>>> {
    let FinishedPack { id, bytes, info } = pack;
    let room = repo.store().put_owned(&info.header.kind.key(&id), bytes)?;
    index.insert(&[(id, &info)])?;
    claims.settle(id, &info);
    stored.fetch_add(info.pack_bytes, Ordering::Relaxed);
    Ok(room)
}
