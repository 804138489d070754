//! A server with one repository, and the machines and people that use it: what the tests of the network side begin with.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Request, Response};
use crate::{Server, capture, icecore_program};

/// Bytes of a chunk.
pub const CHUNK: usize = 65536;
/// Passphrase of every repository.
pub const PASSPHRASE: &str = "correct horse";
/// What the admin's token may.
const RIGHTS: [&str; 7] = ["read", "operate", "restore", "agents", "users", "audit", "settings"];
/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Password of every account.
pub const PASSWORD: &str = "correct horse battery";

/// A server with one repository, and the machines that store into it.
pub struct Appliance {
    /// The server.
    pub server: Server,
    dir: TempDir,
    /// A token of an admin.
    pub admin: String,
}

/// A machine: its writer key and the secret that lets it in.
pub struct Machine {
    /// Its name at the server.
    pub name: String,
    /// Its writer key.
    pub key_file: PathBuf,
    /// What lets it in.
    pub secret: String,
    /// Its id at the server.
    pub id: String,
    /// The writer that its key is of.
    pub writer: String,
}

impl Appliance {
    /// With a new server and repository.
    pub fn new() -> Result<Self> {
        Self::with(&[])
    }

    /// The same with settings of the server. Its address stays the same when it is started again.
    pub fn with(settings: &[(&'static str, &str)]) -> Result<Self> {
        Self::new_in(&std::env::temp_dir(), settings)
    }

    /// The same, with the repository and everything of the machines below a directory.
    pub fn new_in(directory: &Path, settings: &[(&'static str, &str)]) -> Result<Self> {
        let (mut server, dir) = (Server::new()?, TempDir::with_prefix_in("icecore-remote-", directory)?);
        settings.iter().for_each(|(key, value)| server.set(key, value));
        server.start()?;
        // A free port may be another one at the next start.
        let address = server.address()?;
        server.set("LISTEN", &address);
        let body = json!({"secret": server.link()?, "name": "ada", "password": "correct horse battery"});
        let redeemed = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
        let admin = token(&server, &redeemed, &RIGHTS)?;
        let this = Self { server, dir, admin };
        this.local(&["init"])?;
        this.post("/api/v1/repositories", &json!({"name": "main", "directory": this.repository()}))?.expect(201)?;
        Ok(this)
    }

    /// Directory of the repository.
    pub fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    /// Posts as an admin.
    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.server.send(&Request::new("POST", path).token(&self.admin).json(body))
    }

    /// Asks as an admin for what must be there.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(self.server.send(&Request::new("GET", path).token(&self.admin))?.expect(200)?.body)
    }

    /// Asks again and again until `wanted` finds what it looks for.
    pub fn until<T>(&self, path: &str, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.get(path)?;
            if let Some(found) = wanted(&seen) {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "it did not come about in time: {seen:#}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Starts a machine's agent.
    pub fn agent(&self, machine: &Machine) -> Result<Agent> {
        Agent::start(self.remote(machine, &["agent", "run", "--host", &machine.name])?, machine)
    }

    /// Makes this machine's own agent the keeper of the repository, by the line that `admin enroll-keeper` prints.
    pub fn keeper(&self, name: &str) -> Result<Machine> {
        let printed = self.server.run(&["admin", "enroll-keeper", "main", "--name", name])?;
        ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let line = String::from_utf8(printed.stdout)?;
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let directory = self.dir.path().join(name);
        let mut command = self.command()?;
        command.env("ICECORE_AGENT_DIR", &directory).env("ICECORE_PASSPHRASE", PASSPHRASE).arg("--json").args(words);
        let enrolled: Value = serde_json::from_slice(&capture(&mut command)?.stdout)?;
        let id = enrolled["agent"].as_str().context("an enrolment says who one is")?.to_owned();
        let secret = fs::read_to_string(directory.join("token"))?.trim().to_owned();
        let agent = self.get(&format!("/api/v1/agents/{id}"))?;
        let writer = agent["writer"].as_str().context("an agent has a writer")?.to_owned();
        Ok(Machine { name: name.into(), key_file: directory.join("repository.key"), secret, id, writer })
    }

    /// The keeper's service, ready for options; it needs nothing but its enrolment.
    pub fn keeper_command(&self, keeper: &Machine) -> Result<Command> {
        let mut command = self.command()?;
        command.env("ICECORE_AGENT_DIR", self.dir.path().join(&keeper.name)).args(["agent", "run"]);
        Ok(command)
    }

    /// `icecore` with nothing of the caller's own settings.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(icecore_program()?);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
            command.env_remove(name);
        }
        command.env("ICECORE_INDEX_DIR", self.dir.path().join("index")).current_dir(self.dir.path());
        Ok(command)
    }

    /// `icecore` beside the repository, with the passphrase.
    pub fn local(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command()?;
        command.env("ICECORE_REPO", self.repository()).env("ICECORE_PASSPHRASE", PASSPHRASE).arg("--json").args(args);
        let output = capture(&mut command)?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// A machine that may store.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let key_file = self.dir.path().join(format!("{name}.key"));
        let exported = self.local(&["key", "writer-export", "--out", &key_file.to_string_lossy(), "--label", name])?;
        let writer = exported["writer"].as_str().context("an export names its writer")?;
        let body = json!({"name": name, "repository": "main", "writer": writer});
        let made = self.post("/api/v1/agents", &body)?.expect(201)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("an agent has an id and a secret");
        let (secret, id) = (text(&made.body["secret"])?, text(&made.body["agent"]["id"])?);
        Ok(Machine { name: name.into(), key_file, secret, id, writer: writer.to_owned() })
    }

    /// `icecore` on a machine, over the server.
    pub fn remote(&self, machine: &Machine, args: &[&str]) -> Result<Command> {
        let mut command = self.command()?;
        command.env("ICECORE_INDEX_DIR", machine.key_file.with_extension("index"));
        command.env("ICECORE_REPO", format!("http://{}/main", self.server.address()?));
        command.env("ICECORE_TOKEN", &machine.secret).env("ICECORE_WRITER_KEY", &machine.key_file);
        command.arg("--json").args(args);
        Ok(command)
    }

    /// Backs up over the server.
    pub fn backup(&self, machine: &Machine, disk: &Path, name: &str) -> Result<Value> {
        let output = capture(&mut self.remote(machine, &["backup", &disk.to_string_lossy(), "--name", name])?)?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Restores a point beside the repository and compares.
    pub fn ensure_restores(&self, point: &Value, content: &[u8]) -> Result<()> {
        let target = self.dir.path().join("restored");
        let id = point["id"].as_str().context("a point has an id")?;
        self.local(&["restore", id, "--to", &target.to_string_lossy()])?;
        ensure!(fs::read(&target)? == content, "what was restored differs");
        Ok(fs::remove_file(target)?)
    }

    /// A file with this content.
    pub fn disk(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Makes an account with [`PASSWORD`].
    pub fn person(&self, name: &str, role: &str) -> Result<()> {
        let made = self.post("/api/v1/users", &json!({"name": name, "role": role}))?.expect(201)?;
        let secret = made.body["log_in_link"]["secret"].as_str().context("an account is made with a link")?;
        let body = json!({"secret": secret, "password": PASSWORD});
        self.server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
        Ok(())
    }

    /// A token with these rights for somebody who has an account with [`PASSWORD`].
    pub fn token_of(&self, name: &str, rights: &[&str]) -> Result<String> {
        let body = json!({"name": name, "password": PASSWORD});
        let session = self.server.send(&Request::new("POST", "/api/v1/session").json(&body))?.expect(201)?;
        token(&self.server, &session, rights)
    }

    /// `icecore` as a person at a machine of their own, who knows the passphrase.
    pub fn at_home(&self, name: &str, args: &[&str]) -> Result<Command> {
        let mut command = self.home(name)?;
        command.arg("--json").args(args);
        Ok(command)
    }

    /// The same without arguments.
    pub fn home(&self, name: &str) -> Result<Command> {
        let home = self.dir.path().join(format!("home-{name}"));
        fs::create_dir_all(&home)?;
        let mut command = self.command()?;
        command.env("HOME", &home).env("ICECORE_INDEX_DIR", home.join("index")).env_remove("XDG_CONFIG_HOME");
        command.env("ICECORE_PASSPHRASE", PASSPHRASE).env("ICECORE_PASSWORD", PASSWORD).env("ICECORE_PATIENCE", "5");
        Ok(command)
    }

    /// A directory that goes with this.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A token of whoever just logged in.
fn token(server: &Server, session: &Response, rights: &[&str]) -> Result<String> {
    let cookie = session.header("set-cookie").split(';').next().unwrap_or_default();
    let csrf = session.body["csrf_token"].as_str().context("a log-in answers with a CSRF token")?;
    let body = json!({"name": "test", "rights": rights, "expires_at": "2027-11-01T00:00:00Z"});
    let request = Request::new("POST", "/api/v1/tokens").header("cookie", cookie).header("x-csrf-token", csrf);
    let made = server.send(&request.json(&body))?.expect(201)?;
    Ok(made.body["secret"].as_str().context("a token's secret is shown once")?.to_owned())
}

/// A machine's agent; it is killed when this is dropped.
pub struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts it by a command, and keeps what it says beside the machine's key.
    pub fn start(mut command: Command, machine: &Machine) -> Result<Self> {
        command.env("ICECORE_STATE_DIR", machine.key_file.with_extension("state"));
        let log = machine.key_file.with_extension("log");
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command.stdin(Stdio::null()).stderr(output).spawn()?;
        Ok(Self { child, log })
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the agent ended with {status}: {}", self.said()?);
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        Ok((status, self.said()?))
    }

    /// What it wrote so far, also in earlier lives.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chunks that each differ, and some zeroes.
pub fn content(seed: usize, chunks: usize) -> Vec<u8> {
    let byte = |chunk: usize, at: usize| match chunk % 5 {
        4 => 0,
        _ => u8::try_from((at / 7 + chunk * 31 + seed * 97 + (at * at) % 251) % 251).unwrap_or_default(),
    };
    (0..chunks * CHUNK).map(|at| byte(at / CHUNK, at % CHUNK)).collect()
}

/// Bytes that cannot be compressed, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Whether a program ended with a code and said something.
pub fn says(output: &Output, code: i32, words: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code) && text.contains(words), "{}: {text}", output.status);
    Ok(())
}
