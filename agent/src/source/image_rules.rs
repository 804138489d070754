//! What keeps the rest of the machine away from the images of a snapshot.
//!
//! An image carries the UUIDs, labels and volumes of its original. Without rules udev would link it by UUID, LVM, md and btrfs might
//! take it for the original, and then somebody mounts or activates the wrong one. So no image is taken where the rules are missing:
//! [`require`]. Here is also where they are looked for and how they are installed; the texts themselves lie in `packaging/`.
//!
//! A machine without a running udev needs none of it: nothing there acts by itself on new devices.

mod lvm;
#[cfg(test)]
mod tests;

use crate::programs;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file's name says when it comes: before 60-persistent-storage.rules.
const RULES_NAME: &str = "58-icecore-images.rules";
const RULES: &str = include_str!("../../../packaging/udev/58-icecore-images.rules");
/// Where udev looks, the first wins for files of one name.
const RULES_DIRECTORIES: [&str; 5] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];
const UDEV_SOCKET: &str = "/run/udev/control";

/// The machine that is looked at.
pub struct Machine {
    root: PathBuf,
    lvm_setting: fn(&Path, &str) -> Result<Option<String>>,
}

impl Machine {
    /// This one.
    pub fn host() -> Self {
        Self { root: "/".into(), lvm_setting: lvm::ask }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn is_host(&self) -> bool {
        self.root == Path::new("/")
    }

    fn runs_udev(&self) -> bool {
        self.at(UDEV_SOCKET).exists()
    }
}

/// A part of what is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub what: &'static str,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
}

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum State {
    /// In this file, or by this setting.
    InPlace(String),
    /// Why not.
    NotNeeded(String),
    /// What is wrong.
    Missing(String),
}

/// Images would be taken for their originals.
#[derive(Debug, thiserror::Error)]
#[error(
    "images of snapshots carry the UUIDs of their disks, and nothing keeps this machine from taking one for the other: {missing}. Run `icecore tracker install-rules` (with --dry-run it only shows what it would do)"
)]
pub struct Unprotected {
    missing: String,
}

/// Refuses a machine where images would be taken for their originals.
pub fn require(machine: &Machine) -> Result<()> {
    let missing: Vec<String> = look(machine)?
        .into_iter()
        .filter_map(|part| match part.state {
            State::Missing(why) => Some(why),
            _ => None,
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Unprotected { missing: missing.join("; ") }.into()) }
}

/// How all parts stand.
pub fn look(machine: &Machine) -> Result<Vec<Part>> {
    if !machine.runs_udev() {
        let why = "no udev runs here, so nothing acts on new devices by itself";
        return Ok(vec![Part { what: "udev", state: State::NotNeeded(why.into()) }]);
    }
    Ok(vec![Part { what: "udev", state: udev(machine)? }, Part { what: "lvm", state: lvm::look(machine)? }])
}

fn udev(machine: &Machine) -> Result<State> {
    let Some(path) = RULES_DIRECTORIES.iter().map(|dir| machine.at(dir).join(RULES_NAME)).find(|path| is_there(path))
    else {
        return Ok(State::Missing(format!("there is no udev rule for them ({}/{RULES_NAME})", RULES_DIRECTORIES[0])));
    };
    let shown = path.display();
    let text = match fs::metadata(&path) {
        // A link to /dev/null is how a person switches rules off.
        Ok(meta) if !meta.is_file() => String::new(),
        _ => fs::read_to_string(&path).with_context(|| format!("reading {shown}"))?,
    };
    let lines: Vec<&str> = statements(&text).collect();
    Ok(match statements(RULES).find(|wanted| !lines.contains(wanted)) {
        None => State::InPlace(shown.to_string()),
        Some(wanted) => State::Missing(format!("{shown} lacks a line of this version: {wanted}")),
    })
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The lines that do something.
fn statements(rules: &str) -> impl Iterator<Item = &str> {
    rules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Puts in place what is missing and returns what was done, or would be, in words.
pub fn install(machine: &Machine, dry_run: bool) -> Result<Vec<String>> {
    let mut done = Vec::new();
    if !machine.runs_udev() {
        return Ok(done);
    }
    if let State::Missing(_) = udev(machine)? {
        let path = machine.at(RULES_DIRECTORIES[0]).join(RULES_NAME);
        done.push(format!("write {}", path.display()));
        if !dry_run {
            write(&path, RULES)?;
            reload(machine)?;
        }
    }
    if let State::Missing(_) = lvm::look(machine)? {
        done.push(lvm::install(machine, dry_run)?);
    }
    if !dry_run {
        require(machine).context("the rules were installed, but do not take effect")?;
    }
    Ok(done)
}

/// Writes a file as a whole: whoever reads meanwhile sees the old one or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir)?;
        let new = path.with_extension("icecore-new");
        let mut file = File::create(&new)?;
        // As before, where it was there.
        let mode = fs::metadata(path).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// udev looks for new rules by itself within seconds; an image may come sooner.
fn reload(machine: &Machine) -> Result<()> {
    if !machine.is_host() {
        return Ok(());
    }
    programs::run("udevadm", &["control", "--reload"]).map(drop)
}
