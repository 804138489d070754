//! Garage on loopback: one node, or a cluster of three of which some may be killed.

use crate::support::s3::{BUCKET, KEY_ID, REGION, SECRET, settings_at};
use repo_format::store::Store;
use repo_format::store::s3::{S3Store, Settings};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

const VERSION: &str = "2.5.0";
/// How long a start may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program: `ICECORE_GARAGE`, or that of Icecore's cache, which `cargo xtask test --only s3` installs.
fn program() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || {
        variable("ICECORE_CACHE")
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("icecore")))
            .or_else(|| Some(variable("HOME")?.join(".cache/icecore")))
    };
    let of_cache = || Some(cache()?.join(format!("tools/garage-{VERSION}/bin/garage")));
    let program = variable("ICECORE_GARAGE").or_else(of_cache).expect("HOME or ICECORE_GARAGE is set");
    assert!(program.exists(), "there is no {}; `cargo xtask test --only s3` makes it", program.display());
    program
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A node of a cluster, or a cluster by itself. It is killed with this.
pub struct Node {
    directory: tempfile::TempDir,
    s3_port: u16,
    rpc_port: u16,
    child: Option<Child>,
}

impl Node {
    fn new(replication_factor: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (s3_port, rpc_port) = (free_port(), free_port());
        let at = directory.path().display();
        let rpc_secret = "5a".repeat(32);
        let config = format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = {replication_factor}\nrpc_bind_addr = \"127.0.0.1:{rpc_port}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc_port}\"\nrpc_secret = \"{rpc_secret}\"\n\
             [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"127.0.0.1:{s3_port}\"\nroot_domain = \".s3.localhost\"\n"
        );
        std::fs::write(directory.path().join("garage.toml"), config).unwrap();
        Self { directory, s3_port, rpc_port, child: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("-c").arg(self.directory.path().join("garage.toml")).env("RUST_LOG", "garage=warn");
        command.stdin(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn start(&mut self, arguments: &[&str]) {
        let log = std::fs::File::create(self.log()).unwrap();
        let mut command = self.command();
        command.arg("server").args(arguments);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", KEY_ID).env("GARAGE_DEFAULT_SECRET_KEY", SECRET);
        command.env("GARAGE_DEFAULT_BUCKET", BUCKET).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Runs a command of Garage's own until it succeeds, and returns what it printed.
    fn tell(&mut self, arguments: &[&str]) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            let output = self.command().args(arguments).output().unwrap();
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout).unwrap());
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            self.go_on(begun, &format!("garage {arguments:?}: {said}"))?;
        }
    }

    /// Waits a little, unless it has ended or patience has.
    fn go_on(&mut self, begun: Instant, what: &str) -> Result<(), String> {
        let has_ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if has_ended || begun.elapsed() > PATIENCE {
            return Err(format!("{what}\n{}", std::fs::read_to_string(self.log()).unwrap_or_default()));
        }
        sleep(Duration::from_millis(100));
        Ok(())
    }

    /// Kills it at once, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    fn id(&mut self) -> Result<String, String> {
        let printed = self.tell(&["node", "id", "-q"])?;
        Ok(printed.trim().split('@').next().unwrap_or_default().to_owned())
    }

    /// Waits until the bucket can be listed.
    fn wait(&mut self) -> Result<(), String> {
        let settings = Settings { patience: Duration::from_secs(1), ..settings_at(&self.endpoint(), "wait") };
        let store = S3Store::open(settings).unwrap();
        let begun = Instant::now();
        while let Err(error) = store.keys("") {
            self.go_on(begun, &format!("Garage does not answer: {error}"))?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster.
pub struct Garage {
    pub nodes: Vec<Node>,
}

/// A port that was free may be somebody's before Garage has it. Then it ends at once, and all begins anew.
fn again(make: fn() -> Result<Garage, String>) -> Garage {
    let mut said = String::new();
    for _ in 0..5 {
        match make() {
            Ok(garage) => return garage,
            Err(why) => said = why,
        }
    }
    panic!("Garage does not start: {said}");
}

impl Garage {
    /// One node.
    pub fn single() -> Self {
        again(|| {
            let mut node = Node::new(1);
            node.start(&["--single-node", "--default-bucket"]);
            node.wait()?;
            Ok(Self { nodes: vec![node] })
        })
    }

    /// Three nodes that each have everything.
    pub fn cluster() -> Self {
        again(|| {
            let mut nodes: Vec<Node> = (0..3).map(|_| Node::new(3)).collect();
            nodes.iter_mut().for_each(|node| node.start(&[]));
            let ids = nodes.iter_mut().map(Node::id).collect::<Result<Vec<_>, _>>()?;
            let ports: Vec<u16> = nodes.iter().map(|node| node.rpc_port).collect();
            let first = &mut nodes[0];
            for (id, port) in ids.iter().zip(ports).skip(1) {
                first.tell(&["node", "connect", &format!("{id}@127.0.0.1:{port}")])?;
            }
            for (number, id) in ids.iter().enumerate() {
                first.tell(&["layout", "assign", "-z", &format!("z{number}"), "-c", "1G", id])?;
            }
            first.tell(&["layout", "apply", "--version", "1"])?;
            first.tell(&["key", "import", "--yes", "-n", "test", KEY_ID, SECRET])?;
            first.tell(&["bucket", "create", BUCKET])?;
            first.tell(&["bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", KEY_ID])?;
            nodes.iter_mut().try_for_each(Node::wait)?;
            Ok(Self { nodes })
        })
    }

    pub fn settings(&self, prefix: &str) -> Settings {
        settings_at(&self.nodes[0].endpoint(), prefix)
    }

    pub fn store(&self, prefix: &str) -> Arc<S3Store> {
        Arc::new(S3Store::open(self.settings(prefix)).unwrap())
    }
}
