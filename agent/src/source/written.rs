//! How much was written to a block device, as the kernel counts it: what shows writers that came and went while it was read.

use super::Location;
use super::Source;
use super::sys::{DeviceNumber, SysRoot};

/// Sectors that were written and that were discarded. Those of a partition do not count what goes through the whole disk. The numbers of
/// requests are no help: a flush without data counts as a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    written: u64,
    discarded: u64,
}

/// Places of the counters in the `stat` file (Documentation/block/stat.rst). Kernels before 4.18 do not count discards.
const WRITTEN: usize = 6;
const DISCARDED: usize = 13;

impl Written {
    /// Until now; none for image files, and where the kernel does not count.
    ///
    /// What waits in the page cache is written first. A reader would see it before it is counted.
    pub fn so_far(source: &Source) -> Option<Self> {
        let Location::Device(number) = source.location() else { return None };
        if let Err(error) = source.reader.file().sync_data() {
            tracing::info!(path = %source.path().display(), %error, "cannot flush the device");
        }
        Self::of(&SysRoot::host(), *number)
    }

    fn of(sys: &SysRoot, number: DeviceNumber) -> Option<Self> {
        Self::parse(&sys.attribute(number, "stat")?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let counters: Vec<u64> = stat.split_whitespace().map_while(|counter| counter.parse().ok()).collect();
        let discarded = counters.get(DISCARDED).copied().unwrap_or(0);
        Some(Self { written: *counters.get(WRITTEN)?, discarded })
    }
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn writes_and_discards_are_counted_and_neither_reads_nor_flushes() {
        let stat = |reads: u64, written: u64, discarded: u64| {
            Written::parse(&format!("  {reads} 0 {reads} 1 {reads} 0 {written} 2 0 3 4 1 0 {discarded} 9 2 1")).unwrap()
        };
        assert_eq!(stat(1, 80, 8), stat(7, 80, 8));
        assert_ne!(stat(1, 80, 8), stat(1, 88, 8));
        assert_ne!(stat(1, 80, 8), stat(1, 80, 16));
        assert!(Written::parse("1 0 8 1 5 0 80 2 0 3 4").is_some(), "an old kernel counts no discards");
        assert_eq!(Written::parse(""), None);
    }
}
