//! Who reads which repository at the moment, so that the audit log gets one entry for it and not one an object.
//!
//! In memory only: after a restart the next read is an entry again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use web_api::id::RepositoryId;
use web_api::unit::Time;

/// Who reads nothing for this long and then does begins anew.
const BREAK: Duration = Duration::from_secs(3600);
/// Readers that are remembered; beyond that those who have paused longest are forgotten, and get an entry again.
const MAX_REMEMBERED: usize = 4096;

/// A repository and who reads it.
pub type Reading = (RepositoryId, String);

/// The last read of each.
#[derive(Default)]
pub struct Readings(Mutex<HashMap<Reading, Time>>);

impl Readings {
    /// Notes a read; whether it is the first after a break.
    pub fn begins(&self, reading: Reading, now: Time) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MAX_REMEMBERED && !last.contains_key(&reading) {
            last.retain(|_, at| now.since(*at) < BREAK);
            let oldest = last.iter().min_by_key(|(_, at)| **at).map(|(reading, _)| reading.clone());
            oldest.filter(|_| last.len() >= MAX_REMEMBERED).and_then(|oldest| last.remove(&oldest));
        }
        // What was read later than now was read by a clock that was ahead.
        last.insert(reading, now).is_none_or(|before| now.since(before) >= BREAK || before > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_begins_once_until_there_is_a_break() {
        let (readings, repository) = (Readings::default(), RepositoryId::generate());
        let start = Time::from_ms(1_790_000_000_000);
        let begins = |who: &str, after_s: u64| {
            readings.begins((repository, who.to_owned()), start.after(Duration::from_secs(after_s)))
        };
        assert!(begins("ada", 0) && begins("bob", 1));
        assert!(!begins("ada", 3000) && !begins("ada", 6000), "she goes on");
        assert!(begins("ada", 9601));
        assert!(begins("ada", 500), "the clock was set back");
    }

    #[test]
    fn however_many_read_memory_stays_bounded() {
        let (readings, repository) = (Readings::default(), RepositoryId::generate());
        for number in 0..MAX_REMEMBERED + 10 {
            let now = Time::from_ms(1_790_000_000_000 + i64::try_from(number).unwrap());
            assert!(readings.begins((repository, number.to_string()), now));
        }
        assert!(readings.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
