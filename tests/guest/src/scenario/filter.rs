//! The filter mechanism with a filter of another kind: `kmod/example`, which counts bios and holds every third write back.

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::FILTER_NAME;
use nix::errno::Errno;

use crate::disk::Disk;
use crate::filter::{self, filter_name};
use crate::oracle::{self, Picture, Taken};
use crate::registry::Scenario;
use crate::scenario::abi::expect;
use crate::storm::{Area, Force, Storm};
use crate::{ioctl, kernel_module};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "filter/another_kind",
        "another module's filter is attached, asked, detached and unloaded",
        another_kind,
    )
    .with_module(),
    Scenario::new("filter/held_bios", "bios that a filter holds back arrive in the end", held_bios).with_module(),
];

const MODULE: &str = "blkfilter_example";

/// The module with the other filter; unloaded when dropped.
struct Example;

impl Example {
    fn load() -> Result<Self> {
        kernel_module::load(MODULE, "")?;
        ensure!(kernel_module::is_loaded(MODULE), "there is no {MODULE}.ko");
        Ok(Self)
    }

    fn unload(self) -> Result<()> {
        kernel_module::remove(MODULE).context("cannot unload the other filter")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = kernel_module::remove(MODULE);
    }
}

fn another_kind() -> Result<()> {
    let name = filter_name("example");
    let device = filter::open(&Disk::Second.node()?)?;
    expect("ATTACH before it is loaded", ioctl::attach(&device, name), Errno::ENOENT)?;
    let example = Example::load()?;
    ioctl::attach(&device, name).context("ATTACH")?;
    expect("the same again", ioctl::attach(&device, name), Errno::EALREADY)?;
    expect("a second filter", ioctl::attach(&device, FILTER_NAME), Errno::EBUSY)?;
    expect("CTL for the second", ioctl::example_counts(&device, FILTER_NAME), Errno::EINVAL)?;
    expect("DETACH of the second", ioctl::detach(&device, FILTER_NAME), Errno::EINVAL)?;
    let shown = std::fs::read_to_string(format!("/sys/block/{}/filter", Disk::Second.name()?))?;
    ensure!(shown.trim() == "example", "the attribute shows `{}`", shown.trim());
    ensure!(kernel_module::remove(MODULE).is_err(), "a filter goes while it is attached");
    ioctl::detach(&device, name).context("DETACH")?;
    example.unload()?;
    expect("ATTACH after it has gone", ioctl::attach(&device, name), Errno::ENOENT)
}

fn held_bios() -> Result<()> {
    let name = filter_name("example");
    let path = Disk::Second.node()?;
    let area = Area::of_disk(0, &path, 0, 1 << 14);
    area.fill()?;
    let example = Example::load()?;
    let device = filter::open(&path)?;
    ioctl::attach(&device, name)?;
    let written = storm_over(&area);
    let counts = ioctl::example_counts(&device, name).context("CTL");
    ioctl::detach(&device, name)?;
    written?;
    let [seen, held] = counts?;
    ensure!(seen > 90 && held > 20, "{seen} bios were seen, {held} held");
    example.unload()
}

fn storm_over(area: &Area) -> Result<()> {
    let storm = Storm::start(std::slice::from_ref(area), Force::default(), 29)?;
    storm.wait_for(30)?;
    let journals = storm.stop()?;
    let picture = Picture::of(&area.path, area)?;
    oracle::ensure_instant(std::slice::from_ref(&picture), &journals, Taken::around(|| Ok(()))?)
}
