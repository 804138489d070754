//! A machine to play with: everything is prepared, a workload runs, and the login shell says what to try.

use std::path::Path;

use anyhow::Result;

use super::setup::{self, LIVE, PASSPHRASE};
use crate::tool;

/// Prepares and returns; the console's login follows.
pub fn run() -> Result<()> {
    let machine = setup::prepare()?;
    setup::protect_images()?;
    let directory = Path::new("/run/icecore");
    std::fs::create_dir_all(directory)?;
    let environment = format!(
        "export ICECORE_REPO={} ICECORE_INDEX_DIR={} ICECORE_PASSPHRASE='{PASSPHRASE}' LIVE={} SYSTEMD_PAGER=cat\n",
        setup::repository_path(),
        setup::index_path(),
        machine.live.display()
    );
    std::fs::write(directory.join("environment"), environment)?;
    std::fs::write(directory.join("welcome"), welcome(&machine.live))?;
    let work = format!("{LIVE}/work");
    tool::run("systemd-run", &["--quiet", "--unit=icecore-workload", "/parts/bin/guest", "work", &work]).map(drop)
}

fn welcome(live: &Path) -> String {
    let live = live.display();
    format!(
        "
  This is Debian 13 with Icecore's kernel module. {live} is a live disk, mounted on {LIVE}; files on it change all the time
  (systemctl status icecore-workload). The repository is on a disk of its own; its settings are in your environment.

    icecore backup {live}                       a consistent backup of the running disk; again: only what changed
    icecore status                             what the next backup will read, and why
    icecore list                               the recovery points
    icecore ls latest:1 /work                  files of the newest one
    icecore restore latest --to /repository/copy.img
    icecore tracker info                       the kernel's changed-block map
    poweroff                                   ends the machine; nothing of it is kept

"
    )
}
