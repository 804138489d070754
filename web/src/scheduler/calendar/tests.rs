//! Facts about calendars: examples of changed clocks, and properties over years in many zones.

use super::*;
use jiff::ToSpan as _;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn calendar(expression: &str, zone_name: &str) -> Calendar {
    Calendar::parse(expression, zone(zone_name).unwrap(), at("2020-01-01T00:00:00Z")).unwrap()
}

/// Runs in (from, to], the first first.
fn runs(calendar: &Calendar, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(calendar.next(from), |at| calendar.next(*at)).take_while(|at| *at <= to).collect()
}

fn runs_between(expression: &str, zone_name: &str, from: &str, to: &str) -> Vec<String> {
    runs(&calendar(expression, zone_name), at(from), at(to)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_time_that_does_not_exist_comes_once_right_after_the_change() {
    // Berlin jumps from 02:00 to 03:00 at 01:00 UTC.
    let spring = ("2026-03-28T12:00:00Z", "2026-03-29T20:00:00Z");
    assert_eq!(
        runs_between("30 2 * * *", "Europe/Berlin", spring.0, spring.1),
        ["2026-03-29T01:00:00Z"],
        "and at 02:30 summer time the day after"
    );
    let twice = runs_between("0,30 2 * * *", "Europe/Berlin", spring.0, spring.1);
    assert_eq!(twice, ["2026-03-29T01:00:00Z"], "two times that do not exist are one run");
    let both = runs_between("30 2,3 * * *", "Europe/Berlin", spring.0, spring.1);
    assert_eq!(both, ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn a_time_that_is_repeated_comes_once() {
    // Berlin goes back from 03:00 to 02:00 at 01:00 UTC.
    let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T00:00:00Z");
    assert_eq!(runs_between("30 2 * * *", "Europe/Berlin", autumn.0, autumn.1), ["2026-10-25T00:30:00Z"]);
    let several = runs_between("30 2,4 * * *", "Europe/Berlin", autumn.0, autumn.1);
    assert_eq!(several, ["2026-10-25T00:30:00Z", "2026-10-25T03:30:00Z"]);
}

#[test]
fn every_hour_means_elapsed_hours() {
    for (from, to) in
        [("2026-03-29T00:00:00Z", "2026-03-29T06:00:00Z"), ("2026-10-25T00:00:00Z", "2026-10-25T06:00:00Z")]
    {
        let found = runs(&calendar("15 * * * *", "Europe/Berlin"), at(from), at(to));
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.windows(2).all(|pair| pair[1].as_second() - pair[0].as_second() == 3600), "{found:?}");
    }
}

#[test]
fn a_day_that_a_place_left_out_has_its_runs_at_the_change() {
    // Samoa went from the end of 29 December 2011 right to the 31st.
    let found = runs_between("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z");
    assert_eq!(found, ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
}

#[test]
fn what_is_no_expression_or_never_comes_is_refused() {
    let zone = || zone("Europe/Berlin").unwrap();
    let long = "0 ".repeat(80);
    for bad in
        ["", "0", "* * * *", "60 0 * * *", "0 24 * * *", "0 0 30 2 *", "0 0 * * * * *", "a b c d e", "@reboot", &long]
    {
        assert!(Calendar::parse(bad, zone(), at("2026-01-01T00:00:00Z")).is_err(), "{bad:?}");
    }
    for good in ["@daily", "0 0 * * MON-FRI", "*/5 * * * *", "30 0 1 1 *", "10 0 0 29 2 *", "0 0 L * *"] {
        Calendar::parse(good, zone(), at("2026-01-01T00:00:00Z")).unwrap();
    }
}

#[test]
fn zones_are_names_only() {
    for bad in ["", "Europe/Atlantis", "../../etc/passwd", "CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin\0"] {
        assert!(zone(bad).is_err(), "{bad:?}");
    }
    zone("UTC").unwrap();
}

fn expressions() -> impl Strategy<Value = String> {
    let minutes = prop_oneof![Just("0".to_owned()), (0..60u8).prop_map(|m| m.to_string()), Just("*/20".to_owned())];
    let hours = prop_oneof![
        Just("*".to_owned()),
        (0..24u8).prop_map(|h| h.to_string()),
        (0..12u8, 12..24u8).prop_map(|(a, b)| format!("{a},{b}")),
        Just("*/3".to_owned()),
    ];
    let days = prop_oneof![Just("*".to_owned()), (1..29u8).prop_map(|d| d.to_string())];
    let weekdays = prop_oneof![Just("*".to_owned()), (0..7u8).prop_map(|d| d.to_string()), Just("MON-FRI".to_owned())];
    (minutes, hours, days, weekdays).prop_map(|(m, h, d, w)| match (d.as_str(), w.as_str()) {
        // Both at once means either of them, which the counts below do not.
        (d, w) if d != "*" && w != "*" => format!("{m} {h} {d} * *"),
        (d, w) => format!("{m} {h} {d} * {w}"),
    })
}

/// Zones with changes of one hour and of half an hour, at midnight, in both hemispheres, and without any.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn runs_only_go_forward_and_the_last_one_is_the_one_that_was_next(
        expression in expressions(), zone_name in prop::sample::select(&ZONES), start_day in 0..7000i64, seconds in 0..86_400i64,
    ) {
        let calendar = calendar(&expression, zone_name);
        let mut before = Timestamp::from_second(1_400_000_000 + start_day * 86_400 + seconds).unwrap();
        for _ in 0..40 {
            let next = calendar.next(before).unwrap();
            prop_assert!(next > before, "{} {}: {} after {}", expression, zone_name, next, before);
            prop_assert_eq!(calendar.last(next), Some(next), "{} {}", expression, zone_name);
            let just_before = next - 1.second();
            if let Some(last) = calendar.last(just_before) {
                prop_assert!(last <= just_before);
                prop_assert_eq!(calendar.next(last), Some(next), "{} {}: after {}", expression, zone_name, last);
            }
            before = next;
        }
    }

    #[test]
    fn a_daily_plan_runs_exactly_once_on_every_day_of_the_years(
        hour in 0..24u8, minute in 0..60u8, zone_name in prop::sample::select(&ZONES), year in 2015..2036i16,
    ) {
        let calendar = calendar(&format!("{minute} {hour} * * *"), zone_name);
        let zone = calendar.zone().clone();
        let day = |year: i16| instant(&zone, jiff::civil::date(year, 1, 1).at(0, 0, 0, 0)).unwrap();
        let found = runs(&calendar, day(year) - 1.nanosecond(), day(year + 1) - 1.nanosecond());
        let days: std::collections::BTreeSet<_> = found.iter().map(|at| zone.to_datetime(*at).date()).collect();
        let length = jiff::civil::date(year, 1, 1).days_in_year();
        prop_assert_eq!(found.len(), usize::try_from(length).unwrap(), "{} runs in {} of {}", found.len(), year, zone_name);
        prop_assert_eq!(days.len(), found.len(), "one on each day");
    }
}
