//! The agent's library: everything `icecore` does, without the argument parsing of `main.rs`.
//!
//! It reads disks, restores them and shows what is stored. The chunk repository itself belongs to
//! `repo-format`; this crate decides which bytes go in and where they come out.

pub mod archive;
pub mod backup;
pub mod catalog;
pub mod daemon;
pub mod export;
pub mod extents;
pub mod facts;
pub mod files;
pub mod hooks;
pub mod keeper;
mod lengths;
pub mod medium;
pub mod mount;
pub mod open;
pub mod output;
pub mod point_disk;
pub mod priority;
pub mod private_file;
mod programs;
pub mod progress;
pub mod read_at;
pub mod remote;
pub mod restore;
pub mod source;
pub mod tracker;
pub mod volume_groups;
pub mod volumes;
