//! Parameters of the module under test that can be changed at run time.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// A changed parameter; set back when dropped.
pub struct Parameter {
    path: PathBuf,
    before: String,
}

impl Parameter {
    /// Changes it.
    pub fn set(name: &str, value: u64) -> Result<Self> {
        let path = PathBuf::from("/sys/module/blksnap/parameters").join(name);
        let before = std::fs::read_to_string(&path).with_context(|| format!("there is no parameter {name}"))?;
        std::fs::write(&path, value.to_string()).with_context(|| format!("cannot set {name}"))?;
        Ok(Self { path, before })
    }

    /// Sets it back and says whether that worked.
    pub fn restore(self) -> Result<()> {
        std::fs::write(&self.path, self.before.trim()).context("cannot set a parameter back")
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.path, self.before.trim());
    }
}
