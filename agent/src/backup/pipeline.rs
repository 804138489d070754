//! One disk through the pipeline: several threads read, hash and compress batches; one takes them in disk order.
//!
//! A thread does a whole batch (read → zero? → hash → known? → compress), so while one waits for the disk
//! another computes. How far threads may run ahead of the slowest is bounded, and with it the memory.

use super::limit::Limit;
use super::parent::ParentLost;
use super::plan::PlannedDisk;
use super::spread::Spread;
use super::{Audit, Surroundings};
use crate::extents::Extent;
use crate::priority::Priority;
use crate::progress::{Counts, Spent, Watch};
use crate::read_at::ReadAt;
use crate::source::provider::Snapshot;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use repo_format::Error;
use repo_format::aligned::{ALIGNMENT_BYTES, AlignedBuffer};
use repo_format::claims::{Claims, Hint};
use repo_format::codec::{Encoder, Kind, is_zero};
use repo_format::id::{ChunkId, EntryId};
use repo_format::manifest::Stats;
use repo_format::pack::PackKind;
use repo_format::reader::Reader;
use repo_format::session::{NewChunk, Session};
use repo_format::tree::{Tree, TreeEditor};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

/// Bytes of one batch.
const BATCH_BYTES: u64 = 2 << 20;
/// Batches that may be under way for each thread.
const AHEAD: u64 = 3;

/// A batch: extents to read, or one extent that becomes a hole.
enum Batch {
    Read(Vec<Extent>),
    Hole(Extent),
}

/// What became of one chunk.
enum Stored {
    /// All zero.
    Hole,
    /// In the repository already.
    Known(ChunkId),
    /// To be stored; the payload is the next this many bytes of the batch's payloads.
    New { chunk: ChunkId, kind: Kind, plain_bytes: u32, payload_bytes: usize },
}

/// A finished batch.
#[derive(Default)]
struct Done {
    chunks: Vec<(u64, Stored)>,
    payloads: Vec<u8>,
    holes: Option<Extent>,
    bytes_read: u64,
    spent: Spent,
}

impl Done {
    /// What is to be stored, in disk order.
    fn new_chunks(&self) -> impl Iterator<Item = NewChunk<'_>> {
        let mut payloads = self.payloads.as_slice();
        self.chunks.iter().filter_map(move |(_, stored)| match *stored {
            Stored::New { chunk, kind, plain_bytes, payload_bytes } => {
                let (payload, rest) = payloads.split_at(payload_bytes);
                payloads = rest;
                Some(NewChunk { chunk, kind, plain_bytes, payload })
            }
            Stored::Hole | Stored::Known(_) => None,
        })
    }
}

/// What was counted and found of one disk.
#[derive(Default)]
pub struct Tally {
    /// Counts, as far as the pipeline knows them.
    pub stats: Stats,
    /// What was read to see whether it is unchanged.
    pub audit: Audit,
    /// Where it changed since the point before, if there is one.
    pub spread: Option<Spread>,
}

impl Tally {
    /// Adds this disk's counts to those of all.
    pub fn add_to(&self, sum: &mut Stats) {
        sum.bytes_read += self.stats.bytes_read;
        sum.bytes_zero += self.stats.bytes_zero;
        sum.bytes_new += self.stats.bytes_new;
        sum.chunks_new += self.stats.chunks_new;
        sum.chunks_read += self.stats.chunks_read;
        sum.bytes_audited += self.audit.bytes_checked;
    }
}

/// What all threads of one disk share.
pub struct Pipeline<'a> {
    /// Reads the repository.
    pub reader: &'a Reader<'a>,
    /// The disk.
    pub disk: &'a PlannedDisk<'a>,
    /// What holds it still.
    pub snapshot: &'a dyn Snapshot,
    /// zstd level.
    pub level: i32,
    /// Speed limit.
    pub limit: &'a Limit,
    /// Threads that read and compress.
    pub threads: usize,
    /// How much they yield to others.
    pub priority: Priority,
    /// Clock, progress, cancel.
    pub around: &'a Surroundings<'a>,
}

/// Hands out batches in order and keeps threads from running too far ahead.
struct Tickets<I> {
    state: Mutex<TicketState<I>>,
    moved: Condvar,
    window: u64,
    stop: AtomicBool,
}

struct TicketState<I> {
    batches: I,
    issued: u64,
    taken: u64,
}

impl<I: Iterator<Item = Batch>> Tickets<I> {
    fn new(batches: I, window: u64) -> Self {
        let state = Mutex::new(TicketState { batches, issued: 0, taken: 0 });
        Self { state, moved: Condvar::new(), window, stop: AtomicBool::new(false) }
    }

    fn next(&self) -> Option<(u64, Batch)> {
        let state = self.state.lock().expect("no panic while held");
        let must_wait = |state: &mut TicketState<I>| {
            !self.stop.load(Ordering::Relaxed) && state.issued >= state.taken + self.window
        };
        let mut state = self.moved.wait_while(state, must_wait).expect("no panic while held");
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let batch = state.batches.next()?;
        state.issued += 1;
        Some((state.issued - 1, batch))
    }

    fn issued(&self) -> u64 {
        self.state.lock().expect("no panic while held").issued
    }

    fn took_one(&self) {
        self.state.lock().expect("no panic while held").taken += 1;
        self.moved.notify_all();
    }

    fn stop(&self) {
        // Under the lock, so that no thread misses it between its look and its sleep.
        let _state = self.state.lock().expect("no panic while held");
        self.stop.store(true, Ordering::Relaxed);
        self.moved.notify_all();
    }
}

/// Lets all waiting threads go when it is dropped.
struct StopOnDrop<'a, I: Iterator<Item = Batch>>(&'a Tickets<I>);

impl<I: Iterator<Item = Batch>> Drop for StopOnDrop<'_, I> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Pipeline<'_> {
    /// Reads and stores the disk; returns its new tree.
    pub fn run(&self, session: &mut Session<'_, '_>, tally: &mut Tally) -> Result<Tree> {
        let window = self.threads as u64 * AHEAD;
        let tickets = Tickets::new(self.batches(), window);
        let (sender, results) = bounded(self.threads);
        let claims = session.claims();
        std::thread::scope(|scope| {
            // However this ends, threads that wait for their turn must not wait for ever.
            let _stop = StopOnDrop(&tickets);
            for _ in 0..self.threads {
                let (sender, tickets) = (sender.clone(), &tickets);
                scope.spawn(move || self.work(claims, tickets, &sender));
            }
            drop(sender);
            // The receiver goes with this call, so that no thread waits for it to take something.
            self.take_in_order(session, results, &tickets, tally)
        })
    }

    /// What is to be done, in disk order.
    fn batches(&self) -> impl Iterator<Item = Batch> + '_ + Send {
        let mut reads = self.disk.read.iter().flat_map(split).peekable();
        let mut holes = self.disk.holes.iter().peekable();
        std::iter::from_fn(move || {
            let hole_first = match (reads.peek(), holes.peek()) {
                (Some(read), Some(hole)) => hole.offset_bytes() < read.offset_bytes(),
                (None, Some(_)) => true,
                _ => false,
            };
            if hole_first {
                return holes.next().map(Batch::Hole);
            }
            let limit = holes.peek().map_or(u64::MAX, |hole| hole.offset_bytes());
            let mut batch = vec![reads.next()?];
            let mut bytes = batch[0].length_bytes();
            while let Some(next) =
                reads.next_if(|next| bytes + next.length_bytes() <= BATCH_BYTES && next.offset_bytes() < limit)
            {
                bytes += next.length_bytes();
                batch.push(next);
            }
            Some(Batch::Read(batch))
        })
    }

    fn work<I: Iterator<Item = Batch>>(
        &self,
        claims: &Claims<'_>,
        tickets: &Tickets<I>,
        results: &Sender<(u64, Result<Done>)>,
    ) {
        self.priority.apply_to_this_thread();
        let stop = StopOnDrop(tickets);
        let mut worker = match Worker::new(self, claims) {
            Ok(worker) => worker,
            Err(error) => {
                let _ = results.send((0, Err(error)));
                return;
            }
        };
        // What is waited for here is the thread that stores; it is told with the next batch.
        let (mut watch, mut waited_us) = (Watch::start(), 0);
        while let Some((number, batch)) = tickets.next() {
            watch.add_to(&mut waited_us);
            let mut done = worker.process(batch);
            if let Ok(done) = &mut done {
                done.spent.store_us = std::mem::take(&mut waited_us);
            }
            watch = Watch::start();
            if results.send((number, done)).is_err() {
                return;
            }
        }
        // The work is done; only a thread that panics stops the others on its way out.
        std::mem::forget(stop);
    }

    /// Puts the batches in order again and stores what is new.
    fn take_in_order<I: Iterator<Item = Batch>>(
        &self,
        session: &mut Session<'_, '_>,
        results: Receiver<(u64, Result<Done>)>,
        tickets: &Tickets<I>,
        tally: &mut Tally,
    ) -> Result<Tree> {
        let mut editor = TreeEditor::new(self.disk.base, self.reader);
        let mut early: HashMap<u64, Done> = HashMap::new();
        let mut next = 0;
        for (number, done) in results {
            if self.around.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted.into());
            }
            if let Some(alarm) = self.snapshot.alarm() {
                return Err(anyhow::anyhow!("{alarm}"));
            }
            early.insert(number, done?);
            while let Some(done) = early.remove(&next) {
                self.store(session, &mut editor, done, tally)?;
                session.renew_if_due((self.around.clock)())?;
                tickets.took_one();
                next += 1;
            }
        }
        if !early.is_empty() || next != tickets.issued() {
            return Err(anyhow::anyhow!("a thread of the pipeline was lost; nothing was committed"));
        }
        editor.finish(session).map_err(|error| self.of_parent(error))
    }

    /// Damage that is met while a tree is edited is in the parent's: nothing else is read.
    fn of_parent(&self, error: Error) -> anyhow::Error {
        ParentLost::or_else(self.disk, error)
    }

    fn store(
        &self,
        session: &mut Session<'_, '_>,
        editor: &mut TreeEditor<'_>,
        done: Done,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut counts =
            Counts { done: done.bytes_read, bytes_read: done.bytes_read, spent: done.spent, ..Counts::default() };
        let before = session.stored_bytes();
        // First all chunks, then the nodes above them: nothing comes between the pieces of a frame.
        session.add_chunks(done.new_chunks())?;
        for (position, stored) in done.chunks {
            let length = self.chunk_length(position);
            let chunk = match stored {
                Stored::Hole => {
                    counts.bytes_zero += length;
                    None
                }
                Stored::Known(chunk) => {
                    counts.bytes_known += length;
                    Some(chunk)
                }
                Stored::New { chunk, .. } => {
                    counts.bytes_new += length;
                    tally.stats.chunks_new += 1;
                    Some(chunk)
                }
            };
            tally.stats.chunks_read += 1;
            let differs = editor.set(position, chunk, session).map_err(|error| self.of_parent(error))?;
            if self.disk.sample.contains(&position) {
                tally.audit.bytes_checked += length;
                if differs {
                    tally.audit.add(&self.disk.name, position * self.chunk_bytes(), length);
                }
            }
        }
        if let Some(hole) = done.holes {
            self.set_holes(session, editor, hole)?;
            counts.bytes_zero += hole.length_bytes();
        }
        counts.bytes_stored = session.stored_bytes() - before;
        tally.stats.bytes_read += counts.bytes_read;
        tally.stats.bytes_zero += counts.bytes_zero;
        tally.stats.bytes_new += counts.bytes_new;
        self.around.progress.advance(counts);
        Ok(())
    }

    fn set_holes(&self, session: &mut Session<'_, '_>, editor: &mut TreeEditor<'_>, hole: Extent) -> Result<()> {
        let chunk = self.chunk_bytes();
        for position in hole.offset_bytes() / chunk..hole.end_bytes().div_ceil(chunk) {
            editor.set(position, None, session).map_err(|error| self.of_parent(error))?;
        }
        Ok(())
    }

    fn chunk_bytes(&self) -> u64 {
        self.reader.repository().config().chunk_bytes.into()
    }

    fn chunk_length(&self, position: u64) -> u64 {
        (self.disk.facts.size_bytes - position * self.chunk_bytes()).min(self.chunk_bytes())
    }
}

/// Pieces of at most a batch; an extent in whole chunks is cut between chunks, since a batch is a multiple of every chunk size.
fn split(extent: Extent) -> impl Iterator<Item = Extent> + Send {
    let pieces = extent.length_bytes().div_ceil(BATCH_BYTES);
    (0..pieces).filter_map(move |piece| {
        let start = extent.offset_bytes() + piece * BATCH_BYTES;
        Extent::from_bounds(start, (start + BATCH_BYTES).min(extent.end_bytes()))
    })
}

/// One thread's tools.
struct Worker<'a> {
    pipeline: &'a Pipeline<'a>,
    claims: &'a Claims<'a>,
    encoder: Encoder,
    buffer: AlignedBuffer,
    hint: Hint,
}

impl<'a> Worker<'a> {
    fn new(pipeline: &'a Pipeline<'a>, claims: &'a Claims<'a>) -> Result<Self> {
        let buffer = AlignedBuffer::new(usize::try_from(BATCH_BYTES)?);
        Ok(Self { pipeline, claims, encoder: Encoder::new(pipeline.level)?, buffer, hint: Hint::default() })
    }

    fn process(&mut self, batch: Batch) -> Result<Done> {
        self.encoder.end_frame();
        let mut done = Done::default();
        let extents = match batch {
            Batch::Hole(extent) => return Ok(Done { holes: Some(extent), ..done }),
            Batch::Read(extents) => extents,
        };
        let mut places = Vec::with_capacity(extents.len());
        let mut end = 0;
        for extent in extents {
            let place = end..end + usize::try_from(extent.length_bytes())?;
            self.read(extent, place.clone(), &mut done.spent)?;
            done.bytes_read += extent.length_bytes();
            end = place.end.next_multiple_of(ALIGNMENT_BYTES);
            places.push((extent, place));
        }
        self.chunks(&places, &mut done)?;
        Ok(done)
    }

    /// Reads an extent into its place in the buffer.
    fn read(&mut self, extent: Extent, place: Range<usize>, spent: &mut Spent) -> Result<()> {
        let mut watch = Watch::start();
        self.pipeline.limit.wait(extent.length_bytes(), self.pipeline.around.cancel);
        watch.add_to(&mut spent.limit_us);
        let source = &self.pipeline.disk.source;
        source.read_exact_at(&mut self.buffer[place.clone()], extent.offset_bytes()).with_context(|| {
            let (length, offset) = (extent.length_bytes(), extent.offset_bytes());
            format!("reading {length} bytes at offset {offset} of {}", source.path().display())
        })?;
        self.blank_zeroed(extent, place.start);
        watch.add_to(&mut spent.read_us);
        Ok(())
    }

    /// What is excluded reads as zero.
    fn blank_zeroed(&mut self, extent: Extent, start: usize) {
        for zeroed in self.pipeline.disk.zeroed.iter().filter_map(|zeroed| zeroed.intersect(extent)) {
            let at = |offset: u64| start + usize::try_from(offset - extent.offset_bytes()).expect("inside a batch");
            self.buffer[at(zeroed.offset_bytes())..at(zeroed.end_bytes())].fill(0);
        }
    }

    fn chunks(&mut self, places: &[(Extent, Range<usize>)], done: &mut Done) -> Result<()> {
        let chunk_bytes = self.pipeline.chunk_bytes();
        let step = usize::try_from(chunk_bytes)?;
        let ids = self.pipeline.reader.repository().keys().ids();
        let mut watch = Watch::start();
        let chunks: Vec<(u64, &[u8], Option<ChunkId>)> = places
            .iter()
            .flat_map(|(extent, place)| {
                (extent.offset_bytes() / chunk_bytes..).zip(self.buffer[place.clone()].chunks(step))
            })
            .map(|(position, plain)| (position, plain, (!is_zero(plain)).then(|| ids.chunk(plain))))
            .collect();
        watch.add_to(&mut done.spent.hash_us);
        let asked: Vec<EntryId> = chunks.iter().filter_map(|(.., chunk)| Some((*chunk)?.into())).collect();
        self.claims.prepare(PackKind::Data, &asked)?;
        watch.add_to(&mut done.spent.known_us);
        for (position, plain, chunk) in chunks {
            let Some(chunk) = chunk else {
                done.chunks.push((position, Stored::Hole));
                continue;
            };
            // Asked even when the parent has the same chunk here: its pack may be lost or damaged, and then this stores it again.
            let is_new = self.claims.claim(&chunk.into(), PackKind::Data, &mut self.hint)?;
            watch.add_to(&mut done.spent.known_us);
            if !is_new {
                done.chunks.push((position, Stored::Known(chunk)));
                continue;
            }
            let start = done.payloads.len();
            let kind = self.encoder.encode_behind(plain, &mut done.payloads)?;
            watch.add_to(&mut done.spent.compress_us);
            let (plain_bytes, payload_bytes) = (u32::try_from(plain.len())?, done.payloads.len() - start);
            done.chunks.push((position, Stored::New { chunk, kind, plain_bytes, payload_bytes }));
        }
        Ok(())
    }
}
