//! What every request works with.

use crate::auth::password::Passwords;
use crate::auth::throttle::Throttle;
use crate::clock::Clock;
use crate::copies::Copies;
use crate::db::{Batch, Database, Observer};
use crate::events::Events;
use crate::handlers::health::StoredLately;
use crate::jobs::Bell;
use crate::metrics::Metrics;
use crate::questions::Questions;
use crate::rate::Rates;
use crate::readings::Readings;
use crate::repositories::Repositories;
use crate::unfinished::Unfinished;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use web_api::authority::Authority;
use web_api::event::Event;
use web_api::unit::Time;

/// What the server is made of.
pub struct Parts {
    /// All that is kept.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Brakes guessing.
    pub throttle: Throttle,
    /// Tells what happens.
    pub events: Arc<Events>,
    /// Counts what happens.
    pub metrics: Arc<Metrics>,
    /// What agents store into.
    pub repositories: Repositories,
    /// Whether there is room for the database.
    pub stored_lately: StoredLately,
    /// Who reads them.
    pub readings: Readings,
    /// The internal authority, where the server's certificate is of it.
    pub authority: Option<Authority>,
    /// Wakes agents that wait for work.
    pub bell: Bell,
    /// How long a job is an agent's without a report.
    pub job_lease: Duration,
    /// How fast agents send.
    pub rates: Rates,
    /// A sender that is silent for this long has gone.
    pub silence: Duration,
    /// Packs that may arrive at the same time; others wait.
    pub uploads: Semaphore,
    /// Those that arrive, and what is kept of those whose line broke.
    pub unfinished: Arc<Unfinished>,
    /// Records that arrive and reads of objects at the same time; each lies in memory.
    pub in_memory: Semaphore,
    /// Questions about files, on their way to keepers.
    pub questions: Questions,
    /// Files that are downloaded at the same time.
    pub downloads: Arc<Semaphore>,
    /// Directories that are downloaded at the same time.
    pub archives: Arc<Semaphore>,
    /// Copies of the database.
    pub copies: Copies,
    /// Where people reach the server, for links.
    pub base_url: String,
    /// Whether that is over TLS, which cookies then insist on.
    pub secure: bool,
    /// When it was started.
    pub started_at: Time,
    /// Becomes true when the server stops: streams end, nothing new begins.
    pub stopping: watch::Receiver<bool>,
}

/// As [`Parts::uploads`]: while a pack arrives it holds a piece in memory and a temporary file.
pub const MAX_UPLOADS: usize = 32;
/// As [`Parts::in_memory`].
pub const MAX_IN_MEMORY: usize = 16;

/// As [`Parts::downloads`]: each has two pieces of a file in memory, and more than a few would keep the keeper from all else.
pub const MAX_DOWNLOADS: usize = 4;

/// As [`Parts::archives`]: a keeper makes two at the same time.
pub const MAX_ARCHIVES: usize = 2;

/// The server's parts. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Passes on what the database tells.
pub struct Announcer {
    /// To listeners.
    pub events: Arc<Events>,
    /// To the metrics.
    pub metrics: Arc<Metrics>,
}

impl Observer for Announcer {
    fn committed(&self, events: Vec<Event>) {
        self.events.tell(events);
    }

    fn batch(&self, batch: Batch) {
        self.metrics.batch(batch);
    }
}
