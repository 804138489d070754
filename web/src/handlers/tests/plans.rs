//! Plans, as an operator works with them.

use crate::test_app::{Answer, Ask, Login, TestApp};
use axum::http::{Method, header};
use serde_json::{Value, json};
use web_api::role::Role;

struct Story {
    app: TestApp,
    login: Login,
    agent_id: Value,
}

impl Story {
    async fn new() -> Self {
        let app = TestApp::new();
        let operator = app.user("olga", Role::Operator).await;
        let login = app.session(operator).await;
        app.agent().await;
        let agents = app.get("/api/v1/agents").by(&login).send().await;
        Self { agent_id: agents.body["items"][0]["id"].clone(), app, login }
    }

    fn create(&self, name: &str, more: Value) -> Ask<'_> {
        let mut body = json!({"name": name, "agent_id": self.agent_id, "work": {"sources": {"paths": ["/dev/sda"]}}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.app.post("/api/v1/plans", body).by(&self.login)
    }

    async fn created(&self, name: &str, more: Value) -> Value {
        let made = self.create(name, more).send().await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.body
    }

    async fn ask(&self, method: Method, plan: &Value, rest: &str, body: Value, etag: &str) -> Answer {
        let path = format!("/api/v1/plans/{}{rest}", plan["id"].as_str().unwrap());
        self.app.ask(method, &path).by(&self.login).header("if-match", etag).json(body).send().await
    }
}

#[tokio::test]
async fn a_plan_is_made_edited_and_removed_by_whoever_read_it_last() {
    let story = Story::new().await;
    let made = story.create("nightly", json!({"when": {"cron": "30 2 * * *", "zone": "Europe/Berlin"}})).send().await;
    assert_eq!((made.status, made.header(header::ETAG)), (201, "\"1\""), "{}", made.body);
    assert!(made.body["next_run_at"].is_string() && made.body["last_good_at"].is_null());
    assert_eq!(story.app.get(made.header(header::LOCATION)).by(&story.login).send().await.body["name"], "nightly");
    let plan = made.body;
    let edit = json!({"keep": {"daily": 7, "within": "36h"}});
    assert_eq!(story.ask(Method::PATCH, &plan, "", edit.clone(), "\"9\"").await.code(), "changed");
    let edited = story.ask(Method::PATCH, &plan, "", edit, "\"1\"").await;
    assert_eq!((&edited.body["keep"]["daily"], &edited.body["when"]["cron"]), (&json!(7), &json!("30 2 * * *")));
    let unknown = json!({"agent_id": "01890000-0000-7000-8000-000000000000"});
    assert_eq!(story.ask(Method::PATCH, &plan, "", unknown, "\"2\"").await.code(), "invalid");
    assert_eq!(story.ask(Method::DELETE, &plan, "", json!({}), "\"1\"").await.code(), "changed");
    assert_eq!(story.ask(Method::DELETE, &plan, "", json!({}), "\"2\"").await.status, 204);
    assert_eq!(story.ask(Method::GET, &plan, "", json!({}), "").await.code(), "not_found");
}

#[tokio::test]
async fn plans_that_cannot_work_are_refused_with_the_reason() {
    let story = Story::new().await;
    story.created("taken", json!({})).await;
    let unknown = "01890000-0000-7000-8000-000000000000";
    for (name, more, code, words) in [
        ("Bad Name", json!({}), "invalid", "plan's name"),
        ("taken", json!({}), "conflict", "named taken"),
        ("a", json!({"agent_id": unknown}), "invalid", "no such agent"),
        ("a", json!({"work": {"sources": {"paths": []}}}), "invalid", "all_disks"),
        ("a", json!({"work": {"sources": {"paths": ["sda"]}}}), "invalid", "absolute"),
        ("a", json!({"work": {"sources": "all_disks", "level": 99}}), "invalid", "1 to 19"),
        ("a", json!({"work": {"sources": "all_disks", "limit_bytes_per_s": 0}}), "invalid", "never end"),
        ("a", json!({"work": {"sources": "all_disks", "hooks": {"command": "rm"}}}), "bad_request", "cannot be used"),
        ("a", json!({"when": {"cron": "61 * * * *"}}), "invalid", "when cannot be used"),
        ("a", json!({"when": {"cron": "0 0 30 2 *"}}), "invalid", "when cannot be used"),
        ("a", json!({"when": {"zone": "Europe/Atlantis"}}), "invalid", "when cannot be used"),
        ("a", json!({"when": {"after": unknown}}), "invalid", "does not exist"),
        ("a", json!({"keep": {"within": "soon"}}), "invalid", "within"),
        ("a", json!({"retries": {"count": 21}}), "invalid", "retries"),
        ("a", json!({"colour": "blue"}), "bad_request", "cannot be used"),
    ] {
        let answer = story.create(name, more).send().await;
        assert_eq!(answer.code(), code, "{}", answer.body);
        let what = answer.body["error"]["what"].as_str().unwrap();
        assert!(what.contains(words), "{what}");
    }
}

#[tokio::test]
async fn plans_follow_each_other_but_not_in_a_circle() {
    let story = Story::new().await;
    let first = story.created("first", json!({})).await;
    let second = story.created("second", json!({"when": {"after": first["id"]}})).await;
    let circle = json!({"when": {"after": second["id"]}});
    let refused = story.ask(Method::PATCH, &first, "", circle, "\"1\"").await;
    assert!(refused.body["error"]["what"].as_str().unwrap().contains("circle"));
    let followed = story.ask(Method::DELETE, &first, "", json!({}), "\"1\"").await;
    assert_eq!((followed.code(), &followed.body["error"]["why"]), ("conflict", &json!("second")));
}

#[tokio::test]
async fn a_plan_has_one_open_job_and_the_same_request_makes_one() {
    let story = Story::new().await;
    let plan = story.created("asked", json!({"paused": true})).await;
    let path = format!("/api/v1/plans/{}/run", plan["id"].as_str().unwrap());
    let run = |key: &str| story.app.ask(Method::POST, &path).by(&story.login).header("idempotency-key", key);
    let job = run("k1").send().await;
    assert_eq!((job.status, &job.body["state"], &job.body["cause"]), (201, &json!("queued"), &json!("person")));
    assert_eq!(run("k1").send().await.body["id"], job.body["id"]);
    assert_eq!(run("k2").send().await.code(), "conflict");
    assert_eq!(story.ask(Method::DELETE, &plan, "", json!({}), "\"1\"").await.code(), "conflict");
    let read = story.ask(Method::GET, &plan, "", json!({}), "").await;
    assert_eq!(read.body["last_job"]["id"], job.body["id"]);
}

#[tokio::test]
async fn a_pause_is_an_edit_that_others_see() {
    let story = Story::new().await;
    let plan = story.created("nightly", json!({"when": {"cron": "@daily"}})).await;
    let paused = story.ask(Method::POST, &plan, "/pause", json!({}), "").await;
    assert_eq!((&paused.body["paused"], paused.header(header::ETAG)), (&json!(true), "\"2\""));
    assert!(paused.body["next_run_at"].is_null());
    assert_eq!(story.ask(Method::POST, &plan, "/pause", json!({}), "").await.header(header::ETAG), "\"2\"", "once");
    let resumed = story.ask(Method::POST, &plan, "/resume", json!({}), "").await;
    assert_eq!((&resumed.body["paused"], &resumed.body["revision"]), (&json!(false), &json!(3)));
}
