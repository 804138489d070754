//! A repository behind a server: the store over HTTPS, and the server's index in place of one of our own.
//!
//! What may be done there is the server's to say (FORMAT.md, "Writers behind a server"). Requests can all be repeated, so a network that
//! comes and goes, or a server that restarts, costs time and nothing else.

mod address;
mod client;
mod index;
mod problem;
mod store;

pub use address::{Address, Place};
pub use client::{Client, Options};
pub use problem::Problem;
pub use store::RemoteStore;
