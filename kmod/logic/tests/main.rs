//! Tests of the module's pure logic, on the host.

mod chunk;
mod documents;
mod event_queue;
mod intervals;
mod map;
mod memory;
mod request;
mod sizes;
mod space;
mod uapi;
