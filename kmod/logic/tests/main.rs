//! Tests of the module's pure logic, on the host.

mod intervals;
mod map;
mod memory;
mod uapi;
