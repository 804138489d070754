//! Verifying points: what is read, what is not read again and for how long, what is found, and what is written down of it.

use crate::support::{Bench, CHUNK, DAY, ROOT, disk};
use repo_format::check::{PROOF_LASTS, Verification, VerifyOptions, verify_points};
use repo_format::codec::Kind;
use repo_format::condemned;
use repo_format::keys::WriterKeys;
use repo_format::manifest::PointKey;
use repo_format::pack::{PackBuilder, PackKind};
use repo_format::proofs::Proofs;
use repo_format::repository::Access;
use repo_format::writer_key;
use repo_format::{Error, Result};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn try_verify(bench: &Bench, points: &[PointKey], cancel: bool) -> Result<Verification> {
    let options = VerifyOptions {
        threads: 2,
        read_all: false,
        progress: &|_| {},
        cancel: &AtomicBool::new(cancel),
        now: bench.now(),
    };
    bench.reconcile();
    verify_points(bench.repo(), &bench.index, points, &options)
}

fn verify(bench: &Bench, points: &[PointKey]) -> Verification {
    try_verify(bench, points, false).unwrap()
}

fn proofs(bench: &Bench) -> Proofs {
    Proofs::read(bench.repo()).unwrap()
}

/// The only flaw of a verification.
fn flaw(verification: &Verification) -> &str {
    verification.points[0].flaw.as_deref().unwrap_or_default()
}

fn data_packs(bench: &Bench) -> Vec<String> {
    bench.store().keys("data/").unwrap()
}

/// A disk, and the same with one other chunk.
fn changed(position: usize) -> (Vec<u8>, Vec<u8>) {
    let before = disk(1, 40);
    let mut after = before.clone();
    after[position * CHUNK..(position + 1) * CHUNK].fill(0xC3);
    (before, after)
}

#[test]
fn a_point_is_read_once_and_again_when_its_proof_is_old() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 40), None).unwrap();
    let first = verify(&bench, &[at]);
    assert_eq!((first.packs_read, first.points[0].since, flaw(&first)), (1, Some(bench.now()), ""));
    assert!(first.entries_opened > 20 && first.bytes_read > 0);
    let proved_at = bench.now();
    bench.pass_time(DAY);
    let again = verify(&bench, &[at]);
    assert_eq!(
        (again.packs_read, again.points[0].since),
        (0, Some(proved_at)),
        "it rests on the first proof and says so"
    );
    bench.pass_time(PROOF_LASTS);
    let late = verify(&bench, &[at]);
    assert_eq!((late.packs_read, late.points[0].since), (1, Some(bench.now())));
}

#[test]
fn of_a_later_point_only_what_is_new_is_read() {
    let bench = Bench::new();
    let (before, after) = changed(7);
    let first = bench.backup("vm", &before, None).unwrap();
    let proved_at = bench.now();
    verify(&bench, &[first]);
    bench.pass_time(DAY);
    let second = bench.backup("vm", &after, Some(&[7])).unwrap();
    let verified = verify(&bench, &[second]);
    assert_eq!((verified.packs_read, verified.entries_opened), (1, 1));
    assert_eq!(verified.points[0].since, Some(proved_at), "most of it was read with the first point");
    // The other way round, too: a full walk has nothing to read, since both packs were.
    let known = proofs(&bench);
    assert_eq!((known.packs.len(), known.points.len()), (2, 2));
}

/// A proof must not be handed on from point to point for ever: the disk below may have rotted long since.
#[test]
fn a_chain_of_points_does_not_keep_an_old_proof_alive() {
    let bench = Bench::new();
    let (mut content, _) = changed(0);
    let mut at = bench.backup("vm", &content, None).unwrap();
    verify(&bench, &[at]);
    let mut read_again = 0;
    for day in 1..=45_u8 {
        bench.pass_time(DAY);
        content[3 * CHUNK..4 * CHUNK].fill(day);
        at = bench.backup("vm", &content, Some(&[3])).unwrap();
        let verified = verify(&bench, &[at]);
        read_again += u64::from(verified.entries_opened > 20);
        let since = verified.points[0].since.unwrap();
        assert!(bench.now().duration_since(since) <= PROOF_LASTS, "day {day}");
    }
    assert_eq!(read_again, 1, "everything was read once more within the time");
}

#[test]
fn rot_is_named_and_nobody_is_blamed_for_it() {
    let bench = Bench::new();
    let (before, after) = changed(7);
    let first = bench.backup("vm", &before, None).unwrap();
    let old = data_packs(&bench);
    let second = bench.backup("vm", &after, Some(&[7])).unwrap();
    let new = data_packs(&bench).into_iter().find(|key| !old.contains(key)).unwrap();
    bench.fs.corrupt(&Path::new(ROOT).join(&new), |bytes| bytes[300] ^= 1);
    let verified = verify(&bench, &[second, first]);
    assert!(flaw(&verified).contains("at byte 458752 of disk \"disk\""), "{verified:?}");
    assert!(verified.points[1].since.is_some(), "{verified:?}");
    assert_eq!((verified.damaged_packs.len(), verified.forged_packs.len()), (1, 0));
    assert_eq!(condemned::damaged(bench.repo().records()).unwrap().len(), 1);
    assert!(!proofs(&bench).points.contains_key(&second.manifest));
}

/// As a copy: the same keys once more.
fn copy(keys: &WriterKeys) -> WriterKeys {
    writer_key::from_text(&writer_key::to_text(keys)).unwrap()
}

/// Stores a pack in which garbage stands under the id of a chunk.
fn poison(bench: &Bench, keys: &WriterKeys, plain: &[u8]) -> String {
    let repo = bench.repo();
    let by = (keys.writer, keys.writer);
    let mut builder = PackBuilder::data(repo.config().repository, by, &keys.public, 65536, repo.entropy()).unwrap();
    let id = repo.keys().ids().chunk(plain);
    builder.add(id.into(), Kind::Raw, 65536, &vec![0x66; CHUNK]).unwrap();
    let pack = builder.finish(&keys.signer());
    let key = PackKind::Data.key(&pack.id);
    bench.store().put(&key, &pack.bytes).unwrap();
    key
}

/// The attack that the whole of this is for: garbage under a true id, stored by a stolen writer key before somebody else stores the truth.
#[test]
fn a_poisoned_chunk_is_found_blamed_on_its_signer_and_leaves_the_known_set() {
    let bench = Bench::new();
    let keys = bench.repo().create_writer("thief", None, bench.now()).unwrap();
    let content = disk(1, 3);
    poison(&bench, &keys, &content[..CHUNK]);
    let thief = bench.reopen(Access::Writer(Box::new(copy(&keys))));
    let at = thief.backup("vm", &content, None).unwrap();
    let owner = bench.with_new_index();
    let verified = verify(&owner, &[at]);
    assert!(flaw(&verified).contains("at byte 0 of disk"), "{verified:?}");
    assert_eq!(verified.forged_packs.len(), 1);
    assert_eq!(verified.forged_packs[0].signer, keys.writer);
    assert_eq!(proofs(&owner).packs.len(), 1, "the sound pack is proved all the same");
    // Whoever reads everything now stores the truth, and that point is whole.
    let thief = bench.reopen(Access::Writer(Box::new(keys)));
    let before = owner.data_bytes();
    let again = thief.backup("vm", &content, None).unwrap();
    assert!(owner.data_bytes() > before);
    let owner = bench.with_new_index();
    assert!(verify(&owner, &[again]).points[0].since.is_some());
    assert!(owner.restore(again).unwrap() == content);
    // And the first one is mended by it: the chunk has a sound place.
    assert!(verify(&owner, &[at]).points[0].since.is_some());
}

#[test]
fn what_another_stored_may_be_relied_on_once_its_point_was_verified() {
    let bench = Bench::new();
    let [web, mail] = ["web", "mail"].map(|label| bench.repo().create_writer(label, None, bench.now()).unwrap());
    let content = disk(1, 20);
    let at = bench.reopen(Access::Writer(Box::new(web))).backup("web", &content, None).unwrap();
    let owner = bench.with_new_index();
    verify(&owner, &[at]);
    let before = owner.data_bytes();
    bench.reopen(Access::Writer(Box::new(mail))).backup("mail", &content, None).unwrap();
    assert_eq!(owner.data_bytes(), before);
}

#[test]
fn a_point_that_is_gone_is_no_flaw_and_a_writer_verifies_nothing() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 5), None).unwrap();
    bench.forget(&at).unwrap();
    bench.pass_time(DAY * 2);
    bench.prune(false).unwrap();
    let verified = verify(&bench, &[at]);
    assert!(verified.points[0].is_gone && verified.points[0].flaw.is_none());
    let keys = bench.repo().create_writer("web", None, bench.now()).unwrap();
    let writer = bench.reopen(Access::Writer(Box::new(keys)));
    assert!(matches!(try_verify(&writer, &[at], false), Err(Error::KeyNeeded(_))));
}

#[test]
fn what_was_proved_before_a_cut_is_not_read_again() {
    let bench = Bench::new();
    let points: Vec<PointKey> =
        (0..3).map(|seed| bench.backup(&format!("vm{seed}"), &disk(seed, 20), None).unwrap()).collect();
    verify(&bench, &points[..2]);
    assert!(matches!(try_verify(&bench, &points, true), Err(Error::Interrupted)));
    let rest = verify(&bench, &points);
    assert_eq!((rest.packs_read, rest.points.iter().filter(|point| point.since.is_some()).count()), (1, 3));
}

/// One record a verification would make every session read thousands.
#[test]
fn prune_writes_many_verifications_as_few_and_makes_no_proof_younger() {
    let bench = Bench::new();
    let mut content = disk(1, 10);
    let mut times = Vec::new();
    for hour in 0..60_u8 {
        bench.pass_time(DAY / 24);
        content[CHUNK..2 * CHUNK].fill(hour);
        let at = bench.backup("vm", &content, Some(&[1])).unwrap();
        verify(&bench, &[at]);
        times.push((at, bench.now()));
    }
    let before = proofs(&bench);
    bench.prune(false).unwrap();
    let records = bench.store().keys("verified/").unwrap().len();
    assert!(records <= 5, "{records}");
    let after = proofs(&bench);
    assert_eq!((after.points.len(), after.packs.len()), (before.points.len(), before.packs.len()));
    assert!(after.packs.iter().all(|(pack, at)| *at <= before.packs[pack]));
    assert_eq!(after.points, before.points);
    assert_eq!(condemned::verified(bench.repo().records()).unwrap().len(), after.packs.len());
    assert!(bench.with_new_index().check(repo_format::check::Depth::Structure, false).is_sound());
}
