//! One program of all tests of the crate: they share a bench, and one program links faster than ten.

mod catalog;
mod check;
mod crash;
mod damage_records;
mod dump;
mod elsewhere;
mod every_store;
mod faults;
mod format_doc;
mod fuzz_bodies;
mod fuzz_corpus;
mod fuzz_repair;
mod gate;
mod gate_person;
mod golden;
mod index_rebuild;
mod proofs;
mod properties;
mod prune;
mod prune_beside;
mod prune_leases;
mod reference;
mod repacked;
mod roundtrip;
#[cfg(feature = "s3")]
mod s3_store;
mod sessions;
mod stories;
mod support;
mod unproven_listings;
mod unsound;
mod uploads;
mod verified;

/// A file that is forgotten here would never run.
#[test]
fn every_file_of_tests_is_part_of_this_program() {
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(main.lines().any(|line| line == format!("mod {module};")), "{name} is not named in main.rs");
        }
    }
}
