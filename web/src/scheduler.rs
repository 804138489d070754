//! When plans run, what repositories need, and what becomes of jobs. The decisions are pure ([`calendar`], [`queue`]); [`clockwork`] and [`care`] ask for
//! them every second and put them into the database.

pub mod calendar;
pub mod care;
pub mod clockwork;
pub mod queue;
pub mod window;
