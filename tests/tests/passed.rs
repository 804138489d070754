//! Restores onto another machine: the keeper passes a disk through the server to the agent of that machine, sealed to it, where both command lines allow it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine, content};
use e2e::http::Request;
use serde_json::{Value, json};

/// A server with a point of one machine, another machine that nothing is on, and a place there for restores.
struct Scene {
    appliance: Appliance,
    spare: Machine,
    keeper: Machine,
    point: String,
    bytes: Vec<u8>,
    inside: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let appliance = Appliance::with(&[("JOB_LEASE_S", "3")])?;
        let (web, spare, bytes) = (appliance.machine("web")?, appliance.machine("spare")?, content(3, 70));
        let disk = appliance.disk("disk", &bytes)?;
        let point = appliance.backup(&web, &disk, "web")?["id"].as_str().context("a point has an id")?.to_owned();
        let keeper = appliance.keeper("keeper")?;
        let inside = appliance.dir().join("spare-restores");
        fs::create_dir(&inside)?;
        Ok(Self { appliance, spare, keeper, point, bytes, inside })
    }

    fn start_keeper(&self, options: &[&str]) -> Result<Agent> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.args(options);
        Agent::start(command, &self.keeper)
    }

    fn start_spare(&self, options: &[&str]) -> Result<Agent> {
        let mut command = self.appliance.remote(&self.spare, &["agent", "run", "--host", "spare"])?;
        command.args(options);
        Agent::start(command, &self.spare)
    }

    fn allowed(&self) -> Result<[&str; 2]> {
        Ok(["--restore-to", self.inside.to_str().context("a path that is text")?])
    }

    fn body(&self, target: &Path, more: &Value) -> Result<Value> {
        let mut body = json!({"point": self.point, "agent_id": self.spare.id, "target": target});
        body.as_object_mut().context("an object")?.extend(more.as_object().context("an object")?.clone());
        Ok(body)
    }

    /// Asks for a restore onto the spare machine, once the server knows of the point, and waits for its end.
    fn restore(&self, target: &Path, more: &Value) -> Result<Value> {
        self.appliance
            .until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
        let job = self.appliance.post("/api/v1/restores", &self.body(target, more)?)?.expect(201)?.body;
        let id = job["id"].as_str().context("a job has an id")?;
        let over = |job: &Value| ["succeeded", "failed", "cancelled"].iter().any(|state| job["state"] == *state);
        self.appliance.until(&format!("/api/v1/jobs/{id}"), |job| over(job).then(|| job.clone()))
    }
}

#[test]
fn a_disk_of_one_machine_is_restored_by_the_agent_of_another() -> Result<()> {
    let scene = Scene::new()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    let spare = scene.start_spare(&scene.allowed()?)?;
    let target = scene.inside.join("web.img");
    let done = scene.restore(&target, &json!({}))?;
    ensure!(done["state"] == "succeeded" && done["agent"] == "spare", "{done:#}");
    ensure!(fs::read(&target)? == scene.bytes, "what was restored differs");
    ensure!(done["result"]["restore"]["target_bytes"] == scene.bytes.len(), "{done:#}");
    let exists = scene.restore(&target, &json!({}))?;
    ensure!(exists["state"] == "failed", "it wrote over what was there: {exists:#}");
    let mut changed = scene.bytes.clone();
    changed[70_000] ^= 1;
    fs::write(&target, &changed)?;
    let delta = scene.restore(&target, &json!({"delta": true, "overwrite": true}))?;
    ensure!(delta["result"]["restore"]["written_bytes"] == 65536, "{delta:#}");
    ensure!(fs::read(&target)? == scene.bytes, "what was restored differs");
    let audit = scene.appliance.get("/api/v1/audit?limit=100")?;
    ensure!(audit["items"].to_string().contains(&format!("of agent {}", scene.spare.id)), "{audit:#}");
    spare.stop()?;
    keeper.stop()
}

#[test]
fn a_restore_goes_on_after_server_and_keeper_were_killed_in_the_middle() -> Result<()> {
    let mut scene = Scene::new()?;
    let spare = scene.start_spare(&scene.allowed()?)?;
    let target = scene.inside.join("web.img");
    // No keeper yet: the first part is waited for, and the server is killed meanwhile.
    let body = scene.body(&target, &json!({}))?;
    let first = scene.start_keeper(&[])?;
    scene.appliance.until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
    first.kill()?;
    let job = scene.appliance.post("/api/v1/restores", &body)?.expect(201)?.body;
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().context("a job has an id")?);
    scene.appliance.until(&path, |job| (job["state"] == "running").then_some(()))?;
    scene.appliance.server.kill()?;
    scene.appliance.server.start()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer])?;
    let over = |job: &Value| ["succeeded", "failed"].iter().any(|state| job["state"] == *state);
    let done = scene.appliance.until(&path, |job| over(job).then(|| job.clone()))?;
    ensure!(done["state"] == "succeeded", "{done:#}");
    ensure!(fs::read(&target)? == scene.bytes, "what was restored differs");
    spare.stop()?;
    keeper.stop()
}

#[test]
fn neither_command_line_is_overruled_by_the_server() -> Result<()> {
    let scene = Scene::new()?;
    let target = scene.inside.join("web.img");
    let refused = |words: &str, target: &Path| -> Result<()> {
        let job = scene.restore(target, &json!({}))?;
        ensure!(job["state"] == "failed" && job["error"].to_string().contains(words), "{job:#}");
        ensure!(!target.exists(), "something was written");
        Ok(())
    };
    // The keeper names another machine.
    let keeper = scene.start_keeper(&["--pass-to", &"0".repeat(32)])?;
    let spare = scene.start_spare(&scene.allowed()?)?;
    refused("passes no disks to the machine", &target)?;
    refused("no place to restore to", &scene.appliance.dir().join("elsewhere.img"))?;
    spare.stop()?;
    keeper.stop()?;
    // The machine names no place.
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer, "--show-files"])?;
    let spare = scene.start_spare(&[])?;
    refused("allowed nowhere", &target)?;
    spare.stop()?;
    keeper.stop()
}

#[test]
fn parts_are_given_for_a_restore_job_in_hand_and_to_its_agent_alone() -> Result<()> {
    let scene = Scene::new()?;
    let keeper = scene.start_keeper(&["--pass-to", &scene.spare.writer, "--show-files"])?;
    scene.appliance.until("/api/v1/recovery-points", |seen| (!seen["items"].as_array()?.is_empty()).then_some(()))?;
    for (more, status) in [
        (json!({"format": "qcow2"}), 422),
        (json!({"agent_id": scene.point}), 400),
        (json!({"agent_id": "0193f0f0-0000-7000-8000-000000000000"}), 404),
    ] {
        scene.appliance.post("/api/v1/restores", &scene.body(&scene.inside, &more)?)?.expect(status)?;
    }
    let target = scene.inside.join("web.img");
    let job = scene.appliance.post("/api/v1/restores", &scene.body(&target, &json!({}))?)?.expect(201)?.body;
    let path = format!("/api/v1/agent/jobs/{}/part", job["id"].as_str().context("a job has an id")?);
    let body = json!({"lease": "0193f0f0-0000-7000-8000-000000000000", "part": {"order": "ab"}});
    let ask = |secret: &str| {
        let request = Request::new("POST", &path).token(secret).header("icecore-agent-protocol", "1");
        scene.appliance.server.send(&request.json(&body))
    };
    // It is queued, and nobody has its lease.
    ensure!(ask(&scene.spare.secret)?.status == 409, "{}", ask(&scene.spare.secret)?.body);
    ask(&scene.keeper.secret)?.expect(404)?;
    ensure!([401, 403].contains(&ask(&scene.appliance.admin)?.status), "a person has parts of a disk");
    keeper.kill()
}
