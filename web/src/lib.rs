//! The appliance's server: everything `icecore-server` does.
//!
//! Reading order: [`router`] (every route and what it needs) → [`http`] (what stands before the handlers) → [`handlers`] (one file a
//! noun) → [`db`] (all SQL). While it serves it opens no chunk and holds no private key: work on data is an agent's.

#![forbid(unsafe_code)]

pub mod alerts;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod copies;
pub mod db;
pub mod events;
pub mod handlers;
mod housekeeping;
pub mod http;
pub mod ingest;
pub mod jobs;
pub mod keeping;
mod logging;
pub mod metrics;
mod page;
mod patience;
mod promises;
pub mod questions;
pub mod quota;
pub mod rate;
pub mod readings;
mod recover;
pub mod repositories;
pub mod retention;
pub mod router;
pub mod scheduler;
mod serve;
pub mod state;
mod systemd;
#[cfg(test)]
mod test_app;
mod tls;
pub mod unfinished;
