//! When plans run, what repositories need, what becomes of jobs, and when too little came of it. The decisions are pure ([`calendar`],
//! [`queue`], [`alarm`]); [`clockwork`] and [`care`] ask for them every second and put them into the database.

pub mod alarm;
pub mod calendar;
pub mod care;
pub mod clockwork;
pub mod queue;
pub mod window;
