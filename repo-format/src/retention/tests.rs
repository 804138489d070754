//! Facts about retention: examples by the calendar, clocks that jump, and properties of every policy.

use super::*;
use proptest::prelude::*;

/// Needs no zone files on the machine.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn point(sequence: u64, time: &str) -> DatedPoint {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    DatedPoint { manifest: ManifestId(id), sequence, received_at: time.parse().unwrap() }
}

fn points(times: &[&str]) -> Vec<DatedPoint> {
    (1..).zip(times).map(|(sequence, time)| point(sequence, time)).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Sequence numbers of what stays, ascending.
fn kept(rules: Rules, points: &[DatedPoint], now: &str) -> Vec<u64> {
    let decisions = decide(&Policy::Keep(rules), points, at(now), &TimeZone::UTC).unwrap();
    let mut kept: Vec<_> = decisions.iter().filter(|d| d.keep).map(|d| d.sequence).collect();
    kept.sort_unstable();
    kept
}

fn reasons(rules: Rules, points: &[DatedPoint], now: &str, sequence: u64) -> Vec<String> {
    let decisions = decide(&Policy::Keep(rules), points, at(now), &TimeZone::UTC).unwrap();
    decisions.into_iter().find(|d| d.sequence == sequence).unwrap().reasons
}

#[test]
fn each_rule_keeps_the_last_point_of_its_periods() {
    let points = points(&[
        "2025-12-30T10:00:00Z", // 1: week 2026-W01, month 2025-12, year 2025
        "2026-01-02T10:00:00Z", // 2: week 2026-W01
        "2026-01-31T23:59:59Z", // 3
        "2026-02-01T00:00:00Z", // 4
        "2026-02-01T00:30:00Z", // 5
        "2026-02-01T01:00:00Z", // 6
    ]);
    let now = "2026-02-01T02:00:00Z";
    let rules = Rules::default();
    assert_eq!(kept(Rules { last: 2, ..rules }, &points, now), [5, 6]);
    assert_eq!(kept(Rules { hourly: 2, ..rules }, &points, now), [5, 6]);
    assert_eq!(kept(Rules { hourly: 3, ..rules }, &points, now), [3, 5, 6]);
    assert_eq!(kept(Rules { daily: 3, ..rules }, &points, now), [2, 3, 6]);
    // The first of February 2026 is a Sunday: the same ISO week as the day before.
    assert_eq!(kept(Rules { weekly: 9, ..rules }, &points, now), [2, 6]);
    assert_eq!(kept(Rules { monthly: 9, ..rules }, &points, now), [1, 3, 6]);
    assert_eq!(kept(Rules { quarterly: 9, ..rules }, &points, now), [1, 6]);
    assert_eq!(kept(Rules { yearly: 1, ..rules }, &points, now), [6]);
    assert_eq!(kept(Rules { within: Some("1d".parse().unwrap()), ..rules }, &points, now), [3, 4, 5, 6]);
    assert_eq!(kept(Rules { yearly: 1, minimum: 3, ..rules }, &points, now), [4, 5, 6]);
}

#[test]
fn periods_without_points_take_no_place() {
    let points = points(&["2026-01-01T10:00:00Z", "2026-05-01T10:00:00Z", "2026-11-19T10:00:00Z"]);
    assert_eq!(kept(Rules { daily: 3, ..Rules::default() }, &points, "2026-12-01T00:00:00Z"), [1, 2, 3]);
}

#[test]
fn every_reason_is_given() {
    let points = points(&["2026-11-18T10:00:00Z", "2026-11-19T10:00:00Z", "2026-11-20T10:00:00Z"]);
    let rules = Rules { last: 5, daily: 7, within: Some("14d".parse().unwrap()), ..Rules::default() };
    assert_eq!(
        reasons(rules, &points, "2026-11-21T00:00:00Z", 2),
        ["last 2 of 5", "within 14d", "daily 2 of 7: the last of 2026-11-19"]
    );
    assert_eq!(reasons(rules, &points, "2026-11-21T00:00:00Z", 3)[0], "the newest point is always kept");
    let few = Rules { last: 1, ..Rules::default() };
    assert_eq!(reasons(few, &points, "2026-11-21T00:00:00Z", 1), ["no rule keeps it"]);
}

#[test]
fn days_are_those_of_the_given_zone() {
    let points = points(&["2026-07-01T21:30:00Z", "2026-07-01T22:30:00Z"]);
    let berlin = TimeZone::posix(BERLIN).unwrap();
    let policy = Policy::Keep(Rules { daily: 5, ..Rules::default() });
    let kept =
        |zone| decide(&policy, &points, at("2026-07-02T00:00:00Z"), zone).unwrap().iter().filter(|d| d.keep).count();
    assert_eq!((kept(&TimeZone::UTC), kept(&berlin)), (1, 2));
}

#[test]
fn an_hour_that_comes_twice_is_two_hours() {
    let points = points(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
    let policy = Policy::Keep(Rules { hourly: 5, ..Rules::default() });
    let berlin = TimeZone::posix(BERLIN).unwrap();
    let decisions = decide(&policy, &points, at("2026-10-25T02:00:00Z"), &berlin).unwrap();
    assert!(decisions.iter().all(|d| d.keep), "{decisions:?}");
}

#[test]
fn a_policy_without_rules_is_an_error_and_keeping_nothing_must_be_said() {
    let points = points(&["2026-11-18T10:00:00Z"]);
    let now = at("2026-11-19T00:00:00Z");
    for empty in [Rules::default(), Rules { minimum: 3, ..Rules::default() }] {
        assert!(decide(&Policy::Keep(empty), &points, now, &TimeZone::UTC).is_err());
    }
    let all = decide(&Policy::Nothing, &points, now, &TimeZone::UTC).unwrap();
    assert_eq!((all[0].keep, all[0].reasons.as_slice()), (false, ["the policy keeps nothing".to_owned()].as_slice()));
    assert!(decide(&Policy::Nothing, &[], now, &TimeZone::UTC).unwrap().is_empty());
}

#[test]
fn a_point_from_the_future_is_kept_and_takes_no_place() {
    let points =
        points(&["2026-11-17T10:00:00Z", "2090-01-01T00:00:00Z", "2026-11-18T10:00:00Z", "2026-11-19T10:00:00Z"]);
    let rules = Rules { daily: 3, ..Rules::default() };
    assert_eq!(kept(rules, &points, "2026-11-20T00:00:00Z"), [1, 2, 3, 4]);
    // A week of wrong clocks does not push the right days out.
    let again = Rules { daily: 2, ..Rules::default() };
    assert_eq!(kept(again, &points, "2026-11-20T00:00:00Z"), [2, 3, 4]);
}

#[test]
fn a_clock_that_fell_back_for_days_costs_no_point() {
    let points = points(&[
        "2026-11-16T10:00:00Z",
        "2026-11-17T10:00:00Z",
        "1970-01-01T00:01:00Z",
        "1970-01-01T00:02:00Z",
        "1970-01-01T00:03:00Z",
        "2026-11-21T10:00:00Z",
    ]);
    let rules = Rules { within: Some("1d".parse().unwrap()), ..Rules::default() };
    assert_eq!(kept(rules, &points, "2026-11-21T12:00:00Z"), [2, 3, 4, 5, 6]);
}

#[test]
fn a_clock_that_is_set_right_by_seconds_changes_nothing() {
    let points = points(&["2026-11-19T10:00:03Z", "2026-11-19T10:00:01Z", "2026-11-19T11:00:00Z"]);
    assert_eq!(kept(Rules { daily: 9, ..Rules::default() }, &points, "2026-11-19T10:59:58Z"), [3]);
}

fn any_points() -> impl Strategy<Value = Vec<DatedPoint>> {
    // Mostly ascending, with jumps both ways, some into the future.
    let step = prop_oneof![5 => 60_i64..200_000, 1 => -4_000_000_i64..0, 1 => 0_i64..40_000_000];
    prop::collection::vec((step, 0_u64..2), 0..60).prop_map(|steps| {
        let (mut time, mut sequence) = (1_700_000_000_i64, 1_u64);
        let mut points = Vec::new();
        for (number, (step, ahead)) in (0_u8..).zip(steps) {
            time += step;
            sequence += ahead;
            let received_at = Timestamp::from_second(time).unwrap();
            points.push(DatedPoint { manifest: ManifestId([number; 32]), sequence, received_at });
        }
        points
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let within = prop::option::of((1_u16..400).prop_map(|days| format!("{days}d").parse().unwrap()));
    let counts = prop::array::uniform7(prop_oneof![2 => Just(0_u32), 2 => 1_u32..9, 1 => Just(u32::MAX)]);
    (counts, within, 0_u32..5).prop_map(
        |([last, hourly, daily, weekly, monthly, quarterly, yearly], within, minimum)| Rules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            quarterly,
            yearly,
            within,
            minimum,
        },
    )
}

fn keeps(rules: Rules, points: &[DatedPoint], now: Timestamp) -> HashSet<ManifestId> {
    let zone = TimeZone::fixed(jiff::tz::offset(5));
    let decisions = decide(&Policy::Keep(rules), points, now, &zone).unwrap();
    decisions.into_iter().filter(|d| d.keep).map(|d| d.manifest).collect()
}

fn larger(a: Rules, b: Rules) -> Rules {
    Rules {
        last: a.last.max(b.last),
        hourly: a.hourly.max(b.hourly),
        daily: a.daily.max(b.daily),
        weekly: a.weekly.max(b.weekly),
        monthly: a.monthly.max(b.monthly),
        quarterly: a.quarterly.max(b.quarterly),
        yearly: a.yearly.max(b.yearly),
        within: a.within.or(b.within),
        minimum: a.minimum.max(b.minimum),
    }
}

proptest! {
    #[test]
    fn retention_keeps_its_promises(
        points in any_points(),
        rules in any_rules().prop_filter("a rule", |rules| !is_empty(rules)),
        more in any_rules(),
        now in 1_700_000_000_i64..1_760_000_000,
        rotation in 0_usize..60,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let keep = keeps(rules, &points, now);
        if let Some(newest) = points.iter().max_by_key(|p| (p.sequence, p.manifest)) {
            prop_assert!(keep.contains(&newest.manifest));
        }
        let mut other_order = points.clone();
        other_order.rotate_left(rotation % points.len().max(1));
        prop_assert_eq!(&keeps(rules, &other_order, now), &keep);
        let left: Vec<_> = points.iter().filter(|p| keep.contains(&p.manifest)).copied().collect();
        prop_assert_eq!(&keeps(rules, &left, now), &keep);
        prop_assert!(keeps(larger(rules, more), &points, now).is_superset(&keep));
        prop_assert!(keep.len() >= points.len().min(rules.minimum.max(rules.last) as usize));
    }

    #[test]
    fn parsing_lengths_never_panics(text in ".{0,12}") {
        let _ = text.parse::<Within>();
    }
}
