//! docs/kernel against the code: every number, offset, size and parameter on those pages is the one that is compiled, and
//! nothing of the interface is missing there.

use core::mem::offset_of;
use kmod_logic::uapi::extension::{
    self, ChangedQuery, Extent, Features, IntervalQuery, SnapshotCreateWith, SnapshotDevice, SnapshotDevices,
    SnapshotStatistics, TrackerInfo, TrackerStatistics,
};
use kmod_logic::uapi::{
    self, CbtDirty, CbtInfo, CbtMap, EventCorrupted, EventNoSpace, FilterAttach, FilterCtl, FilterName, Sectors,
    SnapshotCollect, SnapshotCreate, SnapshotEvent, SnapshotInfo, Version, compat, parameter,
};

const BLKFILTER: &str = include_str!("../../../docs/kernel/blkfilter.md");
const BLKSNAP: &str = include_str!("../../../docs/kernel/blksnap.md");
const HEADER: &str = include_str!("../../blkfilter.h");
const SOURCES: [&str; 2] = [include_str!("../../uapi.rs"), include_str!("../../uapi/extension.rs")];

/// A structure as the compiler lays it out.
struct Layout {
    name: &'static str,
    bytes: usize,
    /// Name, offset, bytes.
    fields: Vec<(&'static str, usize, usize)>,
}

fn bytes_of<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($type:ident: $($field:ident)*) => {
        Layout {
            name: stringify!($type),
            bytes: size_of::<$type>(),
            fields: vec![
                $((stringify!($field), offset_of!($type, $field), bytes_of(|value: &$type| &value.$field))),*
            ],
        }
    };
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(FilterAttach: name opt optlen reserved),
        layout!(FilterName: name),
        layout!(FilterCtl: name command optlen opt),
        layout!(CbtInfo: capacity_bytes block_size block_count generation changes_number reserved),
        layout!(CbtMap: offset length buffer),
        layout!(CbtDirty: count reserved ranges),
        layout!(Sectors: offset_sectors count_sectors),
        layout!(SnapshotInfo: error_code image),
        layout!(Version: major minor revision build),
        layout!(SnapshotCreate: limit_sectors path id),
        layout!(SnapshotCollect: count reserved ids),
        layout!(SnapshotEvent: id timeout_ms code time_ns data),
        layout!(EventCorrupted: major minor errno),
        layout!(EventNoSpace: requested_sectors),
        layout!(Features: version reserved bits),
        layout!(TrackerInfo: capacity_bytes block_bytes block_count generation number oldest window_generation window_base
            interval oldest_interval map_bytes flags reserved),
        layout!(IntervalQuery: first ids capacity filled),
        layout!(ChangedQuery: generation number since offset_bytes length_bytes extents capacity filled next_offset_bytes),
        layout!(Extent: offset_bytes length_bytes),
        layout!(TrackerStatistics: writes write_bytes marked_blocks delayed_writes delayed_ns read_for_preservation_bytes
            preserved_bytes image_read_bytes image_write_bytes map_bytes chunk_map_bytes coarse_regions delay_histogram),
        layout!(SnapshotCreateWith: limit_sectors path flags id),
        layout!(SnapshotStatistics: id state error_code devices flags taken_ns limit_sectors capacity_sectors used_sectors
            preserved_chunks pending_events dropped_events),
        layout!(SnapshotDevices: id devices capacity count),
        layout!(SnapshotDevice: major minor error_code reserved chunk_bytes image),
    ]
}

/// Calls, commands, codes and flags with a number.
fn numbers() -> Vec<(&'static str, u64)> {
    macro_rules! of {
        ($($module:ident: $($name:ident)*;)*) => { vec![$($((stringify!($name), u64::from($module::$name))),*),*] };
    }
    of! {
        uapi: BLKFILTER_ATTACH BLKFILTER_DETACH BLKFILTER_CTL SNAPSHOT_VERSION SNAPSHOT_CREATE SNAPSHOT_DESTROY
            SNAPSHOT_TAKE SNAPSHOT_COLLECT SNAPSHOT_WAIT_EVENT CTL_CBTINFO CTL_CBTMAP CTL_CBTDIRTY CTL_SNAPSHOTADD
            CTL_SNAPSHOTINFO EVENT_CORRUPTED EVENT_NO_SPACE;
        compat: OLD_BLKFILTER_ATTACH OLD_BLKFILTER_DETACH OLD_BLKFILTER_CTL;
        extension: SNAPSHOT_FEATURES SNAPSHOT_CREATE_WITH SNAPSHOT_STATISTICS SNAPSHOT_DEVICES CTL_TRACKER_INFO
            CTL_INTERVALS CTL_CHANGED CTL_STATISTICS FEATURE_FINE_MAP FEATURE_INTERVAL_IDS FEATURE_STATISTICS
            FEATURE_TIED_SNAPSHOTS FEATURE_SNAPSHOT_DEVICES TRACKER_COARSE TRACKER_INVALID TRACKER_IN_SNAPSHOT
            STATE_CREATED STATE_TAKEN STATE_CORRUPTED SNAPSHOT_TIED SNAPSHOT_NO_SPACE;
    }
}

/// The cells of all table rows of a text, without back quotes.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(inner.split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
    };
    text.lines().filter_map(cells).collect()
}

fn number(cell: &str) -> Option<u64> {
    match cell.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => cell.parse().ok(),
    }
}

#[test]
fn every_structure_is_laid_out_as_its_table_says() {
    for layout in layouts() {
        let heading = format!("### `{}`, {} bytes\n", layout.name, layout.bytes);
        let section = [BLKFILTER, BLKSNAP].iter().find_map(|text| text.split_once(&heading)).map(|(_, rest)| rest);
        let section = section.unwrap_or_else(|| panic!("no heading {heading:?}"));
        let section = section.split("\n#").next().unwrap_or(section);
        let table: Vec<(String, usize, usize)> = rows(section)
            .into_iter()
            .filter_map(|cells| match cells.as_slice() {
                [offset, bytes, field, _] => Some((field.clone(), offset.parse().ok()?, bytes.parse().ok()?)),
                _ => None,
            })
            .collect();
        let compiled: Vec<_> =
            layout.fields.iter().map(|(name, at, bytes)| ((*name).to_owned(), *at, *bytes)).collect();
        assert_eq!(table, compiled, "{}", layout.name);
        let end = layout.fields.iter().fold(0, |next, (name, at, bytes)| {
            assert_eq!(next, *at, "{}: hidden padding before {name}", layout.name);
            at + bytes
        });
        assert_eq!(end, layout.bytes, "{}: hidden padding at the end, or a field is missing", layout.name);
    }
}

#[test]
fn the_structure_of_older_headers_is_laid_out_as_its_table_says() {
    let section = BLKSNAP.split_once("### Older headers\n").unwrap().1;
    let offsets: Vec<_> =
        rows(section).iter().filter_map(|cells| Some((cells.get(2)?.clone(), number(&cells[0])?))).collect();
    let compiled = [
        ("limit_sectors", offset_of!(compat::SnapshotCreateByFd, limit_sectors)),
        ("fd", offset_of!(compat::SnapshotCreateByFd, fd)),
        ("id", offset_of!(compat::SnapshotCreateByFd, id)),
        ("reserved", offset_of!(compat::SnapshotCreateByFd, reserved)),
    ];
    assert_eq!(offsets, compiled.map(|(name, at)| (name.to_owned(), at as u64)));
}

#[test]
fn every_number_stands_once_and_is_right() {
    let rows: Vec<_> = [BLKFILTER, BLKSNAP].into_iter().flat_map(rows).collect();
    for (name, value) in numbers() {
        let found: Vec<u64> =
            rows.iter().filter(|cells| cells[0] == name).filter_map(|cells| number(cells.get(1)?)).collect();
        assert_eq!(found, [value], "{name}");
    }
    for spelling in [compat::BLKFILTER_ATTACH_32, compat::SNAPSHOT_COLLECT_32] {
        let shown = format!("`{spelling:#x}`");
        assert!(BLKFILTER.contains(&shown) || BLKSNAP.contains(&shown), "{shown}");
    }
}

#[test]
fn nothing_of_the_interface_is_missing() {
    let known: Vec<&str> = numbers().into_iter().map(|(name, _)| name).collect();
    let structures: Vec<&str> = layouts().iter().map(|layout| layout.name).collect();
    let prefixes = ["BLKFILTER_", "CTL_", "EVENT_", "SNAPSHOT_", "FEATURE_", "TRACKER_", "STATE_", "CREATE_"];
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.split(' ').next()) {
            assert!(structures.contains(&name) || name == "Uuid", "{name} is compared with nothing");
        }
        let constant = line.strip_prefix("pub const ").and_then(|rest| rest.split(':').next());
        if let Some(name) = constant.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))) {
            let exempt = ["EVENT_DATA_BYTES", "CREATE_TIED_TO_FD"].contains(&name);
            assert!(known.contains(&name) || exempt, "{name} is compared with nothing");
        }
    }
}

#[test]
fn parameters_have_the_defaults_and_ranges_that_the_page_says() {
    let rows = rows(BLKSNAP);
    for parameter in parameter::ALL {
        let range = format!("{}–{}", parameter.minimum, parameter.maximum);
        let found: Vec<_> = rows.iter().filter(|cells| cells[0] == parameter.name).collect();
        assert_eq!(found.len(), 1, "{}", parameter.name);
        assert_eq!(
            (found[0][1].as_str(), found[0][2].as_str()),
            (parameter.default.to_string().as_str(), range.as_str())
        );
    }
    let page = rows.iter().filter(|cells| cells.len() == 4 && cells[2].contains('–')).count();
    assert_eq!(page, parameter::ALL.len(), "the page has a parameter that the module has not");
}

/// What a C header declares: functions at the beginning of a line, members of `struct blkfilter_ops` as pointers.
#[test]
fn the_interface_of_filters_is_the_one_of_the_header() {
    let exported = HEADER.lines().filter(|line| line.ends_with(");") && !line.starts_with(['\t', ' ', '/']));
    let exported: Vec<_> = exported.filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next()).collect();
    let ops = HEADER.split_once("struct blkfilter_ops {").unwrap().1.split_once("\n};").unwrap().0;
    let members = ops.lines().filter_map(|line| line.split_once("(*")?.1.split(')').next());
    let members: Vec<_> = members.collect();
    assert!(exported.len() >= 3 && members.len() >= 6, "{exported:?} {members:?}");
    let rows = rows(BLKFILTER);
    let named: Vec<&str> = rows.iter().filter_map(|cells| cells[0].split_once('(')).map(|(name, _)| name).collect();
    for name in exported.iter().chain(&members) {
        assert!(named.contains(name), "{name} is not on the page");
    }
    for name in named {
        assert!(exported.contains(&name) || members.contains(&name), "{name} is not in the header");
    }
}
