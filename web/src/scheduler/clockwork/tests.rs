//! The loop against the real database: what is due becomes a job once, also after a restart.

use super::Clockwork;
use crate::db;
use crate::test_app::{Login, TestApp};
use serde_json::{Value, json};
use std::time::Duration;
use web_api::id::UserId;
use web_api::role::Role;

const HOUR: Duration = Duration::from_secs(3600);

struct Story {
    app: TestApp,
    root: UserId,
    login: Login,
    agent_id: Value,
    agent: Login,
}

impl Story {
    async fn new() -> Self {
        let app = TestApp::new();
        let root = app.user("root", Role::Admin).await;
        let login = app.session(root).await;
        let agent = app.agent().await;
        let agents = app.get("/api/v1/agents").by(&login).send().await;
        Self { agent_id: agents.body["items"][0]["id"].clone(), app, root, login, agent }
    }

    async fn plan(&self, name: &str, when: Value) -> Value {
        let body = json!({"name": name, "agent_id": self.agent_id, "work": {"sources": "all_disks"}, "when": when});
        let made = self.app.post("/api/v1/plans", body).by(&self.login).send().await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body["id"].clone()
    }

    async fn jobs(&self) -> Vec<Value> {
        // A fresh login: days may have passed.
        let login = self.app.session(self.root).await;
        let mut jobs = self.app.get("/api/v1/jobs").by(&login).send().await.body["items"].as_array().unwrap().clone();
        jobs.reverse();
        jobs
    }

    async fn tick(&self, clockwork: &mut Clockwork) {
        clockwork.tick(&self.app.app).await.unwrap();
    }

    /// The time of a lease passes, with looks in between, as they come.
    async fn nobody_reports(&self, clockwork: &mut Clockwork) {
        for _ in 0..6 {
            self.app.pass(Duration::from_secs(10));
            self.tick(clockwork).await;
        }
    }

    /// A job of a plan that allows no second attempt, which the agent has just begun.
    async fn begun_once(&self) -> Value {
        let body = json!({"name": "once", "agent_id": self.agent_id, "work": {"sources": "all_disks"}, "retries": {"count": 0, "pause_s": 0}});
        let plan = self.app.post("/api/v1/plans", body).by(&self.login).send().await.body["id"].clone();
        self.app.post(&format!("/api/v1/plans/{}/run", plan.as_str().unwrap()), json!({})).by(&self.login).send().await;
        let asked = json!({"instance": uuid::Uuid::nil(), "in_hand": [], "wait_s": 0});
        self.agent_says("jobs/lease", asked).await["job"].clone()
    }

    async fn agent_says(&self, path: &str, body: Value) -> Value {
        let ask = self.app.post(&format!("/api/v1/agent/{path}"), body).by(&self.agent);
        let answer = ask.header("icecore-agent-protocol", "1").send().await;
        assert!(answer.status < 300, "{}", answer.body);
        answer.body
    }

    /// The agent takes the next job and ends it well.
    async fn succeed(&self) {
        let asked = json!({"instance": uuid::Uuid::nil(), "in_hand": [], "wait_s": 0});
        let job = self.agent_says("jobs/lease", asked).await["job"].clone();
        let result = json!({"point": "00", "point_name": "x", "sequence": 1, "full_read_reason": null, "provider": "direct",
            "source_bytes": 1, "changed_bytes": 1, "read_bytes": 1, "stored_bytes": 1, "took_ms": 1, "warnings": []});
        let end = json!({"lease": job["lease"], "ending": {"succeeded": result}, "progress": {}});
        self.agent_says(&format!("jobs/{}/finish", job["id"].as_str().unwrap()), end).await;
    }
}

#[tokio::test]
async fn a_due_run_becomes_one_job_however_often_the_server_looks_or_restarts() {
    let story = Story::new().await;
    story.plan("hourly", json!({"cron": "0 * * * *"})).await;
    let mut clockwork = Clockwork::default();
    story.tick(&mut clockwork).await;
    assert!(story.jobs().await.is_empty(), "nothing is due right after the making");
    story.app.pass(HOUR);
    story.tick(&mut clockwork).await;
    story.tick(&mut clockwork).await;
    story.tick(&mut Clockwork::default()).await;
    assert_eq!(story.jobs().await.len(), 1);
    story.succeed().await;
    story.tick(&mut clockwork).await;
    assert_eq!(story.jobs().await.len(), 1, "the run was made");
    story.app.pass(5 * HOUR);
    story.tick(&mut clockwork).await;
    let jobs = story.jobs().await;
    assert_eq!((jobs.len(), &jobs[1]["cause"]), (2, &json!("calendar")), "one for all that were missed");
}

#[tokio::test]
async fn a_plan_that_was_considered_anew_does_not_make_the_same_run_twice() {
    let story = Story::new().await;
    let plan = story.plan("hourly", json!({"cron": "0 * * * *"})).await;
    story.app.pass(HOUR);
    let mut clockwork = Clockwork::default();
    let before = story.app.app.now();
    story.tick(&mut clockwork).await;
    story.succeed().await;
    // As if the note of what was considered had been lost.
    let id = plan.as_str().unwrap().parse().unwrap();
    let earlier = web_api::unit::Time::from_ms(before.ms() - 3_600_000);
    story.app.app.database.write(move |write| db::plan::considered(write, id, earlier)).await.unwrap();
    story.tick(&mut Clockwork::default()).await;
    assert_eq!(story.jobs().await.len(), 1, "the run's key is in the database");
}

#[tokio::test]
async fn a_follower_runs_after_each_success_and_only_then() {
    let story = Story::new().await;
    let first = story.plan("first", json!({})).await;
    story.plan("second", json!({"after": first})).await;
    let mut clockwork = Clockwork::default();
    for round in 1..=2 {
        story.app.pass(HOUR);
        let path = format!("/api/v1/plans/{}/run", first.as_str().unwrap());
        assert_eq!(story.app.post(&path, json!({})).by(&story.login).send().await.status, 201);
        story.tick(&mut clockwork).await;
        assert_eq!(story.jobs().await.len(), 2 * round - 1);
        story.succeed().await;
        story.app.pass(Duration::from_secs(1));
        story.tick(&mut clockwork).await;
        let jobs = story.jobs().await;
        assert_eq!((jobs.len(), &jobs[2 * round - 1]["cause"]), (2 * round, &json!("after")));
        story.succeed().await;
    }
}

#[tokio::test]
async fn a_paused_plan_makes_no_runs_and_makes_none_up() {
    let story = Story::new().await;
    let plan = story.plan("hourly", json!({"cron": "0 * * * *"})).await;
    let path = |verb: &str| format!("/api/v1/plans/{}/{verb}", plan.as_str().unwrap());
    story.app.post(&path("pause"), json!({})).by(&story.login).send().await;
    story.app.pass(3 * HOUR);
    let mut clockwork = Clockwork::default();
    story.tick(&mut clockwork).await;
    let resumed = story.app.post(&path("resume"), json!({})).by(&story.login).send().await;
    assert!(resumed.body["next_run_at"].is_string(), "{}", resumed.body);
    story.tick(&mut clockwork).await;
    assert!(story.jobs().await.is_empty());
    story.app.pass(HOUR);
    story.tick(&mut clockwork).await;
    assert_eq!(story.jobs().await.len(), 1);
}

#[tokio::test]
async fn a_job_whose_agent_vanished_is_tried_again_and_then_fails_with_the_reason() {
    let story = Story::new().await;
    let body = json!({"name": "asked", "agent_id": story.agent_id, "work": {"sources": "all_disks"}, "retries": {"count": 1, "pause_s": 10}});
    let plan = story.app.post("/api/v1/plans", body).by(&story.login).send().await.body["id"].clone();
    story.app.post(&format!("/api/v1/plans/{}/run", plan.as_str().unwrap()), json!({})).by(&story.login).send().await;
    let asked = json!({"instance": uuid::Uuid::nil(), "in_hand": [], "wait_s": 0});
    let mut clockwork = Clockwork::default();
    assert_eq!(story.agent_says("jobs/lease", asked.clone()).await["job"]["attempt"], 1);
    story.nobody_reports(&mut clockwork).await;
    let job = story.jobs().await.remove(0);
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("queued"), &json!("agent_lost")));
    assert_eq!(story.agent_says("jobs/lease", asked.clone()).await["job"], Value::Null, "not before the pause is over");
    story.app.pass(Duration::from_secs(11));
    assert_eq!(story.agent_says("jobs/lease", asked).await["job"]["attempt"], 2);
    story.nobody_reports(&mut clockwork).await;
    let job = story.jobs().await.remove(0);
    assert_eq!((&job["state"], &job["attempt"], &job["attempts_allowed"]), (&json!("failed"), &json!(2), &json!(2)));
}

#[tokio::test]
async fn a_job_survives_a_clock_that_jumps_or_a_server_that_slept_and_its_agent_is_still_missed_when_it_is_gone() {
    const DAY: Duration = Duration::from_secs(86_400);
    for is_ahead in [true, false] {
        let story = Story::new().await;
        let mut clockwork = Clockwork::default();
        let job = story.begun_once().await;
        story.tick(&mut clockwork).await;
        if is_ahead {
            story.app.pass(DAY)
        } else {
            story.app.set_back(DAY)
        }
        story.tick(&mut clockwork).await;
        assert_eq!(story.jobs().await[0]["state"], "running", "its agent could not report; a day ahead: {is_ahead}");
        let report = json!({"lease": job["lease"], "progress": {}});
        story.agent_says(&format!("jobs/{}/progress", job["id"].as_str().unwrap()), report).await;
        story.nobody_reports(&mut clockwork).await;
        let lost = story.jobs().await.remove(0);
        assert_eq!((&lost["state"], &lost["error"]["code"]), (&json!("failed"), &json!("agent_lost")), "{is_ahead}");
    }
}

#[tokio::test]
async fn a_retry_does_not_wait_for_a_time_that_a_wrong_clock_named() {
    let story = Story::new().await;
    let body = json!({"name": "again", "agent_id": story.agent_id, "work": {"sources": "all_disks"}, "retries": {"count": 5, "pause_s": 60}});
    let plan = story.app.post("/api/v1/plans", body).by(&story.login).send().await.body["id"].clone();
    let mut clockwork = Clockwork::default();
    story.app.post(&format!("/api/v1/plans/{}/run", plan.as_str().unwrap()), json!({})).by(&story.login).send().await;
    let asked = json!({"instance": uuid::Uuid::nil(), "in_hand": [], "wait_s": 0});
    assert_eq!(story.agent_says("jobs/lease", asked.clone()).await["job"]["attempt"], 1);
    story.nobody_reports(&mut clockwork).await;
    story.app.set_back(30 * 24 * HOUR);
    story.tick(&mut clockwork).await;
    story.app.pass(7 * HOUR);
    assert_eq!(
        story.agent_says("jobs/lease", asked).await["job"]["attempt"],
        2,
        "within the longest pause, not in a month"
    );
}
