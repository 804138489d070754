//! The kernel modules as the guest finds them: `/lib/modules/RELEASE` with the indices that modprobe reads.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::kernel::Kernel;
use super::tools;
use crate::workspace;

/// What depmod wants to know of the rest of the kernel; none of them has to be there.
const ABOUT_THE_KERNEL: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// Adds all modules, their indices, and for the guest's init their order.
pub fn add(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let root = workspace::root().join("target/guest/modules");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    let below_root = format!("lib/modules/{}", kernel.release());
    let tree = root.join(&below_root);
    std::fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    let mut order = String::new();
    for module in kernel.modules()? {
        std::fs::write(tree.join(format!("{}.ko", module.name)), &module.content)?;
        order.push_str(&[std::slice::from_ref(&module.name), &module.needs].concat().join(" "));
        order.push('\n');
    }
    for name in ABOUT_THE_KERNEL {
        if let Some(path) = kernel.about(name) {
            std::fs::copy(path, tree.join(name))?;
        }
    }
    let mut depmod = Command::new(tools::find("depmod")?);
    e2e::capture(depmod.arg("--basedir").arg(&root).arg(kernel.release())).context("depmod")?;
    for entry in std::fs::read_dir(&tree)? {
        let entry = entry?;
        let name = format!("{below_root}/{}", entry.file_name().to_string_lossy());
        archive.file(&name, &std::fs::read(entry.path())?)?;
    }
    archive.file("modules/order", order.as_bytes())?;
    archive.symlink("modules/files", &Path::new("/").join(below_root).to_string_lossy())?;
    std::fs::remove_dir_all(root)?;
    Ok(())
}
