//! The interface as 32-bit programs see it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::compat::{BLKFILTER_ATTACH_32, SNAPSHOT_COLLECT_32};
use kmod_logic::uapi::{
    BLKFILTER_CTL, BLKFILTER_DETACH, CTL_CBTDIRTY, CTL_CBTINFO, CTL_CBTMAP, CTL_SNAPSHOTADD, FILTER_NAME,
    SNAPSHOT_CREATE, SNAPSHOT_DESTROY, SNAPSHOT_VERSION, Uuid,
};

use crate::compat::{self, LowPage};
use crate::disk::Disk;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::{filter, ioctl, snapshot};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("compat/filter", "a 32-bit program attaches, asks, marks and detaches", filter_calls).with_module(),
    Scenario::new("compat/control", "a 32-bit program makes, counts and destroys a snapshot", control_calls)
        .with_module(),
];

/// Where the second structure of a call lies in the page.
const SECOND: u32 = 1024;
/// Where the third one lies.
const THIRD: u32 = 2048;

fn number(bytes: &[u8]) -> Result<u32> {
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}

/// Fills `struct blkfilter_ctl` for a command whose structure lies at [`SECOND`].
fn prepare(page: &mut LowPage, command: u32, optlen: u32) -> Result<()> {
    let opt = u64::from(page.address(SECOND)?);
    page.put(0, &FILTER_NAME);
    page.put(32, &command.to_ne_bytes());
    page.put(36, &optlen.to_ne_bytes());
    page.put(40, &opt.to_ne_bytes());
    Ok(())
}

fn filter_calls() -> Result<()> {
    let device = filter::open(&Disk::First.node()?)?;
    let mut page = LowPage::new()?;
    page.put(0, &FILTER_NAME);
    compat::ioctl(&device, BLKFILTER_ATTACH_32, &page)?.context("ATTACH")?;
    take_once(&device)?;
    let asked = info_and_map(&device, &mut page);
    page.put(0, &FILTER_NAME);
    compat::ioctl(&device, BLKFILTER_DETACH, &page)?.context("DETACH")?;
    asked
}

/// Before the first TAKE the readable map has nothing but the number 0 to say a change with.
fn take_once(device: &std::fs::File) -> Result<()> {
    let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    let mut id = snapshot.id();
    ioctl::control_filter(device, FILTER_NAME, CTL_SNAPSHOTADD, &mut id, size_of::<Uuid>())?;
    snapshot.take()?;
    snapshot.destroy()
}

fn info_and_map(device: &std::fs::File, page: &mut LowPage) -> Result<()> {
    // The structure ends four bytes earlier there.
    prepare(page, CTL_CBTINFO, 36)?;
    compat::ioctl(device, BLKFILTER_CTL, page)?.context("CBTINFO")?;
    ensure!(number(&page.bytes()[36..40])? == 36, "CBTINFO states {} bytes", number(&page.bytes()[36..40])?);
    ensure!(number(&page.bytes()[1024 + 12..1024 + 16])? == 1 << 14, "the number of blocks is wrong");
    // One range from sector 0 on: count, then its address without a gap.
    let ranges = u64::from(page.address(THIRD)?);
    prepare(page, CTL_CBTDIRTY, 12)?;
    page.put(1024, &1_u32.to_ne_bytes());
    page.put(1028, &ranges.to_ne_bytes());
    page.put(2048, &[0; 16]);
    page.put(2056, &1_u64.to_ne_bytes());
    compat::ioctl(device, BLKFILTER_CTL, page)?.context("CBTDIRTY")?;
    let map = u64::from(page.address(THIRD)?);
    prepare(page, CTL_CBTMAP, 16)?;
    page.put(1024, &0_u32.to_ne_bytes());
    page.put(1028, &8_u32.to_ne_bytes());
    page.put(1032, &map.to_ne_bytes());
    page.put(2048, &[0xFF; 8]);
    compat::ioctl(device, BLKFILTER_CTL, page)?.context("CBTMAP")?;
    let map = &page.bytes()[2048..2056];
    ensure!(map[0] > 0 && map[1..].iter().all(|byte| *byte == 0), "the map is {map:?}");
    Ok(())
}

fn control_calls() -> Result<()> {
    let control = snapshot::control()?;
    let mut page = LowPage::new()?;
    compat::ioctl(&control, SNAPSHOT_VERSION, &page)?.context("VERSION")?;
    ensure!(page.bytes()[..8] == [2, 0, 0, 0, 0, 0, 0, 0], "the version is {:?}", &page.bytes()[..8]);
    let path = u64::from(page.address(SECOND)?);
    page.put(0, &(1_u64 << 14).to_ne_bytes());
    page.put(8, &path.to_ne_bytes());
    page.put(1024, b"/tmp\0");
    compat::ioctl(&control, SNAPSHOT_CREATE, &page)?.context("CREATE")?;
    let id: Vec<u8> = page.bytes()[16..32].to_vec();
    let ids = u64::from(page.address(THIRD)?);
    page.put(0, &4_u32.to_ne_bytes());
    page.put(4, &ids.to_ne_bytes());
    let collected = compat::ioctl(&control, SNAPSHOT_COLLECT_32, &page)?;
    let (count, first) = (number(&page.bytes()[..4])?, page.bytes()[2048..2064].to_vec());
    page.put(0, &id);
    compat::ioctl(&control, SNAPSHOT_DESTROY, &page)?.context("DESTROY")?;
    collected.context("COLLECT")?;
    ensure!(count == 1 && first == id, "COLLECT finds {count} snapshots");
    Ok(())
}
