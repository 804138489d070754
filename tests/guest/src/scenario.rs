//! The scenarios, one file an area. A scenario is a plain function that fails with a sentence; guards undo what it did.

mod harness;

use crate::registry::Scenario;

/// All areas in the order in which they run: what everything else relies on comes first.
pub const AREAS: [&[Scenario]; 1] = [harness::SCENARIOS];
