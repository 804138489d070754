//! The Icecore chunk repository: what is stored, in which order, and what may be deleted when.
//!
//! `FORMAT.md` is normative. This crate knows no HTTP, no command line, no environment and no clock: time, randomness
//! and the place of the index are arguments. Below everything lies one small trait, [`store::Store`].
//!
//! Reading order: [`repository`] (what is there) → [`session`] (write) → [`reader`] (read) → [`prune`] (delete).

#![forbid(unsafe_code)]

pub mod codec;
pub mod entropy;
pub mod error;
pub mod id;
pub mod key_slot;
pub mod keys;
pub mod kit;
pub mod pack;
pub mod record;
pub mod seal;
pub mod sign;
pub mod store;
pub mod tree;
pub mod writer_key;

pub use error::{Error, Result};
