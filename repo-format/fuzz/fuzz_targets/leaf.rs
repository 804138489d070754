//! Fuzz target `leaf`; what it does stands in `tests/fuzz_bodies.rs`.

#![no_main]

#[path = "../../tests/fuzz_bodies.rs"]
#[expect(dead_code, reason = "each target uses one of the bodies")]
mod fuzz_bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_bodies::leaf(bytes);
});
