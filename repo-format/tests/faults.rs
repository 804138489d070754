//! A store that fails: full, broken, read-only. And clocks that jump. Every operation fails loudly or not at all, what was
//! committed stays, and the same operation succeeds when the fault is gone.

use crate::support::{Bench, DAY, disk};
use jiff::SignedDuration;
use repo_format::check::prove_point;
use repo_format::error::Error;
use repo_format::forget;
use repo_format::manifest::PointKey;
use repo_format::reader::Reader;
use repo_format::store::sim::Faults;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

type Point = (PointKey, Vec<u8>);

/// Runs `operation` with each of its writes failing once, and failing from there on, until it needs no more writes.
fn fails_loudly(prepare: impl Fn(&Bench) -> Vec<Point>, operation: impl Fn(&Bench) -> repo_format::Result<Vec<Point>>) {
    let bench = Bench::new();
    let before = prepare(&bench);
    let start = bench.fs.fork();
    for (errno, lasting) in [(EIO, false), (ENOSPC, false), (EIO, true), (ENOSPC, true)] {
        for at in 0.. {
            let live = bench.try_on(&start.fork(), bench.passphrase()).unwrap();
            let place = Some(live.fs.attempts() + at);
            let (fail_at, fail_from) = if lasting { (None, place) } else { (place, None) };
            live.fs.set_faults(Faults { fail_at, fail_from, errno, read_only: false });
            let result = operation(&live);
            let reached = live.fs.attempts() > live.fs.journal_len();
            live.fs.set_faults(Faults::default());
            if let Err(error) = &result {
                assert!(matches!(error, Error::Store { .. }), "errno {errno} at {at}: {error}");
                let said = error.to_string();
                assert!(said.contains("os error") && said.contains("the store failed on"), "{said}");
            }
            let again = live.reopen(live.passphrase());
            all_restore(&again, &before);
            let made = operation(&again).unwrap_or_else(|e| panic!("errno {errno} at {at}, tried again: {e}"));
            all_restore(&again, &made);
            all_restore(&again, &before);
            if !reached {
                assert!(result.is_ok() && at > 2, "{at}: {result:?}");
                break;
            }
        }
    }
}

fn all_restore(bench: &Bench, points: &[Point]) {
    for (at, image) in points {
        prove_point(&Reader::new(bench.repo(), &bench.index), *at).unwrap();
        assert!(bench.restore(*at).unwrap() == *image, "{}", at.key());
    }
}

fn one_point(bench: &Bench) -> Vec<Point> {
    let image = disk(1, 6);
    vec![(bench.backup("vm", &image, None).unwrap(), image)]
}

#[test]
fn a_backup_fails_loudly_at_every_write_and_can_be_repeated() {
    fails_loudly(one_point, |live| {
        let mut next = disk(1, 6);
        next[3 * 65536] ^= 1;
        Ok(vec![(live.backup("vm", &next, Some(&[3]))?, next)])
    });
}

#[test]
fn forgetting_fails_loudly_at_every_write_and_can_be_repeated() {
    fails_loudly(one_point, |live| {
        let points = live.repo().points()?;
        live.forget(&points[0]).map(|()| Vec::new())
    });
}

#[test]
fn taking_back_fails_loudly_at_every_write_and_can_be_repeated() {
    let prepare = |bench: &Bench| {
        let points = one_point(bench);
        bench.forget(&points[0].0).unwrap();
        points
    };
    fails_loudly(prepare, |live| {
        for (_, stone) in forget::tombstones(live.repo())? {
            forget::undo(live.repo(), &stone, live.now())?;
        }
        Ok(Vec::new())
    });
}

#[test]
fn a_prune_fails_loudly_at_every_write_and_can_be_repeated() {
    let prepare = |bench: &Bench| {
        let gone = bench.backup("vm", &disk(1, 8), None).unwrap();
        let half = [&disk(1, 8)[..4 * 65536], &disk(2, 4)].concat();
        let points = vec![(bench.backup("vm", &half, None).unwrap(), half)];
        bench.forget(&gone).unwrap();
        bench.pass_time(DAY * 2);
        points
    };
    fails_loudly(prepare, |live| {
        // What a failed run leaves is a lease that lapses.
        live.pass_time(SignedDuration::from_hours(2));
        live.prune(false)?;
        live.pass_time(DAY * 2);
        live.prune(false).map(|_| Vec::new())
    });
}

#[test]
fn a_read_only_store_can_be_read() {
    let bench = Bench::new();
    let points = one_point(&bench);
    bench.fs.set_faults(Faults { read_only: true, errno: EROFS, ..Faults::default() });
    let reader = bench.with_new_index();
    all_restore(&reader, &points);
    assert_eq!(reader.repo().latest_of("vm").unwrap().unwrap().0.at, points[0].0);
    assert!(reader.prune(true).is_ok(), "counting changes nothing");
    for refused in [reader.backup("vm", &disk(2, 3), None).map(drop), reader.forget(&points[0].0)] {
        assert!(refused.unwrap_err().to_string().contains("Read-only"));
    }
}

/// Sequence numbers order the points, so a clock that goes back changes no order and loses no point.
#[test]
fn clocks_that_jump_change_no_order_and_lose_no_point() {
    let bench = Bench::new();
    let mut points = Vec::new();
    let (year, minute) = (DAY * 365, SignedDuration::from_mins(1));
    for (seed, jump) in (0..).zip([minute, -year, year * 40, -(year * 40), minute]) {
        bench.pass_time(jump);
        let image = disk(seed, 4);
        points.push((bench.backup("vm", &image, None).unwrap(), image));
        assert_eq!(bench.repo().latest_of("vm").unwrap().unwrap().0.at, points.last().unwrap().0);
    }
    let sequences: Vec<u64> = points.iter().map(|(at, _)| at.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    all_restore(&bench.with_new_index(), &points);
}

/// A clock that jumps far ahead in the middle makes the lease lapse; prune of a machine with the right clock may have revoked it or
/// not, and either way nothing is lost.
#[test]
fn a_clock_that_jumps_in_a_session_costs_at_most_that_session() {
    let bench = Bench::new();
    let points = one_point(&bench);
    for jump in [DAY * 1000, -(DAY * 2000)] {
        let image = disk(9, 5);
        let result = bench.backup_with("vm", &image, None, &mut |bench| {
            bench.pass_time(jump);
            bench.prune(false).map(drop).unwrap_or_else(|e| panic!("{e}"));
        });
        match result {
            Ok(at) => all_restore(&bench, &[(at, image)]),
            Err(error) => assert!(matches!(error, Error::LeaseLost), "{error}"),
        }
        all_restore(&bench.with_new_index(), &points);
    }
}
