//! Writers behind somebody without keys: what they can do is back up their own disks, whatever they send.

use crate::support::guarded::Guarded;
use crate::support::{Bench, DAY, disk};
use jiff::SignedDuration;
use repo_format::Error;
use repo_format::codec::Kind;
use repo_format::gate::{Denied, Gate, Object, Party, check_pack};
use repo_format::id::{EntryId, PackId, WriterId};
use repo_format::keys::WriterKeys;
use repo_format::lease::{LEASE_TTL, LeaseBody, Purpose};
use repo_format::pack::{PackBuilder, PackKind};
use repo_format::record;
use repo_format::repository::Access;
use repo_format::writer_key;
use std::sync::Arc;

struct Machine {
    bench: Bench,
    keys: WriterKeys,
}

/// A new writer, and the bench as it sees it through the gate.
fn machine(bench: &Bench, label: &str, group: Option<&str>) -> Machine {
    let keys = bench.repo().create_writer(label, group.map(Into::into), bench.now()).unwrap();
    Machine { bench: behind_gate(bench, &keys), keys }
}

fn copy(keys: &WriterKeys) -> WriterKeys {
    writer_key::from_text(&writer_key::to_text(keys)).unwrap()
}

fn behind_gate(bench: &Bench, keys: &WriterKeys) -> Bench {
    let store = Arc::new(Guarded::new(bench, Party::Writer(keys.writer)));
    bench.through(&bench.fs, store, Access::Writer(Box::new(copy(keys)))).unwrap()
}

fn gate(bench: &Bench) -> Gate {
    Gate::open(&*bench.store()).unwrap()
}

/// The object that a writer's backup put under a prefix, found by who signed it.
fn object_of(bench: &Bench, prefix: &str, keys: &WriterKeys) -> (String, Vec<u8>) {
    let store = bench.store();
    let mine = |key: &String| store.get(key).unwrap()[32..48] == keys.writer.0;
    let key = store.keys(prefix).unwrap().into_iter().find(mine).unwrap();
    let bytes = store.get(&key).unwrap();
    (key, bytes)
}

#[test]
fn backups_through_the_gate_restore_and_build_on_each_other() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    let mut content = disk(1, 60);
    let first = web.bench.backup("web", &content, None).unwrap();
    content[5 * 65536..6 * 65536].fill(3);
    let second = behind_gate(&bench, &web.keys).backup("web", &content, Some(&[5])).unwrap();
    let owner = bench.with_new_index();
    assert_eq!(owner.restore(first).unwrap(), disk(1, 60));
    assert_eq!(owner.restore(second).unwrap(), content);
    assert!(bench.store().keys("leases/").unwrap().is_empty());
}

#[test]
fn a_writer_sees_neither_manifests_nor_trees_nor_chunks_of_another() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    web.bench.backup("web", &disk(1, 60), None).unwrap();
    let store = mail.bench.store();
    for prefix in ["manifests/", "tree/"] {
        assert!(store.keys(prefix).unwrap().is_empty(), "{prefix}");
        let (key, _) = object_of(&bench, prefix, &web.keys);
        assert!(matches!(store.get(&key), Err(Error::Missing { .. })), "{key}");
    }
    let (key, _) = object_of(&bench, "data/", &web.keys);
    assert!(store.get(&key).is_err());
    assert!(store.keys("keys/").unwrap().is_empty());
    assert!(behind_gate(&bench, &mail.keys).index.packs().unwrap().is_empty(), "not even what ids it has");
}

#[test]
fn its_own_chunks_are_out_of_a_writers_reach_but_not_their_ids() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    web.bench.backup("web", &disk(1, 60), None).unwrap();
    let (key, bytes) = object_of(&bench, "data/", &web.keys);
    let store = behind_gate(&bench, &web.keys).store();
    assert!(store.read_at(&key, 300, &mut [0; 64]).is_err());
    assert!(store.read_at(&key, 0, &mut [0; 256]).is_ok());
    assert!(store.read_at(&key, bytes.len() as u64 - 100, &mut [0; 100]).is_ok());
}

#[test]
fn what_another_stored_is_known_once_it_is_verified_and_not_before() {
    let bench = Bench::new();
    let content = disk(1, 60);
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    web.bench.backup("web", &content, None).unwrap();
    let once = bench.data_bytes();
    mail.bench.backup("mail", &content, None).unwrap();
    assert!(bench.data_bytes() > once * 3 / 2, "nobody has verified it");
    let stored = bench.data_bytes();
    bench.with_new_index().check(repo_format::check::Depth::ReadAll, true);
    let late = machine(&bench, "late", None);
    late.bench.backup("late", &content, None).unwrap();
    assert_eq!(bench.data_bytes(), stored);
}

#[test]
fn writers_of_one_group_share_at_once_and_the_index_says_so() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", Some("rack")), machine(&bench, "mail", Some("rack")));
    let stranger = machine(&bench, "stranger", None);
    web.bench.backup("web", &disk(1, 60), None).unwrap();
    let index = bench.with_new_index().index;
    let mut keys = Vec::new();
    index.each_key(&mut |key| keys.push(key)).unwrap();
    let gate = gate(&bench);
    let of =
        |keys_of: &WriterKeys, kind| gate.packs_with(&index, Party::Writer(keys_of.writer), kind, &keys).unwrap().len();
    assert!(of(&mail.keys, PackKind::Data) > 0);
    assert_eq!(of(&mail.keys, PackKind::Tree), 0, "another's trees");
    assert_eq!(of(&stranger.keys, PackKind::Data), 0);
    assert!(of(&web.keys, PackKind::Tree) > 0);
}

fn denied_pack(bench: &Bench, by: &WriterKeys, key: &str, bytes: &[u8]) -> Denied {
    let Object::Pack(kind, id) = Object::of(key) else { panic!("{key}") };
    check_pack(&gate(bench), by.writer, kind, &id, bytes).err().unwrap()
}

#[test]
fn packs_that_are_not_what_they_say_are_refused() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    web.bench.backup("web", &disk(1, 30), None).unwrap();
    for prefix in ["data/", "tree/"] {
        let (key, bytes) = object_of(&bench, prefix, &web.keys);
        let Object::Pack(kind, id) = Object::of(&key) else { panic!("{key}") };
        check_pack(&gate(&bench), web.keys.writer, kind, &id, &bytes[..]).unwrap();
        assert!(matches!(denied_pack(&bench, &mail.keys, &key, &bytes), Denied::Forbidden(_)), "another's pack");
        for at in (0..bytes.len()).step_by(bytes.len() / 97) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(matches!(denied_pack(&bench, &web.keys, &key, &changed), Denied::Wrong(_)), "{at}");
            // Under its own hash's name, so that only what is inside can give it away.
            let name = kind.key(&PackId(*blake3::hash(&changed).as_bytes()));
            denied_pack(&bench, &web.keys, &name, &changed);
        }
        denied_pack(&bench, &web.keys, &key, &bytes[..bytes.len() - 1]);
        denied_pack(&bench, &web.keys, &key, &[]);
    }
}

#[test]
fn a_footer_that_lies_about_its_entries_is_refused_though_it_is_signed() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    web.bench.backup("web", &disk(1, 30), None).unwrap();
    let (_, mut lying) = object_of(&bench, "data/", &web.keys);
    // Behind the header: what is sealed, which the signature covers only by the hashes in the footer.
    lying[300] ^= 1;
    let id = PackId(*blake3::hash(&lying).as_bytes());
    let denied = check_pack(&gate(&bench), web.keys.writer, PackKind::Data, &id, &lying[..]).err().unwrap();
    assert!(denied.to_string().contains("do not have the hash of the footer"), "{denied}");
}

/// The gate cannot look into what is sealed: it takes such a pack, and lets nobody else rely on it.
#[test]
fn garbage_under_a_true_id_is_taken_and_used_by_nobody_else() {
    let bench = Bench::new();
    let (evil, web) = (machine(&bench, "evil", None), machine(&bench, "web", None));
    let image = disk(1, 4);
    let by = (evil.keys.writer, evil.keys.writer);
    let entropy = bench.repo().entropy();
    let mut pack = PackBuilder::data(evil.keys.repository, by, &evil.keys.public, 65536, entropy).unwrap();
    let id = evil.keys.ids.chunk(&image[..65536]);
    pack.add(id.into(), Kind::Raw, 65536, &[0xEE; 65536]).unwrap();
    let pack = pack.finish(&evil.keys.signer());
    evil.bench.store().put(&PackKind::Data.key(&pack.id), &pack.bytes).unwrap();
    let named = |keys: &WriterKeys| {
        let index = bench.with_new_index().index;
        let key = EntryId::from(id).key();
        gate(&bench).packs_with(&index, Party::Writer(keys.writer), PackKind::Data, &[key]).unwrap().contains(&pack.id)
    };
    assert!(named(&evil.keys) && !named(&web.keys));
    let at = web.bench.backup("web", &image, None).unwrap();
    assert_eq!(bench.with_new_index().restore(at).unwrap(), image);
    // Who can look into it finds it, and does not vouch for it.
    let report = bench.with_new_index().check(repo_format::check::Depth::ReadAll, true);
    assert_eq!(report.damaged_packs.iter().map(|found| found.pack).collect::<Vec<_>>(), [pack.id]);
    let late = machine(&bench, "late", None);
    let at = late.bench.backup("late", &image, None).unwrap();
    assert_eq!(bench.with_new_index().restore(at).unwrap(), image);
    assert!(!named(&late.keys) && !named(&evil.keys));
}

#[test]
fn nothing_is_replaced_and_nothing_but_its_own_leases_is_deleted() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    web.bench.backup("web", &disk(1, 30), None).unwrap();
    let theirs = behind_gate(&bench, &mail.keys).store();
    let own = behind_gate(&bench, &web.keys).store();
    let before: Vec<_> =
        bench.store().keys("").unwrap().into_iter().map(|key| bench.store().get(&key).unwrap()).collect();
    for key in bench.store().keys("").unwrap() {
        for store in [&theirs, &own] {
            assert!(store.delete(&key).is_err(), "{key}");
            assert!(store.put(&key, b"something else").is_err(), "{key}");
        }
    }
    for key in
        ["keys/aa", "writers/aa-0", "condemned/aa-list", "verified/aa", "damaged/aa", "tombstones/aa", "tmp/x", "../x"]
    {
        assert!(own.put(key, b"x").is_err(), "{key}");
    }
    let after: Vec<_> =
        bench.store().keys("").unwrap().into_iter().map(|key| bench.store().get(&key).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_name_belongs_to_who_used_it_first() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    let at = web.bench.backup("web", &disk(1, 30), None).unwrap();
    let error = mail.bench.backup("web", &disk(2, 30), None).err().unwrap();
    assert!(error.to_string().contains("choose another name"), "{error}");
    assert_eq!(bench.repo().points().unwrap(), [at]);
}

#[test]
fn a_revoked_writer_begins_nothing() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    bench.repo().revoke_writer(&web.keys.writer, bench.now()).unwrap();
    assert!(matches!(gate(&bench).may_begin(web.keys.writer), Err(Denied::Forbidden(_))));
    assert!(matches!(gate(&bench).may_begin(WriterId([9; 16])), Err(Denied::Forbidden(_))));
    assert!(web.bench.backup("web", &disk(1, 30), None).is_err());
    assert!(bench.store().keys("leases/").unwrap().is_empty());
}

fn lease(bench: &Bench, keys: &WriterKeys, change: impl FnOnce(&mut LeaseBody)) -> (String, Vec<u8>) {
    let mut body = LeaseBody {
        lease: "ab".repeat(16).parse().unwrap(),
        purpose: Purpose::Backup,
        writer: keys.writer,
        started_at: bench.now(),
        expires_at: bench.now() + LEASE_TTL,
        parent: None,
        pinned: Vec::new(),
    };
    change(&mut body);
    let bytes = record::encode_json(record::LEASE, &keys.repository, &keys.signer(), &body).unwrap();
    (format!("leases/{}-{:08x}", body.lease, 0), bytes)
}

#[test]
fn leases_that_would_stop_the_operator_are_refused() {
    let bench = Bench::new();
    let (web, mail) = (machine(&bench, "web", None), machine(&bench, "mail", None));
    let store = web.bench.store();
    let put = |change: &dyn Fn(&mut LeaseBody)| {
        let (key, bytes) = lease(&bench, &web.keys, change);
        store.put(&key, &bytes)
    };
    assert!(put(&|body| body.purpose = Purpose::Prune).is_err());
    assert!(put(&|body| body.expires_at = bench.now() + DAY).is_err(), "for ever");
    assert!(put(&|body| body.writer = mail.keys.writer).is_err(), "in another's name");
    put(&|_| {}).unwrap();
    put(&|_| {}).unwrap();
    assert!(put(&|body| body.started_at = bench.now() + DAY).is_err(), "in place of another");
    let (first, _) = lease(&bench, &web.keys, |_| {});
    let theirs = mail.bench.store();
    assert!(theirs.delete(&first).is_err());
    store.delete(&first).unwrap();
    let (_, bytes) = lease(&bench, &web.keys, |_| {});
    let revived = first.replace("-00000000", "-00000001");
    assert!(matches!(store.put(&revived, &bytes), Err(Error::LeaseLost)), "after it was revoked");
}

#[test]
fn a_manifest_whose_lease_was_revoked_is_not_committed() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    let failed = web.bench.backup_with("web", &disk(1, 30), None, &mut |_| {
        for key in bench.store().keys("leases/").unwrap() {
            bench.store().delete(&key).unwrap();
        }
    });
    assert!(matches!(failed, Err(Error::LeaseLost)));
    assert!(bench.repo().points().unwrap().is_empty());
}

#[test]
fn a_clock_that_is_off_is_named_and_makes_no_point() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    web.bench.pass_time(SignedDuration::from_hours(3));
    let error = web.bench.backup("web", &disk(1, 30), None).err().unwrap();
    assert!(error.to_string().contains("clock"), "{error}");
    assert!(bench.repo().points().unwrap().is_empty());
}

/// The server was killed between storing a manifest and looking at its lease; the machine asked again and was told that all is well, though
/// prune had revoked the lease meanwhile.
#[test]
fn a_manifest_that_is_sent_again_needs_its_lease_again() {
    let bench = Bench::new();
    let web = machine(&bench, "web", None);
    let at = web.bench.backup("web", &disk(1, 30), None).unwrap();
    let bytes = bench.store().get(&at.key()).unwrap();
    let store = behind_gate(&bench, &web.keys).store();
    assert!(store.put(&at.key(), &bytes).is_err(), "no session is there");
    let (key, held) = lease(&bench, &web.keys, |_| {});
    store.put(&key, &held).unwrap();
    store.put(&at.key(), &bytes).unwrap();
    bench.store().delete(&key).unwrap();
    assert!(matches!(store.put(&at.key(), &bytes), Err(Error::LeaseLost)), "it was revoked");
    assert_eq!(bench.repo().points().unwrap(), [at], "a point is not deleted by asking for it");
}
