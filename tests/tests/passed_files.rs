//! Files restored by the agent of a machine: back to where they were, or into a directory, passed by the keeper and sealed to that machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine, noise};
use e2e::{is_root, run_quietly};
use serde_json::{Value, json};

const OLD: &[u8] = b"as it was\n";
const NEW: &[u8] = b"changed since\n";
const LARGE_BYTES: usize = (3 << 20) + 777;

/// An ext4 image without partitions, with a directory where it can be mounted.
struct Volume {
    image: PathBuf,
    at: PathBuf,
}

/// Unmounts at the end.
struct Mounted<'v>(&'v Volume);

impl Volume {
    fn new(directory: &Path, content: &Path) -> Result<Self> {
        let volume = Self { image: directory.join("volume.img"), at: directory.join("mounted") };
        fs::create_dir_all(&volume.at)?;
        fs::File::create(&volume.image)?.set_len(48 << 20)?;
        let (image, content) = (text(&volume.image)?, text(content)?);
        run_quietly("mkfs.ext4", ["-q", "-F", "-d", content, image])?;
        Ok(volume)
    }

    fn mount(&self) -> Result<Mounted<'_>> {
        run_quietly("mount", ["-o", "loop", text(&self.image)?, text(&self.at)?])?;
        Ok(Mounted(self))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = run_quietly("umount", [self.0.at.to_string_lossy().as_ref()]);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn fill(directory: &Path) -> Result<()> {
    let home = directory.join("home");
    fs::create_dir_all(home.join("deep/er"))?;
    fs::create_dir_all(directory.join("private"))?;
    fs::write(directory.join("private/secret"), "nobody ordered this")?;
    fs::write(home.join("changed"), OLD)?;
    fs::set_permissions(home.join("changed"), Permissions::from_mode(0o640))?;
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
    fs::File::options().write(true).open(home.join("changed"))?.set_times(times)?;
    fs::write(home.join("gone"), "it was deleted")?;
    fs::write(home.join("same"), "it is as it was")?;
    fs::write(home.join("large"), noise(5, LARGE_BYTES))?;
    fs::hard_link(home.join("large"), home.join("deep/large too"))?;
    symlink("../changed", home.join("deep/link"))?;
    let sparse = fs::File::create(home.join("deep/er/sparse"))?;
    sparse.set_len(20 << 20)?;
    sparse.write_all_at(b"in the middle", 10 << 20)?;
    for number in 0..1500 {
        fs::write(home.join(format!("deep/er/{number:04}")), number.to_string())?;
    }
    Ok(())
}

/// A server, a point of the volume that machine `web` made, and another machine.
struct Scene {
    appliance: Appliance,
    volume: Volume,
    content: PathBuf,
    web: Machine,
    spare: Machine,
    keeper: Machine,
    point: String,
}

impl Scene {
    fn new() -> Result<Self> {
        let appliance = Appliance::with(&[("JOB_LEASE_S", "3")])?;
        let content = appliance.dir().join("content");
        fill(&content)?;
        let volume = Volume::new(appliance.dir(), &content)?;
        let (web, spare) = (appliance.machine("web")?, appliance.machine("spare")?);
        let point = appliance.backup(&web, &volume.image, "web")?["id"].as_str().context("an id")?.to_owned();
        let keeper = appliance.keeper("keeper")?;
        Ok(Self { appliance, volume, content, web, spare, keeper, point })
    }

    fn start_keeper(&self, options: &[&str]) -> Result<Agent> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.args(options);
        Agent::start(command, &self.keeper)
    }

    fn start(&self, machine: &Machine, allowed: &[&Path]) -> Result<Agent> {
        let mut command = self.appliance.remote(machine, &["agent", "run"])?;
        for directory in allowed {
            command.arg("--restore-files").arg(directory);
        }
        Agent::start(command, machine)
    }

    fn ask(&self, machine: &Machine, more: &Value) -> Result<String> {
        self.appliance
            .until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
        let mut body = json!({"point": self.point, "agent_id": machine.id, "files": ["/home"]});
        body.as_object_mut().context("an object")?.extend(more.as_object().context("an object")?.clone());
        let job = self.appliance.post("/api/v1/restores", &body)?.expect(201)?.body;
        Ok(format!("/api/v1/jobs/{}", job["id"].as_str().context("a job has an id")?))
    }

    fn end_of(&self, job: &str) -> Result<Value> {
        let over = |job: &Value| ["succeeded", "failed", "cancelled"].iter().any(|state| job["state"] == *state);
        self.appliance.until(job, |job| over(job).then(|| job.clone()))
    }

    fn restore(&self, machine: &Machine, more: &Value) -> Result<Value> {
        let done = self.end_of(&self.ask(machine, more)?)?;
        ensure!(done["state"] == "succeeded", "{done:#}");
        Ok(done["result"]["restore"].clone())
    }

    fn refused(&self, machine: &Machine, more: &Value, words: &str) -> Result<()> {
        let done = self.end_of(&self.ask(machine, more)?)?;
        ensure!(done["state"] == "failed" && done["error"].to_string().contains(words), "{words}: {done:#}");
        Ok(())
    }
}

/// What a directory holds, by name.
fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Content and metadata are those of the point.
fn is_as_it_was(scene: &Scene, home: &Path) -> Result<()> {
    let original = scene.content.join("home");
    for name in ["changed", "gone", "same", "large", "deep/large too", "deep/er/sparse", "deep/er/0007", "deep/er/1499"]
    {
        let (was, is) = (original.join(name), home.join(name));
        ensure!(fs::read(&was)? == fs::read(&is)?, "the content of {name} differs");
        let (was, is) = (was.metadata()?, is.metadata()?);
        let facts = |of: &fs::Metadata| (of.mode(), of.uid(), of.gid(), of.mtime());
        ensure!(facts(&was) == facts(&is), "{name}: {:?} {:?}", facts(&was), facts(&is));
    }
    ensure!(fs::read_link(home.join("deep/link"))? == Path::new("../changed"), "the link leads elsewhere");
    ensure!(home.join("large").metadata()?.ino() == home.join("deep/large too").metadata()?.ino(), "two files");
    ensure!(home.join("deep/er/sparse").metadata()?.blocks() * 512 < 1 << 20, "holes were filled");
    ensure!(names(home)? == names(&original)?, "{:?}", names(home)?);
    ensure!(names(&home.join("deep/er"))? == names(&original.join("deep/er"))?, "{:?}", names(&home.join("deep/er"))?);
    Ok(())
}

#[test]
fn files_come_back_to_where_they_were_and_what_changed_since_is_kept_unless_it_may_go() -> Result<()> {
    if !is_root() {
        eprintln!("mounting takes root: nothing was tested");
        return Ok(());
    }
    let scene = Scene::new()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.web.writer, "--show-files"])?;
    let agent = scene.start(&scene.web, &[&scene.volume.at])?;
    scene.refused(&scene.web, &json!({"in_place": true}), "is not mounted on this machine")?;
    let mounted = scene.volume.mount()?;
    let home = scene.volume.at.join("home");
    fs::write(home.join("changed"), NEW)?;
    fs::remove_file(home.join("gone"))?;
    let look = scene.restore(&scene.web, &json!({"in_place": true, "existing": "beside", "dry_run": true}))?;
    ensure!(look["restored"]["beside"].as_u64() > Some(1500) && look["dry_run"] == true, "{look:#}");
    ensure!(look["target"] == text(&scene.volume.at)?, "{look:#}");
    ensure!(!home.join("gone").exists(), "a dry run wrote");
    let beside = scene.restore(&scene.web, &json!({"in_place": true, "existing": "beside"}))?;
    ensure!(beside["restored"]["beside"] == 1 && beside["restored"]["unchanged"].as_u64() > Some(1500), "{beside:#}");
    ensure!(fs::read(home.join("changed"))? == NEW && fs::read(home.join("gone"))? == b"it was deleted", "{beside:#}");
    let new_name = names(&home)?.into_iter().find(|name| name.starts_with("changed.restored-"));
    let new_name = home.join(new_name.with_context(|| format!("{beside:#}"))?);
    ensure!(fs::read(&new_name)? == OLD && new_name.metadata()?.mode() & 0o7777 == 0o640, "{beside:#}");
    fs::remove_file(new_name)?;
    let skipped =
        scene.restore(&scene.web, &json!({"in_place": true, "existing": "skip", "files": ["/home/changed"]}))?;
    ensure!(skipped["restored"]["skipped"] == 1 && fs::read(home.join("changed"))? == NEW, "{skipped:#}");
    scene.refused(&scene.web, &json!({"in_place": true, "files": ["/home/changed"]}), "1 files were not restored")?;
    let over = scene.restore(&scene.web, &json!({"in_place": true, "existing": "overwrite"}))?;
    ensure!(over["restored"]["replaced"] == 1 && over["restored"]["incomplete"] == 0, "{over:#}");
    is_as_it_was(&scene, &home)?;
    let audit = scene.appliance.get("/api/v1/audit?limit=100")?;
    ensure!(audit["items"].to_string().contains("to where its files were"), "{audit:#}");
    drop(mounted);
    agent.stop()?;
    keeper.stop()
}

#[test]
fn files_of_one_machine_are_restored_into_a_directory_of_another_and_nothing_else_is_passed() -> Result<()> {
    let scene = Scene::new()?;
    let inside = scene.appliance.dir().join("restores");
    fs::create_dir(&inside)?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    let agent = scene.start(&scene.spare, &[&inside])?;
    let into = json!({"target": inside.join("here")});
    let done = scene.restore(&scene.spare, &into)?;
    ensure!(done["restored"]["incomplete"] == 0 || !is_root(), "{done:#}");
    if is_root() {
        is_as_it_was(&scene, &inside.join("here/home"))?;
    }
    ensure!(names(&inside.join("here"))? == ["home"], "more came than was ordered");
    let one = scene.restore(&scene.spare, &json!({"target": inside.join("one"), "files": ["/home/deep/er/0007"]}))?;
    ensure!(one["target_bytes"] == 1 && fs::read(inside.join("one/home/deep/er/0007"))? == b"7", "{one:#}");
    scene.refused(&scene.spare, &json!({"target": inside.join("no"), "files": ["/home/no such"]}), "no such file")?;
    scene.refused(&scene.spare, &json!({"in_place": true}), "made by another machine")?;
    let elsewhere = json!({"target": scene.appliance.dir().join("elsewhere")});
    scene.refused(&scene.spare, &elsewhere, "no place to restore to")?;
    ensure!(!scene.appliance.dir().join("elsewhere").exists(), "it wrote where it may not");
    // For files only: no image of a disk.
    scene.refused(&scene.spare, &json!({"target": inside.join("disk.img"), "files": []}), "allowed nowhere")?;
    agent.stop()?;
    keeper.stop()?;
    // The keeper names no machine.
    let keeper = scene.start_keeper(&["--show-files"])?;
    let agent = scene.start(&scene.spare, &[&inside])?;
    scene.refused(&scene.spare, &json!({"target": inside.join("two")}), "passes no disks to the machine")?;
    ensure!(!inside.join("two").exists(), "something was written");
    agent.stop()?;
    keeper.stop()
}

#[test]
fn a_restore_of_files_goes_on_after_server_and_keeper_were_killed() -> Result<()> {
    let mut scene = Scene::new()?;
    let inside = scene.appliance.dir().join("restores");
    fs::create_dir(&inside)?;
    let first = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    let agent = scene.start(&scene.spare, &[&inside])?;
    scene.appliance.until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
    first.kill()?;
    let job = scene.ask(&scene.spare, &json!({"target": inside.join("here")}))?;
    scene.appliance.until(&job, |job| (job["state"] == "running").then_some(()))?;
    scene.appliance.server.kill()?;
    scene.appliance.server.start()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    let done = scene.end_of(&job)?;
    ensure!(done["state"] == "succeeded", "{done:#}");
    ensure!(fs::read(inside.join("here/home/large"))? == noise(5, LARGE_BYTES), "what was restored differs");
    agent.stop()?;
    keeper.stop()
}

#[test]
fn what_a_restore_of_files_cannot_be_is_refused_by_the_server() -> Result<()> {
    let scene = Scene::new()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    scene.appliance.until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
    let files = json!(["/home"]);
    for bad in [
        json!({"files": files}),
        json!({"files": files, "in_place": true, "target": "/srv"}),
        json!({"in_place": true}),
        json!({"target": "/srv", "existing": "beside"}),
        json!({"target": "/srv", "files": files, "existing": "beside", "overwrite": true}),
        json!({"target": "/srv", "files": files, "delta": true}),
        json!({"target": "/srv", "files": files, "format": "qcow2"}),
    ] {
        let mut body = json!({"point": scene.point, "agent_id": scene.spare.id});
        body.as_object_mut().context("an object")?.extend(bad.as_object().context("an object")?.clone());
        scene.appliance.post("/api/v1/restores", &body)?.expect(422)?;
    }
    keeper.kill()
}
