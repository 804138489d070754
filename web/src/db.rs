//! The server's database: SQLite with one writing thread and several readers. SQL stands only in `db/<noun>.rs`.
//!
//! A write is acknowledged after its transaction is on disk (WAL, `synchronous=FULL`); writes that wait at the same time share a
//! transaction. Other processes (`icecore-server admin`) may use the file at the same time: every write begins with BEGIN IMMEDIATE.

pub mod agent;
pub mod alert;
pub mod alert_channel;
pub mod audit;
pub mod copy;
pub mod enrolment;
pub mod error;
pub mod event;
pub mod idempotency;
pub mod job;
pub mod job_day;
pub mod lease;
pub mod log_in_link;
pub mod machine;
pub mod open;
pub mod plan;
pub mod point;
mod readers;
pub mod reading_lease;
pub mod receipt;
pub mod recovery_code;
pub mod repository;
mod row;
pub mod session;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod token;
pub mod user;
mod writer;

pub use error::{Error, Result};
pub use writer::{Batch, Write};

use readers::Readers;
use rusqlite::Connection;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use web_api::event::Event;
use writer::Writer;

/// What is told after transactions, on the writing thread: must be quick and must not write.
pub trait Observer: Send + 'static {
    /// The events of a transaction that is on disk, in order.
    fn committed(&self, events: Vec<Event>);
    /// A transaction of so many writes ended.
    fn batch(&self, batch: Batch);
}

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    path: PathBuf,
}

impl Database {
    /// Opens, checks and migrates the file, making it when it is missing.
    pub fn open(path: &Path, readers: NonZeroUsize, observer: impl Observer) -> Result<Self> {
        let connection = open::writable(path)?;
        Ok(Self {
            writer: Arc::new(Writer::start(connection, observer)?),
            readers: Arc::new(Readers::open(path, readers)?),
            path: path.to_owned(),
        })
    }

    /// Runs `work` in a transaction. What it returns comes back after the transaction is on disk; when it fails, or cannot be
    /// stored, nothing of it is left. It runs on the writing thread, so it must only compute and ask the database. Work that was
    /// handed over is done even when the caller stops waiting.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Write<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.writer.write(work).await
    }

    /// Runs `work` on one of the readers, in one view of the database.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.readers.read(work).await
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes no more writes, finishes those that wait, and closes the file. Blocks.
    pub fn close(&self) {
        self.writer.close();
    }
}
