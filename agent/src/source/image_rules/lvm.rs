//! LVM's filter: whether it keeps LVM off images, and how it is set where a person set none.

use super::{Machine, State};
use crate::programs;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io;
use std::path::Path;

const SNIPPET: &str = include_str!("../../../../packaging/lvm/icecore-images.conf");
const PATTERN: &str = "r|^/dev/blksnap-|";
/// A file for this host that overrides lvm.conf, meant to be edited.
const LOCAL: &str = "/etc/lvm/lvmlocal.conf";
const FILTER: &str = "devices/global_filter";
/// What lvmconfig ends with when a setting is not set.
const NOT_SET: i32 = 5;

/// Asks LVM what its configuration says; `None` where nothing is set.
pub(super) fn ask(_: &Path, setting: &str) -> Result<Option<String>> {
    let output = programs::output("lvm", &["lvmconfig", setting])?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
        Some(NOT_SET) => Ok(None),
        _ => bail!("`lvm lvmconfig {setting}` failed: {}", programs::complaint(&output)),
    }
}

pub(super) fn look(machine: &Machine) -> Result<State> {
    let is_installed = ["/usr/sbin/lvm", "/sbin/lvm"].iter().any(|path| machine.at(path).exists());
    if !is_installed {
        return Ok(State::NotNeeded("LVM is not installed".into()));
    }
    let ask = |setting| (machine.lvm_setting)(&machine.root, setting);
    // With a list of devices LVM looks at no other.
    let devices_file = ask("devices/use_devicesfile")?.is_some_and(|value| value.ends_with("=1"));
    if devices_file && machine.at("/etc/lvm/devices/system.devices").exists() {
        return Ok(State::InPlace("/etc/lvm/devices/system.devices".into()));
    }
    let filter = ask(FILTER)?;
    Ok(match filter {
        Some(filter) if rejects_images(&filter) => State::InPlace(filter),
        Some(filter) => State::Missing(format!("LVM's filter does not leave them out ({filter})")),
        None => State::Missing("LVM has no filter that leaves them out".into()),
    })
}

/// Whether a filter as lvmconfig prints it certainly rejects images. LVM takes the first pattern that matches.
fn rejects_images(filter: &str) -> bool {
    let patterns: Vec<&str> = filter.split('"').skip(1).step_by(2).collect();
    for pattern in &patterns {
        let body = pattern.get(1..).unwrap_or_default();
        let delimiter = body.chars().next();
        let body = body.trim_matches(|c| Some(c) == delimiter);
        match pattern.chars().next() {
            Some('r') if body.contains("/dev/blksnap-") || [".*", "."].contains(&body) => return true,
            Some('r') => {}
            Some('a') if names_other_devices(body) => {}
            _ => return false,
        }
    }
    false
}

/// Whether a pattern plainly names devices that are no images. What is less plain counts as matching everything.
fn names_other_devices(pattern: &str) -> bool {
    let Some(name) = pattern.trim_start_matches('^').strip_prefix("/dev/") else { return false };
    let literal: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || "/_-".contains(*c)).collect();
    let image = "blksnap-";
    !literal.is_empty() && !literal.starts_with(image) && !image.starts_with(&literal)
}

/// Adds the filter where none is set. A filter that a person set is theirs to change.
pub(super) fn install(machine: &Machine, dry_run: bool) -> Result<String> {
    if let Some(filter) = (machine.lvm_setting)(&machine.root, FILTER)? {
        bail!(
            "LVM has a filter already ({filter}), which is not changed by a program. Put {PATTERN:?} first in its list, in the file where it stands (/etc/lvm/lvm.conf or {LOCAL})"
        );
    }
    let path = machine.at(LOCAL);
    let what = format!("append to {}: devices {{ global_filter = [ {PATTERN:?} ] }}", path.display());
    if dry_run {
        return Ok(what);
    }
    let mut text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("reading {}", path.display()))?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    super::write(&path, &format!("{text}\n{SNIPPET}"))?;
    Ok(what)
}

#[cfg(test)]
mod tests {
    use super::{PATTERN, SNIPPET, rejects_images};

    #[test]
    fn the_shipped_filter_rejects_images() {
        assert!(SNIPPET.contains(PATTERN));
        assert!(rejects_images(r#"global_filter="r|^/dev/blksnap-|""#));
    }

    #[test]
    fn the_first_pattern_that_may_match_decides() {
        for good in [
            r#"global_filter=["r|/dev/cdrom|","r|^/dev/blksnap-|","a|.*|"]"#,
            r#"global_filter=["a|^/dev/sda2$|","a|/dev/mapper/|","r|.*|"]"#,
            r#"global_filter=["r/.*/"]"#,
        ] {
            assert!(rejects_images(good), "{good}");
        }
        for bad in [
            r#"global_filter=["a|.*|"]"#,
            r#"global_filter=["a|.*|","r|^/dev/blksnap-|"]"#,
            r#"global_filter=["a|/dev/.*|","r|.*|"]"#,
            r#"global_filter=["a|/dev/b|","r|.*|"]"#,
            r#"global_filter=["a|loop|","r|.*|"]"#,
            r#"global_filter=["r|/dev/sd|"]"#,
            "global_filter=[]",
            "",
            "\"",
            "\"ä",
        ] {
            assert!(!rejects_images(bad), "{bad}");
        }
    }
}
