//! The `icecore` program as a person meets it: good and bad input for every verb, through arguments, output and exit codes.

mod arguments;
mod bench;
mod damage;
mod files;
mod keys;
mod maintenance;
mod points;
mod providers;
mod search;
mod signals;
mod tracker;
mod writers;
