//! The whole appliance on this machine, to try it: the server with its page on the loopback, a repository, and its own agent.
//!
//! Everything is in one directory, which survives: the next start goes on where this one ended. What makes it a trial and no
//! installation: no TLS, no other machine reaches it, and the passphrase lies beside the repository.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::http::{Request, Response};

use crate::demo::{self, FastClock};
use crate::{interrupt, page, setup, workspace};

/// Options of the trial.
#[derive(clap::Args)]
#[group(skip)]
pub struct Options {
    /// Begin anew: delete what earlier trials left, their backups included
    #[arg(long)]
    fresh: bool,
    /// With a sample machine that has some weeks of history, backed up in some minutes while the clock goes faster
    #[arg(long)]
    demo: bool,
    /// Port on the loopback
    #[arg(long, default_value_t = 8480)]
    port: u16,
}

/// Marks a directory as one of ours, which may be deleted.
const MARK: &str = "icecore-trial";
/// Name of the repository at the server.
pub const REPOSITORY: &str = "main";
const LISTENS: &str = "icecore-server listens on ";
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Builds, starts, and goes on until Ctrl-C.
pub fn run(options: &Options, consent: setup::Consent) -> Result<()> {
    setup::install(if options.demo { setup::Purpose::Demo } else { setup::Purpose::Page }, consent)?;
    page::build_or_go_on();
    eprintln!("Building icecore and icecore-server in release (some minutes the first time)");
    let mut trial = Trial {
        icecore: workspace::build("icecore", true)?,
        server: workspace::build("icecore-server", true)?,
        directory: directory(options.demo)?,
        port: options.port,
        clock: None,
    };
    if options.fresh {
        trial.delete()?;
    }
    interrupt::check()?;
    if options.demo {
        demo::prepare(&mut trial, demo::WEEKS)?;
    }
    let is_first = trial.make_repository()?;
    let mut server = trial.start_server()?;
    if is_first || !trial.path("agent/agent.toml").exists() {
        trial.enrol()?;
    }
    let mut agents = vec![("the agent", trial.start_keeper()?)];
    if options.demo {
        agents.push(("the sample machine's agent", demo::start_machine(&trial)?));
    }
    trial.tell(&server);
    if options.demo {
        demo::tell(&trial)?;
    }
    loop {
        if interrupt::check().is_err() {
            // Ctrl-C reaches the whole group, so both are ending already.
            return Ok(());
        }
        let all = agents.iter_mut().map(|(name, agent)| (*name, &mut agent.0));
        for (name, child) in all.chain([("icecore-server", &mut server.child.0)]) {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended with {status}; its last words are above or in {}", trial.directory.display());
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// `ICECORE_TRIAL_DIR`, else `icecore-trial` in the user's data; the demo lies in a directory of its own.
fn directory(is_demo: bool) -> Result<PathBuf> {
    let name = if is_demo { "icecore-demo" } else { MARK };
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ICECORE_TRIAL_DIR")
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join(name)))
        .or_else(|| set("HOME").map(|home| home.join(".local/share").join(name)))
        .context("neither ICECORE_TRIAL_DIR nor HOME is set; set ICECORE_TRIAL_DIR to a directory with some GiB free")
}

/// The programs, and where what belongs to them lies.
pub struct Trial {
    /// `icecore`.
    pub icecore: PathBuf,
    /// `icecore-server`.
    pub server: PathBuf,
    /// Where everything is.
    pub directory: PathBuf,
    /// Where the server listens.
    pub port: u16,
    /// The clock that all programs go by, if not the machine's.
    pub clock: Option<FastClock>,
}

/// A program that is ended in order when this is dropped.
pub struct Running(pub Child);

/// A server that takes connections.
pub struct Server {
    child: Running,
    url: String,
    /// Leads to the first account, where there is none yet.
    pub link: Option<String>,
}

impl Server {
    /// Makes a request.
    pub fn send(&self, request: &Request) -> Result<Response> {
        request.send(self.url.trim_start_matches("http://").trim_end_matches('/'))
    }
}

impl Trial {
    /// Something in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Only what has our mark: a mistyped variable must not cost anybody a directory.
    pub fn delete(&self) -> Result<()> {
        if !self.directory.exists() {
            return Ok(());
        }
        ensure!(
            self.path(MARK).is_file(),
            "{} is not the directory of a trial (it has no file {MARK}), so it is not deleted",
            self.directory.display()
        );
        fs::remove_dir_all(&self.directory).with_context(|| format!("cannot delete {}", self.directory.display()))
    }

    /// Makes the repository where there is none; whether it did.
    pub fn make_repository(&self) -> Result<bool> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.with_context(|| format!("cannot make {}", self.directory.display()))?;
        fs::write(self.path(MARK), "A trial of Icecore. `cargo xtask run --fresh` deletes this directory.\n")?;
        if self.path("repository/config").exists() {
            return Ok(false);
        }
        let passphrase = self.path("passphrase");
        write_private(&passphrase, &random_hex()?)?;
        let mut init = self.icecore_command();
        init.arg("--repo").arg(self.path("repository")).arg("--passphrase-file").arg(&passphrase).arg("init");
        succeed(&mut init, "the repository cannot be made")?;
        Ok(true)
    }

    /// `icecore` with nothing but what belongs to the trial.
    pub fn icecore_command(&self) -> Command {
        let mut command = Command::new(&self.icecore);
        without_own_settings(&mut command);
        command.env("ICECORE_AGENT_DIR", self.path("agent")).env("ICECORE_INDEX_DIR", self.path("index"));
        command.env("ICECORE_STATE_DIR", self.path("state")).stdin(Stdio::null());
        self.clock.iter().for_each(|clock| clock.apply(&mut command));
        command
    }

    /// Starts the agent that keeps the repository.
    pub fn start_keeper(&self) -> Result<Running> {
        let mut command = self.icecore_command();
        command.args(["agent", "run", "--show-files"]).spawn().map(Running).context("cannot start the agent")
    }

    fn server_command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.server);
        without_own_settings(&mut command);
        command.env("ICECORE_SERVER_DATA_DIR", self.path("server")).env("ICECORE_SERVER_TLS", "off");
        command.env("ICECORE_SERVER_LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("ICECORE_SERVER_LOG_FILTER", "warn").args(verb).stdin(Stdio::null());
        self.clock.iter().for_each(|clock| clock.apply(&mut command));
        command
    }

    /// Starts the server and waits until it takes connections.
    pub fn start_server(&self) -> Result<Server> {
        let mut command = self.server_command(&["serve"]);
        let mut child = Running(command.stdout(Stdio::piped()).spawn().context("cannot start icecore-server")?);
        let mut lines = BufReader::new(child.0.stdout.take().context("it was started with a pipe")?).lines();
        let mut link = None;
        let url = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("icecore-server ended with {}; is another one running on port {}?", child.0.wait()?, self.port);
            };
            if line.contains("/log-in#") {
                link = Some(line.trim().to_owned());
            } else if let Some(url) = line.strip_prefix(LISTENS) {
                break url.trim().to_owned();
            }
        };
        // A server that writes into a closed pipe would fail.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { child, url, link })
    }

    /// Makes this machine's agent the keeper of the repository, by the line that the server prints for that.
    pub fn enrol(&self) -> Result<()> {
        let repository = self.path("repository");
        let mut ask = self.server_command(&["admin", "enroll-keeper", REPOSITORY, "--directory"]);
        let output = ask.arg(&repository).output().context("cannot start icecore-server")?;
        ensure!(
            output.status.success(),
            "no agent can be enrolled: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = printed.lines().map(str::trim).find(|line| line.starts_with("icecore agent enroll"));
        let line = line.context("icecore-server printed no line for the agent")?;
        // The directory stands last and may have spaces in its name, so it is not cut out of the line.
        let words: Vec<&str> = line.split_whitespace().skip(1).take_while(|word| *word != "--keeps").collect();
        let mut enroll = self.icecore_command();
        enroll.arg("--passphrase-file").arg(self.path("passphrase")).args(words).arg("--keeps").arg(repository);
        succeed(enroll.arg("--replace"), "this machine's agent cannot be enrolled")
    }

    fn tell(&self, server: &Server) {
        let directory = self.directory.display();
        println!("\nIcecore runs at {}", server.url);
        match &server.link {
            Some(link) => println!("Open this link once to make your account:\n\n    {link}\n"),
            None => println!("Log in with the account that you made; `--fresh` begins anew.\n"),
        }
        println!(
            "It has a repository and this machine as its first agent. Everything is in {directory};\n\
             the repository's passphrase is in its file `passphrase`. Ctrl-C ends it, the next `cargo xtask run` goes on."
        );
        if !e2e::is_root() {
            println!("note: it does not run as root, so it can back up image files and no disks.");
        }
    }
}

/// A secret that nobody guesses.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file for its owner alone.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    Ok(file.with_context(|| format!("cannot write {}", path.display()))?.write_all(text.as_bytes())?)
}

fn without_own_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
        command.env_remove(name);
    }
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM by the shell's own tool: it ends in order what would otherwise be killed in the middle. It may have ended by itself.
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{MARK, Trial};

    #[test]
    fn only_a_directory_with_the_mark_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("precious");
        std::fs::create_dir(&directory).unwrap();
        let trial = Trial {
            icecore: "icecore".into(),
            server: "icecore-server".into(),
            directory: directory.clone(),
            port: 1,
            clock: None,
        };
        assert!(trial.delete().is_err() && directory.exists());
        std::fs::write(directory.join(MARK), "").unwrap();
        trial.delete().unwrap();
        assert!(!directory.exists());
        trial.delete().unwrap();
    }
}
