//! The interface against its C headers as compiled on a 64-bit and a 32-bit machine, and the parameters.
//!
//! Sizes and numbers are asserted when `uapi.rs` compiles; here is what an assertion there cannot say.

use kmod_logic::uapi::{self, compat, extension, parameter};
use std::collections::BTreeSet;

#[test]
fn no_two_calls_share_a_number() {
    let calls = [
        uapi::BLKFILTER_ATTACH,
        uapi::BLKFILTER_DETACH,
        uapi::BLKFILTER_CTL,
        uapi::SNAPSHOT_VERSION,
        uapi::SNAPSHOT_CREATE,
        uapi::SNAPSHOT_DESTROY,
        uapi::SNAPSHOT_TAKE,
        uapi::SNAPSHOT_COLLECT,
        uapi::SNAPSHOT_WAIT_EVENT,
        compat::BLKFILTER_ATTACH_32,
        compat::SNAPSHOT_COLLECT_32,
        extension::SNAPSHOT_FEATURES,
        extension::SNAPSHOT_CREATE_WITH,
        extension::SNAPSHOT_STATISTICS,
        extension::SNAPSHOT_DEVICES,
    ];
    assert_eq!(BTreeSet::from(calls).len(), calls.len());
}

#[test]
fn the_filter_name_ends_with_zeroes() {
    assert!(uapi::FILTER_NAME.starts_with(b"blksnap\0"));
    assert!(uapi::FILTER_NAME[7..].iter().all(|byte| *byte == 0));
}

#[test]
fn parameters_are_cut_to_their_range() {
    assert_eq!(parameter::CHUNK_MINIMUM_SHIFT.clamp(0), 12);
    assert_eq!(parameter::CHUNK_MINIMUM_SHIFT.clamp(20), 20);
    assert_eq!(parameter::CHUNK_MINIMUM_SHIFT.clamp(u64::MAX), 26);
    let names: BTreeSet<_> = parameter::ALL.iter().map(|parameter| parameter.name).collect();
    assert_eq!(names.len(), parameter::ALL.len());
}
