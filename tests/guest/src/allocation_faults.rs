//! Tells a kernel with fault injection which allocations shall fail; none any more when dropped.
//!
//! Only those that the module under test asks for, itself or through what it calls: the filter looks for its code on the stack.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const PLACES: [&str; 2] = ["/sys/kernel/debug/failslab", "/sys/kernel/debug/fail_page_alloc"];
const OF_THIS_THREAD: &str = "/proc/thread-self/fail-nth";

/// Faults that can happen.
pub struct AllocationFaults;

impl AllocationFaults {
    /// Nothing fails yet.
    pub fn prepared() -> Result<Self> {
        let (start, end) = module_code()?;
        let faults = Self;
        for place in PLACES.map(Path::new) {
            let settings = [
                ("probability", "0"),
                ("interval", "1"),
                ("times", "-1"),
                ("space", "0"),
                ("verbose", "0"),
                ("task-filter", "N"),
                ("ignore-gfp-wait", "N"),
                ("stacktrace-depth", "32"),
            ];
            for (name, value) in settings {
                set(&place.join(name), value)?;
            }
            set(&place.join("require-start"), &start)?;
            set(&place.join("require-end"), &end)?;
        }
        let any_order = Path::new(PLACES[1]);
        set(&any_order.join("min-order"), "0")?;
        set(&any_order.join("ignore-gfp-highmem"), "N")?;
        Ok(faults)
    }

    /// So many of a hundred allocations fail from now on, in whatever thread.
    pub fn percent(&self, percent: u32) -> Result<()> {
        PLACES.iter().try_for_each(|place| set(&Path::new(place).join("probability"), &percent.to_string()))
    }

    /// Does something in which the `nth` allocation of this thread fails. Says too whether it came to that.
    pub fn at<T>(&self, nth: u32, act: impl FnOnce() -> T) -> Result<(T, bool)> {
        set(Path::new(OF_THIS_THREAD), &nth.to_string())?;
        let result = act();
        let left = std::fs::read_to_string(OF_THIS_THREAD)?;
        set(Path::new(OF_THIS_THREAD), "0")?;
        Ok((result, left.trim() == "0"))
    }
}

impl Drop for AllocationFaults {
    fn drop(&mut self) {
        let _ = self.percent(0);
    }
}

fn set(path: &Path, value: &str) -> Result<()> {
    std::fs::write(path, value).with_context(|| format!("cannot set {} to {value}", path.display()))
}

/// First and last address of the module, as the kernel lists it: `name size references users state address`.
fn module_code() -> Result<(String, String)> {
    let table = std::fs::read_to_string(PathBuf::from("/proc/modules"))?;
    let line = table.lines().find(|line| line.starts_with("blksnap ")).context("the module is not loaded")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let (size, start) = words.get(1).zip(words.get(5)).context("/proc/modules")?;
    let start = u64::from_str_radix(start.trim_start_matches("0x"), 16).context("the module's address")?;
    let end = start + size.parse::<u64>().context("the module's size")?;
    Ok((start.to_string(), end.to_string()))
}
