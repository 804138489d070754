//! Hears the events of one snapshot while a backup reads it.

use crate::source::sys::SysRoot;
use crate::tracker::snapshots::{What, event};
use crate::tracker::uapi::{EVENT_CORRUPTED, SnapshotEvent};
use crate::tracker::{Id, Module};
use nix::errno::Errno;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How long one call waits; DESTROY ends it earlier.
const WAIT_MS: u32 = 500;

/// A thread that listens. It ends when the snapshot is destroyed, or soon after this is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    /// The first event that spoiled the snapshot: the device and the errno.
    spoiled: Mutex<Option<(String, Errno)>>,
}

impl Watch {
    /// Begins to listen.
    pub fn start(module: Arc<dyn Module>, id: Id) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), spoiled: Mutex::new(None) });
        let heard = Arc::clone(&shared);
        let work = move || listen(&*module, id, &heard);
        let thread = std::thread::Builder::new().name("snapshot events".into()).spawn(work)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What spoiled the snapshot: the device and the errno.
    pub fn spoiled(&self) -> Option<(String, Errno)> {
        self.shared.spoiled.lock().expect("no panic while held").clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only listens; what it has to say is in `spoiled`.
            let _ = thread.join();
        }
    }
}

fn listen(module: &dyn Module, id: Id, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        match module.wait_event(id, WAIT_MS) {
            Ok(Some(raw)) => note(&raw, shared),
            Ok(None) => {}
            Err(error) if error.errno() == Some(Errno::EINTR) => {}
            // Destroyed, or the module does not answer any more; the check before the commit asks for the state itself.
            Err(_) => return,
        }
    }
}

fn note(raw: &SnapshotEvent, shared: &Shared) {
    match event(&SysRoot::host(), raw).what {
        What::Corrupted { device, error } => {
            tracing::warn!(device, error, "the snapshot is no longer true");
            let mut spoiled = shared.spoiled.lock().expect("no panic while held");
            spoiled.get_or_insert((device, errno_of(raw)));
        }
        // Small storages say so from the beginning. Only running over fails the backup.
        What::NoSpace { requested_bytes } => {
            tracing::info!(requested_bytes, "the snapshot's difference storage is nearly full and at its limit");
        }
        What::Unknown { code } => tracing::info!(code, "an event of the snapshot that this program does not know"),
    }
}

fn errno_of(raw: &SnapshotEvent) -> Errno {
    let bytes = raw.data.get(8..).and_then(<[u8]>::first_chunk).filter(|_| raw.code == EVENT_CORRUPTED);
    bytes.map_or(Errno::EIO, |bytes: &[u8; 4]| Errno::from_raw(i32::from_ne_bytes(*bytes).saturating_abs()))
}
