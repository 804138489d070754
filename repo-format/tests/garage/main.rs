//! Object storage as a large engine has it: Garage, on loopback. `cargo xtask test --only s3` installs it and runs this.

mod engine;
#[path = "../stories/mod.rs"]
mod stories;
#[expect(dead_code, reason = "most of what the other tests need is not needed here")]
#[path = "../support/mod.rs"]
mod support;

use engine::Garage;
use jiff::Timestamp;
use repo_format::Error;
use repo_format::check::Depth;
use repo_format::entropy::SeededEntropy;
use repo_format::probe::ObjectLock;
use repo_format::store::Store;
use repo_format::store::s3::{KeySource, Kind, S3Store, Settings, problem_of};
use support::s3::proxy::{Fate, Proxy};
use support::s3::{KEY_ID, settings_at};
use support::{Bench, DAY, disk};

mod one_node {
    use crate::engine::Garage;

    crate::stories::stories!({
        let garage = Garage::single();
        (garage.store("below/here"), garage)
    });
}

#[test]
fn what_it_does_is_tried_and_nothing_of_it_stays() {
    let garage = Garage::single();
    let store = garage.store("home");
    let findings = store.probe(&SeededEntropy::new(1), Timestamp::now()).unwrap().unwrap();
    assert!(findings.read_after_write && findings.overwrite_visible, "{findings:?}");
    assert!(findings.list_after_write && findings.delete_then_list, "{findings:?}");
    assert_ne!(findings.object_lock, ObjectLock::Proven, "it has no locks");
    assert!(findings.racing_creates_won > 0, "{findings:?}");
    assert!(store.keys("").unwrap().is_empty());
}

#[test]
fn its_own_refusals_say_what_to_do() {
    let garage = Garage::single();
    let key =
        |key_id: &str, secret: &str| KeySource::Given { key_id: key_id.into(), secret: secret.into(), token: None };
    let with = |change: &dyn Fn(Settings) -> Settings| S3Store::open(change(garage.settings("home"))).unwrap();
    for keys in [key("GKffffffffffffffffffffffff", "x"), key(KEY_ID, "wrong")] {
        let store = with(&|settings| Settings { keys: keys.clone(), ..settings });
        let error = store.get("config").unwrap_err();
        assert!(matches!(&error, Error::AccessRefused { next, .. } if next.contains("AWS_ACCESS_KEY_ID")), "{error:?}");
    }
    let store = with(&|settings| Settings { region: "mars".into(), ..settings });
    let error = store.get("config").unwrap_err();
    let kind = problem_of(&error).map(|problem| problem.kind.clone());
    assert!(matches!(kind, Some(Kind::WrongRegion(_))), "{error}");
    assert!(error.to_string().contains("AWS_REGION"), "{error}");
    let store = with(&|settings| Settings { address: "s3://nobodys/home".parse().unwrap(), ..settings });
    for error in [store.get("config").unwrap_err(), store.put("config", b"x").unwrap_err(), store.keys("").unwrap_err()]
    {
        assert!(matches!(&error, Error::NoSuch(what) if what.contains("Create the bucket")), "{error:?}");
    }
}

#[test]
fn uploads_in_parts_arrive_and_those_that_broke_off_are_swept() {
    let garage = Garage::single();
    let proxy = Proxy::before(&garage.nodes[0].endpoint());
    let settings = || Settings { single_put_bytes: 5 << 20, ..settings_at(&proxy.endpoint, "home") };
    let long: Vec<u8> = (0..12 << 20).map(|at: u32| u8::try_from(at * 31 % 251).unwrap()).collect();
    let store = S3Store::open(settings()).unwrap();
    store.put("data/ab/abcd", &long).unwrap();
    assert!(store.get("data/ab/abcd").unwrap() == long);
    // The second part is refused, and so is giving the upload up: its parts stay.
    proxy.decide(|seen| match seen.target.contains("partNumber=2") || seen.method == "DELETE" {
        true => Fate::Answer(403, "AccessDenied", ""),
        false => Fate::Pass,
    });
    assert!(store.put("data/cd/cdef", &long).is_err());
    proxy.decide(|_| Fate::Pass);
    let deletes = || store.requests().unwrap().deletes;
    let neighbour = S3Store::open(Settings { address: "s3://backups".parse().unwrap(), ..settings() }).unwrap();
    neighbour.sweep().unwrap();
    assert_eq!(neighbour.requests().unwrap().deletes, 0, "another's upload is left alone");
    let before = deletes();
    store.sweep().unwrap();
    assert_eq!(deletes() - before, 1, "one upload was left");
    store.sweep().unwrap();
    assert_eq!(deletes() - before, 1, "none is left");
    assert!(!store.exists("data/cd/cdef").unwrap());
}

/// One of three nodes is killed in the middle of a backup, and is gone for the next one, a prune and a check.
#[test]
fn a_node_that_dies_in_the_middle_of_a_backup_costs_nothing() {
    let mut garage = Garage::cluster();
    let bench = Bench::in_store(garage.store("home"), 1);
    let (first, second, third) = (disk(1, 60), disk(2, 60), disk(3, 60));
    let old = bench.backup("vm", &first, None).unwrap();
    let mut victim = garage.nodes.pop().unwrap();
    let during = bench.backup_with("vm", &second, None, &mut |_| victim.kill()).unwrap();
    let after = bench.backup("vm", &third, None).unwrap();
    bench.forget(&old).unwrap();
    for _ in 0..2 {
        bench.pass_time(DAY * 2);
        bench.prune(false).unwrap();
    }
    let bench = bench.with_new_index();
    assert!(bench.restore(during).unwrap() == second && bench.restore(after).unwrap() == third);
    assert!(bench.check(Depth::ReadAll, false).is_sound());
}
