//! Where the time of a job's threads went.

use std::ops::AddAssign;
use std::time::Instant;

/// Time of all threads together, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for the disk.
    pub read_us: u64,
    /// Waiting because a limit was set.
    pub limit_us: u64,
    /// Looking for zeroes and hashing.
    pub hash_us: u64,
    /// Asking whether chunks are known.
    pub known_us: u64,
    /// Compressing.
    pub compress_us: u64,
    /// Waiting for what stores.
    pub store_us: u64,
}

impl Spent {
    /// The sum.
    pub fn total_us(&self) -> u64 {
        let Self { read_us, limit_us, hash_us, known_us, compress_us, store_us } = *self;
        [limit_us, hash_us, known_us, compress_us, store_us].into_iter().fold(read_us, u64::saturating_add)
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.read_us += more.read_us;
        self.limit_us += more.limit_us;
        self.hash_us += more.hash_us;
        self.known_us += more.known_us;
        self.compress_us += more.compress_us;
        self.store_us += more.store_us;
    }
}

/// A watch that says what passed since it was last looked at.
pub struct Watch(Instant);

impl Watch {
    /// From now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Adds what passed since the last look.
    pub fn add_to(&mut self, sum_us: &mut u64) {
        let now = Instant::now();
        *sum_us += u64::try_from((now - self.0).as_micros()).unwrap_or(u64::MAX);
        self.0 = now;
    }
}
