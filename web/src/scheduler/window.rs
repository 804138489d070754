//! Windows in which no run begins, by the clock on the wall. Pure.

use super::calendar::{Unusable, instant};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use web_api::plan::{Blackout, Weekday};

/// Most windows of a plan.
pub const MAX_WINDOWS: usize = 50;
/// After so many windows that follow each other without a gap nobody waits any longer: they fill all time.
const MAX_IN_A_ROW: usize = 1000;

/// The windows of a plan in its time zone.
#[derive(Clone, Debug)]
pub struct Windows {
    windows: Vec<Window>,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
struct Window {
    days: Vec<jiff::civil::Weekday>,
    from: Time,
    until: Time,
}

fn weekday(day: Weekday) -> jiff::civil::Weekday {
    use jiff::civil::Weekday as W;
    match day {
        Weekday::Monday => W::Monday,
        Weekday::Tuesday => W::Tuesday,
        Weekday::Wednesday => W::Wednesday,
        Weekday::Thursday => W::Thursday,
        Weekday::Friday => W::Friday,
        Weekday::Saturday => W::Saturday,
        Weekday::Sunday => W::Sunday,
    }
}

/// `HH:MM`.
fn minute(text: &str) -> Result<Time, Unusable> {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.split_once(':').filter(|(hour, minute)| digits(hour) && digits(minute));
    let parsed = parts.and_then(|(hour, minute)| Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok());
    parsed.ok_or_else(|| Unusable(format!("{text:?} is no time of the day; write HH:MM, 00:00 to 23:59")))
}

impl Window {
    /// Its begin and end when it begins on a day.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.days.is_empty() && !self.days.contains(&date.weekday()) {
            return None;
        }
        let last = if self.until > self.from { date } else { date.checked_add(1.day()).ok()? };
        Some((instant(zone, date.to_datetime(self.from))?, instant(zone, last.to_datetime(self.until))?))
    }

    /// Its begin and end around a time.
    fn around(&self, at: Timestamp, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let today = zone.to_datetime(at).date();
        // One that began yesterday may reach into today.
        let days = [today.checked_sub(1.day()).ok(), Some(today)];
        let holds = |(from, until): &(Timestamp, Timestamp)| *from <= at && at < *until;
        days.into_iter().flatten().filter_map(|date| self.on(date, zone)).find(holds)
    }
}

impl Windows {
    /// Reads the windows of a plan.
    pub fn parse(blackouts: &[Blackout], zone: TimeZone) -> Result<Self, Unusable> {
        if blackouts.len() > MAX_WINDOWS {
            return Err(Unusable(format!("a plan has at most {MAX_WINDOWS} windows without runs")));
        }
        let window = |blackout: &Blackout| {
            let days = blackout.days.iter().copied().map(weekday).collect();
            Ok(Window { days, from: minute(&blackout.from)?, until: minute(&blackout.until)? })
        };
        Ok(Self { windows: blackouts.iter().map(window).collect::<Result<_, Unusable>>()?, zone })
    }

    /// The first time from `at` on at which a run may begin; `None` when the windows leave none.
    pub fn open_from(&self, at: Timestamp) -> Option<Timestamp> {
        let mut at = at;
        for _ in 0..MAX_IN_A_ROW {
            match self.windows.iter().find_map(|window| window.around(at, &self.zone)) {
                Some((_, until)) => at = until,
                None => return Some(at),
            }
        }
        None
    }

    /// The longest closed time that begins within a week.
    pub fn longest(&self, from: Timestamp) -> SignedDuration {
        let today = self.zone.to_datetime(from).date();
        let days = (0..7).filter_map(|later| today.checked_add(later.days()).ok());
        let begins = days.flat_map(|date| self.windows.iter().filter_map(move |window| window.on(date, &self.zone)));
        let lengths =
            begins.filter_map(|(begin, _)| Some(self.open_from(begin)?.duration_since(self.closed_since(begin))));
        lengths.max().unwrap_or(SignedDuration::ZERO)
    }

    /// The begin of the closed time that a time lies in, over windows that follow each other; the time itself when it lies in none.
    pub fn closed_since(&self, at: Timestamp) -> Timestamp {
        let mut begin = at;
        for _ in 0..MAX_IN_A_ROW {
            let before = begin.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(begin);
            let at = if begin == at { at } else { before };
            match self.windows.iter().filter_map(|window| window.around(at, &self.zone)).map(|(from, _)| from).min() {
                Some(from) if from < begin => begin = from,
                _ => break,
            }
        }
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(days: &[Weekday], from: &str, until: &str) -> Windows {
        let blackout = Blackout { days: days.to_vec(), from: from.into(), until: until.into() };
        Windows::parse(&[blackout], TimeZone::get("Europe/Berlin").unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_falls_into_a_window_waits_for_its_end() {
        let working_hours = windows(&[Weekday::Monday], "08:00", "18:00");
        // A Monday, in summer time.
        assert_eq!(working_hours.open_from(at("2026-06-01T08:00:00Z")), Some(at("2026-06-01T16:00:00Z")));
        assert_eq!(working_hours.open_from(at("2026-06-01T05:59:59Z")), Some(at("2026-06-01T05:59:59Z")));
        assert_eq!(working_hours.open_from(at("2026-06-01T16:00:00Z")), Some(at("2026-06-01T16:00:00Z")));
        assert_eq!(working_hours.open_from(at("2026-06-02T08:00:00Z")), Some(at("2026-06-02T08:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = windows(&[Weekday::Friday], "22:00", "06:00");
        let saturday_morning = at("2026-06-06T01:00:00Z");
        assert_eq!(night.open_from(saturday_morning), Some(at("2026-06-06T04:00:00Z")));
        assert_eq!(night.closed_since(saturday_morning), at("2026-06-05T20:00:00Z"));
        assert_eq!(night.open_from(at("2026-06-07T01:00:00Z")), Some(at("2026-06-07T01:00:00Z")));
    }

    #[test]
    fn windows_that_fill_all_time_are_found_out() {
        assert_eq!(windows(&[], "12:00", "12:00").open_from(at("2026-06-06T01:00:00Z")), None);
    }

    #[test]
    fn times_that_no_clock_shows_are_refused() {
        for text in ["", "24:00", "8:00", "08:60", "08:0a", "+8:00", "08:00:00"] {
            assert!(minute(text).is_err(), "{text:?}");
        }
    }
}
