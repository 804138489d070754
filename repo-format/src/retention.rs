//! Retention: which points of one name stay, and why. Pure: the time, the zone and the points are arguments; nothing is deleted here.
//!
//! Points are ordered by their sequence, never by a clock. Their times only say into which hour, day, week … they fall. A time
//! that cannot be right never costs a point:
//! - *in the future*: the point is kept until the clock reaches its time, and takes no place in the calendar rules;
//! - *gone back*: it is earlier than the time of a point made before it. One of the two clocks was wrong, nothing says which:
//!   both are kept, and the later one takes no place. Who knows better forgets such a point by its id.
//!
//! So the points that the calendar rules count have ascending times. Rules only ever add to what is kept: another rule never
//! forgets more, and what was kept is kept again when the same policy is applied to what is left.

mod within;

pub use within::Within;

use crate::error::{Error, Result};
use crate::id::ManifestId;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Serialize;
use std::collections::HashSet;

/// Clocks that are set right by the network differ by less than this.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

/// How many points stay, by rule. A count of `u32::MAX` has no end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    /// The newest ones.
    pub last: u32,
    /// The last of each hour that has points.
    pub hourly: u32,
    /// The last of each day.
    pub daily: u32,
    /// The last of each ISO week.
    pub weekly: u32,
    /// The last of each month.
    pub monthly: u32,
    /// The last of each quarter.
    pub quarterly: u32,
    /// The last of each year.
    pub yearly: u32,
    /// All that are younger than this.
    pub within: Option<Within>,
    /// The newest ones that stay whatever the rules say; 0 means 1. No rule by itself.
    pub minimum: u32,
}

/// What stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// What a rule keeps; at least the newest point.
    Keep(Rules),
    /// Nothing at all. Said in these words or not meant.
    Nothing,
}

/// A point of one name, as its receipt describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatedPoint {
    /// Its id.
    pub manifest: ManifestId,
    /// Its place among the points of its name.
    pub sequence: u64,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What happens to a point, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Decision {
    /// The point.
    pub manifest: ManifestId,
    /// Its place.
    pub sequence: u64,
    /// When it was received.
    pub received_at: Timestamp,
    /// Whether it stays.
    pub keep: bool,
    /// Every reason for it.
    pub reasons: Vec<String>,
}

/// Decides about all points of one name (those that are forgotten already left out), in any order. The newest comes first in the result.
pub fn decide(policy: &Policy, points: &[DatedPoint], now: Timestamp, zone: &TimeZone) -> Result<Vec<Decision>> {
    let mut points = points.to_vec();
    points.sort_unstable_by_key(|point| std::cmp::Reverse((point.sequence, point.manifest)));
    let reasons = match policy {
        Policy::Nothing => vec![Vec::new(); points.len()],
        Policy::Keep(rules) => kept_for(rules, &points, now, zone)?,
    };
    let why_not = if *policy == Policy::Nothing { "the policy keeps nothing" } else { "no rule keeps it" };
    let decision = |(point, mut reasons): (&DatedPoint, Vec<String>)| {
        let keep = !reasons.is_empty();
        if !keep {
            reasons.push(why_not.into());
        }
        let DatedPoint { manifest, sequence, received_at } = *point;
        Decision { manifest, sequence, received_at, keep, reasons }
    };
    Ok(points.iter().zip(reasons).map(decision).collect())
}

/// Whether a rule is set at all.
fn is_empty(rules: &Rules) -> bool {
    Rules { minimum: 0, ..*rules } == Rules::default()
}

fn kept_for(rules: &Rules, points: &[DatedPoint], now: Timestamp, zone: &TimeZone) -> Result<Vec<Vec<String>>> {
    if is_empty(rules) {
        return Err(Error::Refused(
            "the policy has no rule, so it would keep only the newest point. Say what to keep (last, daily, within …), or that nothing is to be kept".into(),
        ));
    }
    let mut reasons = vec![Vec::new(); points.len()];
    keep_newest(rules, &mut reasons);
    let counted = clock_doubts(points, now, &mut reasons);
    if let Some(within) = &rules.within {
        let start = within.before(&now.to_zoned(zone.clone()))?;
        for (point, reasons) in points.iter().zip(&mut reasons).filter(|(point, _)| point.received_at >= start) {
            // A time in the future has its own reason.
            if point.received_at <= now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX) {
                reasons.push(format!("within {within}"));
            }
        }
    }
    for (period, count) in periods(rules) {
        let mut seen = HashSet::new();
        for (at, _) in points.iter().enumerate().filter(|(at, _)| counted[*at]) {
            let label = period.label(&points[at].received_at.to_zoned(zone.clone()));
            if seen.len() < count as usize && seen.insert(label.clone()) {
                reasons[at].push(format!("{} {}: the last of {label}", period.name(), of(seen.len(), count)));
            }
        }
    }
    Ok(reasons)
}

fn of(number: usize, count: u32) -> String {
    if count == u32::MAX { format!("{number} of all") } else { format!("{number} of {count}") }
}

fn keep_newest(rules: &Rules, reasons: &mut [Vec<String>]) {
    for (at, reasons) in reasons.iter_mut().enumerate() {
        if at == 0 {
            reasons.push("the newest point is always kept".into());
        } else if at < rules.minimum as usize {
            reasons.push(format!("one of the newest {}, which are always kept", rules.minimum));
        }
        if at < rules.last as usize {
            reasons.push(format!("last {}", of(at + 1, rules.last)));
        }
    }
}

/// Keeps points whose time cannot be trusted. Says of each point whether the calendar rules count it.
fn clock_doubts(points: &[DatedPoint], now: Timestamp, reasons: &mut [Vec<String>]) -> Vec<bool> {
    let later = |a: Timestamp, b: Timestamp| a.duration_since(b) > CLOCK_TOLERANCE;
    let mut counted = vec![true; points.len()];
    // The latest time among the points before this one.
    let mut latest: Option<usize> = None;
    let mut witnesses = HashSet::new();
    for at in (0..points.len()).rev() {
        let time = points[at].received_at;
        if later(time, now) {
            reasons[at].push(format!("its time {time:.0} is in the future: kept until the clock reaches it"));
            counted[at] = false;
            continue;
        }
        match latest {
            Some(before) if later(points[before].received_at, time) => {
                let (number, before_time) = (points[before].sequence, points[before].received_at);
                reasons[at].push(format!(
                    "its time {time:.0} is before that of point {number} ({before_time:.0}), which is older: a clock was wrong"
                ));
                counted[at] = false;
                witnesses.insert(before);
            }
            Some(before) if points[before].received_at >= time => {}
            _ => latest = Some(at),
        }
    }
    for at in witnesses {
        reasons[at].push("a newer point has an earlier time: a clock was wrong".into());
    }
    counted
}

/// A rule that keeps the last point of each of so many periods.
#[derive(Clone, Copy)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

fn periods(rules: &Rules) -> [(Period, u32); 6] {
    [
        (Period::Hour, rules.hourly),
        (Period::Day, rules.daily),
        (Period::Week, rules.weekly),
        (Period::Month, rules.monthly),
        (Period::Quarter, rules.quarterly),
        (Period::Year, rules.yearly),
    ]
}

impl Period {
    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Quarter => "quarterly",
            Self::Year => "yearly",
        }
    }

    /// The period a time falls into; different periods have different labels.
    fn label(self, time: &Zoned) -> String {
        let (date, year) = (time.date(), time.year());
        match self {
            // With the offset: an hour that comes twice when clocks are set back is two hours.
            Self::Hour => format!("{date} {:02}:00{}", time.hour(), time.offset()),
            Self::Day => date.to_string(),
            Self::Week => {
                let week = date.iso_week_date();
                format!("week {}-W{:02}", week.year(), week.week())
            }
            Self::Month => format!("{year:04}-{:02}", time.month()),
            Self::Quarter => format!("{year:04}-Q{}", (time.month() - 1) / 3 + 1),
            Self::Year => format!("{year:04}"),
        }
    }
}

#[cfg(test)]
mod tests;
