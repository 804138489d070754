//! Jobs between an agent and an operator: given, reported, lost, cancelled, retried.

use crate::test_app::{Answer, Login, TestApp};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use web_api::role::Role;

struct Story {
    app: TestApp,
    login: Login,
    agent: Login,
    agent_id: String,
    plan: String,
}

fn error(what: &str) -> Value {
    json!({"code": "failed", "what": what, "why": ["the disk is gone"], "next": null, "attempt": 0})
}

fn progress(stage: &str) -> Value {
    json!({"stages": [{"name": stage, "unit": "bytes", "done": 5, "total": 10, "per_s": 1, "took_ms": 3, "ended": false}]})
}

impl Story {
    async fn new() -> Self {
        let app = TestApp::new();
        let root = app.user("root", Role::Admin).await;
        let login = app.session(root).await;
        let agent = app.agent().await;
        let agents = app.get("/api/v1/agents").by(&login).send().await;
        let agent_id = agents.body["items"][0]["id"].as_str().unwrap().to_owned();
        let body = json!({"name": "web", "agent_id": agent_id, "work": {"sources": {"paths": ["/dev/sda"]}},
            "retries": {"count": 1, "pause_s": 0}});
        let plan = app.post("/api/v1/plans", body).by(&login).send().await.body["id"].as_str().unwrap().to_owned();
        Self { app, login, agent, agent_id, plan }
    }

    async fn run(&self) -> String {
        let job = self.app.post(&format!("/api/v1/plans/{}/run", self.plan), json!({})).by(&self.login).send().await;
        job.body["id"].as_str().expect("a job").to_owned()
    }

    async fn agent_says(&self, path: &str, body: Value) -> Answer {
        let ask = self.app.post(&format!("/api/v1/agent/{path}"), body).by(&self.agent);
        ask.header("icecore-agent-protocol", "1").send().await
    }

    async fn lease(&self, instance: u128, in_hand: &[&str]) -> Value {
        let asked = json!({"instance": Uuid::from_u128(instance), "in_hand": in_hand, "wait_s": 0});
        self.agent_says("jobs/lease", asked).await.body["job"].clone()
    }

    async fn progress(&self, job: &Value, report: Value) -> Answer {
        let mut body = json!({"lease": job["lease"], "progress": progress("backup")});
        body.as_object_mut().unwrap().extend(report.as_object().unwrap().clone());
        self.agent_says(&format!("jobs/{}/progress", job["id"].as_str().unwrap()), body).await
    }

    async fn finish(&self, job: &Value, ending: Value) -> Answer {
        let body = json!({"lease": job["lease"], "ending": ending, "progress": progress("backup")});
        self.agent_says(&format!("jobs/{}/finish", job["id"].as_str().unwrap()), body).await
    }

    async fn read(&self, id: &str) -> Value {
        self.app.get(&format!("/api/v1/jobs/{id}")).by(&self.login).send().await.body
    }

    async fn post(&self, id: &str, verb: &str) -> Answer {
        self.app.post(&format!("/api/v1/jobs/{id}/{verb}"), json!({})).by(&self.login).send().await
    }

    async fn heartbeat(&self, instance: u128, begins: bool, devices: Value) -> Answer {
        let body = json!({"instance": Uuid::from_u128(instance), "begins": begins, "version": "0.1.0", "host": "web",
            "boot_id": "b", "devices": devices});
        self.agent_says("heartbeat", body).await
    }
}

#[tokio::test]
async fn a_job_goes_to_its_agent_is_reported_on_and_ends() {
    let story = Story::new().await;
    let id = story.run().await;
    let job = story.lease(1, &[]).await;
    assert_eq!((job["id"].as_str(), &job["attempt"], &job["plan"]), (Some(id.as_str()), &json!(1), &json!("web")));
    assert_eq!(job["backup"]["sources"]["paths"][0], "/dev/sda");
    let line = |number: u32| json!({"number": number, "text": format!("line {number}")});
    let report = json!({"log": [line(1), line(2)]});
    assert_eq!(story.progress(&job, report.clone()).await.body["cancel"], false);
    story.progress(&job, report).await;
    let running = story.read(&id).await;
    assert_eq!((&running["state"], &running["progress"]["stages"][0]["done"]), (&json!("running"), &json!(5)));
    let log = story.app.get(&format!("/api/v1/jobs/{id}/log?limit=1")).by(&story.login).send().await;
    let next = log.body["next_cursor"].as_str().unwrap();
    let rest = story.app.get(&format!("/api/v1/jobs/{id}/log?cursor={next}")).by(&story.login).send().await;
    assert_eq!((&rest.body["items"][0]["text"], rest.body["items"].as_array().unwrap().len()), (&json!("line 2"), 1));
    let result = json!({"point": "ab", "point_name": "web", "sequence": 1, "full_read_reason": null, "provider": "direct",
        "source_bytes": 10, "changed_bytes": 10, "read_bytes": 10, "stored_bytes": 4, "took_ms": 1, "warnings": []});
    assert_eq!(story.finish(&job, json!({"succeeded": result})).await.status, 204);
    assert_eq!(story.finish(&job, json!({"succeeded": result})).await.status, 204, "an answer may be lost");
    let ended = story.read(&id).await;
    assert_eq!((&ended["state"], &ended["result"]["point"]), (&json!("succeeded"), &json!("ab")));
    let plan = story.app.get(&format!("/api/v1/plans/{}", story.plan)).by(&story.login).send().await.body;
    assert!(plan["last_good_at"].is_string() && plan["last_job"]["state"] == "succeeded");
}

#[tokio::test]
async fn days_tell_how_each_machines_backups_ended() {
    let story = Story::new().await;
    let result = |stored: u32| {
        json!({"succeeded": {"point": format!("{stored:02x}"), "point_name": "web", "sequence": 1, "full_read_reason": null,
            "provider": "direct", "source_bytes": 10, "changed_bytes": 10, "read_bytes": 10, "stored_bytes": stored,
            "took_ms": 1, "warnings": []}})
    };
    let failed = json!({"failed": {"error": error("nothing"), "retry": false}});
    for ending in [result(4), result(5), failed] {
        story.run().await;
        let job = story.lease(1, &[]).await;
        assert_eq!(story.finish(&job, ending).await.status, 204);
    }
    // In steps, so that the log-in does not end meanwhile.
    for _ in 0..3 {
        story.app.pass(Duration::from_secs(28_800));
        assert_eq!(story.app.get("/api/v1/session").by(&story.login).send().await.status, 200);
    }
    story.run().await;
    let days = story.app.get("/api/v1/job-days?days=2&zone=Europe/Berlin").by(&story.login).send().await.body;
    assert_eq!(days["days"].as_array().unwrap().len(), 2);
    let expected = json!([{"agent_id": story.agent_id, "day": days["days"][0], "succeeded": 2, "failed": 1, "cancelled": 0,
        "stored_bytes": 9}]);
    assert_eq!(days["items"], expected, "what has not ended is on no day");
    for wrong in ["days=0", "days=93", "zone=Nowhere", "zone="] {
        let answer = story.app.get(&format!("/api/v1/job-days?{wrong}")).by(&story.login).send().await;
        assert_eq!(answer.code(), "bad_request", "{wrong}");
    }
}

#[tokio::test]
async fn a_job_whose_giving_was_not_heard_is_given_once_more() {
    let story = Story::new().await;
    let id = story.run().await;
    let first = story.lease(1, &[]).await;
    assert_eq!(story.lease(1, &[]).await["lease"], first["lease"]);
    assert_eq!(story.lease(1, &[&id]).await, Value::Null);
    assert_eq!(story.lease(2, &[]).await, Value::Null, "another process is no owner");
}

#[tokio::test]
async fn an_agent_that_begins_anew_gets_its_jobs_back_at_once() {
    let story = Story::new().await;
    let id = story.run().await;
    let old = story.lease(1, &[]).await;
    story.heartbeat(1, true, Value::Null).await;
    assert_eq!(story.read(&id).await["state"], "running", "its own heartbeat takes nothing away");
    story.heartbeat(2, true, Value::Null).await;
    let new = story.lease(2, &[]).await;
    assert_eq!((new["id"].as_str(), &new["attempt"]), (Some(id.as_str()), &json!(2)));
    assert_eq!(story.progress(&old, json!({})).await.code(), "job_lost");
    assert_eq!(story.finish(&old, json!("cancelled")).await.code(), "job_lost");
}

#[tokio::test]
async fn an_agent_that_was_away_goes_on_when_nobody_else_began() {
    let story = Story::new().await;
    let id = story.run().await;
    let job = story.lease(1, &[]).await;
    story.app.pass(Duration::from_secs(600));
    let now = story.app.app.now();
    story.app.app.database.write(move |write| crate::jobs::expire(write, now)).await.unwrap();
    assert_eq!(story.read(&id).await["state"], "queued");
    assert_eq!(story.progress(&job, json!({})).await.status, 200);
    assert_eq!(story.read(&id).await["state"], "running");
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_until_the_plan_allows_none() {
    let story = Story::new().await;
    let id = story.run().await;
    for (attempt, state) in [(1, "queued"), (2, "failed")] {
        let job = story.lease(1, &[]).await;
        assert_eq!(job["attempt"], attempt);
        story.finish(&job, json!({"failed": {"error": error("cannot read"), "retry": true}})).await;
        let read = story.read(&id).await;
        assert_eq!((&read["state"], &read["error"]["attempt"]), (&json!(state), &json!(attempt)));
    }
    assert_eq!(story.lease(1, &[]).await, Value::Null);
    assert_eq!(story.post(&id, "retry").await.body["state"], "queued");
    assert_eq!(story.lease(1, &[]).await["attempt"], 3);
    assert_eq!(story.post(&id, "retry").await.code(), "conflict");
}

#[tokio::test]
async fn what_no_other_attempt_can_mend_fails_at_once() {
    let story = Story::new().await;
    let id = story.run().await;
    let job = story.lease(1, &[]).await;
    story.finish(&job, json!({"failed": {"error": error("refused"), "retry": false}})).await;
    assert_eq!(story.read(&id).await["state"], "failed");
}

#[tokio::test]
async fn a_plan_whose_job_failed_has_an_alert_until_one_succeeds() {
    let story = Story::new().await;
    let lasting = async || {
        let alerts = story.app.get("/api/v1/alerts?lasting=true").by(&story.login).send().await.body;
        alerts["items"].as_array().unwrap().iter().map(|alert| alert["subject"].clone()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        story.run().await;
        let job = story.lease(1, &[]).await;
        story.finish(&job, json!({"failed": {"error": error("refused"), "retry": false}})).await;
        assert_eq!(lasting().await, [json!("web")], "one alert, however often it fails");
    }
    story.run().await;
    let job = story.lease(1, &[]).await;
    let result = json!({"point": "ab", "point_name": "web", "sequence": 1, "full_read_reason": null, "provider": "direct",
        "source_bytes": 10, "changed_bytes": 10, "read_bytes": 10, "stored_bytes": 4, "took_ms": 1, "warnings": []});
    assert_eq!(story.finish(&job, json!({"succeeded": result})).await.status, 204);
    assert!(lasting().await.is_empty());
}

#[tokio::test]
async fn a_job_that_an_agent_gives_back_counts_as_no_attempt() {
    let story = Story::new().await;
    let id = story.run().await;
    for _ in 0..5 {
        let job = story.lease(1, &[]).await;
        story.finish(&job, json!("returned")).await;
    }
    let read = story.read(&id).await;
    assert_eq!((&read["state"], &read["error"]), (&json!("queued"), &Value::Null));
    assert!(read["attempts_allowed"].as_u64().unwrap() - read["attempt"].as_u64().unwrap() == 2);
}

#[tokio::test]
async fn a_cancelled_job_ends_at_once_in_the_queue_and_by_its_agent_when_it_runs() {
    let story = Story::new().await;
    let waiting = story.run().await;
    assert_eq!(story.post(&waiting, "cancel").await.body["state"], "cancelled");
    assert_eq!(story.lease(1, &[]).await, Value::Null);
    assert_eq!(story.post(&waiting, "cancel").await.code(), "conflict");
    let id = story.run().await;
    let job = story.lease(1, &[]).await;
    assert_eq!(story.post(&id, "cancel").await.body["cancelling"], true);
    assert_eq!(story.progress(&job, json!({})).await.body["cancel"], true);
    story.finish(&job, json!("cancelled")).await;
    assert_eq!(story.read(&id).await["state"], "cancelled");
    assert_eq!(story.post(&waiting, "retry").await.status, 200);
    assert_eq!(story.post(&id, "retry").await.code(), "conflict", "the plan has an open job");
}

#[tokio::test]
async fn a_revoked_agent_is_given_nothing_and_its_jobs_fail() {
    let story = Story::new().await;
    let id = story.run().await;
    let job = story.lease(1, &[]).await;
    let path = format!("/api/v1/agents/{}/revoke", story.agent_id);
    assert_eq!(story.app.post(&path, json!({})).by(&story.login).send().await.status, 204);
    assert_eq!(story.progress(&job, json!({})).await.code(), "not_logged_in");
    assert_eq!(story.heartbeat(1, true, Value::Null).await.code(), "not_logged_in");
    let read = story.read(&id).await;
    assert_eq!((&read["state"], &read["error"]["code"]), (&json!("failed"), &json!("agent_revoked")));
    assert_eq!(story.post(&id, "retry").await.code(), "conflict");
    let run = story.app.post(&format!("/api/v1/plans/{}/run", story.plan), json!({})).by(&story.login).send().await;
    assert_eq!(run.code(), "invalid");
}

#[tokio::test]
async fn another_agent_can_do_nothing_with_a_job() {
    let mut story = Story::new().await;
    story.run().await;
    let job = story.lease(1, &[]).await;
    story.agent = story.app.agent().await;
    assert_eq!(story.lease(1, &[]).await, Value::Null);
    assert_eq!(story.progress(&job, json!({})).await.code(), "not_found");
    assert_eq!(story.finish(&job, json!("cancelled")).await.code(), "not_found");
}

#[tokio::test]
async fn agents_of_other_versions_are_told_who_is_too_old() {
    let story = Story::new().await;
    let asked = json!({"instance": Uuid::nil(), "in_hand": [], "wait_s": 0});
    let with = |version: &'static str| {
        let ask = story.app.post("/api/v1/agent/jobs/lease", asked.clone()).by(&story.agent);
        ask.header("icecore-agent-protocol", version).send()
    };
    assert_eq!((with("1").await.status, with("0").await.status), (200, 200));
    let newer = with("2").await;
    assert_eq!((newer.code(), &newer.body["error"]["next"]), ("versions_apart", &json!("upgrade the server")));
    assert_eq!(with("4294967295").await.code(), "versions_apart");
    for not_a_version in ["x", "4294967296", "-1", ""] {
        assert_eq!(with(not_a_version).await.code(), "bad_request", "{not_a_version:?}");
    }
}

#[tokio::test]
async fn devices_are_shown_as_they_were_reported_last() {
    let story = Story::new().await;
    let path = format!("/api/v1/agents/{}/devices", story.agent_id);
    let read = || story.app.get(&path).by(&story.login).send();
    assert_eq!(read().await.body["reported_at"], Value::Null);
    let disk = json!({"path": "/dev/sda", "kind": "disk", "on": [], "size_bytes": 5, "label": null, "serial": null, "read_only": false,
        "removable": false, "file_system": null, "mounts": [], "in_all_disks": true});
    assert_eq!(story.heartbeat(1, true, json!([disk])).await.body["lease_s"], 60);
    let reported_at = read().await.body["reported_at"].clone();
    story.app.pass(Duration::from_secs(9));
    story.heartbeat(1, false, Value::Null).await;
    let seen = read().await.body;
    assert_eq!((&seen["devices"][0]["path"], &seen["reported_at"]), (&json!("/dev/sda"), &reported_at));
    assert_ne!(seen["heard_at"], reported_at);
    let many = vec![disk; 1001];
    assert_eq!(story.heartbeat(1, false, json!(many)).await.code(), "invalid");
}
