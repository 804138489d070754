//! Fuzz target `index_rebuild`; what it does stands in `tests/fuzz_bodies.rs`.

#![no_main]

#[path = "../../tests/fuzz_bodies.rs"]
#[expect(dead_code, reason = "each target uses one of the bodies")]
mod fuzz_bodies;

#[path = "../../tests/fuzz_repair.rs"]
#[expect(dead_code, reason = "each target uses a part of it")]
mod fuzz_repair;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut repaired = bytes.to_vec();
    fuzz_repair::pack(&mut repaired);
    fuzz_bodies::index_rebuild(&repaired);
});
