//! A kernel that watches itself (KASAN, lockdep, sleeping in atomic context, kmemleak), and our modules for it.
//!
//! It is of the same source as the distribution's kernel and as small as the guest scenarios allow; built once, cached.

use anyhow::{Context, Result, ensure};

use super::archive::Archive;
use super::build_root::BuildRoot;
use super::{Built, RECIPE, step};
use crate::setup::{self, Purpose};
use crate::workspace;

/// What `sanitizer.sh` puts over tinyconfig.
const CONFIGURATION: &str = include_str!("sanitizer.config");
/// With KASAN the kernel's Rust code needs the compiler of the rest to be of LLVM, too; gzip makes the image.
const TOOLS: [&str; 4] = ["clang", "gzip", "lld", "llvm"];
/// Raised when those tools change.
const ROOT_RECIPE: u32 = 2;
/// Parts of the source that this kernel does not have; their build files must stay.
const UNREAD: [&str; 8] = [
    "Documentation/*/*",
    "drivers/gpu/*.[ch]",
    "drivers/media/*.[ch]",
    "drivers/net/ethernet/*.[ch]",
    "drivers/net/wireless/*.[ch]",
    "sound/*.c",
    "tools/testing/*",
    "*.dts*",
];

/// Builds what is not in the cache, then the modules.
pub fn build(consent: setup::Consent) -> Result<Built> {
    setup::install(Purpose::Kernel, consent)?;
    ensure!(e2e::is_root(), "the build root is entered with chroot; run this command as root");
    let cache = workspace::cache_dir()?.join("kmod");
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = std::fs::File::create(cache.join("lock-sanitizer"))?;
    lock.lock().context("cannot lock the cache of sanitizer kernels")?;
    let archive = step("package lists", || Archive::open(&cache.join("apt")))?;
    let kernel = archive.kernel()?;
    let release = kernel.release.clone();
    let root = BuildRoot::new(cache.join(format!("sanitizer-{}-{RECIPE}.{ROOT_RECIPE}", kernel.version)), kernel);
    if !root.has_tools() {
        step("build root with clang", || root.make_tools(&archive, &TOOLS))?;
    }
    root.check_compiler()?;
    if !is_of_this_configuration(&root) {
        step("kernel source", || root.unpack_source_without(&archive, &UNREAD))?;
        step("sanitizer kernel (some 20 minutes)", || make_image(&root, &release))?;
    }
    let make = "make -C /work/source O=/work/obj ARCH=x86 LLVM=-19";
    let modules = step("modules", || root.build_modules_by(&workspace::root().join("kmod"), make))?;
    Ok(Built { root, modules })
}

/// The image carries the configuration that it was made from.
fn is_of_this_configuration(root: &BuildRoot) -> bool {
    std::fs::read_to_string(root.image().join("sanitizer.config")).is_ok_and(|config| config == CONFIGURATION)
}

fn make_image(root: &BuildRoot, release: &str) -> Result<()> {
    std::fs::write(root.work().join("sanitizer.config"), CONFIGURATION)?;
    std::fs::write(root.work().join("sanitizer.sh"), include_str!("sanitizer.sh"))?;
    root.run(&format!("sh /work/sanitizer.sh {release}"), "sanitizer")?;
    if root.has_image() {
        std::fs::remove_dir_all(root.image())?;
    }
    std::fs::rename(root.work().join("image.part"), root.image())?;
    Ok(())
}
