//! A length of time as people say it: `14d`, `6m`, `1y6m`. Counted by the calendar: a month is a month, not 30 days.

use crate::error::{Error, Result};
use jiff::{Span, Timestamp, Zoned};
use std::fmt;
use std::str::FromStr;

/// A length of time in calendar units, more than nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Within {
    years: u16,
    months: u16,
    weeks: u16,
    days: u16,
    hours: u16,
}

const UNITS: &str = "ymwdh";

impl Within {
    fn unit(&mut self, unit: char) -> Option<&mut u16> {
        Some(match unit {
            'y' => &mut self.years,
            'm' => &mut self.months,
            'w' => &mut self.weeks,
            'd' => &mut self.days,
            'h' => &mut self.hours,
            _ => return None,
        })
    }

    fn parts(&self) -> [(u16, char); 5] {
        [(self.years, 'y'), (self.months, 'm'), (self.weeks, 'w'), (self.days, 'd'), (self.hours, 'h')]
    }

    /// The instant that lies this long before `now`.
    pub(super) fn before(&self, now: &Zoned) -> Result<Timestamp> {
        let span = || -> Result<Span, jiff::Error> {
            Span::new()
                .try_years(self.years)?
                .try_months(self.months)?
                .try_weeks(self.weeks)?
                .try_days(self.days)?
                .try_hours(self.hours)
        };
        let start = span().and_then(|span| now.checked_sub(span));
        start.map(|start| start.timestamp()).map_err(|_| {
            Error::Refused(format!("{self} before now is before the calendar begins; use a shorter length of time"))
        })
    }
}

impl FromStr for Within {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::Refused(format!(
                "{text:?} is not a length of time: {why}. Write for example 36h, 14d, 4w, 6m (months), 2y or 1y6m"
            ))
        };
        let mut within = Self::default();
        let mut units = UNITS.chars();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| wrong("the unit is missing"))?;
            let number: u16 =
                rest[..digits].parse().map_err(|_| wrong("a number of 1 to 65535 stands before each unit"))?;
            let unit = rest[digits..].chars().next().ok_or_else(|| wrong("the unit is missing"))?;
            if number == 0 {
                return Err(wrong("zero keeps nothing"));
            }
            if !units.any(|next| next == unit) {
                return Err(wrong("units are y, m, w, d and h, each once and in this order"));
            }
            *within.unit(unit).ok_or_else(|| wrong("there is no such unit"))? = number;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if within == Self::default() { Err(wrong("it is empty")) } else { Ok(within) }
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_survive_their_text() {
        for text in ["1h", "36h", "7d", "14d", "4w", "6m", "2y", "1y6m", "1y2m3w4d5h", "65535d"] {
            assert_eq!(text.parse::<Within>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let odd = [
            "",
            "0d",
            "d",
            "7",
            "7x",
            "7 d",
            "-7d",
            "7d7d",
            "6m1y",
            "65536d",
            "1.5d",
            "7D",
            "7é",
            "99999999999999999999d",
            "é",
        ];
        for text in odd {
            assert!(text.parse::<Within>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn months_and_days_follow_the_calendar() {
        let berlin = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let before = |now: &str, within: &str| {
            let now = now.parse::<Timestamp>().unwrap().to_zoned(berlin.clone());
            within.parse::<Within>().unwrap().before(&now).map(|start| start.to_string())
        };
        assert_eq!(before("2027-03-31T12:00Z", "1m").unwrap(), "2027-02-28T13:00:00Z");
        assert_eq!(before("2028-02-29T12:00Z", "1y").unwrap(), "2027-02-28T12:00:00Z");
        // The day on which clocks are set back has 25 hours.
        assert_eq!(before("2026-10-26T11:00Z", "2d").unwrap(), "2026-10-24T10:00:00Z");
        assert!(before("2027-03-31T12:00Z", "65535y").is_err());
    }
}
