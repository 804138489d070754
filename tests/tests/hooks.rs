//! Hooks of the finished program: what they see, what their failures mean, and that no hook can hold it for ever.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{Icecore, MIB};

struct Scene {
    icecore: Icecore,
    disk: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let icecore = Icecore::with_repository()?;
        let disk = icecore.dir().join("disk.img");
        let file = File::create(&disk)?;
        file.set_len(4 * MIB)?;
        file.write_all_at(b"data", MIB)?;
        fs::create_dir(icecore.dir().join("hooks.d"))?;
        Ok(Self { icecore, disk })
    }

    fn hooks(&self) -> PathBuf {
        self.icecore.dir().join("hooks.d")
    }

    fn log(&self) -> PathBuf {
        self.icecore.dir().join("log")
    }

    fn script(&self, name: &str, content: &str) -> Result<()> {
        let path = self.hooks().join(name);
        fs::write(&path, format!("#!/bin/sh\necho {name} $1 >> {}\n{content}\n", self.log().display()))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn backup<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["backup", text(&self.disk), "--name", "vm"], more].concat()
    }

    fn points(&self) -> Result<usize> {
        Ok(self.icecore.json(["list"])?.as_array().map_or(0, Vec::len))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII path")
}

#[test]
fn scripts_and_commands_run_round_the_backup_and_are_told_about_it() -> Result<()> {
    let scene = Scene::new()?;
    scene.script("10-a", "echo $ICECORE_POINT_NAME:$ICECORE_DISKS:$ICECORE_PASSPHRASE")?;
    scene.script("20-b~", "")?;
    let hooks = scene.hooks();
    let before = format!("echo command before >> {}", scene.log().display());
    let after = format!("echo command $ICECORE_STAGE >> {}", scene.log().display());
    let arguments = ["--hook-dir", text(&hooks), "--hook-before", &before, "--hook-after", &after];
    let done = scene.icecore.json(scene.backup(&arguments))?;
    assert_eq!(scene.lines(), ["10-a before", "command before", "command after", "10-a after"]);
    assert_eq!(done["hooks"].as_array().map(Vec::len), Some(4));
    assert_eq!((&done["hooks"][0]["stage"], &done["hooks"][3]["stage"]), (&"before".into(), &"after".into()));
    Ok(())
}

#[test]
fn a_failing_hook_makes_no_point_unless_the_policy_lets_it_pass() -> Result<()> {
    let scene = Scene::new()?;
    let arguments = ["--hook-before", "echo not ready; exit 3", "--hook-after", "true"];
    let failure = scene.icecore.fail(scene.backup(&arguments))?;
    assert_eq!(failure.exit_code, Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains("exit status 3") && failure.stderr.contains("not ready"), "{}", failure.stderr);
    assert_eq!(scene.points()?, 0);
    scene.icecore.run(scene.backup(&[&arguments[..], &["--hook-policy", "warn"]].concat()))?;
    assert_eq!(scene.points()?, 1);
    Ok(())
}

#[test]
fn a_hook_that_fails_after_the_backup_leaves_the_point_and_fails_the_job() -> Result<()> {
    let scene = Scene::new()?;
    let failure = scene.icecore.fail(scene.backup(&["--hook-after", "exit 4"]))?;
    assert!(failure.stderr.contains("the recovery point is stored"), "{}", failure.stderr);
    assert_eq!(scene.points()?, 1);
    Ok(())
}

#[test]
fn a_backup_that_fails_tells_the_applications_to_go_on() -> Result<()> {
    let scene = Scene::new()?;
    let after = format!("echo $ICECORE_STAGE >> {}", scene.log().display());
    scene.icecore.fail(["backup", "/no/such/disk", "--hook-after", &after])?;
    assert_eq!(scene.lines(), ["failed"]);
    Ok(())
}

#[test]
fn no_hook_holds_the_backup_for_ever() -> Result<()> {
    let scene = Scene::new()?;
    for hang in ["sleep 600", "trap '' TERM; while :; do sleep 600 & wait; done", "kill -STOP $$"] {
        let began = Instant::now();
        let failure = scene.icecore.fail(scene.backup(&["--hook-before", hang, "--hook-timeout", "1"]))?;
        assert!(failure.stderr.contains("--hook-timeout"), "{hang}: {}", failure.stderr);
        assert!(began.elapsed() < Duration::from_secs(60), "{hang}");
    }
    assert_eq!(scene.points()?, 0);
    Ok(())
}

#[test]
fn a_hook_that_prints_a_gigabyte_costs_no_memory_and_its_end_is_told() -> Result<()> {
    let scene = Scene::new()?;
    let loud = "head -c 1000000000 /dev/zero | tr '\\0' x; echo the end; exit 5";
    let failure = scene.icecore.fail(scene.backup(&["--hook-before", loud]))?;
    assert!(failure.stderr.contains("the end") && failure.stderr.contains("left out"), "{}", failure.stderr);
    assert!(failure.stderr.len() < 10_000, "{} bytes", failure.stderr.len());
    Ok(())
}

#[test]
fn wrong_paths_and_foreign_scripts_are_refused_by_name() -> Result<()> {
    let scene = Scene::new()?;
    let failure = scene.icecore.fail(scene.backup(&["--hook-dir", "/no/such/hooks"]))?;
    assert!(failure.stderr.contains("/no/such/hooks"), "{}", failure.stderr);
    let failure = scene.icecore.fail(scene.backup(&["--hook-before", "/no/such/hook"]))?;
    assert!(failure.stderr.contains("not found"), "{}", failure.stderr);
    scene.script("10-a", "")?;
    fs::set_permissions(scene.hooks().join("10-a"), fs::Permissions::from_mode(0o777))?;
    let hooks = scene.hooks();
    let failure = scene.icecore.fail(scene.backup(&["--hook-dir", text(&hooks)]))?;
    assert!(failure.stderr.contains("10-a") && failure.stderr.contains("chmod go-w"), "{}", failure.stderr);
    assert!(scene.lines().is_empty(), "it was not run");
    assert_eq!(scene.points()?, 0);
    Ok(())
}

#[test]
fn a_provider_that_cannot_serve_says_why_and_hooks_are_told_the_end() -> Result<()> {
    let scene = Scene::new()?;
    let before = format!("echo before >> {}", scene.log().display());
    let failure = scene.icecore.fail(scene.backup(&["--provider", "lvm", "--hook-policy", "warn"]))?;
    assert_eq!(failure.exit_code, Some(6), "{}", failure.stderr);
    assert!(failure.stderr.contains("is no logical volume"), "{}", failure.stderr);
    // Without a snapshot the hook stands round the whole attempt, and is told its end.
    let after = format!("echo $ICECORE_STAGE >> {}", scene.log().display());
    let arguments = ["--provider", "lvm", "--hook-before", &before, "--hook-after", &after];
    scene.icecore.fail(scene.backup(&arguments))?;
    assert_eq!(scene.lines(), ["before", "failed"]);
    Ok(())
}
