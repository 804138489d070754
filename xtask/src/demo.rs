//! The demo of `cargo xtask run --demo`: a sample machine with weeks of history.
//!
//! Nothing is painted: every job ran and every recovery point was backed up by the real programs. Only their clock was moved, by
//! libfaketime, so that the weeks take minutes. One morning the machine's disk was away.

mod fast_clock;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use e2e::MIB;
use e2e::http::Request;
use serde_json::{Value, json};

use crate::interrupt;
use crate::tour::{day, sample};
use crate::trial::{REPOSITORY, Running, Server, Trial};
pub use fast_clock::FastClock;

/// Name of the sample machine, its plan and its recovery points.
const MACHINE: &str = "harbour";
/// Name of the account.
const PERSON: &str = "demo";
/// Size of the files that come each day.
const NEW_FILE_BYTES: u64 = MIB;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// When in the day its plan runs, in UTC.
const RUNS_AT: Duration = Duration::from_secs(2 * 3600);
/// So long before a run the clock is set: what reads it sees a new time within a second.
const BEFORE: Duration = Duration::from_secs(4);
/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Written when the history is whole.
const WHOLE: &str = "demo-is-whole";

/// What happens to the sample machine.
#[derive(Clone, Copy)]
pub struct Story {
    /// Nights in which it is backed up.
    nights: u32,
    /// The night in which its disk is away.
    disk_away: u32,
    disk_bytes: u64,
}

/// What `--demo` shows.
pub const WEEKS: Story = Story { nights: 24, disk_away: 15, disk_bytes: 512 * MIB };

/// Makes the history where there is none.
pub fn prepare(trial: &mut Trial, story: Story) -> Result<()> {
    if trial.path(WHOLE).is_file() {
        return Ok(());
    }
    // Half a history is begun anew.
    trial.delete()?;
    trial.make_repository()?;
    eprintln!("Making {} days of history: some seconds for each day", story.nights);
    trial.clock = Some(FastClock::new(&trial.path("clock"))?);
    let made = History::begin(trial, story).and_then(|mut history| history.play());
    trial.clock = None;
    made?;
    Ok(fs::write(trial.path(WHOLE), "")?)
}

/// Starts the sample machine's agent.
pub fn start_machine(trial: &Trial) -> Result<Running> {
    let secret = fs::read_to_string(trial.path("sample/token")).context("the sample machine has lost its token")?;
    let mut command = trial.icecore_command();
    command.env("ICECORE_AGENT_DIR", trial.path("sample")).env("ICECORE_INDEX_DIR", trial.path("sample/index"));
    command.env("ICECORE_STATE_DIR", trial.path("sample/state")).env("ICECORE_TOKEN", secret.trim());
    command.env("ICECORE_WRITER_KEY", trial.path("sample/writer.key"));
    command.env("ICECORE_REPO", format!("http://127.0.0.1:{}/{REPOSITORY}", trial.port));
    command.args(["agent", "run", "--host", MACHINE]);
    Ok(Running(command.spawn().context("cannot start the sample machine's agent")?))
}

/// How to get in.
pub fn tell(trial: &Trial) -> Result<()> {
    let password = fs::read_to_string(trial.path("password"))?;
    println!(
        "Log in as `{PERSON}` with the password {password}\nThe machine `{MACHINE}` is a sample: its disk is the file {}.\n",
        disk(trial).display()
    );
    Ok(())
}

fn disk(trial: &Trial) -> PathBuf {
    trial.path("sample/disk.img")
}

/// A history that is being made.
struct History<'t> {
    trial: &'t Trial,
    clock: &'t FastClock,
    story: Story,
    /// The first night's run.
    first: SystemTime,
    sample: sample::Sample,
    // They end before the server does.
    _agents: [Running; 2],
    server: Server,
    token: String,
    plan: String,
}

impl<'t> History<'t> {
    fn begin(trial: &'t Trial, story: Story) -> Result<Self> {
        let clock = trial.clock.as_ref().context("the clock was made before")?;
        let first = last_run(SystemTime::now())? - DAY * story.nights.saturating_sub(1);
        clock.set(first - Duration::from_secs(3600))?;
        fs::create_dir_all(trial.path("sample"))?;
        let sample = sample::make(&trial.path("sample"), story.disk_bytes)?;
        let server = trial.start_server()?;
        trial.enrol()?;
        let keeper = trial.start_keeper()?;
        let token = make_account(trial, &server, first + DAY * (story.nights + 30))?;
        let agent_id = make_machine(trial, &server, &token)?;
        let plan = json!({"name": MACHINE, "agent_id": agent_id, "work": {"sources": {"paths": [disk(trial)]}},
            "when": {"cron": "0 2 * * *"}, "keep": {"daily": 14, "weekly": 8, "minimum": 3}, "retries": {"count": 0}});
        let made = server.send(&Request::new("POST", "/api/v1/plans").token(&token).json(&plan))?.expect(201)?;
        let plan = text(&made.body["id"])?;
        let agents = [start_machine(trial)?, keeper];
        Ok(Self { trial, clock, story, first, sample, _agents: agents, server, token, plan })
    }

    fn play(&mut self) -> Result<()> {
        for night in 0..self.story.nights {
            interrupt::check()?;
            if night > 0 {
                day::pass(&self.sample.image, &self.trial.path("sample"), (night, NEW_FILE_BYTES))?;
            }
            let (here, away) = (disk(self.trial), self.trial.path("sample/disk.away"));
            let is_away = night == self.story.disk_away;
            if is_away {
                fs::rename(&here, &away)?;
            }
            self.clock.set(self.first + DAY * night - BEFORE)?;
            let ended = self.wait_for_run(night);
            if is_away {
                fs::rename(&away, &here)?;
            }
            let ended = ended?;
            let expected = if is_away { "failed" } else { "succeeded" };
            ensure!(ended["state"] == expected, "the backup of night {night} came to something else: {ended:#}");
            eprintln!(
                "· {} of {}: {}",
                night + 1,
                self.story.nights,
                if is_away { "the disk was away" } else { "backed up" }
            );
            self.wait_until_idle()?;
        }
        // What the keeper does by the clock, it does now.
        self.clock.set(SystemTime::now())?;
        std::thread::sleep(BEFORE);
        self.wait_until_idle()
    }

    /// The run of a night, when it has ended.
    fn wait_for_run(&self, night: u32) -> Result<Value> {
        let path = format!("/api/v1/jobs?plan_id={}&limit=500", self.plan);
        self.until(&path, |page| {
            let ended: Vec<&Value> = page["items"].as_array()?.iter().filter(|job| has_ended(job)).collect();
            (ended.len() > night as usize).then(|| ended.first().copied().cloned()).flatten()
        })
    }

    /// A clock that jumps ends leases, so nothing may be under way.
    fn wait_until_idle(&self) -> Result<()> {
        self.until("/api/v1/jobs?limit=100", |page| page["items"].as_array()?.iter().all(has_ended).then_some(()))
    }

    fn until<T>(&self, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            interrupt::check()?;
            let seen = self.server.send(&Request::new("GET", path).token(&self.token))?.expect(200)?.body;
            if let Some(found) = wanted(&seen) {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "it did not come about in time: {seen:#}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn has_ended(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("succeeded" | "failed" | "cancelled"))
}

/// The last time that the plan would have run.
fn last_run(now: SystemTime) -> Result<SystemTime> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).context("this machine's clock is before 1970")?;
    let Some(since_a_run) = since.checked_sub(RUNS_AT) else { bail!("this machine's clock is in 1970") };
    let late = Duration::from_secs(since_a_run.as_secs() % DAY.as_secs());
    // A night that is too near would have to be waited for.
    let late = if late < Duration::from_secs(60) { late + DAY } else { late };
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()) - late)
}

/// Makes the account and a token of it; its password is kept beside everything else.
fn make_account(trial: &Trial, server: &Server, until: SystemTime) -> Result<String> {
    let link = server.link.as_deref().context("a server without an account prints a link for the first one")?;
    let secret = link.rsplit_once('#').map(|(_, secret)| secret).context("the link has a secret")?;
    let password = crate::trial::random_hex()?;
    let body = json!({"secret": secret, "name": PERSON, "password": password});
    let redeemed = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
    crate::trial::write_private(&trial.path("password"), &password)?;
    let cookie = redeemed.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let csrf = text(&redeemed.body["csrf_token"])?;
    let rights = ["read", "operate", "restore", "agents", "users", "audit", "settings"];
    let body = json!({"name": "history", "rights": rights, "expires_at": rfc3339(until)?});
    let ask = Request::new("POST", "/api/v1/tokens").header("cookie", &cookie).header("x-csrf-token", &csrf);
    text(&server.send(&ask.json(&body))?.expect(201)?.body["secret"])
}

/// Makes the sample machine: its key and its place at the server. Returns its id there.
fn make_machine(trial: &Trial, server: &Server, token: &str) -> Result<String> {
    let mut export: Command = trial.icecore_command();
    export.arg("--repo").arg(trial.path("repository")).arg("--passphrase-file").arg(trial.path("passphrase"));
    export.args(["--json", "key", "writer-export", "--label", MACHINE, "--out"]).arg(trial.path("sample/writer.key"));
    let exported: Value = serde_json::from_slice(&e2e::capture(&mut export)?.stdout)?;
    let body = json!({"name": MACHINE, "repository": REPOSITORY, "writer": exported["writer"]});
    let made = server.send(&Request::new("POST", "/api/v1/agents").token(token).json(&body))?.expect(201)?;
    crate::trial::write_private(&trial.path("sample/token"), &text(&made.body["secret"])?)?;
    text(&made.body["agent"]["id"])
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}

/// A time as the API takes it.
fn rfc3339(at: SystemTime) -> Result<String> {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let output = e2e::capture(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{seconds}")]))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_history_is_of_as_many_days_and_goes_on_by_the_real_clock() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("demo");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (icecore, server) = (e2e::icecore_program().unwrap(), e2e::server_program().unwrap());
        let mut trial = Trial { icecore, server, directory, port, clock: None };
        let story = Story { nights: 3, disk_away: 1, disk_bytes: 256 * MIB };
        // A night that comes while this runs is none of the history.
        let began = rfc3339(SystemTime::now()).unwrap();
        prepare(&mut trial, story).unwrap();
        let server = trial.start_server().unwrap();
        let machine = start_machine(&trial).unwrap();
        let password = fs::read_to_string(trial.path("password")).unwrap();
        let body = json!({"name": PERSON, "password": password});
        let session = server.send(&Request::new("POST", "/api/v1/session").json(&body)).unwrap().expect(201).unwrap();
        let cookie = session.header("set-cookie").split(';').next().unwrap().to_owned();
        let get = |path: &str| {
            server.send(&Request::new("GET", path).header("cookie", &cookie)).unwrap().expect(200).unwrap().body
        };
        let jobs = get("/api/v1/jobs?limit=500");
        let is_history = |at: &Value| at.as_str().is_some_and(|at| at < began.as_str());
        let backups = jobs["items"].as_array().unwrap().iter();
        let backups = backups.filter(|job| job["kind"] == "backup" && is_history(&job["ended_at"]));
        let ended: Vec<(&str, bool)> =
            backups.map(|job| (&job["ended_at"].as_str().unwrap()[..13], job["state"] == "failed")).collect();
        assert_eq!(ended.iter().map(|(_, failed)| *failed).collect::<Vec<_>>(), [false, true, false]);
        let nights: BTreeSet<&str> = ended.iter().map(|(at, _)| *at).collect();
        assert!(nights.len() == 3 && nights.iter().all(|night| night.ends_with("T02")), "one each night: {nights:?}");
        let points = get("/api/v1/recovery-points");
        let of_machine = points["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|point| point["agent"] == MACHINE && is_history(&point["received_at"]))
            .count();
        assert_eq!(of_machine, 2, "{points}");
        // And it goes on: the machine is heard of by the real clock.
        let now = rfc3339(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let is_here = |agent: &Value| {
            agent["name"] == MACHINE && agent["last_seen_at"].as_str().is_some_and(|seen| seen > now.as_str())
        };
        let until = Instant::now() + PATIENCE;
        while !get("/api/v1/agents")["items"].as_array().unwrap().iter().any(is_here) {
            assert!(Instant::now() < until, "the machine does not come");
            std::thread::sleep(LOOK_EVERY);
        }
        drop((machine, server));
        let made_at = |trial: &Trial| fs::metadata(trial.path("repository/config")).unwrap().modified().unwrap();
        let before = made_at(&trial);
        prepare(&mut trial, story).unwrap();
        assert_eq!(made_at(&trial), before, "it was whole");
    }

    #[test]
    fn the_last_run_is_two_in_the_morning_and_not_just_now() {
        let at = |hours: u64, seconds: u64| {
            SystemTime::UNIX_EPOCH + DAY * 20_000 + Duration::from_secs(hours * 3600 + seconds)
        };
        assert_eq!(last_run(at(15, 7)).unwrap(), at(2, 0));
        assert_eq!(last_run(at(2, 60)).unwrap(), at(2, 0));
        assert_eq!(last_run(at(2, 59)).unwrap(), at(2, 0) - DAY);
        assert_eq!(last_run(at(1, 0)).unwrap(), at(2, 0) - DAY);
    }

    #[test]
    fn a_time_is_written_as_the_api_takes_it() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + DAY * 20_000).unwrap(), "2024-10-04T00:00:00Z");
    }
}
