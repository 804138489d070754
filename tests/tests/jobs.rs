//! Plans of the real server carried out by real agents: by the calendar, when somebody asks, and through everything that may happen to either.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine, noise};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Bytes of the disks that are interrupted in the middle: several packs.
const LARGE: usize = 96 << 20;
/// How fast those are read, so that there is a middle.
const SLOW: u64 = 24 << 20;

fn appliance() -> Result<Appliance> {
    Appliance::with(&[("JOB_LEASE_S", "3")])
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

/// The recovery point that a job ended with.
fn point(job: &Value) -> Value {
    json!({"id": job["result"]["point"]})
}

/// A plan for one disk; `more` says the rest.
fn plan(appliance: &Appliance, machine: &Machine, disk: &Path, more: &Value) -> Result<String> {
    let mut body = json!({"name": machine.name, "agent_id": machine.id, "work": {"sources": {"paths": [disk]}},
        "retries": {"count": 3, "pause_s": 0}});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    text(&appliance.post("/api/v1/plans", &body)?.expect(201)?.body["id"])
}

/// A plan that reads slowly, and a job of it that is in the middle.
struct Slow {
    appliance: Appliance,
    machine: Machine,
    bytes: Vec<u8>,
    job: String,
}

impl Slow {
    fn new(seed: u64) -> Result<Self> {
        Self::at(seed, SLOW)
    }

    /// Reads this many bytes in a second.
    fn at(seed: u64, rate: u64) -> Result<Self> {
        let appliance = appliance()?;
        let machine = appliance.machine("web")?;
        let bytes = noise(seed, LARGE);
        let disk = appliance.disk("disk", &bytes)?;
        let work = json!({"work": {"sources": {"paths": [disk]}, "limit_bytes_per_s": rate}});
        let plan = plan(&appliance, &machine, &disk, &work)?;
        let job = text(&appliance.post(&format!("/api/v1/plans/{plan}/run"), &json!({}))?.expect(201)?.body["id"])?;
        Ok(Self { appliance, machine, bytes, job })
    }

    fn path(&self) -> String {
        format!("/api/v1/jobs/{}", self.job)
    }

    /// Waits until so much of the disk is read.
    fn until_read(&self, bytes: usize) -> Result<()> {
        self.appliance.until(&self.path(), |job| {
            let read = job["progress"]["counts"]["read_bytes"].as_u64().unwrap_or(0);
            (job["state"] == "running" && read >= bytes as u64).then_some(())
        })
    }

    fn until(&self, state: &str) -> Result<Value> {
        self.appliance.until(&self.path(), |job| (job["state"] == state).then(|| job.clone()))
    }

    /// Waits for the success, restores, and returns the job.
    fn until_restored(&self) -> Result<Value> {
        let job = self.until("succeeded")?;
        self.appliance.ensure_restores(&point(&job), &self.bytes)?;
        Ok(job)
    }
}

#[test]
fn plans_of_two_machines_run_by_the_calendar_and_every_point_restores() -> Result<()> {
    let appliance = appliance()?;
    let mut running = Vec::new();
    let mut plans = Vec::new();
    for (seed, name) in [(1, "web"), (2, "mail")] {
        let machine = appliance.machine(name)?;
        let bytes = noise(seed, 5 << 20);
        let disk = appliance.disk(name, &bytes)?;
        let when = json!({"when": {"cron": "* * * * * *", "zone": "Europe/Berlin"}, "keep": {"last": 1}});
        plans.push((plan(&appliance, &machine, &disk, &when)?, bytes));
        running.push((appliance.agent(&machine)?, machine));
    }
    for (plan, bytes) in &plans {
        let succeeded = |jobs: &Value| {
            let jobs = jobs["items"].as_array()?;
            let good: Vec<Value> = jobs.iter().filter(|job| job["state"] == "succeeded").cloned().collect();
            (good.len() >= 3).then_some(good)
        };
        let jobs = appliance.until(&format!("/api/v1/jobs?plan_id={plan}"), succeeded)?;
        for job in &jobs {
            ensure!(job["cause"] == "calendar" && job["attempt"] == 1, "{job}");
            appliance.ensure_restores(&point(job), bytes)?;
        }
        ensure!(
            jobs[0]["result"]["stored_bytes"].as_u64() < Some(1 << 20),
            "the same again costs nothing: {}",
            jobs[0]
        );
        let decided = appliance.get(&format!("/api/v1/plans/{plan}/retention"))?;
        let points = decided["items"].as_array().context("points are listed")?;
        // Of a run that has committed and not ended yet, the point is there and counts in no rule.
        let newest = points.iter().find(|point| point["job_id"].is_string()).context("runs have ended")?;
        ensure!(newest["reasons"].to_string().contains("last 1 of 1"), "{decided}");
        let oldest = points.last().context("there are points")?;
        ensure!(
            oldest["keep"] == true
                && oldest["reasons"].to_string().contains("verified")
                && oldest["job_id"].is_string(),
            "{decided}"
        );
        let paused = appliance.post(&format!("/api/v1/plans/{plan}/pause"), &json!({}))?.expect(200)?.body;
        ensure!(paused["last_good_at"].is_string() && paused["next_run_at"].is_null(), "{paused}");
    }
    for (agent, machine) in running {
        let devices = appliance.get(&format!("/api/v1/agents/{}/devices", machine.id))?;
        ensure!(devices["host"] == machine.name.as_str() && devices["reported_at"].is_string(), "{devices}");
        agent.stop()?;
    }
    let checked = appliance.local(&["check", "--read-data"])?;
    ensure!(checked["errors"].as_array().is_none_or(Vec::is_empty), "{checked}");
    Ok(())
}

#[test]
fn an_agent_that_is_killed_in_the_middle_goes_on_where_it_was() -> Result<()> {
    let slow = Slow::new(3)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(LARGE * 3 / 4)?;
    agent.kill()?;
    let _again = slow.appliance.agent(&slow.machine)?;
    let job = slow.until_restored()?;
    ensure!(job["attempt"] == 2 && job["error"].is_null(), "{job}");
    let stored = job["result"]["stored_bytes"].as_u64().context("a result says what was stored")?;
    ensure!(stored < LARGE as u64 * 3 / 4, "{stored} bytes were sent again");
    let shares = &job["progress"]["shares"];
    ensure!(shares["limit"].as_u64() > Some(300), "the plan's limit is what takes the time: {shares}");
    Ok(())
}

#[test]
fn an_agent_that_never_comes_back_loses_its_job_to_the_queue() -> Result<()> {
    let slow = Slow::new(4)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(1)?;
    agent.kill()?;
    let job = slow.until("queued")?;
    ensure!(job["error"]["code"] == "agent_lost" && job["attempt"] == 1, "{job}");
    slow.appliance.post(&format!("{}/cancel", slow.path()), &json!({}))?.expect(200)?;
    slow.until("cancelled")?;
    Ok(())
}

#[test]
fn a_server_that_is_killed_in_the_middle_keeps_the_job_and_its_agent() -> Result<()> {
    let mut slow = Slow::new(5)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    for part in [4, 2] {
        slow.until_read(LARGE / part)?;
        slow.appliance.server.kill()?;
        slow.appliance.server.start()?;
    }
    let job = slow.until_restored()?;
    ensure!(job["attempt"] == 1, "{job}");
    agent.stop()
}

#[test]
fn a_cancelled_job_ends_soon_and_can_be_tried_again() -> Result<()> {
    let slow = Slow::new(6)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(LARGE / 4)?;
    let asked = slow.appliance.post(&format!("{}/cancel", slow.path()), &json!({}))?.expect(200)?.body;
    ensure!(asked["cancelling"] == true, "{asked}");
    let job = slow.until("cancelled")?;
    ensure!(job["result"].is_null(), "{job}");
    slow.appliance.post(&format!("{}/retry", slow.path()), &json!({}))?.expect(200)?;
    slow.until_restored()?;
    agent.stop()
}

#[test]
fn a_paused_job_waits_and_goes_on_without_sending_again() -> Result<()> {
    // The agent hears of the pause with its next heartbeat, and that must come before the end of the backup.
    let slow = Slow::at(10, SLOW / 3)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(LARGE / 2)?;
    let asked = slow.appliance.post(&format!("{}/pause", slow.path()), &json!({}))?.expect(200)?.body;
    ensure!(asked["paused"] == true, "{asked}");
    let job = slow.until("queued")?;
    ensure!(job["paused"] == true && job["error"].is_null(), "{job}");
    slow.appliance.post(&format!("{}/resume", slow.path()), &json!({}))?.expect(200)?;
    let job = slow.until_restored()?;
    let stored = job["result"]["stored_bytes"].as_u64().context("a result says what was stored")?;
    ensure!(stored < LARGE as u64 * 3 / 4, "{stored} bytes were sent again");
    agent.stop()
}

#[test]
fn an_agent_that_is_stopped_gives_its_job_back_and_a_later_one_does_it() -> Result<()> {
    let slow = Slow::new(7)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(LARGE / 4)?;
    agent.stop()?;
    let job = slow.until("queued")?;
    ensure!(job["error"].is_null() && job["attempts_allowed"] == 5, "it counts as no attempt: {job}");
    let _again = slow.appliance.agent(&slow.machine)?;
    slow.until_restored()?;
    Ok(())
}

#[test]
fn a_revoked_agent_gets_nothing_and_says_why() -> Result<()> {
    let slow = Slow::new(8)?;
    let agent = slow.appliance.agent(&slow.machine)?;
    slow.until_read(LARGE / 4)?;
    slow.appliance.post(&format!("/api/v1/agents/{}/revoke", slow.machine.id), &json!({}))?.expect(204)?;
    let (status, said) = agent.wait()?;
    ensure!(status.code() == Some(4) && said.contains("was revoked"), "{status}: {said}");
    let job = slow.until("failed")?;
    ensure!(job["error"]["code"] == "agent_revoked", "{job}");
    let points = slow.appliance.local(&["list"])?;
    ensure!(points == json!([]), "{points}");
    Ok(())
}

#[test]
fn a_job_that_cannot_work_fails_with_the_reason_and_what_to_do() -> Result<()> {
    let appliance = appliance()?;
    let machine = appliance.machine("web")?;
    let more = json!({"retries": {"count": 1, "pause_s": 0}});
    let plan = plan(&appliance, &machine, &appliance.dir().join("nothing"), &more)?;
    let job = appliance.post(&format!("/api/v1/plans/{plan}/run"), &json!({}))?.expect(201)?.body;
    let mut agent = Some(appliance.agent(&machine)?);
    let path = format!("/api/v1/jobs/{}", text(&job["id"])?);
    let job = appliance.until(&path, |job| (job["state"] == "failed").then(|| job.clone()))?;
    ensure!(job["attempt"] == 2 && job["error"]["code"] == "not_found", "{job}");
    ensure!(job["error"].to_string().contains("cannot open"), "{job}");
    agent.take().map_or(Ok(()), |agent| agent.stop())?;
    appliance.server.signal(Signal::SIGTERM)
}

#[test]
fn an_enrolled_machine_needs_no_words() -> Result<()> {
    let appliance = appliance()?;
    let machine = appliance.machine("web")?;
    let bytes = noise(9, 1 << 20);
    let disk = appliance.disk("disk", &bytes)?;
    let directory = appliance.dir().join("enrolment");
    std::fs::create_dir(&directory)?;
    std::fs::copy(&machine.key_file, directory.join("writer.key"))?;
    std::fs::write(directory.join("token"), &machine.secret)?;
    let server = format!("http://{}/", appliance.server.address()?);
    let description = format!("server = {server:?}\nrepository = \"main\"\nname = \"web\"\n");
    std::fs::write(directory.join("agent.toml"), description)?;
    let mut command = appliance.command()?;
    command.env("ICECORE_AGENT_DIR", &directory).args(["agent", "run"]);
    let agent = Agent::start(command, &machine)?;
    let plan = plan(&appliance, &machine, &disk, &json!({}))?;
    let job = appliance.post(&format!("/api/v1/plans/{plan}/run"), &json!({}))?.expect(201)?.body;
    let path = format!("/api/v1/jobs/{}", text(&job["id"])?);
    let job = appliance.until(&path, |job| (job["state"] == "succeeded").then(|| job.clone()))?;
    appliance.ensure_restores(&point(&job), &bytes)?;
    agent.stop()
}
