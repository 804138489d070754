//! One file a noun: parse, one call, render. Who may come in was decided before (`http::access`).

pub mod account;
pub mod agent_work;
pub mod agents;
pub mod alert_channels;
pub mod alerts;
pub mod archives;
pub mod audit;
pub mod authority;
pub mod document;
pub mod enrolments;
pub mod events;
pub mod files;
pub mod health;
pub mod job_days;
pub mod jobs;
pub mod keeping;
pub mod log_in;
pub mod metrics;
pub mod objects;
pub mod own_agent;
pub mod own_token;
pub mod plans;
pub mod questions;
pub mod recovery_kits;
pub mod recovery_points;
pub mod repositories;
pub mod retention;
pub mod search;
pub mod sessions;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod users;
