//! `icecore --repo http://…` against the real server: a machine that can only add, cuts and restarts in the middle, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::http::{Request, Response};
use e2e::{Server, capture, icecore_program};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHUNK: usize = 65536;
const PASSPHRASE: &str = "correct horse";

/// A server with one repository, and the machines that store into it.
struct Appliance {
    server: Server,
    dir: TempDir,
    admin: String,
}

/// A machine: its writer key and the secret that lets it in.
struct Machine {
    key_file: PathBuf,
    secret: String,
    id: String,
}

impl Appliance {
    fn new() -> Result<Self> {
        let (server, dir) = (Server::started()?, TempDir::with_prefix("icecore-remote-")?);
        let body = json!({"secret": server.link()?, "name": "ada", "password": "correct horse battery"});
        let redeemed = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
        let cookie = redeemed.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let csrf = redeemed.body["csrf_token"].as_str().context("a log-in answers with a CSRF token")?.to_owned();
        let body = json!({"name": "test", "rights": ["read", "agents"], "expires_at": "2027-11-01T00:00:00Z"});
        let request = Request::new("POST", "/api/v1/tokens").header("cookie", &cookie).header("x-csrf-token", &csrf);
        let made = server.send(&request.json(&body))?.expect(201)?;
        let admin = made.body["secret"].as_str().context("a token's secret is shown once")?.to_owned();
        let this = Self { server, dir, admin };
        this.local(&["init"])?;
        this.post("/api/v1/repositories", &json!({"name": "main", "directory": this.repository()}))?.expect(201)?;
        Ok(this)
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.server.send(&Request::new("POST", path).token(&self.admin).json(body))
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(icecore_program()?);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
            command.env_remove(name);
        }
        command.env("ICECORE_INDEX_DIR", self.dir.path().join("index")).current_dir(self.dir.path());
        Ok(command)
    }

    /// `icecore` beside the repository, with the passphrase.
    fn local(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command()?;
        command.env("ICECORE_REPO", self.repository()).env("ICECORE_PASSPHRASE", PASSPHRASE).arg("--json").args(args);
        let output = capture(&mut command)?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// A machine that may store.
    fn machine(&self, name: &str) -> Result<Machine> {
        let key_file = self.dir.path().join(format!("{name}.key"));
        let exported = self.local(&["key", "writer-export", "--out", &key_file.to_string_lossy(), "--label", name])?;
        let writer = exported["writer"].as_str().context("an export names its writer")?;
        let body = json!({"name": name, "repository": "main", "writer": writer});
        let made = self.post("/api/v1/agents", &body)?.expect(201)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("an agent has an id and a secret");
        Ok(Machine { key_file, secret: text(&made.body["secret"])?, id: text(&made.body["agent"]["id"])? })
    }

    /// `icecore` on a machine, over the server.
    fn remote(&self, machine: &Machine, args: &[&str]) -> Result<Command> {
        let mut command = self.command()?;
        command.env("ICECORE_INDEX_DIR", machine.key_file.with_extension("index"));
        command.env("ICECORE_REPO", format!("http://{}/main", self.server.address()?));
        command.env("ICECORE_TOKEN", &machine.secret).env("ICECORE_WRITER_KEY", &machine.key_file);
        command.arg("--json").args(args);
        Ok(command)
    }

    fn backup(&self, machine: &Machine, disk: &Path, name: &str) -> Result<Value> {
        let output = capture(&mut self.remote(machine, &["backup", &disk.to_string_lossy(), "--name", name])?)?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn ensure_restores(&self, point: &Value, content: &[u8]) -> Result<()> {
        let target = self.dir.path().join("restored");
        let id = point["id"].as_str().context("a point has an id")?;
        self.local(&["restore", id, "--to", &target.to_string_lossy()])?;
        ensure!(fs::read(&target)? == content, "what was restored differs");
        Ok(fs::remove_file(target)?)
    }

    fn disk(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

/// Chunks that each differ, and some zeroes.
fn content(seed: usize, chunks: usize) -> Vec<u8> {
    let byte = |chunk: usize, at: usize| match chunk % 5 {
        4 => 0,
        _ => u8::try_from((at / 7 + chunk * 31 + seed * 97 + (at * at) % 251) % 251).unwrap_or_default(),
    };
    (0..chunks * CHUNK).map(|at| byte(at / CHUNK, at % CHUNK)).collect()
}

fn says(output: &Output, code: i32, words: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code) && text.contains(words), "{}: {text}", output.status);
    Ok(())
}

#[test]
fn a_machine_backs_up_over_the_server_and_the_owner_restores() -> Result<()> {
    let appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let mut bytes = content(1, 100);
    let disk = appliance.disk("disk", &bytes)?;
    let first = appliance.backup(&web, &disk, "web")?;
    ensure!(first["kind"] == "full", "{first}");
    bytes[3 * CHUNK..4 * CHUNK].fill(7);
    fs::write(&disk, &bytes)?;
    // What the machine knew is gone; the server knows what is stored.
    fs::remove_dir_all(web.key_file.with_extension("index"))?;
    let second = appliance.backup(&web, &disk, "web")?;
    let stored = |point: &Value| point["bytes_stored"].as_u64().context("a point says what it stored");
    ensure!(stored(&second)? * 5 < stored(&first)?, "{first}\n{second}");
    appliance.ensure_restores(&second, &bytes)?;
    appliance.ensure_restores(&first, &content(1, 100))?;
    let listed = capture(&mut appliance.remote(&web, &["list"])?)?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    ensure!(listed.as_array().is_some_and(|points| points.len() == 2), "{listed}");
    let checked = appliance.local(&["check", "--read-data"])?;
    ensure!(checked["errors"].as_array().is_none_or(Vec::is_empty), "{checked}");
    Ok(())
}

#[test]
fn machines_see_nothing_of_each_other_and_neither_reads_nor_deletes() -> Result<()> {
    let appliance = Appliance::new()?;
    let (web, mail) = (appliance.machine("web")?, appliance.machine("mail")?);
    let disk = appliance.disk("disk", &content(1, 30))?;
    let point = appliance.backup(&web, &disk, "web")?;
    let seen = capture(&mut appliance.remote(&mail, &["list"])?)?;
    ensure!(serde_json::from_slice::<Value>(&seen.stdout)? == json!([]));
    let to = appliance.dir.path().join("out").to_string_lossy().into_owned();
    for machine in [&web, &mail] {
        ensure!(!appliance.remote(machine, &["restore", "latest", "--to", &to])?.output()?.status.success());
        ensure!(!appliance.remote(machine, &["forget", "web@1"])?.output()?.status.success());
        ensure!(!appliance.remote(machine, &["prune"])?.output()?.status.success());
    }
    let taken = appliance.remote(&mail, &["backup", &disk.to_string_lossy(), "--name", "web"])?.output()?;
    says(&taken, 4, "choose another name")?;
    appliance.ensure_restores(&point, &content(1, 30))
}

#[test]
fn what_does_not_belong_to_a_machine_is_refused_with_what_lifts_it() -> Result<()> {
    let appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let disk = appliance.disk("disk", &content(1, 5))?.to_string_lossy().into_owned();
    let backup = ["backup", disk.as_str(), "--name", "web"];
    let with = |variable: &str, value: &str| -> Result<Output> {
        let mut command = appliance.remote(&web, &backup)?;
        Ok(command.env("ICECORE_PATIENCE", "1").env(variable, value).output()?)
    };
    says(&with("ICECORE_TOKEN", "")?, 4, "--token-file")?;
    says(&with("ICECORE_TOKEN", "ica_00")?, 4, "no agent's secret")?;
    says(&with("ICECORE_TOKEN", &appliance.admin)?, 4, "no agent's secret")?;
    let address = appliance.server.address()?;
    let at = |path: &str| format!("http://{address}/{path}");
    says(&with("ICECORE_REPO", &at("other"))?, 5, "no Icecore repository")?;
    says(&with("ICECORE_REPO", &at(""))?, 2, "https://SERVER/REPOSITORY")?;
    says(&with("ICECORE_REPO", "http://192.0.2.1/main")?, 2, "use https://")?;
    says(&with("ICECORE_REPO", "http://127.0.0.1:1/main")?, 1, "cannot be reached")?;
    appliance
        .server
        .send(
            &Request::new("POST", &format!("/api/v1/agents/{}/revoke", web.id))
                .token(&appliance.admin)
                .json(&json!({})),
        )?
        .expect(204)?;
    says(&with("ICECORE_QUIET", "")?, 4, "was revoked")
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_no_backup_and_none_fails() -> Result<()> {
    const ROUNDS: usize = 6;
    let mut appliance = Appliance::new()?;
    // A free port may be another one at the next start.
    let address = appliance.server.address()?;
    appliance.server.set("LISTEN", &address);
    let web = appliance.machine("web")?;
    let mut points = Vec::new();
    for round in 0..ROUNDS {
        let bytes = content(round + 10, 600);
        let disk = appliance.disk(&format!("disk-{round}"), &bytes)?;
        let child = appliance
            .remote(&web, &["backup", &disk.to_string_lossy(), "--name", &format!("web-{round}")])?
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        // At another place each round: during the first requests, the packs, the manifest, or after the end.
        std::thread::sleep(Duration::from_millis(30 + 90 * u64::try_from(round)?));
        appliance.server.kill()?;
        appliance.server.start()?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        points.push((serde_json::from_slice::<Value>(&output.stdout)?, bytes));
    }
    for (point, bytes) in &points {
        appliance.ensure_restores(point, bytes)?;
    }
    let leases = fs::read_dir(appliance.repository().join("leases"))?.count();
    ensure!(leases == 0, "{leases} leases are left");
    Ok(())
}
