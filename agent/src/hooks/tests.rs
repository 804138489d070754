//! What hooks are told, in which order, and what follows from their failures. With real shells, in directories of their own.

use super::{Held, HookDirectory, HookFailed, HookPolicy, HookSettings, HookSubject, Hooks, Instant, Stage};
use crate::progress::Silent;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// A directory for scripts and the log that they write.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("hooks.d")).unwrap();
        Self { dir }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.dir.path().join("hooks.d").join(name);
        fs::write(&path, format!("#!/bin/sh\necho {name} $1 >> {}\n{text}\n", self.log().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn settings(&self, policy: HookPolicy) -> HookSettings {
        let say = |what: &str| Some(format!("echo {what} $ICECORE_STAGE >> {}", self.log().display()));
        HookSettings {
            before: say("command"),
            after: say("command"),
            directory: HookDirectory::Named(self.dir.path().join("hooks.d")),
            timeout: Duration::from_secs(20),
            policy,
        }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn hooks(settings: &HookSettings) -> Hooks<'_> {
    let subject =
        HookSubject { point_name: "web".into(), host: "h".into(), disks: vec!["/dev/a".into(), "/b c".into()] };
    Hooks::new(settings, subject, Instant::Snapshot, (&Silent, &GO_ON))
}

#[test]
fn what_stops_first_goes_on_last() {
    let scene = Scene::new();
    scene.script("20-b", "");
    scene.script("10-a", "");
    let settings = scene.settings(HookPolicy::Fail);
    let hooks = hooks(&settings);
    let held = hooks.before().unwrap();
    assert!(held.told_applications());
    assert_eq!(scene.lines(), ["10-a before", "20-b before", "command before"]);
    let report = held.after(true);
    assert_eq!(scene.lines()[3..], ["command after", "20-b after", "10-a after"]);
    assert_eq!(report.runs.len(), 6);
    assert!(report.runs.iter().all(|run| run.problem.is_none()));
}

#[test]
fn without_an_instant_they_are_told_failed_once() {
    let scene = Scene::new();
    scene.script("10-a", "");
    let settings = scene.settings(HookPolicy::Fail);
    let hooks = hooks(&settings);
    let report = hooks.before().unwrap().after(false);
    assert_eq!(scene.lines()[2..], ["command failed", "10-a failed"]);
    assert_eq!(report.runs[2].stage, Stage::Failed);
    // An early return has the same effect.
    drop(hooks.before().unwrap());
    assert_eq!(scene.lines()[6..], ["command failed", "10-a failed"]);
}

#[test]
fn a_failure_ends_the_backup_and_tells_those_that_ran_to_go_on() {
    let scene = Scene::new();
    scene.script("10-a", "");
    scene.script("20-b", "echo the reason; exit 9");
    scene.script("30-c", "");
    let settings = scene.settings(HookPolicy::Fail);
    let Err(error) = hooks(&settings).before() else { panic!("a failed hook was ignored") };
    assert!(error.is::<HookFailed>());
    let text = error.to_string();
    assert!(text.contains("20-b") && text.contains("status 9") && text.contains("the reason"), "{text}");
    assert_eq!(scene.lines()[2..], ["command failed", "20-b failed", "10-a failed"], "30-c was told nothing");
}

#[test]
fn a_failure_that_is_let_pass_costs_the_consistency_only() {
    let scene = Scene::new();
    scene.script("10-a", "exit 1");
    scene.script("20-b", "");
    let settings = scene.settings(HookPolicy::Warn);
    let hooks = hooks(&settings);
    let held: Held<'_> = hooks.before().unwrap();
    assert!(!held.told_applications());
    let report = held.after(true);
    assert_eq!(scene.lines().last().unwrap(), "10-a after", "half of its work may be done");
    assert_eq!(report.failed_to_go_on().count(), 1, "10-a fails again");
}

#[test]
fn a_hook_that_hangs_is_ended_at_the_limit() {
    let scene = Scene::new();
    scene.script("10-a", "[ $1 = before ] && sleep 600");
    let settings = HookSettings { timeout: Duration::from_secs(1), ..scene.settings(HookPolicy::Fail) };
    let Err(error) = hooks(&settings).before() else { panic!("a hanging hook was ignored") };
    assert!(error.to_string().contains("did not end within 1 s"), "{error}");
}

#[test]
fn an_untrusted_script_is_not_run() {
    let scene = Scene::new();
    scene.script("10-a", "");
    fs::set_permissions(scene.dir.path().join("hooks.d/10-a"), fs::Permissions::from_mode(0o777)).unwrap();
    let settings = scene.settings(HookPolicy::Fail);
    let Err(error) = hooks(&settings).before() else { panic!("it was accepted") };
    assert!(error.to_string().contains("chmod go-w"), "{error}");
    assert_eq!(scene.lines(), ["command failed"]);
    let settings = scene.settings(HookPolicy::Warn);
    let hooks = hooks(&settings);
    let held = hooks.before().unwrap();
    assert!(!held.told_applications(), "one application was not asked");
    let _ = held.after(true);
    assert!(scene.lines().iter().all(|line| line.starts_with("command")), "{:?}", scene.lines());
}

#[test]
fn they_are_told_what_is_backed_up_and_no_secrets() {
    let scene = Scene::new();
    let out = scene.dir.path().join("environment");
    let before = Some(format!("env > {}; pwd", out.display()));
    let settings = HookSettings { before, after: None, directory: HookDirectory::None, ..HookSettings::default() };
    let report = hooks(&settings).before().unwrap().after(true);
    assert_eq!(report.runs.len(), 1);
    let told = fs::read_to_string(out).unwrap();
    for line in ["ICECORE_STAGE=before", "ICECORE_POINT_NAME=web", "ICECORE_HOST=h", "ICECORE_DISKS=/dev/a\n/b c"] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    let known = ["STAGE", "POINT_NAME", "HOST", "DISKS", "HOOK_TIMEOUT_S"];
    let icecores = told.lines().filter_map(|line| line.strip_prefix("ICECORE_")).filter_map(|l| l.split_once('='));
    assert!(icecores.clone().count() == 5 && icecores.clone().all(|(name, _)| known.contains(&name)), "{told}");
}

#[test]
fn a_command_that_is_not_there_says_so() {
    let before = Some("/no/such/hook --freeze".to_owned());
    let settings = HookSettings { before, directory: HookDirectory::None, ..HookSettings::default() };
    let Err(error) = hooks(&settings).before() else { panic!("it was accepted") };
    assert!(error.to_string().contains("not found"), "{error}");
}

#[test]
fn a_stopped_job_does_not_keep_applications_waiting() {
    let scene = Scene::new();
    scene.script("10-a", "");
    let settings = scene.settings(HookPolicy::Fail);
    let stop = AtomicBool::new(false);
    let subject = HookSubject { point_name: "web".into(), host: "h".into(), disks: Vec::new() };
    let hooks = Hooks::new(&settings, subject, Instant::Snapshot, (&Silent, &stop));
    let held = hooks.before().unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let report = held.after(false);
    assert!(report.failed_to_go_on().next().is_none(), "{report:?}");
    assert_eq!(scene.lines().last().unwrap(), "10-a failed");
}
