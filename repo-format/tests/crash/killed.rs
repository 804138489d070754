//! A process that is killed and a power cut after the next one did its work: what the first left half done must not become
//! part of what the second commits.

use super::{Expected, fingerprint, judge};
use crate::support::{Bench, DAY, ROOT, disk, init_repository, open_store};
use repo_format::store::sim::{Cut, Faults, SimFs};
use std::collections::HashSet;
use std::path::Path;

const CUTS: [Cut; 5] = [Cut::Dropped, Cut::Kept, Cut::Torn(1), Cut::Torn(2), Cut::Torn(3)];

/// From its `operation`th operation on, the process that works on `fs` does nothing any more.
fn kill(fs: &SimFs, operation: usize) {
    fs.set_faults(Faults { fail_from: Some(operation), errno: 5, ..Faults::default() });
}

fn cut_at_the_end(bench: &Bench, (fs, start): (&SimFs, &SimFs), expected: &Expected, killed_at: usize) {
    let mut seen = HashSet::new();
    for cut in CUTS {
        let after = fs.crash(start, fs.journal_len(), cut);
        if seen.insert(fingerprint(&after)) {
            judge(bench, &after, fs.journal_len(), expected)
                .unwrap_or_else(|what| panic!("killed at {killed_at}, {cut:?}: {what}"));
        }
    }
}

/// A writer was killed between the rename of a pack and the sync of its directory. The next session saw the pack, relied on it
/// and committed; then the power went and took the pack's name. What is found must be made durable before it is relied on.
#[test]
fn a_backup_relies_on_nothing_that_a_killed_one_left_in_the_air() {
    let bench = Bench::new();
    let first = disk(1, 6);
    let at = bench.backup("vm", &first, None).unwrap();
    let (start, second) = (bench.fs.fork(), disk(2, 6));
    let mut killed_at = 0;
    loop {
        let fs = start.fork();
        let dying = bench.try_on(&fs, bench.passphrase()).unwrap();
        kill(&fs, killed_at);
        let died = dying.backup("vm", &second, None).is_err();
        fs.set_faults(Faults::default());
        let next = bench.try_on(&fs, bench.passphrase()).unwrap();
        let mut expected = Expected::default();
        expected.add(at, &first, 0);
        next.repo().points().unwrap().iter().filter(|point| **point != at).for_each(|point| {
            expected.images.insert(point.manifest, second.clone());
        });
        let again = next.backup("vm", &second, None).unwrap();
        expected.add(again, &second, 0);
        cut_at_the_end(&bench, (&fs, &start), &expected, killed_at);
        if !died {
            break;
        }
        killed_at += 1;
    }
    assert!(killed_at > 20, "a backup is more than {killed_at} operations");
}

/// A prune was killed between the removal of a manifest and the sync of its directory. The next ones found it gone and deleted
/// its packs; then the power went and the manifest stood there again, without what it needs.
#[test]
fn a_manifest_that_a_killed_prune_removed_is_gone_before_its_packs_go() {
    let bench = Bench::new();
    let (first, second) = (disk(1, 5), disk(2, 5));
    let gone = bench.backup("vm", &first, None).unwrap();
    let at = bench.backup("vm", &second, None).unwrap();
    bench.forget(&gone).unwrap();
    bench.pass_time(DAY * 2);
    let start = bench.fs.fork();
    let mut expected = Expected::default();
    expected.images.insert(gone.manifest, first);
    expected.add(at, &second, 0);
    for killed_at in 0.. {
        let fs = start.fork();
        let dying = bench.try_on(&fs, bench.passphrase()).unwrap();
        kill(&fs, killed_at);
        let died = dying.prune(false).is_err();
        fs.set_faults(Faults::default());
        let next = bench.try_on(&fs, bench.passphrase()).unwrap();
        for _ in 0..2 {
            next.pass_time(DAY * 2);
            next.prune(false).unwrap();
        }
        cut_at_the_end(&bench, (&fs, &start), &expected, killed_at);
        if !died {
            assert!(killed_at > 10);
            break;
        }
    }
}

/// An init that was killed just before its last sync looks finished. A backup into it must not stand on a configuration
/// that the next power cut takes.
#[test]
fn a_backup_into_what_a_killed_init_left_keeps_its_configuration() {
    let bench = Bench::new();
    let image = disk(4, 4);
    let mut opened = 0;
    for killed_at in 0.. {
        let fs = SimFs::new(Path::new(ROOT));
        let start = fs.fork();
        kill(&fs, killed_at);
        let died = init_repository(open_store(&fs, &bench.names()), bench.entropy()).is_err();
        fs.set_faults(Faults::default());
        if let Ok(next) = bench.try_on(&fs, bench.passphrase()) {
            let mut expected = Expected::default();
            expected.add(next.backup("vm", &image, None).unwrap(), &image, 0);
            opened += 1;
            cut_at_the_end(&bench, (&fs, &start), &expected, killed_at);
        }
        if !died {
            break;
        }
    }
    assert!(opened > 1, "one cut of init left a repository that opens and is not durable");
}
