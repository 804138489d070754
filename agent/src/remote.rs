//! A repository behind a server: the store over HTTPS, and the server's index in place of one of our own.
//!
//! What may be done there is the server's to say (FORMAT.md, "Writers behind a server"). Requests can all be repeated, so a network that
//! comes and goes, or a server that restarts, costs time and nothing else.

mod address;
mod client;
mod connection;
pub mod enrolled;
mod index;
pub mod login;
mod problem;
mod store;
pub mod trust;
mod url_text;

pub use address::{Address, Place, server_url};
pub use client::Client;
pub use connection::{Connection, Options, Renew, Tell};
pub use problem::Problem;
pub use store::RemoteStore;
