//! `icecore tracker` against the real module: what a person or a script sees of it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::filter::Tracked;
use crate::pace::Deadline;
use crate::registry::Scenario;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("command_line/life", "attach, snapshots, maps, marks and detach by `icecore tracker`", life)
        .with_module(),
    Scenario::new("command_line/refusals", "a refused call says why and what to do, and has its exit code", refusals)
        .with_module(),
    Scenario::new("command_line/hold", "a held snapshot ends with the process that is killed", hold).with_module(),
];

const BLOCK: u64 = 65536;
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn icecore(args: &[&str]) -> Result<Output> {
    let mut command = Command::new("icecore");
    command.arg("tracker").args(args).env("HOME", "/tmp").stdin(Stdio::null());
    command.output().context("cannot start icecore")
}

/// Runs a verb that must succeed.
fn run(args: &[&str]) -> Result<String> {
    let output = icecore(args)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "`icecore tracker {}` failed ({}): {errors}", args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn json(args: &[&str]) -> Result<Value> {
    let printed = run(&[&["--json"], args].concat())?;
    serde_json::from_str(&printed).with_context(|| format!("not one JSON value: {printed}"))
}

/// Runs a verb that must fail with this exit code, and say this.
fn refused(args: &[&str], code: i32, says: &str) -> Result<()> {
    let output = icecore(args)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = args.join(" ");
    ensure!(output.status.code() == Some(code), "`{shown}` ended with {} instead of {code}: {errors}", output.status);
    ensure!(errors.contains(says) && errors.contains("next:"), "`{shown}` does not say {says} and what next: {errors}");
    Ok(())
}

fn text_of<'v>(value: &'v Value, field: &str) -> Result<&'v str> {
    value[field].as_str().with_context(|| format!("no text {field} in {value}"))
}

/// A snapshot of the device, taken; returns its id.
fn take(device: &str) -> Result<String> {
    let taken = json(&["snapshot", "create", "--storage", "/tmp", "--limit", "128M", "--device", device, "--take"])?;
    ensure!(taken["state"] == "taken" && taken["devices"][0]["device"] == device, "{taken}");
    let image = text_of(&taken["devices"][0], "image")?;
    ensure!(Path::new(image).exists(), "the image {image} is not there");
    Ok(text_of(&taken, "id")?.to_owned())
}

fn write(device: &str, block: u64, fill: u8) -> Result<()> {
    let mut buffer = AlignedBuffer::new(4096);
    buffer.bytes_mut().fill(fill);
    Ok(DirectFile::open(Path::new(device))?.write(&buffer, block * BLOCK)?)
}

fn life() -> Result<()> {
    let node = Disk::First.node()?;
    let device = node.to_str().context("a node's path is not UTF-8")?;
    run(&["attach", device])?;
    let info = json(&["info"])?;
    ensure!(info["devices"][0]["device"] == device && info["devices"][0]["number"] == 0, "{info}");
    ensure!(info["module"]["version"] == "2.0.0.0" && info["module"]["extension_version"] == 1, "{info}");

    write(device, 3, 1)?;
    let first = take(device)?;
    let noted = json(&["map", device])?;
    ensure!(noted["number"] == 1 && noted["extents"][0]["offset"] == 3 * BLOCK, "{noted}");
    run(&["snapshot", "destroy", &first])?;

    write(device, 7, 2)?;
    let second = take(device)?;
    write(device, 7, 3)?;
    let image = json(&["snapshot", "info", &second])?;
    let image = DirectFile::open_to_read(Path::new(text_of(&image["devices"][0], "image")?))?;
    ensure!(image.read_new(7 * BLOCK, 4096)?.bytes().iter().all(|byte| *byte == 2), "the image shows a later write");
    drop(image);

    let (generation, interval) = (text_of(&noted, "generation")?, text_of(&noted, "interval")?);
    let since = ["map", device, "--since", "1", "--generation", generation, "--interval", interval];
    let changed = json(&since)?;
    ensure!(changed["extents"].as_array().is_some_and(|extents| extents.len() == 1), "{changed}");
    let lines = run(&since)?;
    let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).collect();
    ensure!(lines == [format!("{} {BLOCK}", 7 * BLOCK)], "the list is {lines:?}");
    refused(&["map", device, "--since", "1", "--interval", generation], 6, "reverted or cloned")?;
    refused(&["map", device, "--generation", interval], 6, "tracking began anew")?;
    refused(&["map", device, "--since", "9"], 6, "number 9")?;

    run(&["dirty", device, "64M", "1"])?;
    ensure!(run(&since)?.contains(&format!("\n{} {BLOCK}\n", 64 << 20)), "a marked range is not in the map");
    let info = json(&["info", device])?;
    ensure!(info["devices"][0]["in_snapshot"] == true && info["devices"][0]["number"] == 2, "{info}");
    ensure!(info["devices"][0]["statistics"]["preserved_bytes"].as_u64() >= Some(4096), "{info}");
    run(&["snapshot", "destroy", &second])?;
    ensure!(json(&["snapshot", "list"])? == Value::Array(Vec::new()), "a snapshot is left");
    run(&["detach", device]).map(drop)
}

fn refusals() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let device = tracked.path().to_str().context("a node's path is not UTF-8")?;
    refused(&["attach", device], 6, "EALREADY")?;
    refused(&["attach", "/dev/null"], 1, "ENOTBLK")?;
    refused(&["attach", "/dev/absent"], 5, "ENOENT")?;
    let other = Disk::Second.node()?;
    refused(&["info", &other.to_string_lossy()], 5, "icecore tracker attach")?;
    refused(&["detach", &other.to_string_lossy()], 5, "ENOENT")?;
    refused(&["dirty", device, "1T", "1"], 2, "not a range")?;
    for verb in ["take", "info"] {
        refused(&["snapshot", verb, UNKNOWN], 5, "ESRCH")?;
    }
    refused(&["snapshot", "destroy", UNKNOWN], 5, "ENODEV")?;
    refused(&["snapshot", "add", UNKNOWN, device], 5, "ESRCH")?;
    refused(&["snapshot", "watch", UNKNOWN], 5, "ESRCH")?;
    refused(&["snapshot", "create", "--storage", "/absent", "--limit", "128M"], 5, "ENOENT")?;
    refused(&["snapshot", "create", "--storage", "/dev/null", "--limit", "128M"], 1, "EINVAL")?;
    let id = take(device)?;
    refused(&["detach", device], 6, "EBUSY")?;
    refused(&["snapshot", "take", &id], 6, "EALREADY")?;
    refused(&["snapshot", "add", &id, device], 6, "EALREADY")?;
    // What could not be added leaves no snapshot behind.
    refused(&["snapshot", "create", "--storage", "/tmp", "--limit", "128M", "--device", device], 6, "EBUSY")?;
    let left = json(&["snapshot", "list"])?;
    ensure!(left.as_array().is_some_and(|all| all.len() == 1), "{left}");
    run(&["snapshot", "destroy", &id])?;
    tracked.detach()
}

/// A process that is killed when the scenario ends early.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let device = tracked.path().to_str().context("a node's path is not UTF-8")?;
    let mut command = Command::new("icecore");
    command.args(["tracker", "snapshot", "create", "--storage", "/tmp", "--limit", "128M"]);
    command.args(["--device", device, "--take", "--hold"]).env("HOME", "/tmp");
    let holder = Killed(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start icecore")?);
    let all = wait_for_snapshots(1)?;
    ensure!(all[0]["tied"] == true && all[0]["state"] == "taken", "{all}");
    drop(holder);
    wait_for_snapshots(0)?;
    tracked.detach()
}

/// Waits until there are so many snapshots that are taken.
fn wait_for_snapshots(count: usize) -> Result<Value> {
    let deadline = Deadline::after_s(20);
    loop {
        let all = json(&["snapshot", "list"])?;
        let known = all.as_array().context("the list is no list")?;
        if known.len() == count && known.iter().all(|snapshot| snapshot["state"] == "taken") {
            return Ok(all);
        }
        deadline.ensure("another process makes no snapshot")?;
    }
}
