//! Persons behind somebody without keys: they read everything, and change what the operator's signature and their rights together allow.

use crate::support::guarded::Guarded;
use crate::support::{Bench, DAY, disk};
use jiff::SignedDuration;
use repo_format::check::Depth;
use repo_format::forget::{self, tombstones};
use repo_format::gate::{Grants, Party};
use repo_format::lease::{self, Lease, Purpose};
use repo_format::manifest::PointKey;
use repo_format::record;
use repo_format::store::Store;
use repo_format::{Error, Result};
use serde_json::json;
use std::sync::Arc;

const READER: Grants = Grants { forget: false, writers: false };
const EVERYTHING: Grants = Grants { forget: true, writers: true };

/// The bench as a person sees it who knows the passphrase.
fn person(bench: &Bench, grants: Grants) -> Bench {
    bench.through(&bench.fs, Arc::new(Guarded::new(bench, Party::Person(grants))), bench.passphrase()).unwrap()
}

fn forget(bench: &Bench, at: &PointKey) -> Result<()> {
    forget::forget(bench.repo(), at, "test", bench.now(), forget::UNDO_TIME)
}

fn undo(bench: &Bench) -> Result<()> {
    let stones = tombstones(bench.repo())?;
    stones.iter().try_for_each(|(_, stone)| forget::undo(bench.repo(), stone, bench.now()))
}

#[test]
fn who_may_read_restores_checks_and_holds_a_lease_that_prune_respects() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 60), None).unwrap();
    let reader = person(&bench, READER);
    assert_eq!(reader.restore(at).unwrap(), disk(1, 60));
    assert!(reader.check(Depth::ReadAll, true).is_sound());
    let mut lease = Lease::take(reader.repo(), Purpose::Read, bench.now()).unwrap();
    lease.pin(reader.repo(), at.manifest, Vec::new(), bench.now()).unwrap();
    assert_eq!(lease::list(bench.repo()).unwrap().len(), 1);
    lease.release(reader.repo()).unwrap();
    assert!(bench.store().keys("leases/").unwrap().is_empty());
}

#[test]
fn who_may_only_read_changes_nothing_even_with_the_passphrase() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    let reader = person(&bench, READER);
    for refused in [
        forget(&reader, &at),
        reader.backup("mine", &disk(2, 30), None).map(drop),
        reader.repo().create_writer("mine", None, bench.now()).map(drop),
        reader.prune(false).map(drop),
        reader.repo().remove_slot(&reader.repo().slots().unwrap()[0].slot),
        Lease::take(reader.repo(), Purpose::Backup, bench.now()).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    for key in bench.store().keys("").unwrap() {
        assert!(reader.store().delete(&key).is_err(), "{key}");
        assert!(reader.store().put(&key, b"something else").is_err(), "{key}");
    }
    assert_eq!(bench.restore(at).unwrap(), disk(1, 30));
}

#[test]
fn rights_without_the_operators_signature_change_nothing() {
    let bench = Bench::new();
    let web = bench.repo().create_writer("web", None, bench.now()).unwrap();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    let thief = Guarded::new(&bench, Party::Person(EVERYTHING));
    let stone = json!({
        "manifest": at.manifest, "name": at.name, "sequence": at.sequence, "forgotten_at": bench.now(),
        "delete_after": bench.now() + forget::UNDO_TIME, "reason": "",
    });
    let signed = |magic, body| record::encode_json(magic, &web.repository, &web.signer(), body).unwrap();
    let key = format!("tombstones/{}", at.manifest);
    assert!(thief.put(&key, &signed(record::TOMBSTONE, &stone)).is_err());
    let found = json!({ "created_at": bench.now(), "packs": [] });
    assert!(thief.put(&format!("verified/{}", "ab".repeat(16)), &signed(record::VERIFIED, &found)).is_err());
    assert!(thief.put(&format!("damaged/{}", "ab".repeat(16)), &signed(record::DAMAGED, &found)).is_err());
    assert!(tombstones(bench.repo()).unwrap().is_empty());
}

#[test]
fn a_point_is_forgotten_and_taken_back_through_the_gate() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    let ada = person(&bench, EVERYTHING);
    forget(&ada, &at).unwrap();
    assert!(bench.repo().is_forgotten(&at.manifest).unwrap());
    undo(&ada).unwrap();
    assert!(!bench.repo().is_forgotten(&at.manifest).unwrap());
    for prefix in ["pardons/", "tombstones/", "executions/"] {
        assert!(bench.store().keys(prefix).unwrap().is_empty(), "{prefix}");
    }
}

#[test]
fn an_undo_that_was_cut_off_at_any_request_can_be_repeated() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    forget(&bench, &at).unwrap();
    let ada = person(&bench, EVERYTHING);
    // What a first try left before it was cut off: its pardon.
    let mark = json!({ "manifest": at.manifest, "at": bench.now() - SignedDuration::from_mins(2) });
    let master = ada.repo().keys().master_for("the test").unwrap().operator_signer();
    let bytes = record::encode_json(record::PARDON, &ada.repo().config().repository, &master, &mark).unwrap();
    ada.store().put(&format!("pardons/{}", at.manifest), &bytes).unwrap();
    undo(&ada).unwrap();
    assert_eq!(bench.repo().points().unwrap(), [at]);
    assert!(bench.store().keys("pardons/").unwrap().is_empty());
}

#[test]
fn an_old_tombstone_does_not_bury_a_point_again() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    forget(&bench, &at).unwrap();
    let key = format!("tombstones/{}", at.manifest);
    let seen = bench.store().get(&key).unwrap();
    undo(&bench).unwrap();
    bench.pass_time(DAY);
    let thief = Guarded::new(&bench, Party::Person(EVERYTHING));
    let error = thief.put(&key, &seen).err().unwrap();
    assert!(error.to_string().contains("not made just now"), "{error}");
    assert!(!bench.repo().is_forgotten(&at.manifest).unwrap());
}

#[test]
fn a_tombstone_that_leaves_no_time_for_an_undo_is_refused() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    let ada = person(&bench, EVERYTHING);
    let short = forget::forget(ada.repo(), &at, "", bench.now(), SignedDuration::from_hours(1));
    assert!(short.err().unwrap().to_string().contains("less time"));
}

#[test]
fn tombstones_go_only_behind_a_pardon() {
    let bench = Bench::new();
    let at = bench.backup("web", &disk(1, 30), None).unwrap();
    forget(&bench, &at).unwrap();
    let thief = Guarded::new(&bench, Party::Person(EVERYTHING));
    assert!(thief.delete(&format!("tombstones/{}", at.manifest)).is_err());
    assert!(thief.delete(&format!("executions/{}", at.manifest)).is_err());
    assert!(thief.delete(&format!("manifests/{}", at.name)).is_err());
    assert!(bench.repo().is_forgotten(&at.manifest).unwrap());
}

#[test]
fn writers_are_made_and_revoked_and_none_comes_back() {
    let bench = Bench::new();
    let ada = person(&bench, EVERYTHING);
    let keys = ada.repo().create_writer("web", None, bench.now()).unwrap();
    let first = format!("writers/{}-{:08x}", keys.writer, 0);
    let active = bench.store().get(&first).unwrap();
    person(&bench, EVERYTHING).repo().revoke_writer(&keys.writer, bench.now()).unwrap();
    // The record does not hold its revision: the first one once more would say that the writer is not revoked.
    let again = ada.store().put(&first.replace("-00000000", "-00000002"), &active);
    assert!(again.is_err(), "{again:?}");
    let known = person(&bench, EVERYTHING).repo().writers().unwrap();
    assert!(known.iter().any(|writer| writer.writer == keys.writer && writer.revoked_at.is_some()));
}

#[test]
fn what_a_check_proves_is_recorded_for_other_writers() {
    let bench = Bench::new();
    bench.repo().create_writer("web", None, bench.now()).unwrap();
    bench.backup("web", &disk(1, 60), None).unwrap();
    let report = person(&bench, READER).check(Depth::ReadAll, true);
    assert!(report.is_sound() && report.packs_verified > 0);
    assert!(!bench.store().keys("verified/").unwrap().is_empty());
}
