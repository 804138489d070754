//! What a scenario must not leave for the next one.

use std::path::Path;

use anyhow::Result;

/// Things that a scenario made and that still exist; `None` when the guest is as it was.
pub fn leftovers() -> Result<Option<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let made_by_scenario = ["dm-", "md", "nullb", "ram", "blksnap-"].iter().any(|prefix| name.starts_with(prefix));
        if made_by_scenario || is_bound_loop(&entry.path(), &name) {
            found.push(format!("the disk {name}"));
        } else if has_filter(&entry.path())? {
            found.push(format!("a filter on {name}"));
        }
    }
    for line in std::fs::read_to_string("/proc/mounts")?.lines() {
        if let Some(place) = line.split(' ').nth(1).filter(|place| place.starts_with("/mnt")) {
            found.push(format!("a mount on {place}"));
        }
    }
    found.extend(
        std::fs::read_to_string("/proc/swaps")
            .into_iter()
            .flat_map(|table| table.lines().skip(1).map(|line| format!("the swap area {line}")).collect::<Vec<_>>()),
    );
    Ok((!found.is_empty()).then(|| found.join(", ")))
}

fn is_bound_loop(directory: &Path, name: &str) -> bool {
    name.starts_with("loop") && directory.join("loop/backing_file").exists()
}

fn has_filter(directory: &Path) -> Result<bool> {
    let path = directory.join("filter");
    Ok(path.exists() && !std::fs::read_to_string(path)?.trim().is_empty())
}
