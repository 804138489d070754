//! Loads and removes kernel modules. The host has put their order into `/modules`, with a link to their files.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags};

use crate::tool;

const DIRECTORY: &str = "/modules";

/// Loads what every scenario may take for granted.
pub fn load_at_boot() -> Result<()> {
    let names = std::fs::read_to_string(Path::new(DIRECTORY).join("boot")).context("the host gave no modules")?;
    names.lines().try_for_each(|name| load(name, ""))
}

/// Loads a module with what it needs; one that is loaded, or built into the kernel, stays as it is.
pub fn load(name: &str, parameters: &str) -> Result<()> {
    for needed in order()?.remove(name).unwrap_or_default() {
        insert(&needed, "")?;
    }
    insert(name, parameters)
}

/// Removes a module, at once or not at all.
pub fn remove(name: &str) -> nix::Result<()> {
    let name = CString::new(name.replace('-', "_")).map_err(|_| nix::Error::EINVAL)?;
    nix::kmod::delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// Whether the kernel has it loaded (not: built in).
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module").join(name.replace('-', "_")).join("initstate").exists()
}

/// The module is out, and comes back as it was when this is dropped.
pub struct Unloaded;

impl Unloaded {
    /// Removes it with what only it needs.
    pub fn new() -> Result<Self> {
        tool::run("modprobe", &["--remove", "blksnap"])?;
        ensure!(!is_loaded("blksnap"), "the module stays loaded");
        ensure!(!Path::new(kmod_logic::uapi::CONTROL_PATH).exists(), "the control device stays");
        Ok(Self)
    }
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        let _ = remove("blksnap");
        let _ = load("blksnap", "");
    }
}

fn file_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join("files").join(format!("{}.ko", name.replace('-', "_")))
}

/// For each module its dependencies, those that must be loaded first standing first.
fn order() -> Result<BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(Path::new(DIRECTORY).join("order"))?;
    let words = text.lines().map(|line| line.split(' ').map(str::to_owned));
    Ok(words.filter_map(|mut words| Some((words.next()?, words.collect()))).collect())
}

fn insert(name: &str, parameters: &str) -> Result<()> {
    let path = file_of(name);
    if is_loaded(name) || !path.exists() {
        return Ok(());
    }
    let file = File::open(&path)?;
    let parameters_for_kernel = CString::new(parameters)?;
    match nix::kmod::finit_module(&file, &parameters_for_kernel, ModuleInitFlags::empty()) {
        Ok(()) | Err(nix::Error::EEXIST) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot load {name} {parameters}")),
    }
}
