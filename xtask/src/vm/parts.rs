//! The disk that changes from build to build: kernel modules, ours among them, and the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::guest::{self, kernel::Kernel};

/// Modules of the kernel that the machine may load by itself or by name.
const MODULES: [&str; 37] = [
    "autofs4",
    "binfmt_misc",
    "brd",
    "btrfs",
    "configfs",
    "dm-cache",
    "dm-crypt",
    "dm-delay",
    "dm-flakey",
    "dm-log-writes",
    "dm-mirror",
    "dm-mod",
    "dm-snapshot",
    "dm-thin-pool",
    "efi_pstore",
    "ext4",
    "fuse",
    "loop",
    "md-mod",
    "nls_ascii",
    "nls_cp437",
    "nls_iso8859-1",
    "null_blk",
    "overlay",
    "raid0",
    "raid1",
    "raid456",
    "scsi_debug",
    "sd_mod",
    "sg",
    "sr_mod",
    "vfat",
    "virtio_blk",
    "virtio_pci",
    "virtio_scsi",
    "xfs",
    "zram",
];

/// Makes the disk's image in `directory`; `program` is that of `tests/guest`.
pub fn image(directory: &Path, kernel: &Kernel, program: &Path) -> Result<PathBuf> {
    let tree = directory.join("parts");
    let modules = tree.join("lib/modules").join(kernel.release());
    std::fs::create_dir_all(modules.join("kernel"))?;
    for module in kernel.modules_named(&MODULES)? {
        std::fs::write(modules.join("kernel").join(format!("{}.ko", module.name)), module.content)?;
    }
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        if let Some(path) = kernel.about(list) {
            std::fs::copy(path, modules.join(list))?;
        }
    }
    let bin = tree.join("bin");
    std::fs::create_dir_all(&bin)?;
    for (name, program) in [("guest", program.to_owned()), ("icecore", guest::tools::icecore()?)] {
        std::fs::copy(&program, bin.join(name)).with_context(|| format!("cannot read {}", program.display()))?;
    }
    let image = directory.join("parts.img");
    let mut format = Command::new("mkfs.ext4");
    format.args(["-q", "-L", "icecore-parts", "-O", "^has_journal", "-d"]).arg(&tree).arg(&image).arg("512M");
    e2e::capture(&mut format)?;
    std::fs::remove_dir_all(tree)?;
    Ok(image)
}
