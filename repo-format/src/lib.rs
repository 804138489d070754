//! The Icecore chunk repository: what is stored, in which order, and what may be deleted when.
//!
//! `FORMAT.md` is normative. This crate knows no HTTP, no command line, no environment and no clock: time, randomness
//! and the place of the index are arguments. Below everything lies one small trait, [`store::Store`].
//!
//! Reading order: [`repository`] (what is there) → [`session`] (write) → [`reader`] (read) → [`prune`] (delete).

#![forbid(unsafe_code)]

pub mod aligned;
pub mod catalog;
pub mod check;
pub mod claims;
pub mod codec;
pub mod condemned;
pub mod config;
pub mod dump;
pub mod elsewhere;
pub mod entropy;
pub mod error;
pub mod forget;
pub mod gate;
pub mod handover;
pub mod id;
pub mod index;
pub mod key_slot;
pub mod keys;
pub mod kit;
pub mod layout;
pub mod lease;
pub mod manifest;
pub mod pack;
pub mod pack_cache;
pub mod passage;
pub mod place_set;
pub mod probe;
pub mod proofs;
pub mod prune;
pub mod reader;
pub mod reconcile;
pub mod record;
pub mod records;
pub mod repair;
pub mod repository;
pub mod retention;
pub mod seal;
pub mod session;
pub mod sign;
pub mod store;
pub mod suspects;
pub mod tree;
mod uploads;
pub mod writer_key;
pub mod writers;

pub use error::{Error, Result};
