//! A live disk's life: files come, change and go, slowly, for ever.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::random::Random;

const FILES: u64 = 200;
const LARGEST_BYTES: u64 = 1 << 20;
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(50);

/// Changes files below `directory` until it is ended.
pub fn run(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut random = Random::new(std::process::id().into());
    loop {
        change(directory, &mut random)?;
        std::thread::park_timeout(PAUSE);
    }
}

fn change(directory: &Path, random: &mut Random) -> Result<()> {
    let path = directory.join(format!("file-{:03}", random.below(FILES)));
    let deed = random.below(20);
    if deed == 0 {
        // Not there yet, or gone already: the next round makes it.
        let _ = std::fs::remove_file(&path);
        return Ok(());
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
    let length = usize::try_from(1 + random.below(64 << 10))?;
    let words = std::iter::repeat_with(|| random.next()).flat_map(|word| format!("{word:016x}\n").into_bytes());
    let bytes: Vec<u8> = words.take(length).collect();
    file.write_all_at(&bytes, random.below(LARGEST_BYTES))?;
    if deed < 5 {
        file.sync_data()?;
    }
    Ok(())
}
