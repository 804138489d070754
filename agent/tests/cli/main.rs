//! The `icecore` program as a person meets it: good and bad input for every verb, through arguments, output and exit codes.

mod arguments;
mod bench;
mod bucket;
mod damage;
mod files;
mod keys;
mod logical;
mod maintenance;
mod points;
mod providers;
#[expect(dead_code, reason = "the proxy and other settings are for the tests of the store itself")]
#[path = "../../../repo-format/tests/support/s3/mod.rs"]
mod s3;
mod search;
mod signals;
mod tracker;
mod writers;
