//! What is said to LVM, and what becomes of its answers: a pretended LVM that keeps a list of volumes.

use super::held::{BASE_TAG, Held, Way, has_base, prefix};
use super::report::{Volume, Volumes};
use super::{Changes, LvmProvider, Tools, consumer, way};
use anyhow::{Result, bail};
use repo_format::manifest::TrackerPlace;
use serde_json::{Value, json};
use std::io::BufRead;
use std::sync::{Arc, Mutex};

const GIB: u64 = 1 << 30;
const NOTHING: &str = r#"<superblock uuid="" data_block_size="128">
<diff left="1" right="2">
<different begin="3" length="2"/>
</diff>
</superblock>
"#;

/// A group with a pool, a thin and a classic volume; commands change it as LVM would.
struct Pretended {
    volumes: Mutex<Vec<Value>>,
    said: Mutex<Vec<String>>,
    delta: Mutex<String>,
    /// Commands that contain this fail.
    fails: Mutex<Option<&'static str>>,
}

fn row(name: &str, more: Value) -> Value {
    let mut row = json!({
        "vg_name": "vg", "lv_name": name, "lv_uuid": format!("uuid-of-{name}"), "lv_kernel_major": "253",
        "lv_kernel_minor": "-1", "segtype": "linear", "pool_lv": "", "pool_lv_uuid": "", "thin_id": "", "origin": "",
        "origin_uuid": "", "lv_tags": "", "lv_size": GIB.to_string(), "data_percent": "", "metadata_percent": "",
        "lv_snapshot_invalid": "", "vg_free": (GIB / 2).to_string(),
    });
    for (key, value) in more.as_object().unwrap() {
        row[key] = value.clone();
    }
    row
}

fn thin(name: &str, id: u64, minor: u64) -> Value {
    let more = json!({
        "segtype": "thin", "pool_lv": "pool", "pool_lv_uuid": "uuid-of-pool", "thin_id": id.to_string(),
        "lv_kernel_minor": minor.to_string(),
    });
    row(name, more)
}

impl Pretended {
    fn new(pool_percent: &str) -> Arc<Self> {
        let pool =
            row("pool", json!({"segtype": "thin-pool", "data_percent": pool_percent, "metadata_percent": "1.50"}));
        let volumes = vec![pool, thin("data", 1, 5), row("old-style", json!({"lv_kernel_minor": "6"}))];
        Arc::new(Self {
            volumes: Mutex::new(volumes),
            said: Mutex::default(),
            delta: Mutex::new(NOTHING.to_owned()),
            fails: Mutex::new(None),
        })
    }

    fn create(&self, args: &[&str]) -> Value {
        let name = args[args.iter().position(|arg| *arg == "--name").unwrap() + 1];
        let mut volumes = self.volumes.lock().unwrap();
        let id = 100 + volumes.len() as u64;
        let made = match args.contains(&"--size") {
            true => {
                row(name, json!({"lv_kernel_minor": id.to_string(), "origin": "old-style", "data_percent": "0.00"}))
            }
            false => thin(name, id, id),
        };
        volumes.push(made.clone());
        made
    }

    fn set(&self, name: &str, key: &str, value: &str) {
        let mut volumes = self.volumes.lock().unwrap();
        volumes.iter_mut().find(|volume| volume["lv_name"] == name).unwrap()[key] = value.into();
    }

    fn names(&self) -> Vec<String> {
        let volumes = self.volumes.lock().unwrap();
        let snapshots = volumes.iter().map(|volume| volume["lv_name"].as_str().unwrap().to_owned());
        snapshots.filter(|name| name.starts_with("icecore-")).collect()
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Tools for Pretended {
    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let line = format!("{program} {}", args.join(" "));
        if self.fails.lock().unwrap().is_some_and(|part| line.contains(part)) {
            bail!("{line}: no");
        }
        if !line.starts_with("lvm lvs") {
            self.said.lock().unwrap().push(line);
        }
        let name = args.last().unwrap().trim_start_matches("vg/").to_owned();
        match args[0] {
            "lvs" => return Ok(json!({"report": [{"seg": *self.volumes.lock().unwrap()}]}).to_string()),
            "lvcreate" => drop(self.create(args)),
            "lvremove" => self.volumes.lock().unwrap().retain(|volume| volume["lv_name"] != name.as_str()),
            "lvchange" if args.contains(&"--addtag") => self.set(&name, "lv_tags", BASE_TAG),
            _ => {}
        }
        Ok(String::new())
    }

    fn stream(&self, program: &str, args: &[&str], take: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>) -> Result<()> {
        self.said.lock().unwrap().push(format!("{program} {}", args.join(" ")));
        take(&mut self.delta.lock().unwrap().as_bytes())
    }

    fn has(&self, _: &str) -> bool {
        true
    }
}

fn held(tools: &Arc<Pretended>) -> Held {
    Held::new(Arc::clone(tools) as Arc<dyn Tools>, "consumer".into(), 85)
}

fn volume(tools: &Arc<Pretended>, name: &str) -> (Volumes, Volume) {
    let volumes = Volumes::ask(&**tools).unwrap();
    let volume = volumes.by_name("vg", name).unwrap().clone();
    (volumes, volume)
}

/// A backup of the thin volume that is committed; what the manifest notes.
fn committed(tools: &Arc<Pretended>) -> TrackerPlace {
    let (volumes, data) = volume(tools, "data");
    let mut held = held(tools);
    held.take(&volumes, &data, Way::Thin).unwrap();
    held.check().unwrap();
    let place = held.place(0).unwrap();
    held.committed();
    held.release().unwrap();
    place
}

#[test]
fn a_committed_thin_snapshot_stays_as_the_inactive_base_and_the_older_one_goes() {
    let tools = Pretended::new("12.34");
    let (volumes, data) = volume(&tools, "data");
    assert!(!has_base(&volumes, &data, "consumer"));
    let first = committed(&tools);
    assert_eq!(tools.names().len(), 1);
    let (volumes, _) = volume(&tools, "data");
    assert!(has_base(&volumes, &data, "consumer") && !has_base(&volumes, &data, "another"));
    assert!(tools.said().iter().any(|line| line.starts_with("lvm lvchange --activate n vg/icecore-consumer-")));
    assert!(tools.said().iter().any(|line| line.contains("--setactivationskip y --addtag icecore-base")));
    let second = committed(&tools);
    assert_eq!(tools.names().len(), 1, "one base a consumer and volume");
    assert_ne!(first.interval, second.interval);
    assert_eq!(
        (second.generation.as_str(), second.interval),
        ("lvm-thin:uuid-of-pool", format!("uuid-of-{}", tools.names()[0]))
    );
}

#[test]
fn the_difference_to_the_base_is_the_list_of_changes() {
    let tools = Pretended::new("12.34");
    let place = committed(&tools);
    let (volumes, data) = volume(&tools, "data");
    let mut held = held(&tools);
    held.take(&volumes, &data, Way::Thin).unwrap();
    let Changes::List(list) = held.changed_since(0, &place).unwrap() else { panic!("no list") };
    assert_eq!(
        list.iter().map(|extent| (extent.offset_bytes(), extent.length_bytes())).collect::<Vec<_>>(),
        [(3 << 16, 2 << 16)]
    );
    let said = tools.said();
    let delta = said.iter().position(|line| line.starts_with("thin_delta")).unwrap();
    let new = held.place(0).unwrap().number;
    assert_eq!(
        said[delta],
        format!("thin_delta --metadata-snap --snap1 {} --snap2 {new} /dev/mapper/vg-pool_tmeta", place.number)
    );
    assert_eq!(said[delta - 1], "dmsetup message vg-pool-tpool 0 reserve_metadata_snap");
    assert_eq!(said[delta + 1], "dmsetup message vg-pool-tpool 0 release_metadata_snap");
}

#[test]
fn without_the_very_base_nothing_is_known() {
    let tools = Pretended::new("12.34");
    let place = committed(&tools);
    let (volumes, data) = volume(&tools, "data");
    let mut held = held(&tools);
    held.take(&volumes, &data, Way::Thin).unwrap();
    let other = [
        TrackerPlace { generation: "lvm-thin:other".into(), ..place.clone() },
        TrackerPlace { generation: "a1b2c3".into(), ..place.clone() },
        TrackerPlace { number: place.number + 1, ..place.clone() },
        TrackerPlace { interval: "uuid-of-nobody".into(), ..place.clone() },
        TrackerPlace { interval: String::new(), ..place.clone() },
    ];
    for place in other {
        assert!(matches!(held.changed_since(0, &place).unwrap(), Changes::Unknown(_)), "{place:?}");
    }
    *tools.delta.lock().unwrap() = NOTHING.replace("</superblock>\n", "");
    assert!(held.changed_since(0, &place).is_err(), "a cut list is no list");
    *tools.fails.lock().unwrap() = Some("reserve_metadata_snap");
    assert!(held.changed_since(0, &place).is_err());
}

#[test]
fn what_is_not_committed_leaves_the_base_and_nothing_else() {
    let tools = Pretended::new("12.34");
    committed(&tools);
    let base = tools.names();
    let (volumes, data) = volume(&tools, "data");
    let mut dropped = held(&tools);
    dropped.take(&volumes, &data, Way::Thin).unwrap();
    assert_eq!(tools.names().len(), 2);
    drop(dropped);
    assert_eq!(tools.names(), base);
    let mut released = held(&tools);
    released.take(&volumes, &data, Way::Thin).unwrap();
    released.release().unwrap();
    assert_eq!(tools.names(), base);
}

#[test]
fn what_a_killed_backup_left_is_removed_by_the_next_of_the_same_consumer_only() {
    let tools = Pretended::new("12.34");
    let (_, data) = volume(&tools, "data");
    let (left, foreign) = (format!("{}dead", prefix("consumer", &data)), format!("{}dead", prefix("another", &data)));
    tools.volumes.lock().unwrap().extend([thin(&left, 50, 50), thin(&foreign, 51, 51)]);
    committed(&tools);
    assert!(!tools.names().contains(&left) && tools.names().contains(&foreign), "{:?}", tools.names());
}

#[test]
fn a_tight_pool_keeps_no_base() {
    let tools = Pretended::new("12.34");
    let place = committed(&tools);
    tools.set("pool", "data_percent", "85.00");
    let (volumes, data) = volume(&tools, "data");
    let mut held = held(&tools);
    held.take(&volumes, &data, Way::Thin).unwrap();
    assert_eq!(tools.names().len(), 1, "the old base made room first");
    assert!(matches!(held.changed_since(0, &place).unwrap(), Changes::Unknown(_)));
    held.committed();
    held.release().unwrap();
    assert!(tools.names().is_empty());
}

#[test]
fn a_distrusted_snapshot_is_no_base() {
    let tools = Pretended::new("12.34");
    let (volumes, data) = volume(&tools, "data");
    let mut held = held(&tools);
    held.take(&volumes, &data, Way::Thin).unwrap();
    held.distrust(0);
    held.committed();
    held.release().unwrap();
    assert!(tools.names().is_empty());
}

#[test]
fn a_classic_snapshot_has_room_of_its_own_and_goes_in_the_end() {
    let tools = Pretended::new("12.34");
    let (volumes, old) = volume(&tools, "old-style");
    let Ok(way) = way(&volumes, &old) else { panic!("it is refused") };
    assert_eq!(way, Way::Classic { size_bytes: GIB / 10 });
    let mut held = held(&tools);
    let node = held.take(&volumes, &old, way).unwrap();
    assert!(node.to_str().unwrap().starts_with("/dev/dm-"));
    assert_eq!(held.place(0), None);
    held.check().unwrap();
    tools.set(&tools.names()[0], "data_percent", "100.00");
    let error = held.check().unwrap_err().to_string();
    assert!(error.contains("overflowed"), "{error}");
    tools.set(&tools.names()[0], "data_percent", "50.00");
    tools.set(&tools.names()[0], "lv_snapshot_invalid", "unknown");
    held.check().unwrap();
    tools.set(&tools.names()[0], "lv_snapshot_invalid", "snapshot invalid");
    assert!(held.check().is_err());
    held.committed();
    held.release().unwrap();
    assert!(tools.names().is_empty());
}

#[test]
fn pools_in_danger_and_groups_without_room_are_refused_in_words() {
    let refusal = |tools: &Arc<Pretended>, name: &str| {
        let (volumes, volume) = volume(tools, name);
        way(&volumes, &volume).err().map(|obstacle| obstacle.why).unwrap_or_default()
    };
    let tools = Pretended::new("94.01");
    assert!(refusal(&tools, "data").contains("95 % full"), "{}", refusal(&tools, "data"));
    tools.set("pool", "data_percent", "");
    tools.set("pool", "metadata_percent", "");
    assert!(refusal(&tools, "data").contains("does not say"));
    tools.set("old-style", "vg_free", "4194304");
    assert!(refusal(&tools, "old-style").contains("4.0 MiB free"));
    assert!(refusal(&tools, "pool").contains("thin-pool"));
}

#[test]
fn a_failure_to_take_removes_what_was_made() {
    let tools = Pretended::new("12.34");
    let (volumes, data) = volume(&tools, "data");
    *tools.fails.lock().unwrap() = Some("lvcreate");
    let mut refused = held(&tools);
    assert!(refused.take(&volumes, &data, Way::Thin).is_err());
    drop(refused);
    assert!(tools.names().is_empty());
}

#[test]
fn consumers_differ_by_repository_and_name() {
    let all = [consumer("r1", "a"), consumer("r2", "a"), consumer("r1", "b")];
    assert!(all[0] != all[1] && all[0] != all[2] && all.iter().all(|name| name.len() == 8));
}

#[test]
fn what_lvm_reports_is_read_whatever_its_list_is_called() {
    let volume =
        r#"{"vg_name":"vg","lv_name":"a","lv_uuid":"u","lv_size":"4194304","data_percent":"99.01","unknown":1}"#;
    for key in ["lv", "seg"] {
        let volumes = Volumes::parse(&format!(r#"{{"report":[{{"{key}":[{volume},{volume}]}}]}}"#)).unwrap();
        let found: Vec<_> = volumes.named("vg", "").collect();
        assert_eq!(found.len(), 1, "a volume of two segments is there once");
        assert_eq!((found[0].size_bytes(), found[0].fill_percent()), (Some(4_194_304), Some(100)));
    }
    for noise in ["", "{}", "[]", r#"{"report":[{"lv":[{"vg_name":1}]}]}"#, r#"{"report":3}"#] {
        assert!(Volumes::parse(noise).is_err(), "{noise}");
    }
}

#[test]
fn a_provider_without_lvm_says_so() {
    struct Nothing;
    impl Tools for Nothing {
        fn run(&self, _: &str, _: &[&str]) -> Result<String> {
            bail!("there is nothing")
        }
        fn stream(&self, _: &str, _: &[&str], _: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>) -> Result<()> {
            bail!("there is nothing")
        }
        fn has(&self, _: &str) -> bool {
            false
        }
    }
    let provider = LvmProvider { tools: Arc::new(Nothing), consumer: "c".into(), pool_limit_percent: 85 };
    let Err(obstacle) = super::Provider::promise(&provider, &[]).unwrap() else { panic!("it promises") };
    assert!(obstacle.why.contains("not installed"));
}
