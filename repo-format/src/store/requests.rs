//! What a store behind a network was asked, counted: each request there costs time, and on some also money.

use serde::Serialize;
use std::ops::Sub;

/// Requests of a store so far, those that were tried again included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Objects, or parts of one, that were put.
    pub puts: u64,
    /// Objects, or ranges of one, that were read.
    pub gets: u64,
    /// Pages of listings.
    pub lists: u64,
    /// Objects that were deleted.
    pub deletes: u64,
    /// Everything else.
    pub others: u64,
    /// How many of all these failed and were tried again.
    pub retries: u64,
    /// Bytes of bodies that were sent.
    pub bytes_sent: u64,
    /// Bytes of bodies that were received.
    pub bytes_received: u64,
}

impl Requests {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.puts + self.gets + self.lists + self.deletes + self.others
    }
}

impl Sub for Requests {
    type Output = Self;

    /// What came since `earlier`, a count of the same store.
    fn sub(self, earlier: Self) -> Self {
        Self {
            puts: self.puts - earlier.puts,
            gets: self.gets - earlier.gets,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
            others: self.others - earlier.others,
            retries: self.retries - earlier.retries,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
        }
    }
}
