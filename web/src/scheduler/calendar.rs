//! Cron expressions in time zones: the times at which a plan is to run, forwards and backwards. Pure.
//!
//! What a change of the clocks does: a time that it leaves out becomes the first instant after the change, and a time that it repeats
//! counts once, the first time. So a plan of 02:30 runs exactly once on both days of the year. An expression that means every hour
//! counts elapsed hours instead: it has nothing to make up for in the spring and runs in both of the autumn's hours.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Longest expression that is read.
const MAX_CHARACTERS: usize = 100;
/// No time zone ever repeated more than this.
const LONGEST_FOLD: SignedDuration = SignedDuration::from_hours(25);

/// Why a calendar cannot be used, in a sentence for people.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Unusable(pub String);

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: Cron,
    zone: TimeZone,
    every_hour: bool,
}

/// A time zone by its IANA name.
pub fn zone(name: &str) -> Result<TimeZone, Unusable> {
    // An empty name and POSIX rules would be taken for UTC or read as rules.
    let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    let found = (is_name && !name.is_empty()).then(|| TimeZone::get(name).ok()).flatten();
    found.ok_or_else(|| {
        Unusable(format!("{name:?} is no time zone that this server knows; write for example Europe/Berlin"))
    })
}

impl Calendar {
    /// Reads an expression of five fields, or six with seconds in front. One that never comes true is refused.
    pub fn parse(expression: &str, zone: TimeZone, now: Timestamp) -> Result<Self, Unusable> {
        let wrong = |why: String| Unusable(format!("{expression:?} is no cron expression that can be used: {why}"));
        if expression.len() > MAX_CHARACTERS {
            return Err(Unusable(format!("a cron expression has at most {MAX_CHARACTERS} characters")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| wrong(error.to_string()))?;
        let every_hour = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
        let calendar = Self { cron, zone, every_hour };
        match calendar.next(now) {
            Some(_) => Ok(calendar),
            None => Err(wrong("no such time ever comes".into())),
        }
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first run after a time; `None` when there is none before the calendar ends.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.every_hour {
            let found = self.cron.find_next_occurrence(&after.to_zoned(self.zone.clone()), false).ok()?;
            return Some(found.timestamp());
        }
        // Times by the clock on the wall never become earlier instants than those before them (`instant`), and what the clock shows now has
        // come: so the first wall time from now on that becomes a later instant is the one.
        let mut wall = self.zone.to_datetime(after);
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let found = self.instant(wall)?;
            if found > after {
                return Some(found);
            }
        }
    }

    /// The last run that is not after a time; `None` when there is none.
    pub fn last(&self, until: Timestamp) -> Option<Timestamp> {
        if self.every_hour {
            let found = self.cron.find_previous_occurrence(&until.to_zoned(self.zone.clone()), true).ok()?;
            return Some(found.timestamp());
        }
        // In the second half of repeated hours the clock shows less than it did: what it showed then counts.
        let now = self.zone.to_datetime(until);
        let mut wall = match self.zone.to_ambiguous_timestamp(now).offset() {
            AmbiguousOffset::Fold { .. } => now.checked_add(LONGEST_FOLD).ok()?,
            _ => now,
        };
        let mut inclusive = true;
        loop {
            wall = self.cron.find_previous_occurrence(&wall, inclusive).ok()?;
            inclusive = false;
            let found = self.instant(wall)?;
            if found <= until {
                return Some(found);
            }
        }
    }

    /// The instant at which a clock on the wall shows a time, or comes past it. Never becomes earlier when the time becomes later.
    pub fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        instant(&self.zone, wall)
    }
}

/// The instant at which a clock on the wall shows a time for the first time, or jumps over it.
pub fn instant(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { before, .. } => {
            // By the clocks of before, the time lies behind the change; the change itself is the instant.
            let behind = before.to_timestamp(wall).ok()?;
            zone.preceding(behind.checked_add(SignedDuration::from_nanos(1)).ok()?)
                .next()
                .map(|change| change.timestamp())
        }
        _ => ambiguous.earlier().ok(),
    }
}

#[cfg(test)]
mod tests;
