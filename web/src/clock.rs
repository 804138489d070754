//! Where the time comes from: the system's clock, or in tests one that is moved by hand.

use jiff::Timestamp;
use std::sync::Arc;
use web_api::unit::Time;

/// A source of times. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(|| Timestamp::now().into()))
    }

    /// Any other.
    pub fn from_fn(now: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Time {
        (self.0)()
    }
}
