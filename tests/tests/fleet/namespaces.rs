//! A machine in a network namespace of its own, whose cable is pulled in the middle of a backup: packets vanish, and nobody is told.

use super::or_soak;
use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, noise};
use e2e::{is_root, run_quietly, tool_exists};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(240);
const SERVER: &str = "10.213.77.1";

/// A namespace and the cable to it; both go when this is dropped.
struct Namespace {
    name: String,
    cable: String,
}

impl Namespace {
    /// `None` where there can be none; a test says so and passes there.
    fn new() -> Result<Option<Self>> {
        let (name, cable) = (format!("icecore-{}", std::process::id()), format!("ice{}", std::process::id()));
        if !is_root() || !tool_exists("ip") || run_quietly("ip", ["netns", "add", &name]).is_err() {
            eprintln!("no network namespaces here, so this is not tested");
            return Ok(None);
        }
        let this = Self { name, cable };
        let (name, cable) = (this.name.as_str(), this.cable.as_str());
        if run_quietly("ip", ["link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name]).is_err() {
            eprintln!("the kernel has no such cables (veth), so this is not tested");
            return Ok(None);
        }
        run_quietly("ip", ["addr", "add", &format!("{SERVER}/30"), "dev", cable])?;
        run_quietly("ip", ["link", "set", cable, "up"])?;
        run_quietly("ip", ["-n", name, "addr", "add", "10.213.77.2/30", "dev", "eth0"])?;
        run_quietly("ip", ["-n", name, "link", "set", "eth0", "up"])?;
        Ok(Some(this))
    }

    fn pull(&self) -> Result<()> {
        run_quietly("ip", ["link", "set", &self.cable, "down"])
    }

    fn plug_in(&self) -> Result<()> {
        run_quietly("ip", ["link", "set", &self.cable, "up"])
    }

    /// The same command, in there.
    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with the namespace that holds its other end.
        if let Err(error) = run_quietly("ip", ["netns", "delete", &self.name]) {
            eprintln!("left behind: network namespace {}: {error:#}", self.name);
        }
    }
}

#[test]
fn a_machine_whose_cable_is_pulled_in_the_middle_goes_on_when_it_is_back() -> Result<()> {
    let Some(namespace) = Namespace::new()? else { return Ok(()) };
    let mut appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let bytes = noise(1, or_soak(64 << 20, 512 << 20));
    let disk = appliance.disk("disk", &bytes)?;
    // Beyond the loopback there is TLS only.
    appliance.server.stop()?;
    appliance.server.set("LISTEN", &format!("{SERVER}:0"));
    appliance.server.set("TLS", "internal");
    appliance.server.set("TLS_NAMES", &format!("[\"{SERVER}\"]"));
    appliance.server.start()?;
    let address = appliance.server.address()?;
    let mut backup = appliance.remote(&web, &["backup", &disk.to_string_lossy(), "--name", "web"])?;
    backup.env("ICECORE_REPO", format!("https://{address}/main")).env("ICECORE_PATIENCE", "120");
    backup.env("ICECORE_CA_FILE", appliance.server.data_dir().join("ca.pem"));
    let mut backup = namespace.inside(&backup);
    let child = backup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pulls = or_soak(2, 12);
    for pull in 1..=pulls {
        let wanted = bytes.len() as u64 * pull / (pulls + 1);
        let until = Instant::now() + PATIENCE;
        while stored_bytes(&appliance)? < wanted {
            ensure!(Instant::now() < until, "the backup never came so far");
            std::thread::sleep(Duration::from_millis(2));
        }
        namespace.pull()?;
        std::thread::sleep(Duration::from_millis(700 * pull));
        namespace.plug_in()?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    appliance.ensure_restores(&serde_json::from_slice(&output.stdout)?, &bytes)?;
    let leases = std::fs::read_dir(appliance.repository().join("leases"))?.count();
    ensure!(leases == 0, "{leases} leases are left");
    Ok(())
}

/// Bytes in packs, those that arrive included.
fn stored_bytes(appliance: &Appliance) -> Result<u64> {
    fn below(directory: &Path) -> Result<u64> {
        let mut bytes = 0;
        let Ok(entries) = std::fs::read_dir(directory) else { return Ok(0) };
        for entry in entries {
            let entry = entry.context("a directory that is there")?;
            // What is gone since the listing counts elsewhere by now.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += if metadata.is_dir() { below(&entry.path())? } else { metadata.len() };
        }
        Ok(bytes)
    }
    Ok(below(&appliance.repository().join("data"))? + below(&appliance.repository().join("tmp"))?)
}
