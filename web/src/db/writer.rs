//! The one thread that writes. Writes that wait together share one transaction, each in a savepoint of its own.
//!
//! No lock is held while work runs; the queue is bounded. An answer leaves only after COMMIT, which returns after the sync.

use super::{Error, Observer, Result};
use rusqlite::Connection;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use web_api::event::Event;

/// Writes that may wait. More are refused, so that memory stays bounded when the disk hangs.
const QUEUE: usize = 1024;
/// Most writes in one transaction.
const BATCH: usize = 128;

/// A transaction, as its work sees it: a connection, and what shall be told once it is on disk.
pub struct Write<'t> {
    connection: &'t Connection,
    events: Vec<Event>,
}

impl<'t> Write<'t> {
    /// A transaction that the caller begins and ends, for programs without the writing thread.
    pub fn within(connection: &'t Connection) -> Self {
        Self { connection, events: Vec::new() }
    }

    /// Tells `event` to listeners after the commit.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// One transaction of the writing thread, for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Writes in it.
    pub writes: usize,
    /// How long it took with its sync.
    pub took: Duration,
}

/// Handle of the writing thread.
pub(super) struct Writer {
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub fn start(connection: Connection, observer: impl Observer) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("database".into())
            .spawn(move || run(&connection, jobs, &observer))
            .map_err(|error| Error::NotStored(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(TypedJob { work: Some(work), result: None, reply });
        self.sender()?.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    fn sender(&self) -> Result<mpsc::Sender<Box<dyn Job>>> {
        self.queue.lock().expect("no panic while held").clone().ok_or(Error::Closed)
    }

    pub fn close(&self) {
        self.queue.lock().expect("no panic while held").take();
        if let Some(thread) = self.thread.lock().expect("no panic while held").take() {
            // A panic of the thread was told to whoever waited for it.
            let _ = thread.join();
        }
    }
}

/// A write of any type, with whoever waits for it.
trait Job: Send {
    /// Does the work; whether it shall be kept.
    fn run(&mut self, write: &mut Write<'_>) -> bool;
    /// Answers, after it is known whether the transaction is on disk.
    fn answer(self: Box<Self>, stored: Result<()>);
}

struct TypedJob<W, T, E> {
    work: Option<W>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<W, T, E> Job for TypedJob<W, T, E>
where
    W: FnOnce(&mut Write<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, write: &mut Write<'_>) -> bool {
        self.result = self.work.take().map(|work| work(write));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, stored: Result<()>) {
        let result = match (stored, self.result) {
            (Ok(()), Some(result)) | (Err(_), Some(result @ Err(_))) => result,
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(Error::Panicked.into()),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(result);
    }
}

fn run(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, observer: &impl Observer) {
    while let Some(first) = jobs.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        let mut waiting = waiting.into_iter();
        while waiting.len() > 0 {
            transaction(connection, &mut waiting, observer);
        }
    }
    // The last one out empties the WAL; without this the next start does it.
    if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
        tracing::warn!(%error, "the database's log could not be emptied");
    }
}

/// Takes jobs into one transaction, ends it and answers. Leaves jobs behind only when SQLite ended the transaction early.
fn transaction(connection: &Connection, waiting: &mut impl Iterator<Item = Box<dyn Job>>, observer: &impl Observer) {
    let begun = Instant::now();
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        waiting.for_each(|job| job.answer(Err(Error::of_transaction(&error))));
        return;
    }
    let mut done = Vec::new();
    let mut events = Vec::new();
    for mut job in waiting {
        let outcome = in_savepoint(connection, job.as_mut());
        done.push(job);
        match outcome {
            Ok(told) => events.extend(told),
            Err(error) => return abandon(connection, done, &error),
        }
    }
    let committed = connection.execute_batch("COMMIT");
    // Before the answers: whoever has one may ask what was counted.
    observer.batch(Batch { writes: done.len(), took: begun.elapsed() });
    match committed {
        Ok(()) => {
            observer.committed(events);
            done.into_iter().for_each(|job| job.answer(Ok(())));
        }
        Err(error) => abandon(connection, done, &error),
    }
}

/// Runs one job so that its failure leaves nothing behind. An error means that the whole transaction is lost.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<Vec<Event>> {
    connection.execute_batch("SAVEPOINT job")?;
    let mut write = Write::within(connection);
    let keep = catch_unwind(AssertUnwindSafe(|| job.run(&mut write))).unwrap_or(false);
    let events = std::mem::take(&mut write.events);
    // After a full disk or a failed read SQLite has ended the transaction already; then this fails, as it must.
    connection.execute_batch(if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    Ok(if keep { events } else { Vec::new() })
}

fn abandon(connection: &Connection, done: Vec<Box<dyn Job>>, error: &rusqlite::Error) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "a transaction could not be taken back");
    }
    done.into_iter().for_each(|job| job.answer(Err(Error::of_transaction(error))));
}
