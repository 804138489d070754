//! Facts about what stays, and attacks by an agent that was stolen.

use super::*;
use jiff::SignedDuration;
use proptest::prelude::*;

fn start() -> Timestamp {
    "2026-01-01T02:30:00Z".parse().unwrap()
}

fn id(series: u8, number: u64) -> ManifestId {
    format!("{series:02x}{number:062x}").parse().unwrap()
}

/// The point of the run of a day.
fn good(day: u64, sequence: u64, is_verified: bool) -> Received {
    let received_at = start() + SignedDuration::from_hours(24 * i64::try_from(day).unwrap());
    Received { manifest: id(1, day), sequence, received_at, run: Some(JobId::generate()), is_verified }
}

fn stays(keep: &Keep, points: &[Received], day: u64) -> HashSet<ManifestId> {
    let now = start() + SignedDuration::from_hours(24 * i64::try_from(day).unwrap() + 1);
    let decisions = decide(keep, points, now, &TimeZone::UTC).unwrap();
    assert_eq!(decisions.len(), points.len());
    assert!(decisions.iter().all(|decision| !decision.reasons.is_empty()));
    decisions.into_iter().filter(|decision| decision.keep).map(|decision| decision.manifest).collect()
}

fn week() -> Keep {
    Keep { daily: 7, ..Keep::default() }
}

#[test]
fn rules_give_up_what_is_old_once_something_later_was_verified() {
    let mut points: Vec<_> = (0..20).map(|day| good(day, day + 1, false)).collect();
    assert_eq!(stays(&week(), &points, 19).len(), 20, "nothing was verified");
    points[10].is_verified = true;
    let found = stays(&week(), &points, 19);
    let days: Vec<u64> = (0..20).filter(|day| found.contains(&id(1, *day))).collect();
    assert_eq!(
        days,
        (10..20).collect::<Vec<_>>(),
        "what came before the verified one goes, as far as no rule keeps it"
    );
}

#[test]
fn a_plan_without_rules_gives_up_nothing() {
    let points: Vec<_> = (0..20).map(|day| good(day, day + 1, true)).collect();
    assert_eq!(stays(&Keep::default(), &points, 19).len(), 20);
    assert_eq!(stays(&Keep { minimum: 3, ..Keep::default() }, &points, 19).len(), 20);
}

#[test]
fn a_point_that_was_made_by_hand_stays_and_counts_for_nothing() {
    let mut points: Vec<_> = (0..20).map(|day| good(day, 2 * day + 1, true)).collect();
    let by_hand = Received { manifest: id(2, 0), sequence: 4, run: None, ..points[1] };
    points.push(by_hand);
    let found = stays(&week(), &points, 19);
    assert_eq!((found.len(), found.contains(&by_hand.manifest)), (8, true));
}

#[test]
fn of_several_points_that_one_run_names_the_first_counts() {
    let mut points: Vec<_> = (0..3).map(|day| good(day, day + 1, true)).collect();
    points[2].run = points[1].run;
    let keep = Keep { last: 2, ..Keep::default() };
    assert_eq!(stays(&keep, &points, 3).len(), 3, "the third is surplus, so the first is one of the last two");
}

#[test]
fn garbage_at_every_run_replaces_nothing_that_was_there_before() {
    let mut points: Vec<_> = (0..10).map(|day| good(day, day + 1, day <= 8)).collect();
    let before = stays(&week(), &points, 9);
    // The machine is taken over on day 10; for a year every run ends with a point that nobody can verify.
    for day in 10..375 {
        points.push(Received { manifest: id(3, day), ..good(day, day + 1, false) });
        let now = stays(&week(), &points, day);
        let lost: Vec<_> = (8..10).filter(|day| before.contains(&id(1, *day)) && !now.contains(&id(1, *day))).collect();
        assert!(lost.is_empty(), "day {day} lost {lost:?}: the last good points, which nothing verified follows");
    }
}

fn keeps() -> impl Strategy<Value = Keep> {
    (0..5u32, 0..10u32, 0..5u32, 0..4u32, prop::option::of(Just("5d".to_owned()))).prop_map(
        |(last, daily, weekly, monthly, within)| Keep { last, daily, weekly, monthly, within, ..Keep::default() },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The attack: an agent that was stolen stores as many points as it likes, at whatever times it likes.
    #[test]
    fn a_flood_of_points_pushes_no_good_point_out(
        keep in keeps(),
        days in 1..60u64,
        verified in prop::collection::vec(any::<bool>(), 60),
        flood in prop::collection::vec((0..60u64, 0..86_400i64), 0..300),
    ) {
        // Sequences leave room, so that the flood may come in anywhere.
        let at = |day: u64| usize::try_from(day).unwrap();
        let honest: Vec<_> = (0..days).map(|day| good(day, day * 1000 + 500, verified[at(day)])).collect();
        let alone = stays(&keep, &honest, days);
        let mut flooded = honest.clone();
        for (number, (day, second)) in flood.into_iter().enumerate() {
            let number = u64::try_from(number).unwrap();
            let received_at = start() + SignedDuration::from_secs(i64::try_from(day).unwrap() * 86_400 + second);
            let sequence = day * 1000 + 501 + number % 400;
            flooded.push(Received { manifest: id(9, number), sequence, received_at, run: None, is_verified: false });
        }
        let together = stays(&keep, &flooded, days);
        for point in &honest {
            prop_assert_eq!(alone.contains(&point.manifest), together.contains(&point.manifest), "point of {}", point.received_at);
        }
    }
}
