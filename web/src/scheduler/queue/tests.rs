//! Facts about due plans: examples, and a simulated server over years that stops, sleeps and starts again.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use web_api::plan::{Blackout, Weekday};

fn at(text: &str) -> Time {
    text.parse::<Timestamp>().unwrap().into()
}

fn timing(when: &When) -> Timing {
    Timing::parse(when, "2020-01-01T00:00:00Z".parse().unwrap()).unwrap()
}

fn daily() -> When {
    When { cron: Some("30 2 * * *".into()), zone: "Europe/Berlin".into(), ..When::default() }
}

fn plan(when: &When, considered_until: &str) -> PlanState {
    PlanState {
        plan: PlanId::generate(),
        timing: timing(when),
        considered_until: at(considered_until),
        has_open_job: false,
        followed: None,
    }
}

fn one(now: &str, plan: &PlanState) -> Option<Decision> {
    let mut decisions = due(at(now), std::slice::from_ref(plan));
    assert!(decisions.len() <= 1);
    decisions.pop()
}

#[test]
fn a_plan_is_due_at_its_time_and_not_before() {
    let plan = plan(&daily(), "2026-06-01T12:00:00Z");
    assert_eq!(one("2026-06-02T00:29:59Z", &plan), None);
    let decision = one("2026-06-02T00:30:00Z", &plan).unwrap();
    assert_eq!(decision.run.unwrap().due_at, at("2026-06-02T00:30:00Z"));
    assert_eq!(decision.considered_until, at("2026-06-02T00:30:00Z"));
}

#[test]
fn runs_that_were_slept_through_are_made_up_for_once_or_not_at_all() {
    let mut slept = plan(&daily(), "2026-06-01T12:00:00Z");
    let decision = one("2026-06-12T12:00:00Z", &slept).unwrap();
    assert_eq!(decision.run.unwrap().key, "at 2026-06-12T00:30:00.000Z");
    slept.considered_until = decision.considered_until;
    assert_eq!(one("2026-06-12T12:00:01Z", &slept), None, "only once");
    let no_catch_up = plan(&When { catch_up: false, ..daily() }, "2026-06-01T12:00:00Z");
    assert_eq!(one("2026-06-12T12:00:00Z", &no_catch_up).unwrap().run, None);
    assert!(one("2026-06-12T00:35:00Z", &no_catch_up).unwrap().run.is_some(), "a few minutes are no sleep");
}

#[test]
fn the_longest_pause_counts_weekends_windows_and_jitter() {
    let minutes = |cron: &str, jitter_s: u32, blackouts: Vec<Blackout>| {
        let when = When { cron: Some(cron.into()), jitter_s, blackouts, ..When::default() };
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        timing(&when).longest_pause(now).unwrap().as_secs() / 60
    };
    let window = |days: &[Weekday], from: &str, until: &str| Blackout {
        days: days.to_vec(),
        from: from.into(),
        until: until.into(),
    };
    assert_eq!(minutes("0 2 * * *", 0, vec![]), 24 * 60);
    assert_eq!(minutes("0 2 * * 1-5", 900, vec![]), 72 * 60 + 15, "from Friday to Monday");
    assert_eq!(minutes("0 * * * *", 86_400, vec![]), 2 * 60, "a jitter never reaches the next run");
    assert_eq!(minutes("0 * * * *", 0, vec![window(&[], "22:00", "06:00")]), 9 * 60);
    let weekend = vec![window(&[Weekday::Saturday], "00:00", "00:00"), window(&[Weekday::Sunday], "00:00", "00:00")];
    assert_eq!(minutes("0 * * * *", 0, weekend), 49 * 60, "windows that follow each other are one");
    assert_eq!(minutes("0 2 1 * *", 0, vec![]), 31 * 24 * 60);
    assert_eq!(timing(&When::default()).longest_pause("2026-06-01T12:00:00Z".parse().unwrap()), None);
}

#[test]
fn a_plan_with_an_open_job_waits_for_its_end() {
    let mut busy = plan(&daily(), "2026-06-01T12:00:00Z");
    busy.has_open_job = true;
    assert_eq!(one("2026-06-03T12:00:00Z", &busy), None);
}

#[test]
fn a_window_moves_runs_to_its_end_and_makes_one_of_many() {
    let window = Blackout { days: vec![Weekday::Tuesday], from: "02:00".into(), until: "06:00".into() };
    let when = When { cron: Some("*/10 * * * *".into()), blackouts: vec![window], ..daily() };
    let mut plan = plan(&when, "2026-06-02T00:00:00Z");
    assert_eq!(one("2026-06-02T03:59:59Z", &plan), None, "it is 05:59 in Berlin");
    let decision = one("2026-06-02T04:00:00Z", &plan).unwrap();
    assert_eq!(decision.run.clone().unwrap().due_at, at("2026-06-02T04:00:00Z"));
    plan.considered_until = decision.considered_until;
    assert_eq!(one("2026-06-02T04:05:00Z", &plan), None);
    assert!(one("2026-06-02T04:10:00Z", &plan).unwrap().run.is_some());
}

#[test]
fn a_run_that_waits_for_the_end_of_a_window_is_the_one_that_people_see() {
    let window = Blackout { days: Vec::new(), from: "02:00".into(), until: "06:00".into() };
    let plan = plan(&When { blackouts: vec![window], ..daily() }, "2026-06-01T12:00:00Z");
    let upcoming = |now: &str| plan.timing.upcoming(plan.plan, now.parse().unwrap()).map(Time::from);
    assert_eq!(upcoming("2026-06-02T00:00:00Z"), Some(at("2026-06-02T04:00:00Z")));
    assert_eq!(upcoming("2026-06-02T01:00:00Z"), Some(at("2026-06-02T04:00:00Z")));
    assert_eq!(upcoming("2026-06-02T04:00:00Z"), Some(at("2026-06-03T04:00:00Z")));
}

#[test]
fn what_was_due_before_a_window_is_found_behind_it() {
    let window = Blackout { days: Vec::new(), from: "08:00".into(), until: "18:00".into() };
    let when = When { cron: Some("*/10 * * * *".into()), blackouts: vec![window], ..daily() };
    let plan = plan(&when, "2026-06-02T00:00:00Z");
    let decision = one("2026-06-02T12:00:00Z", &plan).unwrap();
    assert_eq!(
        decision.run.unwrap().key,
        "at 2026-06-02T05:50:00.000Z",
        "07:50 in Berlin, the last one before the window"
    );
}

#[test]
fn a_follower_runs_once_for_each_success_that_it_follows() {
    let mut follower = plan(&When { after: Some(PlanId::generate()), ..When::default() }, "2026-06-01T00:00:00Z");
    assert_eq!(one("2026-06-01T10:00:00Z", &follower), None);
    let job = JobId::generate();
    follower.followed = Some((job, at("2026-06-01T09:00:00Z")));
    let decision = one("2026-06-01T09:00:01Z", &follower).unwrap();
    assert_eq!(decision.run.unwrap().follows, Some(job));
    follower.considered_until = decision.considered_until;
    assert_eq!(one("2026-06-01T10:00:00Z", &follower), None);
}

#[test]
fn a_clock_that_ran_ahead_does_not_silence_a_plan() {
    let mut ahead = plan(&daily(), "2031-01-01T00:00:00Z");
    let decision = one("2026-06-01T00:00:00Z", &ahead).unwrap();
    assert_eq!((decision.run, decision.considered_until), (None, at("2026-06-01T00:00:00Z")));
    ahead.considered_until = at("2026-06-01T00:20:00Z");
    assert_eq!(one("2026-06-01T00:00:00Z", &ahead), None, "a few minutes pass by themselves");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let all_day = Blackout { days: Vec::new(), from: "00:00".into(), until: "00:00".into() };
    for bad in [
        When { after: Some(PlanId::generate()), ..daily() },
        When { jitter_s: 86_401, ..daily() },
        When { zone: "Nowhere".into(), ..daily() },
        When { blackouts: vec![all_day], ..daily() },
    ] {
        assert!(Timing::parse(&bad, now).is_err(), "{bad:?}");
    }
}

#[test]
fn failed_attempts_wait_longer_each_time_and_end() {
    let retries = Retries { count: 3, pause_s: 60 };
    let now = at("2026-01-01T00:00:00Z");
    let pause = |attempt| match after_failure(retries, attempt, true, now) {
        Next::TryAgain { not_before } => not_before.since(now).as_secs(),
        Next::GiveUp => u64::MAX,
    };
    assert_eq!([1, 2, 3, 4].map(pause), [60, 120, 240, u64::MAX]);
    assert_eq!(after_failure(retries, 1, false, now), Next::GiveUp);
    let endless = Retries { count: u32::MAX, pause_s: u32::MAX };
    assert!(matches!(after_failure(endless, u32::MAX - 1, true, now), Next::TryAgain { .. }), "nothing overflows");
}

/// Expressions with the longest time between two runs, in seconds.
const EXPRESSIONS: [&str; 5] = ["30 2 * * *", "0 */6 * * *", "15 * * * *", "0 3 * * SUN", "*/20 1-3 * * *"];
const ZONES: [&str; 4] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"];

fn whens() -> impl Strategy<Value = When> {
    let blackout = (0..24u8, 1..12u8).prop_map(|(from, hours)| Blackout {
        days: Vec::new(),
        from: format!("{from:02}:00"),
        until: format!("{:02}:30", (from + hours) % 24),
    });
    (
        prop::sample::select(&EXPRESSIONS),
        prop::sample::select(&ZONES),
        prop::collection::vec(blackout, 0..2),
        prop::sample::select(&[0u32, 60, 3600, 86_400][..]),
    )
        .prop_map(|(cron, zone, blackouts, jitter_s)| When {
            cron: Some(cron.into()),
            zone: zone.into(),
            blackouts,
            jitter_s,
            ..When::default()
        })
}

/// The next step of a simulated server: how long it sleeps, and how long a job takes that begins now.
fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let sleep = prop_oneof![20 => 60..3600u64, 4 => 3600..86_400u64, 1 => 86_400..40 * 86_400u64];
    prop::collection::vec((sleep, 0..20_000u64), 400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over about a year of waking up now and then, with restarts that forget nothing but what the database holds.
    #[test]
    fn no_run_is_made_twice_none_begins_in_a_window_and_none_is_forgotten(when in whens(), steps in steps(), start_day in 0..3000u64) {
        let mut state = PlanState { considered_until: Time::from_ms(0), ..plan(&when, "2020-01-01T00:00:00Z") };
        let windows = state.timing.windows.clone();
        let mut now = Time::from_ms(1_577_836_800_000).after(Duration::from_secs(start_day * 86_400));
        state.considered_until = now;
        let (mut keys, mut busy_until) = (BTreeSet::new(), now);
        for (sleep_s, job_s) in steps {
            now = now.after(Duration::from_secs(sleep_s));
            state.has_open_job = now < busy_until;
            let decisions = due(now, std::slice::from_ref(&state));
            prop_assert!(decisions.len() <= 1);
            prop_assert!(!state.has_open_job || decisions.is_empty(), "never two open jobs");
            if let Some(decision) = decisions.into_iter().next() {
                prop_assert_eq!(due(now, std::slice::from_ref(&state)), vec![decision.clone()], "the same plan, the same answer");
                let run = decision.run.expect("everything is made up for");
                prop_assert!(decision.considered_until > state.considered_until && run.due_at <= now);
                let due_at = Timestamp::from_millisecond(run.due_at.ms()).unwrap();
                prop_assert_eq!(windows.open_from(due_at), Some(due_at), "it begins in no window");
                prop_assert!(keys.insert(run.key.clone()), "{} was made before", run.key);
                state.considered_until = decision.considered_until;
                busy_until = now.after(Duration::from_secs(job_s));
            } else if !state.has_open_job {
                // Nothing was due: the next run of the calendar really lies ahead.
                let considered = Timestamp::from_millisecond(state.considered_until.ms()).unwrap();
                let next: Time = state.timing.next(state.plan, considered).unwrap().into();
                prop_assert!(next > now, "the run of {} was forgotten at {}", next, now);
            }
        }
        prop_assert!(!keys.is_empty());
    }
}
