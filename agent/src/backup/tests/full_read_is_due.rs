//! Full reads at intervals.

use super::{Bench, list};
use crate::backup::{BackupOutcome, BackupRequest};
use jiff::Timestamp;
use repo_format::forget::forget;
use repo_format::manifest::PointKind;
use std::sync::atomic::Ordering;

const DAY_S: i64 = 24 * 3600;

fn on_day(bench: &Bench, day: i64) -> BackupOutcome {
    bench.seconds.store(day * DAY_S, Ordering::Relaxed);
    bench.run(&BackupRequest { full_read_every_days: Some(30), ..bench.request("it") }).unwrap()
}

/// A plan could not ask for a full read: what a check found damaged, or a list hid, stayed as it was until the machine was restarted.
#[test]
fn everything_is_read_when_that_was_not_done_for_so_many_days() {
    let bench = Bench::with_disks(1);
    bench.says(&[list(&[])]);
    let kinds = [0, 1, 29, 30, 31, 59, 61].map(|day| on_day(&bench, day).kind);
    let (full, read, small) = (PointKind::Full, PointKind::FullRead, PointKind::Incremental);
    assert_eq!(kinds, [full, small, small, read, small, small, read]);
    let outcome = on_day(&bench, 92);
    let reason = outcome.full_read_reason.unwrap();
    assert!(reason.contains("due every 30 days") && reason.contains("1970-03-03"), "{reason}");
    assert_eq!(outcome.audit.unwrap().bytes_differing, 0, "it is compared with the list");
}

/// The points that retention keeps are seldom those that were read whole.
#[test]
fn the_last_full_read_is_known_when_its_point_is_forgotten() {
    let bench = Bench::with_disks(1);
    bench.says(&[list(&[])]);
    on_day(&bench, 0);
    on_day(&bench, 1);
    let first = bench.repo.points().unwrap()[0];
    forget(&bench.repo, &first, "test", Timestamp::UNIX_EPOCH, jiff::SignedDuration::ZERO).unwrap();
    assert_eq!(on_day(&bench, 2).kind, PointKind::Incremental);
    assert_eq!(on_day(&bench, 31).kind, PointKind::FullRead);
}

#[test]
fn a_clock_that_ran_ahead_does_not_put_off_a_full_read() {
    let bench = Bench::with_disks(1);
    bench.says(&[list(&[])]);
    on_day(&bench, 4000);
    assert_eq!(on_day(&bench, 1).kind, PointKind::FullRead);
    assert_eq!(on_day(&bench, 2).kind, PointKind::Incremental);
}
