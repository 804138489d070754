//! The guest's file system: one archive that all boots share, and a small one that says what this boot shall do.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::kernel::{Kernel, normalised};
use super::plan::Boot;
use super::{module_tree, tools};

/// Directories that the guest's init and its tools expect.
const DIRECTORIES: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "mnt"];

/// Init, modules, tools; `at_boot` names the modules that init loads.
pub fn base(program: &Path, kernel: &Kernel, at_boot: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    DIRECTORIES.iter().try_for_each(|name| archive.directory(name))?;
    archive.program("init", &std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?)?;
    module_tree::add(&mut archive, kernel)?;
    let at_boot: Vec<String> = at_boot.iter().copied().map(normalised).collect();
    archive.file("modules/boot", at_boot.join("\n").as_bytes())?;
    tools::add(&mut archive)?;
    archive.finish()
}

/// Writes the image of one boot. Scenarios get `patience` times their time limit.
pub fn write(image: &Path, base: &[u8], boot: &Boot, patience: u64) -> Result<()> {
    let names: Vec<&str> = boot.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let mut plan = Archive::default();
    plan.file("plan", names.join("\n").as_bytes())?;
    if boot.over_restarts() {
        plan.file("restarts", b"")?;
    }
    plan.file("patience", patience.to_string().as_bytes())?;
    let mut file = std::fs::File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    file.write_all(base)?;
    file.write_all(&plan.finish()?)?;
    Ok(())
}
