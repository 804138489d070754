//! The store in object storage against a real engine, s3s-fs, through a proxy that breaks things: each failure says what it is, and nothing
//! is taken for missing that is not.

use crate::support::s3::proxy::{Fate, Proxy, Seen};
use crate::support::s3::{Engine, settings_at};
use crate::support::{Bench, DAY, disk};
use jiff::Timestamp;
use repo_format::Error;
use repo_format::check::Depth;
use repo_format::entropy::SeededEntropy;
use repo_format::probe::{self, ObjectLock};
use repo_format::store::Store;
use repo_format::store::s3::{KeySource, Kind, S3Store, Settings, problem_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An engine behind a proxy, and settings of a store there.
struct Broken {
    engine: Engine,
    proxy: Proxy,
}

impl Broken {
    fn new() -> Self {
        let engine = Engine::s3s_fs();
        let proxy = Proxy::before(engine.endpoint());
        Self { engine, proxy }
    }

    fn settings(&self) -> Settings {
        settings_at(&self.proxy.endpoint, "home")
    }

    fn store(&self) -> S3Store {
        S3Store::open(self.settings()).unwrap()
    }

    /// A store that gives up at once.
    fn impatient(&self) -> S3Store {
        S3Store::open(Settings { patience: Duration::ZERO, ..self.settings() }).unwrap()
    }
}

/// What becomes of the first `times` requests that `concerns` names.
fn first(
    times: usize,
    concerns: fn(&Seen) -> bool,
    fate: impl Fn() -> Fate + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Fate {
    let left = AtomicUsize::new(times);
    move |seen| {
        let takes =
            concerns(seen) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if takes { fate() } else { Fate::Pass }
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 4096) % 251).unwrap()).collect()
}

#[test]
fn objects_come_back_as_they_were_put() {
    let engine = Engine::s3s_fs();
    let store = engine.store("home");
    let long = bytes(20 << 20);
    store.put("data/ab/abcd", &long).unwrap();
    store.put("data/cd/cdef", b"hello").unwrap();
    store.put("config", b"").unwrap();
    assert!(store.get("data/ab/abcd").unwrap() == long);
    let mut part = vec![0; 17 << 20];
    store.read_at("data/ab/abcd", 12345, &mut part).unwrap();
    assert!(part == long[12345..12345 + part.len()]);
    assert_eq!(store.size("data/cd/cdef").unwrap(), Some(5));
    assert_eq!((store.size("config").unwrap(), store.get("config").unwrap()), (Some(0), Vec::new()));
    assert_eq!(store.keys("data/").unwrap(), ["data/ab/abcd", "data/cd/cdef"]);
    assert_eq!(store.keys("").unwrap().len(), 3);
    store.put("data/cd/cdef", b"another").unwrap();
    assert_eq!(store.get("data/cd/cdef").unwrap(), b"another");
    store.delete("data/cd/cdef").unwrap();
    store.delete("data/cd/cdef").unwrap();
    assert!(!store.exists("data/cd/cdef").unwrap());
    store.sweep().unwrap();
    assert_eq!(store.describe(), format!("s3://backups/home at {}", engine.endpoint()));
}

#[test]
fn missing_and_short_objects_are_told_apart() {
    let engine = Engine::s3s_fs();
    let store = engine.store("home");
    store.put("a", b"xy").unwrap();
    let mut buf = [0; 3];
    assert!(matches!(store.read_at("a", 0, &mut buf), Err(Error::Damaged { .. })));
    assert!(matches!(store.read_at("a", 7, &mut buf), Err(Error::Damaged { .. })));
    assert!(matches!(store.read_at("b", 0, &mut buf), Err(Error::Missing { .. })));
    assert!(matches!(store.read_at("b", 0, &mut []), Err(Error::Missing { .. })));
    assert!(matches!(store.get("b"), Err(Error::Missing { .. })));
    assert_eq!(store.size("b").unwrap(), None);
    assert!(store.keys("nothing/").unwrap().is_empty());
}

#[test]
fn keys_and_neighbours_stay_apart() {
    let engine = Engine::s3s_fs();
    let (home, homes) = (engine.store("home"), engine.store("home/s"));
    home.put("a", b"1").unwrap();
    homes.put("a", b"22").unwrap();
    assert_eq!(homes.keys("").unwrap(), ["a"]);
    assert_eq!(home.get("a").unwrap(), b"1");
    for key in ["", "/a", "a/", "../a", "a/../b", "a//b", "A", "a.b", "a\0b"] {
        assert!(home.put(key, b"x").is_err() && home.get(key).is_err(), "{key:?}");
    }
}

#[test]
fn many_small_objects_come_in_the_order_of_their_keys() {
    let engine = Engine::s3s_fs();
    let store = engine.store("home");
    let keys: Vec<String> = (0..40).map(|n| format!("leases/{n:02}")).collect();
    keys.iter().for_each(|key| store.put(key, key.as_bytes()).unwrap());
    let mut asked = keys.clone();
    asked.insert(20, "leases/none".into());
    let mut seen = Vec::new();
    store
        .get_each(&asked, &mut |key, read| {
            match read {
                Ok(bytes) => assert_eq!(bytes, key.as_bytes()),
                Err(error) => assert!(matches!(error, Error::Missing { .. }) && key == "leases/none", "{error}"),
            }
            seen.push(key.to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, asked);
    let stopped = store.get_each(&asked, &mut |_, _| Err(Error::Interrupted));
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn requests_and_bytes_are_counted() {
    let engine = Engine::s3s_fs();
    let store = engine.store("home");
    store.put("a", &bytes(1000)).unwrap();
    store.get("a").unwrap();
    store.exists("b").unwrap();
    store.keys("").unwrap();
    store.delete("a").unwrap();
    let counted = store.requests().unwrap();
    assert_eq!((counted.puts, counted.gets, counted.lists, counted.deletes, counted.others), (1, 2, 1, 1, 0));
    assert_eq!((counted.bytes_sent, counted.retries, counted.total()), (1000, 0, 5));
    assert!(counted.bytes_received >= 1000, "{counted:?}");
}

#[test]
fn a_long_object_goes_in_parts_and_leaves_none_when_it_fails() {
    let broken = Broken::new();
    let settings = || Settings { single_put_bytes: 5 << 20, ..broken.settings() };
    let long = bytes((12 << 20) + 17);
    let store = S3Store::open(settings()).unwrap();
    store.put("data/ab/abcd", &long).unwrap();
    assert!(store.get("data/ab/abcd").unwrap() == long);
    assert_eq!(store.requests().unwrap().puts, 3);
    broken.proxy.decide(|seen| match seen.target.contains("partNumber=2") {
        true => Fate::Answer(403, "AccessDenied", ""),
        false => Fate::Pass,
    });
    let store = S3Store::open(settings()).unwrap();
    assert!(matches!(store.put("data/cd/cdef", &long), Err(Error::AccessRefused { .. })));
    assert_eq!(store.requests().unwrap().deletes, 1, "the upload is given up");
    assert!(!store.exists("data/cd/cdef").unwrap());
}

/// The engine finished the upload and the line broke before its answer; asked again, it knows no such upload any more.
#[test]
fn an_upload_in_parts_whose_last_answer_was_lost_is_done() {
    let broken = Broken::new();
    let store = S3Store::open(Settings { single_put_bytes: 5 << 20, ..broken.settings() }).unwrap();
    broken.proxy.decide(first(
        1,
        |seen| seen.method == "POST" && seen.target.contains("uploadId"),
        || Fate::LoseAnswer,
    ));
    let long = bytes(6 << 20);
    store.put("data/ab/abcd", &long).unwrap();
    assert!(store.get("data/ab/abcd").unwrap() == long);
}

#[test]
fn an_endpoint_that_asks_for_fewer_requests_is_asked_again_later() {
    let broken = Broken::new();
    let store = broken.store();
    broken.proxy.decide(first(3, |_| true, || Fate::Answer(503, "SlowDown", "Retry-After: 0\r\n")));
    store.put("a", b"x").unwrap();
    assert_eq!(store.requests().unwrap().retries, 3);
    assert_eq!(broken.engine.store("home").get("a").unwrap(), b"x");
}

#[test]
fn a_failure_that_lasts_ends_with_its_reason_and_what_to_do() {
    let broken = Broken::new();
    broken.store().put("a", b"x").unwrap();
    for (status, code, kind) in [(503, "SlowDown", Kind::Throttled(None)), (500, "InternalError", Kind::ServerFailed)] {
        broken.proxy.decide(move |_| Fate::Answer(status, code, ""));
        let store = broken.impatient();
        for error in [
            store.put("a", b"y").unwrap_err(),
            store.get("a").unwrap_err(),
            store.exists("a").unwrap_err(),
            store.keys("").unwrap_err(),
            store.delete("a").unwrap_err(),
        ] {
            assert_eq!(problem_of(&error).map(|problem| &problem.kind), Some(&kind), "{error}");
            assert!(error.to_string().contains(code) && error.to_string().contains("not sent again"), "{error}");
        }
    }
    broken.proxy.decide(|_| Fate::Pass);
    assert_eq!(broken.store().get("a").unwrap(), b"x", "nothing was changed");
}

#[test]
fn what_came_before_the_line_broke_is_not_asked_for_again() {
    let broken = Broken::new();
    let (store, long) = (broken.store(), bytes(300_000));
    store.put("a", &long).unwrap();
    broken.proxy.decide(|seen| match seen.method.as_str() {
        "GET" => Fate::CutAnswer(100_000),
        _ => Fate::Pass,
    });
    assert!(store.get("a").unwrap() == long);
    assert_eq!(broken.proxy.seen(), 3);
    let mut part = vec![0; 250_000];
    store.read_at("a", 9, &mut part).unwrap();
    assert!(part == long[9..9 + part.len()]);
    assert_eq!(broken.proxy.seen(), 6);
}

#[test]
fn a_put_that_broke_off_is_put_again() {
    let broken = Broken::new();
    let (store, long) = (broken.store(), bytes(1 << 20));
    for fate in [|| Fate::CutRequest, || Fate::LoseAnswer] {
        broken.proxy.decide(first(2, |seen| seen.method == "PUT", fate));
        store.put("a", &long).unwrap();
        assert!(store.get("a").unwrap() == long);
        store.delete("a").unwrap();
    }
    assert_eq!(store.requests().unwrap().retries, 4);
}

/// A proxy in front of the engine did not know its path and answered 404 to everything. An object that passes for deleted is the beginning of
/// a lost backup.
#[test]
fn an_object_is_absent_only_when_the_engine_itself_says_so() {
    let broken = Broken::new();
    broken.store().put("a", b"x").unwrap();
    broken.proxy.decide(|_| Fate::Page(404));
    let store = broken.impatient();
    for error in [store.get("a").unwrap_err(), store.exists("a").unwrap_err(), store.delete("a").unwrap_err()] {
        assert_eq!(problem_of(&error).map(|problem| &problem.kind), Some(&Kind::NotS3), "{error}");
        assert!(!error.is_damage() && error.to_string().contains("AWS_ENDPOINT_URL"), "{error}");
    }
}

/// The line broke in the middle of "NoSuchKey". The number of the answer alone passed for something that is no S3, and a prune ended.
#[test]
fn an_answer_whose_words_broke_off_is_asked_for_again() {
    let broken = Broken::new();
    broken.proxy.decide(first(2, |seen| seen.method == "GET", || Fate::CutAnswer(10)));
    let store = broken.store();
    assert!(!store.exists("a").unwrap());
    assert_eq!(store.requests().unwrap().retries, 2);
}

#[test]
fn a_wrong_key_a_missing_bucket_and_other_refusals_say_what_to_do() {
    let broken = Broken::new();
    let key =
        |key_id: &str, secret: &str| KeySource::Given { key_id: key_id.into(), secret: secret.into(), token: None };
    for keys in [key("GKother", "x"), key(crate::support::s3::KEY_ID, "wrong")] {
        let store = S3Store::open(Settings { keys, ..broken.settings() }).unwrap();
        let Err(Error::AccessRefused { what, next }) = store.get("config") else {
            panic!("a wrong key read something")
        };
        assert!(what.contains("access key") && next.contains("AWS_ACCESS_KEY_ID"), "{what}: {next}");
    }
    broken.proxy.decide(|_| Fate::Answer(404, "NoSuchBucket", ""));
    let error = broken.store().get("config").unwrap_err();
    assert!(matches!(&error, Error::NoSuch(what) if what.contains("Create the bucket")), "{error}");
    for (status, code, headers, says) in [
        (400, "ExpiredToken", "", "new credentials"),
        (403, "RequestTimeTooSkewed", "", "timedatectl"),
        (403, "AccessDenied", "", "s3:ListBucket"),
        (301, "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n", "AWS_REGION"),
    ] {
        broken.proxy.decide(move |_| Fate::Answer(status, code, headers));
        let error = broken.store().get("config").unwrap_err();
        let text = match &error {
            Error::AccessRefused { what, next } => format!("{what}. {next}"),
            other => other.to_string(),
        };
        assert!(text.contains(code) && text.contains(says), "{text}");
        assert_eq!(broken.proxy.seen(), 1, "{code} is not tried again");
    }
}

#[test]
fn an_endpoint_that_knows_no_checksums_is_used_without_them() {
    let broken = Broken::new();
    broken.proxy.decide(|seen| match seen.header("x-amz-checksum-sha256") {
        Some(_) => Fate::Answer(501, "NotImplemented", ""),
        None => Fate::Pass,
    });
    let store = broken.store();
    store.put("a", b"x").unwrap();
    store.put("b", b"y").unwrap();
    assert_eq!(broken.proxy.seen(), 3, "it is asked once");
    assert_eq!(store.get("b").unwrap(), b"y");
}

#[test]
fn a_stop_ends_what_waits() {
    let broken = Broken::new();
    let settings = broken.settings();
    let (store, cancel) = (S3Store::open(settings.clone()).unwrap(), settings.cancel);
    store.put("a", b"x").unwrap();
    broken.proxy.decide(move |_| {
        cancel.store(true, Ordering::SeqCst);
        Fate::Answer(503, "SlowDown", "Retry-After: 60\r\n")
    });
    assert!(matches!(store.get("a"), Err(Error::Interrupted)));
}

#[test]
fn nobody_there_is_told_with_the_endpoint() {
    let engine = Engine::s3s_fs();
    let settings = Settings { patience: Duration::ZERO, ..engine.settings("home") };
    drop(engine);
    let error = S3Store::open(settings).unwrap().get("config").unwrap_err();
    assert_eq!(problem_of(&error).map(|problem| &problem.kind), Some(&Kind::Unreachable), "{error}");
}

#[test]
fn what_the_engine_does_is_tried_and_nothing_of_it_stays() {
    let engine = Engine::s3s_fs();
    let store = engine.store("home");
    let findings = store.probe(&SeededEntropy::new(1), Timestamp::now()).unwrap().unwrap();
    assert!(findings.read_after_write && findings.overwrite_visible, "{findings:?}");
    assert!(findings.list_after_write && findings.delete_then_list, "{findings:?}");
    // s3s-fs drops the words of a lock: said to be locked is not proved to be.
    assert_eq!(findings.object_lock, ObjectLock::NotHonoured);
    assert!((1..=findings.racing_creates).contains(&findings.racing_creates_won), "{findings:?}");
    assert!(store.keys("").unwrap().is_empty());
}

#[test]
fn listings_that_are_late_are_found_out_and_prune_refuses() {
    let broken = Broken::new();
    let is_late =
        |seen: &Seen| ["tmp%2F", "manifests%2F", "condemned%2F"].iter().any(|part| seen.target.contains(part));
    broken.proxy.decide(move |seen| if is_late(seen) { Fate::OneLate } else { Fate::Pass });
    let bench = Bench::in_store(Arc::new(broken.store()), 1);
    let probe = probe::newest(bench.repo().records()).unwrap().unwrap();
    assert!(!probe.findings.list_after_write && probe.findings.read_after_write, "{probe:?}");
    let content = disk(1, 20);
    let at = bench.backup("vm", &content, None).unwrap();
    let again = bench.backup("vm", &content, None).unwrap();
    let refused = bench.prune(false).unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("nothing was deleted")), "{refused}");
    broken.proxy.decide(|_| Fate::Pass);
    let bench = bench.with_new_index();
    assert!(bench.restore(at).unwrap() == content && bench.restore(again).unwrap() == content);
    assert!(bench.check(Depth::ReadAll, false).is_sound());
}

/// Every fifth request fails in one way or another, all through two backups, a prune and a check.
#[test]
fn on_a_bad_day_backups_prune_and_check_go_through_and_nothing_is_lost() {
    let broken = Broken::new();
    let number = AtomicUsize::new(0);
    broken.proxy.decide(move |_| match number.fetch_add(1, Ordering::SeqCst) % 25 {
        4 => Fate::Answer(503, "SlowDown", ""),
        9 => Fate::LoseAnswer,
        14 => Fate::CutAnswer(10),
        19 => Fate::CutRequest,
        24 => Fate::Answer(500, "InternalError", ""),
        _ => Fate::Pass,
    });
    let store = Arc::new(broken.store());
    let bench = Bench::in_store(store.clone(), 1);
    let (first, second) = (disk(1, 40), disk(2, 40));
    let old = bench.backup("vm", &first, None).unwrap();
    let new = bench.backup("vm", &second, None).unwrap();
    bench.forget(&old).unwrap();
    for _ in 0..2 {
        bench.pass_time(DAY * 2);
        bench.prune(false).unwrap();
    }
    let bench = bench.with_new_index();
    assert!(bench.restore(new).unwrap() == second);
    assert!(bench.check(Depth::ReadAll, false).is_sound());
    assert!(store.requests().unwrap().retries > 5, "{:?}", store.requests());
}
