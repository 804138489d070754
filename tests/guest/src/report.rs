//! What the guest tells the host: one line an event on the second serial port, where the kernel never writes.
//!
//! ```text
//! kernel 7.3.4+deb13-amd64
//! begin NAME
//! ok NAME MILLISECONDS
//! fail NAME MILLISECONDS REASON
//! slow NAME MILLISECONDS REASON          a wait of its own was too short for this host
//! late NAME MILLISECONDS
//! end PASSED FAILED
//! measured CASE QUANTITY VALUE
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

const PORT: &str = "/dev/ttyS1";
const KERNEL_LOG: &str = "/dev/kmsg";
const REASON: &str = "/run/reason";

/// The line to the host.
pub struct Report {
    port: File,
}

impl Report {
    /// Opens the port.
    pub fn open() -> Result<Self> {
        let port = OpenOptions::new().write(true).open(PORT).context("the host gave no second serial port")?;
        Ok(Self { port })
    }

    /// Says one line; newlines in it become spaces.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let line = line.replace(['\n', '\r'], " ");
        self.port.write_all(format!("{line}\n").as_bytes()).context("the host does not listen")?;
        // The machine may be ended right after; what is still in the port's buffer would be lost.
        nix::sys::termios::tcdrain(&self.port)?;
        Ok(())
    }
}

/// Puts a line into the kernel's log, so that its reports can be attributed.
pub fn mark(line: &str) {
    // Only an aid for reading the log; the verdicts go another way.
    let _ = std::fs::write(KERNEL_LOG, format!("<6>guest: {line}\n"));
}

/// Leaves the reason of a failure for process 1.
pub fn leave_reason(reason: &str) {
    if let Err(error) = std::fs::write(REASON, reason) {
        println!("cannot write {REASON}: {error}");
    }
}

/// The reason that the scenario left; forgets it.
pub fn take_reason() -> Option<String> {
    let reason = std::fs::read_to_string(REASON).ok();
    if Path::new(REASON).exists() {
        let _ = std::fs::remove_file(REASON);
    }
    reason
}
