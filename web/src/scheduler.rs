//! When plans run and what becomes of jobs. The decisions are pure ([`calendar`], [`queue`]); [`clockwork`] asks for them every second and
//! puts them into the database.

pub mod calendar;
pub mod clockwork;
pub mod queue;
pub mod window;
