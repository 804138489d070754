//! Extent lists against a naive model (one flag a byte), and changed lists good and bad.

use super::changed_list::{ChangedListError, LineProblem, ListedDisk, parse_changed_list, quote_name};
use super::{Extent, ExtentList};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

const DISK_BYTES: u64 = 200;
const DISK_FLAGS: usize = 200;

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let one = (0..DISK_BYTES, 1..40_u64).prop_map(|(start, len)| {
        Extent::from_bounds(start, (start + len).min(DISK_BYTES)).expect("start lies below the end")
    });
    vec(one, 0..12)
}

fn model(extents: &[Extent]) -> Vec<bool> {
    (0..DISK_BYTES).map(|byte| extents.iter().any(|e| e.offset_bytes() <= byte && byte < e.end_bytes())).collect()
}

fn flags(list: &ExtentList) -> Vec<bool> {
    model(&list.iter().collect::<Vec<_>>())
}

fn is_canonical(list: &ExtentList) -> bool {
    list.extents.windows(2).all(|pair| pair[0].end_bytes() < pair[1].offset_bytes())
}

fn zip(left: &[bool], right: &[bool], op: impl Fn(bool, bool) -> bool) -> Vec<bool> {
    left.iter().zip(right).map(|(l, r)| op(*l, *r)).collect()
}

proptest! {
    #[test]
    fn set_operations_agree_with_one_flag_a_byte(a in extents(), b in extents()) {
        let (left, right) = (ExtentList::from_unsorted(a.clone()), ExtentList::from_unsorted(b.clone()));
        let (fa, fb) = (model(&a), model(&b));
        for (list, expected) in [
            (left.clone(), fa.clone()),
            (left.union(&right), zip(&fa, &fb, |l, r| l || r)),
            (left.intersect(&right), zip(&fa, &fb, |l, r| l && r)),
            (left.subtract(&right), zip(&fa, &fb, |l, r| l && !r)),
        ] {
            prop_assert!(is_canonical(&list));
            prop_assert_eq!(list.total_bytes(), expected.iter().filter(|f| **f).count() as u64);
            prop_assert_eq!(flags(&list), expected);
        }
    }

    #[test]
    fn pushing_in_any_order_equals_sorting(a in extents()) {
        let mut pushed = ExtentList::new();
        a.iter().for_each(|e| pushed.push(*e));
        prop_assert_eq!(pushed, ExtentList::from_unsorted(a));
    }

    #[test]
    fn chunk_positions_and_rounding_touch_the_same_chunks(a in extents(), chunk in 1..50_u64) {
        let list = ExtentList::from_unsorted(a.clone());
        let wanted: Vec<u64> = (0..DISK_BYTES.div_ceil(chunk))
            .filter(|c| (c * chunk..(c + 1) * chunk).any(|b| b < DISK_BYTES && model(&a)[usize::try_from(b).unwrap()]))
            .collect();
        prop_assert_eq!(list.chunk_positions(chunk).collect::<Vec<_>>(), wanted.clone());
        let rounded = list.rounded_out(chunk, DISK_BYTES);
        prop_assert!(is_canonical(&rounded));
        prop_assert_eq!(rounded.chunk_positions(chunk).collect::<Vec<_>>(), wanted);
        prop_assert!(rounded.iter().all(|e| e.offset_bytes() % chunk == 0));
        prop_assert!(rounded.end_bytes() <= DISK_BYTES);
    }

    #[test]
    fn contains_and_overlaps_agree_with_the_model(a in extents(), start in 0..DISK_BYTES, len in 1..30_u64) {
        let probe = Extent::from_bounds(start, (start + len).min(DISK_BYTES)).unwrap();
        let list = ExtentList::from_unsorted(a.clone());
        let flags = model(&a);
        let within = &flags[usize::try_from(start).unwrap()..usize::try_from(probe.end_bytes()).unwrap()];
        prop_assert_eq!(list.contains(probe), within.iter().all(|f| *f));
        prop_assert_eq!(list.overlaps(probe), within.iter().any(|f| *f));
    }

    #[test]
    fn a_written_list_reads_back(a in extents(), name in "\\PC{0,12}[ #\"\\n]?\\PC{0,4}") {
        let disks = [ListedDisk { name: "other", size_bytes: 1 }, ListedDisk { name: &name, size_bytes: DISK_BYTES }];
        let text: String = a.iter()
            .map(|e| format!("  {}\t {}  {}\r\n", quote_name(&name), e.offset_bytes(), e.length_bytes()))
            .collect();
        let parsed = parse_changed_list(text.as_bytes(), &disks, 1).unwrap();
        prop_assert_eq!(&parsed[1], &ExtentList::from_unsorted(a));
    }

    #[test]
    fn arbitrary_text_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse_changed_list(&bytes[..], &[ListedDisk { name: "sda", size_bytes: 100 }], 16);
    }
}

fn parse_one(text: &str) -> Result<ExtentList, ChangedListError> {
    let disk = ListedDisk { name: "sda", size_bytes: 10_000 };
    parse_changed_list(text.as_bytes(), &[disk], 4096).map(|mut lists| lists.remove(0))
}

fn problem(text: &str) -> (u64, LineProblem) {
    match parse_one(text) {
        Err(ChangedListError::Line { line, problem }) => (line, problem),
        other => panic!("expected a wrong line, got {other:?}"),
    }
}

#[test]
fn extents_are_rounded_outwards_merged_and_cut_at_the_end_of_the_disk() {
    let list = parse_one("# a comment\n\n8200 1\n5000 10\n0 0\n").unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), [Extent::new(4096, 10_000 - 4096).unwrap()]);
}

#[test]
fn the_last_line_needs_no_newline_and_the_name_is_optional_for_one_disk() {
    assert_eq!(parse_one("sda 0 1").unwrap(), parse_one("0 1\n").unwrap());
}

#[test]
fn wrong_lines_are_named() {
    assert_eq!(problem("0 1\nzero one\n"), (2, LineProblem::Malformed("zero one".into())));
    for line in ["5", "+1 2", "-1 2", "0x10 2", "1 99999999999999999999", "1.5 2"] {
        assert!(matches!(problem(line), (1, LineProblem::Malformed(_))), "{line}");
    }
    assert!(matches!(problem("\n9999 2"), (2, LineProblem::OutOfRange { size_bytes: 10_000, .. })));
    assert!(matches!(problem("18446744073709551615 2"), (1, LineProblem::OutOfRange { .. })));
    assert!(matches!(problem("sdb 0 1"), (1, LineProblem::UnknownDisk { .. })));
    assert!(matches!(problem("\"sda 0 1"), (1, LineProblem::BadQuotedName(_))));
    assert!(matches!(problem(&"7".repeat(70_000)), (1, LineProblem::TooLong)));
}

#[test]
fn several_disks_need_their_names() {
    let disks = [ListedDisk { name: "a b", size_bytes: 100 }, ListedDisk { name: "c", size_bytes: 100 }];
    let lists = parse_changed_list(&b"a b 0 1\nc 1 2\n"[..], &disks, 1).unwrap();
    assert_eq!(lists.iter().map(ExtentList::total_bytes).collect::<Vec<_>>(), [1, 2]);
    let error = parse_changed_list(&b"0 1\n"[..], &disks, 1).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("a b, c"), "{error}");
}

#[test]
fn a_long_list_in_the_worst_order_is_merged_on_the_way() {
    // Descending and alternating: nothing merges until everything is there.
    let text: String = (0..300_000_u64).rev().map(|i| format!("{} 1\n", (i * 7 % 300_000) * 2)).collect();
    let disk = ListedDisk { name: "d", size_bytes: 1 << 20 };
    assert_eq!(parse_changed_list(text.as_bytes(), &[disk], 1).unwrap()[0].len(), 300_000);
    assert_eq!(parse_changed_list(text.as_bytes(), &[disk], 4).unwrap()[0].len(), 1);
}

#[test]
fn extents_that_cannot_exist_are_refused() {
    assert_eq!(Extent::new(5, 0), None);
    assert_eq!(Extent::new(u64::MAX, 1), None);
    assert_eq!(Extent::from_bounds(5, 4), None);
    assert_eq!(ExtentList::whole(0), ExtentList::new());
    let high = ExtentList::whole(10);
    assert_eq!(high.shifted(u64::MAX - 5), None);
    assert_eq!(high.shifted(7).unwrap().end_bytes(), 17);
    assert_eq!(flags(&high).len(), DISK_FLAGS);
}
