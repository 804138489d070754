//! `cargo xtask kmod`: the kernel module for the current backports kernel of Debian 13, built on any Debian-like machine.
//!
//! That kernel is built with Rust, but its headers package lacks the compiled `kernel` crate. So a build root with
//! exactly the kernel's compiler is made once, the crate's metadata is made again from the kernel's source, and both
//! are cached under the exact package versions. It does not run the module; the guest tests do.

pub mod archive;
pub mod build_root;
pub mod sanitizer;
mod sources;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::setup::{self, Purpose};
use crate::{interrupt, workspace};
use archive::{Archive, Kernel};
use build_root::BuildRoot;

/// Raised when the contents of the cache change their meaning or layout.
const RECIPE: u32 = 1;

/// Options of `cargo xtask kmod`.
#[derive(clap::Args)]
pub struct Options {
    /// Also leave vmlinuz, lib/modules/VERSION and ko/*.ko here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    setup: setup::Consent,
}

/// A kernel with our modules built for it.
pub struct Built {
    root: BuildRoot,
    modules: Vec<PathBuf>,
}

impl Built {
    /// The kernel's release, such as `7.3.4+deb13-amd64`.
    pub fn release(&self) -> &str {
        self.root.release()
    }

    /// The bootable kernel image.
    pub fn vmlinuz(&self) -> PathBuf {
        self.root.image().join("vmlinuz")
    }

    /// The kernel's own modules, with their dependency lists.
    pub fn kernel_modules(&self) -> PathBuf {
        self.root.image().join("lib/modules").join(self.release())
    }

    /// Our modules.
    pub fn modules(&self) -> &[PathBuf] {
        &self.modules
    }
}

/// Builds and says where the modules are.
pub fn run(options: &Options) -> Result<()> {
    let built = build(options.setup)?;
    if let Some(out) = &options.out {
        leave(&built, out)?;
        println!("kernel {} and its modules are in {}", built.release(), out.display());
    } else {
        for module in built.modules() {
            println!("{}", module.display());
        }
    }
    Ok(())
}

/// Builds what is not in the cache, then the modules.
pub fn build(consent: setup::Consent) -> Result<Built> {
    setup::install(Purpose::Kernel, consent)?;
    ensure!(e2e::is_root(), "the build root is entered with chroot; run this command as root");
    let cache = workspace::cache_dir()?.join("kmod");
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("cannot lock the cache of kernel builds")?;

    let archive = step("package lists", || Archive::open(&cache.join("apt")))?;
    let kernel = archive.kernel()?;
    eprintln!("  kernel {} ({}), rustc {}", kernel.release, kernel.version, kernel.rustc);
    let root = prepare(&archive, kernel, &cache)?;
    let modules = step("modules", || root.build_modules(&workspace::root().join("kmod")))?;
    Ok(Built { root, modules })
}

/// The build root with everything that a build of the modules needs.
fn prepare(archive: &Archive, kernel: Kernel, cache: &Path) -> Result<BuildRoot> {
    let key = format!("{}_rustc-{}_{RECIPE}", kernel.version, kernel.rustc);
    let root = BuildRoot::new(cache.join(&key), kernel);
    if !root.has_tools() {
        step("build root", || root.make_tools(archive, &[]))?;
    }
    root.check_compiler()?;
    if !root.has_image() {
        step("kernel image and its modules", || root.make_image(archive))?;
    }
    if !root.has_pack() {
        step("kernel source", || root.unpack_source(archive))?;
        step("metadata of the kernel's Rust crates", || root.make_pack())?;
    }
    root.make_farm()?;
    forget_others(cache, &key)?;
    Ok(root)
}

/// Deletes the builds for versions that the archive has replaced; each takes gigabytes.
fn forget_others(cache: &Path, key: &str) -> Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_build = name.to_string_lossy().contains("_rustc-");
        if is_build && name != key {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Copies the results to a directory that others may boot from.
fn leave(built: &Built, out: &Path) -> Result<()> {
    let modules = out.join("lib/modules");
    let ko = out.join("ko");
    for directory in [&modules, &ko] {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    std::fs::copy(built.vmlinuz(), out.join("vmlinuz"))?;
    // Some 4000 files that change only with the kernel.
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--update"]).arg(built.kernel_modules()).arg(&modules);
    e2e::capture(&mut copy)?;
    for old in std::fs::read_dir(&ko)? {
        std::fs::remove_file(old?.path())?;
    }
    for module in built.modules() {
        std::fs::copy(module, ko.join(module.file_name().context("a module has no name")?))?;
    }
    Ok(())
}

/// Runs one step and prints how long it took.
fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::check()?;
    let started = Instant::now();
    let result = work().with_context(|| format!("step `{title}` failed"))?;
    eprintln!("  {title:<44}{:>8.1} s", started.elapsed().as_secs_f64());
    Ok(result)
}
