//! Quantities with their unit: times and numbers of bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A time, in JSON as RFC 3339 in UTC with milliseconds. Names of fields end in `_at`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
#[serde(from = "Timestamp")]
pub struct Time(Timestamp);

impl Time {
    /// From milliseconds since 1970; what no calendar knows becomes its nearest end.
    pub fn from_ms(ms: i64) -> Self {
        let end = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self(Timestamp::from_millisecond(ms).unwrap_or(end))
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Whole seconds since 1970; 0 before.
    pub fn unix_s(self) -> u64 {
        u64::try_from(self.0.as_second()).unwrap_or(0)
    }

    /// The time after a while; the calendar's end when that lies beyond it.
    #[must_use]
    pub fn after(self, while_: Duration) -> Self {
        Self::from_ms(self.ms().saturating_add(i64::try_from(while_.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long it is since `earlier`; nothing when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.ms().saturating_sub(earlier.ms())).unwrap_or(0))
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_ms(timestamp.as_millisecond())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes. Names of fields end in `_bytes`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ByteCount(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let time = Time::from_ms(1_700_000_000_120);
        assert_eq!(serde_json::to_string(&time).unwrap(), r#""2023-11-14T22:13:20.120Z""#);
        assert_eq!(serde_json::from_str::<Time>(r#""2023-11-14T23:13:20.1201+01:00""#).unwrap(), time);
    }

    #[test]
    fn times_beyond_the_calendar_do_not_overflow() {
        for time in [Time::from_ms(i64::MAX), Time::from_ms(i64::MIN)] {
            assert_eq!(serde_json::from_str::<Time>(&serde_json::to_string(&time).unwrap()).unwrap(), time);
            assert!(time.after(Duration::MAX) >= time);
        }
        assert_eq!(Time::from_ms(5).since(Time::from_ms(9)), Duration::ZERO);
    }
}
