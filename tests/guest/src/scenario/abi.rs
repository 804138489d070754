//! The calls themselves: every errno that the interface promises, and no other effect of a call that fails.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::{
    BLKFILTER_ATTACH, BLKFILTER_CTL, BLKFILTER_DETACH, CTL_CBTDIRTY, CTL_CBTINFO, CTL_CBTMAP, CTL_SNAPSHOTADD,
    CTL_SNAPSHOTINFO, CbtInfo, FILTER_NAME, SNAPSHOT_COLLECT, SNAPSHOT_CREATE, SNAPSHOT_DESTROY, SNAPSHOT_TAKE,
    SNAPSHOT_VERSION, SNAPSHOT_WAIT_EVENT, Sectors, SnapshotInfo, Uuid, Version,
};
use nix::errno::Errno;

use crate::disk::Disk;
use crate::filter::{self, Tracked, filter_name, image_name};
use crate::registry::Scenario;
use crate::snapshot::{self, AMPLE_SECTORS, Snapshot};
use crate::{ioctl, pace};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("abi/attach", "ATTACH and DETACH refuse what they must", attach).with_module(),
    Scenario::new("abi/sysfs", "/sys/block/DISK/filter names the filter", sysfs).with_module(),
    Scenario::new(
        "abi/control_of_filter",
        "CTL refuses unknown names, commands and short structures",
        control_of_filter,
    )
    .with_module(),
    Scenario::new("abi/info", "CBTINFO of a fresh tracker is exact and leaks nothing", info).with_module(),
    Scenario::new("abi/map_bounds", "CBTMAP never reads beyond the map", map_bounds).with_module(),
    Scenario::new("abi/dirty_bounds", "CBTDIRTY refuses ranges beyond the disk", dirty_bounds).with_module(),
    Scenario::new("abi/version", "VERSION is 2.0.0.0", version).with_module(),
    Scenario::new("abi/create", "CREATE refuses what cannot be a store", create).with_module(),
    Scenario::new("abi/snapshot_calls", "ADD, TAKE, DESTROY and COLLECT refuse what they must", snapshot_calls)
        .with_module(),
    Scenario::new("abi/wait_event", "WAIT_EVENT times out in milliseconds and DESTROY wakes it", wait_event)
        .with_module(),
    Scenario::new("abi/bad_addresses", "addresses that nobody may use give EFAULT or ENODATA", bad_addresses)
        .with_module(),
    Scenario::new("abi/rights", "all calls on a disk need CAP_SYS_ADMIN", rights).with_module(),
];

/// Compares a call's errno with the one that the interface states.
pub fn expect<T: std::fmt::Debug>(what: &str, result: nix::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Err(found) if found == errno => Ok(()),
        Err(found) => anyhow::bail!("{what} gives {found:?} instead of {errno:?}"),
        Ok(value) => anyhow::bail!("{what} succeeds ({value:?}) instead of giving {errno:?}"),
    }
}

fn attach() -> Result<()> {
    let path = Disk::First.node()?;
    let device = filter::open(&path)?;
    expect("DETACH without a filter", ioctl::detach(&device, FILTER_NAME), Errno::ENOENT)?;
    expect("ATTACH of an unknown filter", ioctl::attach(&device, filter_name("nobody")), Errno::ENOENT)?;
    let endless = ioctl::attach(&device, [b'x'; 32]);
    ensure!(matches!(endless, Err(Errno::ENOENT | Errno::EINVAL)), "ATTACH of a name without end gives {endless:?}");
    let tracked = Tracked::attach(&path)?;
    expect("a second ATTACH", ioctl::attach(&device, FILTER_NAME), Errno::EALREADY)?;
    expect("DETACH of another name", ioctl::detach(&device, filter_name("nobody")), Errno::EINVAL)?;
    tracked.detach()?;
    expect("a second DETACH", ioctl::detach(&device, FILTER_NAME), Errno::ENOENT)?;
    let generation = |tracked: Tracked| -> Result<Uuid> {
        let generation = tracked.info()?.generation;
        tracked.detach()?;
        Ok(generation)
    };
    let (first, second) = (generation(Tracked::attach(&path)?)?, generation(Tracked::attach(&path)?)?);
    ensure!(first != second && first != Uuid::default(), "generations are not random: {first:?}, {second:?}");
    Ok(())
}

fn sysfs() -> Result<()> {
    let path = Disk::First.node()?;
    let attribute = Path::new("/sys/block").join(Disk::First.name()?).join("filter");
    let shown = || std::fs::read_to_string(&attribute).map(|text| text.trim().to_owned()).unwrap_or_default();
    let tracked = Tracked::attach(&path)?;
    ensure!(shown() == "blksnap", "{} shows `{}` with the tracker attached", attribute.display(), shown());
    tracked.detach()?;
    ensure!(shown().is_empty(), "{} shows `{}` without a filter", attribute.display(), shown());
    Ok(())
}

fn control_of_filter() -> Result<()> {
    let path = Disk::First.node()?;
    let device = filter::open(&path)?;
    let ask = |name, command, length| {
        let mut answer = CbtInfo::default();
        ioctl::control_filter(&device, name, command, &mut answer, length)
    };
    let full = size_of::<CbtInfo>();
    expect("CTL without a filter", ask(FILTER_NAME, CTL_CBTINFO, full), Errno::ENOENT)?;
    let tracked = Tracked::attach(&path)?;
    expect("CTL for another filter", ask(filter_name("nobody"), CTL_CBTINFO, full), Errno::EINVAL)?;
    for command in [5, 63, 1000, u32::MAX] {
        expect(&format!("command {command}"), ask(FILTER_NAME, command, full), Errno::ENOTTY)?;
    }
    for command in [CTL_CBTINFO, CTL_CBTMAP, CTL_CBTDIRTY, CTL_SNAPSHOTADD, CTL_SNAPSHOTINFO] {
        for length in [0, 1, 7] {
            let what = format!("command {command} with {length} bytes");
            expect(&what, ask(FILTER_NAME, command, length), Errno::EINVAL)?;
        }
    }
    let stated = ask(FILTER_NAME, CTL_CBTINFO, full)?;
    ensure!(usize::try_from(stated)? == full, "CBTINFO states {stated} bytes");
    tracked.detach()
}

fn info() -> Result<()> {
    for disk in Disk::ALL {
        let tracked = Tracked::attach(&disk.node()?)?;
        // Anything that the kernel does not write would stay as it is.
        let mut info = CbtInfo { reserved: [0xA5; 7], ..CbtInfo::default() };
        ioctl::control_filter(tracked.device(), FILTER_NAME, CTL_CBTINFO, &mut info, size_of::<CbtInfo>())?;
        ensure!(info.reserved == [0; 7], "the padding is {:x?}", info.reserved);
        ensure!(info.capacity_bytes == 1 << 30, "{disk:?} has {} bytes", info.capacity_bytes);
        ensure!(info.block_size == 65536, "{disk:?} has blocks of {} bytes", info.block_size);
        ensure!(info.block_count == 1 << 14, "{disk:?} has {} blocks", info.block_count);
        ensure!(info.changes_number == 0, "{disk:?} begins with interval {}", info.changes_number);
        ensure!(tracked.map()?.iter().all(|byte| *byte == 0), "the map of {disk:?} begins with changes");
        tracked.detach()?;
    }
    Ok(())
}

fn map_bounds() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let count = tracked.info()?.block_count;
    let read = |offset, length| ioctl::read_map(tracked.device(), FILTER_NAME, offset, length);
    ensure!(read(count - 1, 1)?.len() == 1, "the last block cannot be read");
    for (offset, length) in [(count, 1), (count + 1, 1), (u32::MAX, 1), (u32::MAX, 16), (1 << 31, 4096)] {
        let what = format!("CBTMAP at {offset} of {count}");
        match read(offset, length) {
            Err(Errno::EINVAL | Errno::ENODATA) => {}
            // The C module reads what lies behind its array; reading nothing is fine.
            Ok(bytes) => ensure!(bytes.iter().all(|byte| *byte == 0), "{what} returns bytes"),
            Err(errno) => anyhow::bail!("{what} gives {errno:?}"),
        }
    }
    // A range across the end is cut.
    match read(count - 2, 64) {
        Ok(bytes) => ensure!(bytes[2..].iter().all(|byte| *byte == 0), "bytes behind the end of the map were written"),
        Err(errno) => ensure!(errno == Errno::EINVAL, "a range across the end gives {errno:?}"),
    }
    tracked.detach()
}

fn dirty_bounds() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let sectors = tracked.info()?.capacity_bytes / 512;
    let beyond = [(sectors, 1), (sectors - 1, 2), (u64::MAX, 1), (u64::MAX, u64::MAX), (1, u64::MAX)];
    for (offset_sectors, count_sectors) in beyond {
        let result = tracked.mark(&[Sectors { offset_sectors, count_sectors }]);
        ensure!(result.is_err(), "CBTDIRTY of {count_sectors} sectors from {offset_sectors} succeeds");
    }
    ensure!(tracked.map()?.iter().all(|byte| *byte == 0), "a refused range was marked");
    tracked.mark(&[Sectors { offset_sectors: sectors - 1, count_sectors: 1 }]).context("the last sector")?;
    tracked.detach()
}

fn version() -> Result<()> {
    let found = ioctl::version(&snapshot::control()?)?;
    ensure!(found == Version { major: 2, minor: 0, revision: 0, build: 0 }, "{found:?}");
    let metadata = std::fs::metadata("/dev/blksnap-control")?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    ensure!(mode == 0o600, "the control device has mode {mode:o}");
    Ok(())
}

fn create() -> Result<()> {
    let control = snapshot::control()?;
    let create = |path: &str| snapshot::create_raw(&control, Path::new(path), AMPLE_SECTORS);
    expect("a store that is not there", create("/tmp/nowhere/at/all"), Errno::ENOENT)?;
    expect("a store that is a character device", create("/dev/null"), Errno::EINVAL)?;
    expect("a directory of /proc", create("/proc"), Errno::EOPNOTSUPP)?;
    ensure!(create("").is_err(), "an empty path is a store");
    let store = Disk::Store.node()?;
    let exclusive = std::os::unix::fs::OpenOptionsExt::custom_flags(
        std::fs::OpenOptions::new().read(true).write(true),
        nix::libc::O_EXCL,
    )
    .open(&store)?;
    expect("a disk that somebody holds", snapshot::create_raw(&control, &store, AMPLE_SECTORS), Errno::EBUSY)?;
    drop(exclusive);
    ensure!(ioctl::count_snapshots(&control)? == 0, "a failed CREATE leaves a snapshot");
    expect("a disk above the limit", snapshot::create_raw(&control, &store, 1 << 10), Errno::ENOSPC)?;
    let snapshot = Snapshot::create(&store, 1 << 22)?;
    ensure!(snapshot.id() != Uuid::default(), "the id is zero");
    snapshot.destroy()
}

fn snapshot_calls() -> Result<()> {
    let (control, nobody) = (snapshot::control()?, Uuid { bytes: [7; 16] });
    expect("TAKE of nobody", ioctl::take(&control, nobody), Errno::ESRCH)?;
    expect("DESTROY of nobody", ioctl::destroy(&control, nobody), Errno::ENODEV)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    expect("ADD to nobody", tracked.add_to(nobody), Errno::ESRCH)?;
    let (first, second) =
        (Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?, Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?);
    expect("TAKE without a device", first.take(), Errno::ENODEV)?;
    tracked.add_to(first.id()).context("ADD")?;
    expect("ADD again", tracked.add_to(first.id()), Errno::EALREADY)?;
    expect("ADD to another", tracked.add_to(second.id()), Errno::EBUSY)?;
    ensure!(image_name(&tracked.snapshot_info()?)?.is_empty(), "there is an image before TAKE");
    first.take().context("TAKE")?;
    expect("TAKE again", first.take(), Errno::EALREADY)?;
    let late = Tracked::attach(&Disk::Second.node()?)?;
    expect("ADD after TAKE", late.add_to(first.id()), Errno::EBUSY)?;
    expect("DETACH under a snapshot", ioctl::detach(tracked.device(), FILTER_NAME), Errno::EBUSY)?;
    let number = crate::block_device::BlockDevice::open(tracked.path())?.number()?;
    let image = tracked.image()?;
    ensure!(image == Path::new(&format!("/dev/blksnap-{}-{}", number.0, number.1)), "the image is {}", image.display());
    collect(&control, &[first.id(), second.id()])?;
    second.destroy()?;
    first.destroy()?;
    ensure!(!image.exists(), "the image stays after DESTROY");
    late.detach()?;
    tracked.detach()
}

fn collect(control: &File, wanted: &[Uuid]) -> Result<()> {
    let count = usize::try_from(ioctl::count_snapshots(control)?)?;
    ensure!(count == wanted.len(), "COLLECT counts {count} snapshots");
    let (result, count, ids) = ioctl::collect(control, wanted.len() + 3);
    result.context("COLLECT with room")?;
    ensure!(usize::try_from(count)? == wanted.len(), "COLLECT states {count}");
    ensure!(wanted.iter().all(|id| ids.contains(id)), "COLLECT forgets one: {ids:?}");
    let (result, _, ids) = ioctl::collect(control, 1);
    expect("COLLECT with too little room", result, Errno::ENODATA)?;
    ensure!(wanted.contains(&ids[0]), "COLLECT with too little room does not fill the first");
    Ok(())
}

fn wait_event() -> Result<()> {
    let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    expect("an event of nobody", ioctl::wait_event(snapshot.control(), Uuid { bytes: [9; 16] }, 1), Errno::ESRCH)?;
    // A busy host may wake anybody late; of several waits the shortest counts.
    let mut shortest_ms = u128::MAX;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        expect("an event that does not come", snapshot.wait_event(400), Errno::ENOENT)?;
        let waited_ms = started.elapsed().as_millis();
        ensure!(waited_ms >= 400, "it waited only {waited_ms} ms instead of 400");
        shortest_ms = shortest_ms.min(waited_ms);
        if shortest_ms < 800 {
            break;
        }
    }
    ensure!(shortest_ms < 1200, "it waited {shortest_ms} ms instead of 400");
    let (control, id) = (snapshot::control()?, snapshot.id());
    let waiter = std::thread::spawn(move || ioctl::wait_event(&control, id, 50_000).map(|event| event.code));
    nix::poll::poll(&mut [], 200_u16)?;
    let started = std::time::Instant::now();
    snapshot.destroy()?;
    let woken = waiter.join().map_err(|_| anyhow::anyhow!("the waiter panicked"))?;
    ensure!(started.elapsed().as_secs() < 20 * u64::from(pace::patience()), "DESTROY does not wake who waits");
    ensure!(woken.is_err(), "who waits for a destroyed snapshot gets event {woken:?}");
    Ok(())
}

fn bad_addresses() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let device = tracked.device();
    for (name, request) in [("ATTACH", BLKFILTER_ATTACH), ("DETACH", BLKFILTER_DETACH), ("CTL", BLKFILTER_CTL)] {
        expect(name, ioctl::call_with_bad_address(device, request), Errno::EFAULT)?;
    }
    for (command, length) in [(CTL_CBTINFO, 40), (CTL_CBTMAP, 16), (CTL_CBTDIRTY, 16), (CTL_SNAPSHOTADD, 16)] {
        let what = format!("command {command}");
        expect(&what, ioctl::control_filter_with_bad_address(device, FILTER_NAME, command, length), Errno::ENODATA)?;
    }
    expect("CBTMAP", ioctl::read_map_to_bad_address(device, FILTER_NAME, 64), Errno::ENODATA)?;
    let control = snapshot::control()?;
    expect("CREATE of a path", ioctl::create_at_bad_address(&control), Errno::EFAULT)?;
    let calls =
        [SNAPSHOT_VERSION, SNAPSHOT_CREATE, SNAPSHOT_DESTROY, SNAPSHOT_TAKE, SNAPSHOT_COLLECT, SNAPSHOT_WAIT_EVENT];
    for request in calls {
        let result = ioctl::call_with_bad_address(&control, request);
        ensure!(
            matches!(result, Err(Errno::EFAULT | Errno::ENODATA | Errno::EINVAL)),
            "call {request:#x} at a bad address gives {result:?}"
        );
    }
    tracked.detach()
}

/// Comes last in its process: the rights do not come back.
fn rights() -> Result<()> {
    let path = Disk::First.node()?;
    let (bare, tracked) = (filter::open(&Disk::Second.node()?)?, Tracked::attach(&path)?);
    let forked = std::thread::spawn(move || -> Result<Tracked> {
        // The raw call changes this thread only; the C library's would change all of them.
        let nobody: nix::libc::uid_t = 65534;
        // SAFETY: it takes numbers only.
        let result = unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, nobody, nobody, nobody) };
        Errno::result(result)?;
        expect("ATTACH", ioctl::attach(&bare, FILTER_NAME), Errno::EPERM)?;
        expect("CBTINFO", tracked.info().map_err(|_| Errno::EPERM), Errno::EPERM)?;
        let mut info = SnapshotInfo::default();
        let asked = ioctl::control_filter(tracked.device(), FILTER_NAME, CTL_SNAPSHOTINFO, &mut info, 36);
        expect("SNAPSHOTINFO", asked, Errno::EPERM)?;
        expect("DETACH", ioctl::detach(tracked.device(), FILTER_NAME), Errno::EPERM)?;
        Ok(tracked)
    });
    let tracked = forked.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    tracked.detach()
}
