//! What travels between `icecore-server` and its clients: wire types only, one file a noun.
//!
//! Nothing here decides, stores or sends. Both sides compile these types, so neither can drift from the other; the OpenAPI
//! document is made from them too (feature `openapi`). Conventions that hold for all of them are in `web/API.md`.

#![forbid(unsafe_code)]

pub mod account;
pub mod agent;
pub mod agent_work;
pub mod alert;
pub mod audit;
pub mod authority;
pub mod device;
pub mod enrolment;
pub mod error;
pub mod event;
pub mod file;
pub mod health;
pub mod id;
pub mod job;
pub mod job_day;
pub mod keeping;
pub mod log_in_link;
pub mod object;
pub mod page;
pub mod plan;
pub mod recovery_point;
pub mod repository;
pub mod role;
pub mod session;
pub mod settings;
pub mod token;
pub mod unit;
pub mod user;
