//! A fixed number of connections that read, each used by one request at a time on a thread that may block.

use super::{Error, Result, open};
use rusqlite::Connection;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

pub(super) struct Readers {
    /// One permit an idle connection.
    permits: Arc<Semaphore>,
    /// Held only to take or put back.
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn open(path: &Path, count: NonZeroUsize) -> Result<Self> {
        let idle = (0..count.get()).map(|_| open::readable(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self { permits: Arc::new(Semaphore::new(count.get())), idle: Arc::new(Mutex::new(idle)) })
    }

    pub async fn read<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let idle = self.idle.clone();
        let blocking = tokio::task::spawn_blocking(move || {
            let connection = idle.lock().expect("no panic while held").pop().ok_or(Error::Closed)?;
            let result = catch_unwind(AssertUnwindSafe(|| in_one_view(&connection, work)));
            idle.lock().expect("no panic while held").push(connection);
            drop(permit);
            result.unwrap_or_else(|_| Err(Error::Panicked.into()))
        });
        blocking.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }
}

/// All statements of `work` see the same state.
fn in_one_view<T, E: From<Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let view = connection.unchecked_transaction().map_err(Error::from)?;
    work(&view)
}
