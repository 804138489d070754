//! One private `icecore-server` with a data directory of its own, on a free port of the loopback.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::http::{Request, Response};
use crate::server_program;

/// Before the URL in the line that a server prints once it takes connections.
const LISTENS: &str = "icecore-server listens on ";

/// A server; it is killed when this is dropped.
pub struct Server {
    dir: TempDir,
    settings: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, String)>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// Kept open: a server that prints into a closed pipe would fail.
    _stdout: BufReader<ChildStdout>,
    url: String,
    link: Option<String>,
}

impl Server {
    /// A server that was not started yet. Its passwords are hashed cheaply.
    pub fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("icecore-server-e2e-")?;
        std::fs::write(dir.path().join("server.toml"), "log_filter = \"warn\"\n")?;
        let settings = vec![
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("TLS", "off".to_owned()),
            ("PASSWORD_MEMORY_KIB", "64".to_owned()),
            ("DATA_DIR", dir.path().join("data").display().to_string()),
        ];
        Ok(Self { dir, settings, environment: Vec::new(), running: None })
    }

    /// A server that runs.
    pub fn started() -> Result<Self> {
        let mut server = Self::new()?;
        server.start()?;
        Ok(server)
    }

    /// Sets a key of its configuration by environment, from the next start on.
    pub fn set(&mut self, key: &'static str, value: &str) {
        self.settings.push((key, value.to_owned()));
    }

    /// Sets a variable of its environment that is no key of the configuration, from the next start on.
    pub fn environment(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The program with this server's configuration, ready for arguments. Nothing of the caller's own settings reaches it.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Command> {
        let mut command = Command::new(server_program()?);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
            command.env_remove(name);
        }
        command.env("ICECORE_SERVER_CONFIG", self.dir.path().join("server.toml"));
        command.envs(self.settings.iter().map(|(key, value)| (format!("ICECORE_SERVER_{key}"), value)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(args).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs one command to its end.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.command(args)?.output().context("cannot start icecore-server")
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&mut self) -> Result<()> {
        let mut child =
            self.command(["serve"])?.stdout(Stdio::piped()).spawn().context("cannot start icecore-server")?;
        let mut stdout = BufReader::new(child.stdout.take().context("it was started with a pipe")?);
        let mut link = None;
        let url = loop {
            let mut line = String::new();
            if stdout.read_line(&mut line)? == 0 {
                bail!("icecore-server ended before it took connections: {}", child.wait()?);
            }
            if let Some(url) = line.strip_prefix(LISTENS) {
                break url.trim().to_owned();
            }
            if let Some((_, secret)) = line.split_once("/log-in#") {
                link = Some(secret.trim().to_owned());
            }
        };
        self.running = Some(Running { child, _stdout: stdout, url, link });
        Ok(())
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the server does not run")
    }

    /// Host and port.
    pub fn address(&self) -> Result<String> {
        let url = &self.running()?.url;
        Ok(url.split_once("://").map_or(url.as_str(), |(_, address)| address).to_owned())
    }

    /// Secret of the link that the last start printed.
    pub fn link(&self) -> Result<String> {
        self.running()?.link.clone().context("the server printed no link")
    }

    /// Sends a request.
    pub fn send(&self, request: &Request) -> Result<Response> {
        request.send(&self.address()?)
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.child.id())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid()?)?), signal)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the server does not run")?;
        Ok(running.child.wait()?)
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait()?;
        if !status.success() {
            bail!("icecore-server ended with {status}");
        }
        Ok(())
    }

    /// Kills it as a power cut would, but for what the kernel has taken.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait().map(drop)
    }

    /// The directory with everything of it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // It may have ended by itself.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
