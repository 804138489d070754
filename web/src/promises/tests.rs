//! Promises against the real database and a clock that is moved by hand: raised once, whatever led there, and over when they are kept again.

use super::Watch;
use crate::db;
use crate::test_app::{Login, TestApp};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use web_api::id::{PlanId, UserId};
use web_api::role::Role;

const HOUR: Duration = Duration::from_secs(3600);

struct Story {
    app: TestApp,
    root: UserId,
    agent: Login,
    agent_id: Value,
}

impl Story {
    async fn new() -> Self {
        let app = TestApp::new();
        let root = app.user("root", Role::Admin).await;
        let (login, agent) = (app.session(root).await, app.agent().await);
        let agents = app.get("/api/v1/agents").by(&login).send().await;
        let story = Self { agent_id: agents.body["items"][0]["id"].clone(), app, root, agent };
        // The machine is a story of its own.
        story.edit(&format!("/api/v1/agents/{}", story.agent()), json!({"silent_after_s": 0})).await;
        story
    }

    /// A fresh one: days pass in these stories.
    async fn login(&self) -> Login {
        self.app.session(self.root).await
    }

    fn agent(&self) -> &str {
        self.agent_id.as_str().unwrap()
    }

    async fn plan(&self, name: &str, more: Value) -> Value {
        let mut body = json!({"name": name, "agent_id": self.agent_id, "work": {"sources": "all_disks"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.app.post("/api/v1/plans", body).by(&self.login().await).send().await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body
    }

    async fn post(&self, path: &str) {
        let answer = self.app.post(path, json!({})).by(&self.login().await).send().await;
        assert!(answer.status < 300, "{path}: {}", answer.body);
    }

    async fn edit(&self, path: &str, change: Value) -> Value {
        let revision = self.app.get(path).by(&self.login().await).send().await.body["revision"].clone();
        let ask =
            self.app.ask(Method::PATCH, path).by(&self.login().await).header("if-match", &format!("\"{revision}\""));
        let edited = ask.json(change).send().await;
        assert_eq!(edited.status, 200, "{}", edited.body);
        edited.body
    }

    /// A backup of the plan succeeded just now.
    async fn succeed(&self, plan: &Value) {
        let (id, now): (PlanId, _) = (plan["id"].as_str().unwrap().parse().unwrap(), self.app.app.now());
        self.app.app.database.write(move |write| db::plan::good(write, id, now)).await.unwrap();
    }

    /// Looks, as after a restart, and tells what lasts: kind and subject, sorted.
    async fn lasting(&self) -> Vec<String> {
        let told = |alert: &Value| format!("{} {}", text(&alert["kind"]), text(&alert["subject"]));
        let mut lasting: Vec<_> = self.alerts("lasting=true").await.iter().map(told).collect();
        lasting.sort();
        lasting
    }

    async fn alerts(&self, query: &str) -> Vec<Value> {
        Watch::default().look(&self.app.app).await.unwrap();
        let listed = self.app.get(&format!("/api/v1/alerts?{query}")).by(&self.login().await).send().await;
        listed.body["items"].as_array().unwrap().clone()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn path(plan: &Value, verb: &str) -> String {
    format!("/api/v1/plans/{}{verb}", text(&plan["id"]))
}

#[tokio::test]
async fn a_plan_without_a_good_point_raises_one_alert_that_its_next_success_ends() {
    let story = Story::new().await;
    let plan = story.plan("nightly", json!({"when": {"cron": "0 2 * * *"}})).await;
    assert_eq!(plan["alarm_after_s"], 36 * 3600);
    story.succeed(&plan).await;
    story.app.pass(36 * HOUR);
    assert!(story.lasting().await.is_empty());
    story.app.pass(HOUR);
    for _ in 0..3 {
        assert_eq!(story.lasting().await, ["plan_late nightly"], "once, although nobody ever made a job");
    }
    let alert = story.alerts("lasting=true").await.remove(0);
    assert!(text(&alert["what"]).contains("it promises one every 36 hours"), "{alert}");
    story.succeed(&plan).await;
    assert!(story.lasting().await.is_empty());
    assert!(story.alerts("").await[0]["cleared_at"].is_string());
    story.app.pass(37 * HOUR);
    assert_eq!(story.lasting().await.len(), 1, "and the next time it is raised anew");
    assert_eq!(story.alerts("").await.len(), 2);
}

#[tokio::test]
async fn the_promise_is_set_by_hand_switched_off_and_follows_the_plan_before() {
    let story = Story::new().await;
    let first = story.plan("first", json!({"when": {"cron": "0 * * * *"}, "alarm": {"after_s": 600}})).await;
    let second = story.plan("second", json!({"when": {"after": first["id"]}})).await;
    let asked = story.plan("asked", json!({})).await;
    assert_eq!([&first, &second, &asked].map(|plan| plan["alarm_after_s"].as_u64()), [Some(600), Some(7200), None]);
    story.app.pass(HOUR);
    assert_eq!(story.lasting().await, ["plan_late first"]);
    story.app.pass(2 * HOUR);
    assert_eq!(story.lasting().await, ["plan_late first", "plan_late second"]);
    let edited = story.edit(&path(&first, ""), json!({"alarm": "off"})).await;
    assert_eq!((&edited["alarm"], &edited["alarm_after_s"]), (&json!("off"), &Value::Null));
    assert_eq!(story.lasting().await, ["plan_late second"]);
    story.edit(&path(&second, ""), json!({"name": "renamed"})).await;
    assert_eq!(story.lasting().await, ["plan_late renamed"]);
    for wrong in [json!({"after_s": 1}), json!({"after_s": 400_000_000}), json!("calender"), json!({"after_s": -1})] {
        let body = json!({"name": "x", "agent_id": story.agent_id, "work": {"sources": "all_disks"}, "alarm": wrong});
        let refused = story.app.post("/api/v1/plans", body).by(&story.login().await).send().await;
        assert!(["invalid", "bad_request"].contains(&refused.code()), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_plan_that_nobody_resumes_has_another_word_and_gets_its_time_when_somebody_does() {
    let story = Story::new().await;
    let plan = story.plan("nightly", json!({"when": {"cron": "0 2 * * *"}})).await;
    story.post(&path(&plan, "/pause")).await;
    story.app.pass(37 * HOUR);
    assert_eq!(story.lasting().await, ["plan_paused nightly"]);
    story.post(&path(&plan, "/resume")).await;
    assert!(story.lasting().await.is_empty(), "its next run is still to come");
    story.app.pass(37 * HOUR);
    assert_eq!(story.lasting().await, ["plan_late nightly"]);
    story.post(&path(&plan, "/pause")).await;
    assert_eq!(story.lasting().await, ["plan_late nightly"], "a pause mends nothing");
}

#[tokio::test]
async fn a_plan_whose_agent_was_revoked_is_late_and_says_whose_it_could_be() {
    let story = Story::new().await;
    story.plan("nightly", json!({"when": {"cron": "0 2 * * *"}})).await;
    story.post(&format!("/api/v1/agents/{}/revoke", story.agent())).await;
    story.app.pass(37 * HOUR);
    let alerts = story.alerts("lasting=true").await;
    assert!(text(&alerts[0]["next"]).contains("was revoked: give the plan to another one"), "{alerts:?}");
}

#[tokio::test]
async fn a_machine_of_which_nothing_is_heard_raises_an_alert_and_ends_it_by_any_request() {
    let story = Story::new().await;
    let agent = format!("/api/v1/agents/{}", story.agent());
    assert_eq!(story.edit(&agent, json!({"silent_after_s": 7200})).await["silent_after_s"], 7200);
    story.app.pass(3 * HOUR);
    assert!(story.lasting().await.is_empty(), "it never ran and has no plan, so nobody waits for it");
    let plan = story.plan("nightly", json!({"when": {"cron": "0 2 * * *"}})).await;
    let name = text(&plan["agent"]).to_owned();
    assert_eq!(story.lasting().await, [format!("agent_silent {name}")]);
    story.app.get("/api/v1/agent").by(&story.agent).send().await;
    assert!(story.lasting().await.is_empty());
    story.app.pass(40 * HOUR);
    assert_eq!(story.lasting().await, [format!("agent_silent {name}"), "plan_late nightly".to_owned()]);
    let alerts = story.alerts("lasting=true").await;
    let late = alerts.iter().find(|alert| alert["kind"] == "plan_late").unwrap();
    assert!(text(&late["next"]).contains("nothing is heard of its machine"), "{late}");
    story.post(&format!("{agent}/revoke")).await;
    assert_eq!(story.lasting().await, ["plan_late nightly"], "of a revoked machine nothing is expected");
    let patched = story.app.ask(Method::PATCH, &agent).by(&story.login().await).header("if-match", "\"3\"");
    assert_eq!(patched.json(json!({"silent_after_s": 10})).send().await.code(), "invalid");
}

#[tokio::test]
async fn many_plans_that_are_late_at_once_are_one_message() {
    let story = Story::new().await;
    let channel = json!({"name": "ops", "target": {"kind": "webhook", "url": "http://127.0.0.1:9/"}});
    assert_eq!(story.app.post("/api/v1/alert-channels", channel).by(&story.login().await).send().await.status, 201);
    for number in 0..20 {
        story.plan(&format!("p{number}"), json!({"alarm": {"after_s": 3600}})).await;
    }
    story.app.pass(2 * HOUR);
    assert_eq!(story.lasting().await.len(), 20);
    let channels = story.app.app.database.read(db::alert_channel::with_queue).await.unwrap();
    assert_eq!(channels.len(), 1);
    let id = channels[0].channel.id;
    let queued = story.app.app.database.read(move |connection| db::alert::queued(connection, id, 100)).await.unwrap();
    assert_eq!(queued.len(), 20);
}

#[test]
fn times_are_said_as_people_do() {
    let words = |seconds| super::words(Duration::from_secs(seconds));
    assert_eq!(words(59), "59 seconds");
    assert_eq!(words(3600), "60 minutes");
    assert_eq!(words(36 * 3600), "36 hours");
    assert_eq!(words(252 * 3600), "10.5 days");
}
