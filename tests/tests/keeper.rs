//! The appliance's own agent, as a real process beside a real server: it verifies what comes in, gives up what plans do not keep, prunes, copies the
//! server's database and restores, through everything that may happen to it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::Server;
use e2e::appliance::{Agent, Appliance, CHUNK, Machine, content, noise, says};
use e2e::http::Request;
use repo_format::codec::Kind;
use repo_format::entropy::SystemEntropy;
use repo_format::pack::{PackBuilder, PackKind};
use repo_format::writer_key;
use serde_json::{Value, json};

/// A server, a machine with a plan for one disk, and a keeper that runs.
struct Kept {
    appliance: Appliance,
    machine: Machine,
    disk: PathBuf,
    plan: String,
    keeper: Machine,
    running: Option<Agent>,
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

impl Kept {
    /// The keeper does only what it is asked for; the plan keeps its last point alone.
    fn new(bytes: &[u8], care: &Value) -> Result<Self> {
        let appliance = Appliance::with(&[("JOB_LEASE_S", "3")])?;
        let path = "/api/v1/repositories/main";
        let request = Request::new("PATCH", path).token(&appliance.admin).header("if-match", "\"1\"");
        appliance.server.send(&request.json(&json!({ "care": care })))?.expect(200)?;
        let machine = appliance.machine("web")?;
        let disk = appliance.disk("disk", bytes)?;
        let body = json!({"name": "web", "agent_id": machine.id, "work": {"sources": {"paths": [disk]}}, "keep": {"last": 1},
            "retries": {"count": 3, "pause_s": 0}});
        let plan = text(&appliance.post("/api/v1/plans", &body)?.expect(201)?.body["id"])?;
        let keeper = appliance.keeper("keeper")?;
        let mut kept = Self { appliance, machine, disk, plan, keeper, running: None };
        kept.start(&[])?;
        Ok(kept)
    }

    fn start(&mut self, options: &[&str]) -> Result<()> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.args(options);
        self.running = Some(Agent::start(command, &self.keeper)?);
        Ok(())
    }

    /// The same at another time: what a keeper does by the clock.
    fn start_at(&mut self, now: &str) -> Result<()> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.env("ICECORE_NOW", now);
        self.running = Some(Agent::start(command, &self.keeper)?);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), Agent::kill)
    }

    fn stop(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), Agent::stop)
    }

    /// A run of the plan, to its end; returns the point.
    fn back_up(&self) -> Result<String> {
        let agent = self.appliance.agent(&self.machine)?;
        let job = self.appliance.post(&format!("/api/v1/plans/{}/run", self.plan), &json!({}))?.expect(201)?.body;
        let done = self.succeeded(&text(&job["id"])?)?;
        agent.stop()?;
        text(&done["result"]["point"])
    }

    fn ask(&self, path: &str, body: &Value) -> Result<String> {
        text(&self.appliance.post(path, body)?.expect(201)?.body["id"])
    }

    fn ended(&self, job: &str) -> Result<Value> {
        let over = |job: &Value| ["succeeded", "failed", "cancelled"].iter().any(|state| job["state"] == *state);
        self.appliance.until(&format!("/api/v1/jobs/{job}"), |job| over(job).then(|| job.clone()))
    }

    fn succeeded(&self, job: &str) -> Result<Value> {
        let job = self.ended(job)?;
        ensure!(job["state"] == "succeeded", "{job:#}");
        Ok(job)
    }

    /// Asks for a job and waits for its success.
    fn done(&self, path: &str, body: &Value) -> Result<Value> {
        self.succeeded(&self.ask(path, body)?)
    }

    fn point(&self, id: &str) -> Result<Value> {
        self.appliance.get(&format!("/api/v1/recovery-points/{id}"))
    }

    fn live(&self) -> Result<Vec<String>> {
        let listed = self.appliance.local(&["list"])?;
        listed.as_array().into_iter().flatten().map(|point| text(&point["id"])).collect()
    }
}

/// Nothing by itself.
fn asked() -> Value {
    json!({"verify": false, "check_every_s": 0, "prune_every_s": 0, "copy_database": false})
}

const REPOSITORY: &str = "/api/v1/repositories/main";

fn path(verb: &str) -> String {
    format!("{REPOSITORY}/{verb}")
}

#[test]
fn what_comes_in_is_verified_and_shown_without_anybody_asking() -> Result<()> {
    let mut kept = Kept::new(&content(1, 60), &json!({"copy_database": false}))?;
    let point = kept.back_up()?;
    let verified = |point: &Value| point["verified_at"].is_string().then(|| point.clone());
    let seen = kept.appliance.until(&format!("/api/v1/recovery-points/{point}"), verified)?;
    ensure!(seen["proved_since"].is_string() && seen["flaw"].is_null(), "{seen}");
    let named = |point: &Value| point["name"].is_string().then(|| point.clone());
    let seen = kept.appliance.until(&format!("/api/v1/recovery-points/{point}"), named)?;
    ensure!(seen["name"] == "web" && seen["host"] == "web" && seen["plan"] == "web", "{seen}");
    ensure!(seen["disks"][0]["size_bytes"] == content(1, 60).len(), "{seen}");
    let repository = kept.appliance.get(REPOSITORY)?;
    ensure!(repository["keeper"] == "keeper", "{repository}");
    kept.stop()?;
    let checked = kept.appliance.local(&["check", "--read-data"])?;
    ensure!(checked["packs_verified"] == 0, "the keeper had recorded all of them: {checked}");
    Ok(())
}

#[test]
fn a_keeper_has_a_key_of_its_own_that_can_be_taken_away_and_works_as_the_owner_alone() -> Result<()> {
    let mut kept = Kept::new(&content(1, 5), &asked())?;
    let slots = kept.appliance.local(&["key", "list"])?;
    let own = slots.as_array().into_iter().flatten().find(|slot| slot["label"] == "keeper keeper").cloned();
    let own = own.with_context(|| format!("the keeper has a key slot: {slots}"))?;
    use std::os::unix::fs::PermissionsExt as _;
    ensure!(fs::metadata(&kept.keeper.key_file)?.permissions().mode() & 0o777 == 0o600);
    kept.stop()?;
    kept.appliance.local(&["key", "remove", &text(&own["slot"])?])?;
    let output = kept.appliance.keeper_command(&kept.keeper)?.output()?;
    says(&output, 4, "")?;
    // Unlocked at the start instead.
    fs::remove_file(&kept.keeper.key_file)?;
    let mut command = kept.appliance.keeper_command(&kept.keeper)?;
    command.env("ICECORE_PASSPHRASE", "correct horse");
    kept.running = Some(Agent::start(command, &kept.keeper)?);
    kept.done(&path("check"), &json!({}))?;
    Ok(())
}

/// A stolen writer key stores garbage under the id of a chunk before the machine stores the truth.
#[test]
fn a_poisoned_chunk_is_found_and_its_agent_suspended() -> Result<()> {
    let bytes = content(2, 3);
    let kept = Kept::new(&bytes, &asked())?;
    let keys = writer_key::from_text(&fs::read_to_string(&kept.machine.key_file)?)?;
    let by = (keys.writer, keys.writer);
    let mut pack = PackBuilder::data(keys.repository, by, &keys.public, u32::try_from(CHUNK)?, &SystemEntropy)?;
    pack.add(keys.ids.chunk(&bytes[..CHUNK]).into(), Kind::Raw, u32::try_from(CHUNK)?, &vec![0x66; CHUNK])?;
    let pack = pack.finish(&keys.signer());
    let key = PackKind::Data.key(&pack.id).replace('/', ".");
    let put = Request::new("PUT", &format!("{REPOSITORY}/objects/{key}")).token(&kept.machine.secret);
    kept.appliance.server.send(&put.body(pack.bytes))?.expect(204)?;
    let point = kept.back_up()?;
    let job = kept.done(&path("verify"), &json!({}))?;
    let result = &job["result"]["verify"];
    ensure!(result["damaged"][0]["forged_by"] == keys.writer.to_string(), "{job:#}");
    let seen = kept.point(&point)?;
    ensure!(seen["verified_at"].is_null() && seen["flaw"].to_string().contains("byte 0 of disk"), "{seen}");
    let agent = kept.appliance.get(&format!("/api/v1/agents/{}", kept.machine.id))?;
    ensure!(agent["suspended_at"].is_string(), "{agent}");
    let (status, said) = kept.appliance.agent(&kept.machine)?.wait()?;
    ensure!(status.code() == Some(4) && said.contains("suspended"), "{status}: {said}");
    let alerts = kept.appliance.get("/api/v1/alerts?lasting=true")?;
    let kinds: Vec<&Value> = alerts["items"].as_array().into_iter().flatten().map(|alert| &alert["kind"]).collect();
    ensure!(kinds.contains(&&json!("agent_suspended")) && kinds.contains(&&json!("repository")), "{alerts}");
    // Let in again, the machine reads everything, stores the truth, and that point is whole.
    kept.appliance.post(&format!("/api/v1/agents/{}/reinstate", kept.machine.id), &json!({}))?.expect(200)?;
    let next = kept.back_up()?;
    kept.done(&path("verify"), &json!({}))?;
    ensure!(kept.point(&next)?["verified_at"].is_string(), "{}", kept.point(&next)?);
    kept.appliance.ensure_restores(&json!({ "id": next }), &bytes)
}

#[test]
fn points_go_by_the_plan_only_after_a_later_one_was_verified_and_a_flood_pushes_none_out() -> Result<()> {
    let bytes = content(3, 20);
    let kept = Kept::new(&bytes, &asked())?;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(kept.back_up()?);
    }
    let early = kept.done(&path("prune"), &json!({}))?;
    ensure!(early["result"]["prune"]["given_up"] == json!([]), "{early:#}");
    // Whoever stole the machine's key and secret stores as many points as they like.
    for seed in 0..5 {
        let garbage = kept.appliance.disk("garbage", &content(90 + seed, 4))?;
        kept.appliance.backup(&kept.machine, &garbage, "web")?;
    }
    kept.done(&path("verify"), &json!({}))?;
    let dry = kept.done(&path("prune"), &json!({"dry_run": true}))?;
    ensure!(dry["result"]["prune"]["given_up"] == json!(points[..2]), "{dry:#}");
    ensure!(kept.live()?.len() == 8, "it only looked");
    let pruned = kept.done(&path("prune"), &json!({}))?;
    ensure!(pruned["result"]["prune"]["given_up"] == json!(points[..2]), "{pruned:#}");
    let live = kept.live()?;
    ensure!(
        live.len() == 6 && live.contains(&points[2]),
        "the last run's point stays, whatever came behind it: {live:?}"
    );
    kept.appliance.ensure_restores(&json!({ "id": points[2] }), &bytes)?;
    // A person changes their mind.
    kept.done(&format!("/api/v1/recovery-points/{}/undo", points[0]), &json!({}))?;
    ensure!(kept.live()?.contains(&points[0]) && kept.point(&points[0])?["forgotten_at"].is_null());
    kept.done(&format!("/api/v1/recovery-points/{}/forget", points[0]), &json!({"reason": "once more"}))?;
    ensure!(!kept.live()?.contains(&points[0]) && kept.point(&points[0])?["delete_after"].is_string());
    Ok(())
}

/// The repository grows and shrinks at the same time.
#[test]
fn prune_frees_space_and_disturbs_no_backup_that_runs() -> Result<()> {
    const LARGE: usize = 48 << 20;
    let mut kept = Kept::new(&noise(4, LARGE), &asked())?;
    kept.back_up()?;
    let bytes = noise(5, LARGE);
    fs::write(&kept.disk, &bytes)?;
    let second = kept.back_up()?;
    kept.done(&path("verify"), &json!({}))?;
    // In the middle of a slow backup.
    let other = kept.appliance.machine("mail")?;
    let (content, slow) = (noise(6, LARGE), kept.appliance.dir().join("slow"));
    fs::write(&slow, &content)?;
    let body = json!({"name": "mail", "agent_id": other.id, "work": {"sources": {"paths": [slow]}, "limit_bytes_per_s": 16 << 20}});
    let plan = text(&kept.appliance.post("/api/v1/plans", &body)?.expect(201)?.body["id"])?;
    let agent = kept.appliance.agent(&other)?;
    let job = kept.ask(&format!("/api/v1/plans/{plan}/run"), &json!({}))?;
    kept.appliance.until(&format!("/api/v1/jobs/{job}"), |job| {
        (job["progress"]["counts"]["read_bytes"].as_u64() > Some(8 << 20)).then_some(())
    })?;
    let pruned = kept.done(&path("prune"), &json!({}))?;
    ensure!(pruned["result"]["prune"]["given_up"].as_array().is_some_and(|points| points.len() == 1), "{pruned:#}");
    let made = kept.succeeded(&job)?;
    agent.stop()?;
    kept.appliance.ensure_restores(&json!({"id": made["result"]["point"]}), &content)?;
    // A week and some days later.
    kept.stop()?;
    let before = size_of(&kept.appliance.repository().join("data"))?;
    let now = jiff_days_from_now(8)?;
    kept.start_at(&now)?;
    let condemned = kept.done(&path("prune"), &json!({}))?;
    ensure!(condemned["result"]["prune"]["condemned_bytes"].as_u64() > Some(LARGE as u64 / 2), "{condemned:#}");
    kept.stop()?;
    kept.start_at(&jiff_days_from_now(10)?)?;
    let freed = kept.done(&path("prune"), &json!({}))?;
    ensure!(freed["result"]["prune"]["freed_bytes"].as_u64() > Some(LARGE as u64 / 2), "{freed:#}");
    ensure!(size_of(&kept.appliance.repository().join("data"))? < before - LARGE as u64 / 2);
    kept.appliance.ensure_restores(&json!({ "id": second }), &bytes)?;
    kept.appliance.ensure_restores(&json!({"id": made["result"]["point"]}), &content)
}

/// So many days from now, as `ICECORE_NOW` takes it.
fn jiff_days_from_now(days: u64) -> Result<String> {
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(days * 86_400);
    let seconds = i64::try_from(at.duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    let output = std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn size_of(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let (path, metadata) = (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(fs::DirEntry::metadata));
        let (Ok(path), Ok(metadata)) = (path, metadata) else { continue };
        let metadata = metadata?;
        total += if metadata.is_dir() { size_of(&path)? } else { metadata.len() };
    }
    Ok(total)
}

#[test]
fn a_keeper_that_is_killed_in_any_job_does_it_again_and_loses_nothing() -> Result<()> {
    let mut kept = Kept::new(&noise(7, 32 << 20), &asked())?;
    let first = kept.back_up()?;
    let bytes = noise(8, 32 << 20);
    fs::write(&kept.disk, &bytes)?;
    let second = kept.back_up()?;
    kept.stop()?;
    let restored = kept.appliance.dir().join("restores");
    fs::create_dir(&restored)?;
    let allow = ["--restore-to", restored.to_str().context("a path that is text")?];
    let target = restored.join("disk.img");
    let forget = format!("/api/v1/recovery-points/{first}/forget");
    let orders = [
        (path("check"), json!({"read_data": true})),
        (path("verify"), json!({"points": [second], "read_all": true})),
        (path("copy-database"), json!({})),
        (path("prune"), json!({})),
        (forget, json!({})),
        ("/api/v1/restores".to_owned(), json!({"point": second, "target": target, "overwrite": true})),
    ];
    for (order, body) in orders {
        let job = kept.ask(&order, &body)?;
        kept.start(&allow)?;
        let begun = |job: &Value| (job["state"] != "queued").then_some(());
        kept.appliance.until(&format!("/api/v1/jobs/{job}"), begun)?;
        kept.kill()?;
        kept.start(&allow)?;
        // A job that a person asked for is tried again when its keeper came back, or had ended before.
        let ended = kept.ended(&job)?;
        if ended["state"] == "failed" {
            ensure!(ended["error"]["code"] == "agent_lost", "{order}: {ended:#}");
            kept.appliance.post(&format!("/api/v1/jobs/{job}/retry"), &json!({}))?.expect(200)?;
            kept.succeeded(&job).with_context(|| order.clone())?;
        }
        kept.stop()?;
    }
    ensure!(fs::read(&target)? == bytes, "what was restored differs");
    ensure!(kept.live()?.contains(&second) && !kept.live()?.contains(&first));
    let checked = kept.appliance.local(&["check", "--read-data"])?;
    ensure!(
        checked["findings"].as_array().is_some_and(|all| all.iter().all(|one| one["severity"] != "error")),
        "{checked}"
    );
    kept.appliance.ensure_restores(&json!({ "id": second }), &bytes)
}

#[test]
fn a_revoked_keeper_ends_and_another_takes_its_place() -> Result<()> {
    let mut kept = Kept::new(&content(9, 20), &asked())?;
    kept.appliance.post(&format!("/api/v1/agents/{}/revoke", kept.keeper.id), &json!({}))?.expect(204)?;
    let (status, said) = kept.running.take().context("it runs")?.wait()?;
    ensure!(status.code() == Some(4) && said.contains("revoked"), "{status}: {said}");
    let refused = kept.appliance.post(&path("check"), &json!({}))?;
    ensure!(refused.status == 409, "{}", refused.body);
    kept.keeper = kept.appliance.keeper("second")?;
    kept.start(&[])?;
    kept.done(&path("check"), &json!({"read_data": true}))?;
    Ok(())
}

#[test]
fn the_keepers_copy_of_the_database_puts_a_server_back_on_an_empty_machine() -> Result<()> {
    let mut kept = Kept::new(&content(10, 5), &json!({"verify": false, "check_every_s": 0, "prune_every_s": 0}))?;
    let copied = |jobs: &Value| (jobs["items"][0]["state"] == "succeeded").then_some(());
    kept.appliance.until("/api/v1/jobs?kind=copy", copied)?;
    let kit = kept.appliance.dir().join("kit.txt");
    kept.appliance.local(&["key", "recovery-export", "--out", &kit.to_string_lossy()])?;
    kept.stop()?;
    kept.appliance.server.kill()?;
    let mut server = Server::new()?;
    let (repository, kit) = (kept.appliance.repository(), kit.to_string_lossy().into_owned());
    let repository = repository.to_string_lossy().into_owned();
    let output = server.run(&["admin", "recover", "--repo", &repository, "--kit", &kit])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.start()?;
    let request = Request::new("GET", REPOSITORY).token(&kept.appliance.admin);
    let seen = server.send(&request)?.expect(200)?.body;
    ensure!(seen["directory"] == repository.as_str(), "{seen}");
    Ok(())
}

#[test]
fn restores_go_where_the_keepers_command_line_allows_and_nowhere_else() -> Result<()> {
    let bytes = content(11, 40);
    let mut kept = Kept::new(&bytes, &asked())?;
    let point = kept.back_up()?;
    let inside = kept.appliance.dir().join("restores");
    fs::create_dir(&inside)?;
    let restore = |kept: &Kept, target: &Path, more: Value| -> Result<Value> {
        let mut body = json!({"point": point, "target": target});
        body.as_object_mut().context("an object")?.extend(more.as_object().context("an object")?.clone());
        kept.ended(&kept.ask("/api/v1/restores", &body)?)
    };
    let refused = restore(&kept, &inside.join("disk.img"), json!({}))?;
    ensure!(
        refused["error"]["code"] == "refused" && refused["error"].to_string().contains("allowed nowhere"),
        "{refused:#}"
    );
    kept.stop()?;
    kept.start(&["--restore-to", &inside.to_string_lossy()])?;
    let outside = kept.appliance.dir().join("outside.img");
    let refused = restore(&kept, &outside, json!({}))?;
    ensure!(refused["state"] == "failed" && !outside.exists(), "{refused:#}");
    let image = inside.join("disk.img");
    let dry = restore(&kept, &image, json!({"dry_run": true}))?;
    ensure!(dry["result"]["restore"]["target_bytes"] == bytes.len() && !image.exists(), "{dry:#}");
    let done = restore(&kept, &image, json!({}))?;
    ensure!(done["state"] == "succeeded" && fs::read(&image)? == bytes, "{done:#}");
    let exists = restore(&kept, &image, json!({}))?;
    ensure!(exists["state"] == "failed", "nothing is written over: {exists:#}");
    let delta = restore(&kept, &image, json!({"delta": true, "overwrite": true}))?;
    ensure!(delta["result"]["restore"]["written_bytes"] == 0, "{delta:#}");
    let qcow2 = inside.join("disk.qcow2");
    let export = restore(&kept, &qcow2, json!({"format": "qcow2"}))?;
    ensure!(export["state"] == "succeeded" && fs::read(&qcow2)?.starts_with(b"QFI\xfb"), "{export:#}");
    Ok(())
}
