//! Telling events to whoever listens. The last ones wait in a ring; who is too slow for the ring is dropped and comes back by
//! `Last-Event-ID`, which the table answers (`db::event`).

use tokio::sync::{Semaphore, broadcast};
use web_api::event::{Event, PASSING};
use web_api::unit::Time;

/// Events that may wait for a slow listener.
pub const RING: usize = 1024;
/// Listeners at once.
const MAX_LISTENERS: usize = 256;

/// The ring, with a permit for each listener.
pub struct Events {
    ring: broadcast::Sender<Event>,
    listeners: std::sync::Arc<Semaphore>,
}

/// A place among the listeners.
pub struct Listener {
    /// What is told from now on. `Lagged` means that the listener was too slow.
    pub events: broadcast::Receiver<Event>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: broadcast::Sender::new(RING), listeners: std::sync::Arc::new(Semaphore::new(MAX_LISTENERS)) }
    }
}

impl Events {
    /// Tells events in their order.
    pub fn tell(&self, events: Vec<Event>) {
        for event in events {
            // Nobody listens: the table has it.
            let _ = self.ring.send(event);
        }
    }

    /// Tells something that is soon out of date: it gets no number of its own and nobody who missed it hears of it later.
    pub fn tell_passing(&self, at: Time, kind: &str, subject: &str) {
        self.tell(vec![Event { number: PASSING, at, kind: kind.to_owned(), subject: subject.to_owned() }]);
    }

    /// A place among the listeners; `None` when all are taken.
    pub fn listen(&self) -> Option<Listener> {
        let place = self.listeners.clone().try_acquire_owned().ok()?;
        Some(Listener { events: self.ring.subscribe(), _place: place })
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        MAX_LISTENERS - self.listeners.available_permits()
    }
}
