//! Keepers between the server and an operator: who becomes one, what it is given, and what its word changes. The repository is real, the keeper
//! is played.

use super::backup_result;
use crate::db::{self, Write, job::NewJob};
use crate::scheduler::care;
use crate::test_app::{Answer, Login, TestApp, new_repository};
use axum::http::Method;
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::job::{JobCause, JobResult, JobState};
use web_api::role::Role;

const HOUR: Duration = Duration::from_secs(3600);

struct Story {
    app: TestApp,
    login: Login,
    repo: Repository,
    repository: RepositoryId,
    /// A machine of the writer `writer`, and its plan.
    machine: (Login, AgentId),
    writer: String,
    plan: PlanId,
    keeper: Login,
    keeper_id: String,
    _dir: TempDir,
}

fn id<T: std::str::FromStr>(value: &Value) -> T {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}

fn point(number: u64) -> String {
    format!("{number:064x}")
}

impl Story {
    async fn new() -> Self {
        let (app, dir) = (TestApp::new(), tempfile::tempdir().unwrap());
        let repo = new_repository(dir.path(), jiff::Timestamp::UNIX_EPOCH);
        let root = app.user("root", Role::Admin).await;
        let login = app.session(root).await;
        let post = async |path: &str, body: Value| app.post(path, body).by(&login).send().await.body;
        let added = post("/api/v1/repositories", json!({"name": "main", "directory": dir.path()})).await;
        let keys = repo.create_writer("web", None, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let writer = keys.writer.to_string();
        let made = post("/api/v1/agents", json!({"name": "web", "repository": "main", "writer": writer})).await;
        let machine = (Login::Token(made["secret"].as_str().unwrap().into()), id(&made["agent"]["id"]));
        let body = json!({"name": "web", "agent_id": machine.1, "work": {"sources": "all_disks"}, "keep": {"last": 1, "minimum": 2}});
        let plan = id(&post("/api/v1/plans", body).await["id"]);
        let builtin = repo.config().builtin_writer.to_string();
        let body = json!({"name": "keeper", "repository": "main", "writer": builtin, "keeper": true});
        let made = post("/api/v1/agents", body).await;
        let keeper = Login::Token(made["secret"].as_str().unwrap().into());
        let (repository, keeper_id) = (id(&added["id"]), made["agent"]["id"].as_str().unwrap().to_owned());
        Self { login, repo, repository, machine, writer, plan, keeper, keeper_id, app, _dir: dir }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.app.post(path, body).by(&self.login).send().await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.app.get(path).by(&self.login).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    async fn says(&self, who: &Login, path: &str, body: Value) -> Answer {
        let ask = self.app.post(&format!("/api/v1/agent/{path}"), body).by(who);
        ask.header("icecore-agent-protocol", "1").send().await
    }

    async fn lease(&self, who: &Login, only: &[&str]) -> Value {
        let asked = json!({"instance": Uuid::from_u128(1), "in_hand": [], "wait_s": 0, "only": only});
        self.says(who, "jobs/lease", asked).await.body["job"].clone()
    }

    async fn finish(&self, who: &Login, job: &Value, ending: Value) -> Answer {
        let body = json!({"lease": job["lease"], "ending": ending, "progress": {}});
        self.says(who, &format!("jobs/{}/finish", job["id"].as_str().unwrap()), body).await
    }

    /// A point of the machine comes in, an hour after the one before, by a run of the plan.
    async fn receive(&self, number: u64) {
        self.app.pass(HOUR);
        let (repository, agent, plan_id, now) = (self.repository, self.machine.1, self.plan, self.app.app.now());
        let at = PointKey {
            name: "ab".repeat(16).parse().unwrap(),
            sequence: number,
            manifest: point(number).parse().unwrap(),
        };
        let write = move |write: &mut Write<'_>| {
            db::receipt::note(write, (repository, agent), &at, 5, now)?;
            let (id, run_key) = (JobId::generate(), number.to_string());
            let new = NewJob { id, cause: JobCause::Calendar, plan_id, run_key: &run_key, due_at: now };
            db::job::insert(write, &new, now)?;
            db::lease::end(
                write,
                id,
                JobState::Succeeded,
                Some(&JobResult::Backup(backup_result(point(number), number))),
                now,
            )
        };
        self.app.app.database.write(write).await.unwrap();
    }

    async fn care(&self) {
        care::look(&self.app.app, true).await.unwrap();
    }

    /// The keeper's next job ends like this.
    async fn keeper_does(&self, result: Value) -> Value {
        let job = self.lease(&self.keeper, &[]).await;
        assert_eq!(self.finish(&self.keeper, &job, json!({"succeeded": result})).await.status, 204, "{job}");
        job
    }

    async fn points(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/api/v1/recovery-points{query}")).await["items"].as_array().unwrap().clone()
    }

    async fn alerts(&self) -> Vec<String> {
        let alerts = self.get("/api/v1/alerts?lasting=true").await;
        alerts["items"].as_array().unwrap().iter().map(|alert| alert["subject"].as_str().unwrap().to_owned()).collect()
    }
}

fn verdicts(points: &[(u64, Option<&str>)], damaged: Value) -> Value {
    let verdict = |(number, flaw): &(u64, Option<&str>)| {
        let since = flaw.is_none().then_some("2026-09-01T00:00:00Z");
        json!({"point": point(*number), "proved_since": since, "flaw": flaw})
    };
    json!({"verify": {"points": points.iter().map(verdict).collect::<Vec<_>>(), "packs_read": 1, "read_bytes": 1, "chunks_opened": 1,
        "damaged": damaged, "took_ms": 1}})
}

fn pruned(given_up: &[u64]) -> Value {
    let given_up: Vec<String> = given_up.iter().copied().map(point).collect();
    json!({"prune": {"dry_run": false, "given_up": given_up, "delete_after": "2027-01-01T00:00:00Z", "kept": [], "points_deleted": [],
        "packs_deleted": 0, "freed_bytes": 0, "packs_condemned": 0, "condemned_bytes": 0, "packs_repacked": 0, "rewritten_bytes": 0,
        "dead_bytes": 0, "live_bytes": 0, "left": [], "took_ms": 1}})
}

#[tokio::test]
async fn only_the_repositorys_own_writer_keeps_it_and_only_by_an_admins_word() {
    let story = Story::new().await;
    let agent =
        |name: &str, writer: &str| json!({"name": name, "repository": "main", "writer": writer, "keeper": true});
    assert_eq!(story.post("/api/v1/agents", agent("thief", &story.writer)).await.code(), "invalid");
    let operator = story.app.user("olga", Role::Operator).await;
    let operator = story.app.session(operator).await;
    let builtin = story.repo.config().builtin_writer.to_string();
    let refused = story.app.post("/api/v1/agents", agent("second", &builtin)).by(&operator).send().await;
    assert_eq!(refused.code(), "forbidden");
    // A token for machines makes no keeper, and one for a keeper no machine.
    for (keeper, comes) in [(false, true), (true, false)] {
        let body = json!({"repository": "main", "keeper": keeper});
        let made = story.post("/api/v1/enrolments", body).await.body;
        assert_eq!(made["command"].as_str().unwrap().contains(" --keeps "), keeper);
        let secret = format!("ica_{}", "ab".repeat(32));
        let writer = if comes { &builtin } else { &story.writer };
        let body =
            json!({"secret": made["secret"], "agent_secret": secret, "name": "m", "writer": writer, "keeper": comes});
        let refused = story.post("/api/v1/enrolments/redeem", body).await;
        assert_eq!(refused.code(), "invalid", "{}", refused.body);
        let id = made["enrolment"]["id"].as_str().unwrap();
        assert_eq!(story.get(&format!("/api/v1/enrolments/{id}")).await["state"], "open", "the token was not used");
    }
    assert_eq!(story.get("/api/v1/repositories/main").await["keeper"], "keeper");
    let agents = story.get("/api/v1/agents").await;
    assert_eq!((&agents["items"][0]["keeper"], &agents["items"][1]["keeper"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn what_other_agents_say_of_points_counts_for_nothing() {
    let story = Story::new().await;
    story.receive(1).await;
    let (machine, _) = &story.machine;
    let survey = json!({"survey": Uuid::nil(), "begun_at": "2026-10-01T00:00:00Z", "points": [], "complete": true});
    assert_eq!(story.says(machine, "points", survey).await.code(), "forbidden");
    assert_eq!(story.post(&format!("/api/v1/plans/{}/run", story.plan), json!({})).await.status, 201);
    let job = story.lease(machine, &[]).await;
    let lie = verdicts(&[(1, None)], json!([]));
    assert_eq!(story.finish(machine, &job, json!({"succeeded": lie})).await.code(), "invalid");
    assert_eq!(story.points("").await[0]["verified_at"], Value::Null);
    // Nor does it get what a keeper is asked for.
    assert_eq!(story.finish(machine, &job, json!("cancelled")).await.status, 204);
    assert_eq!(story.post("/api/v1/repositories/main/verify", json!({})).await.status, 201);
    assert_eq!(story.lease(machine, &["verify"]).await, Value::Null);
    assert_eq!(story.says(&story.keeper, "points", json!({})).await.code(), "bad_request");
}

#[tokio::test]
async fn a_keepers_secret_opens_no_way_to_objects() {
    let story = Story::new().await;
    let asked = story.app.get("/api/v1/repositories/main/objects?prefix=data/").by(&story.keeper).send().await;
    assert_eq!(asked.code(), "forbidden");
}

#[tokio::test]
async fn what_comes_in_is_verified_the_newest_first_and_stays_so() {
    let story = Story::new().await;
    story.care().await;
    assert_eq!(story.lease(&story.keeper, &["verify"]).await, Value::Null, "there is nothing yet");
    for number in 1..=3 {
        story.receive(number).await;
    }
    story.care().await;
    story.care().await;
    let job = story.lease(&story.keeper, &["verify"]).await;
    assert_eq!(job["keeper"]["verify"]["points"], json!([point(3), point(2), point(1)]));
    assert_eq!(story.lease(&story.keeper, &["verify"]).await["id"], job["id"], "one job, and the same once more");
    let result = verdicts(&[(3, None), (1, None)], json!([]));
    assert_eq!(story.finish(&story.keeper, &job, json!({"succeeded": result})).await.status, 204);
    let points = story.points("").await;
    assert!(
        points[0]["verified_at"].is_string() && points[0]["proved_since"] == "2026-09-01T00:00:00.000Z",
        "{points:?}"
    );
    story.care().await;
    let next = story.lease(&story.keeper, &["verify"]).await;
    assert_eq!(next["keeper"]["verify"]["points"], json!([point(2)]), "what is left");
    let job = story.get(&format!("/api/v1/jobs/{}", next["id"].as_str().unwrap())).await;
    assert_eq!(
        (&job["kind"], &job["cause"], &job["repository"]),
        (&json!("verify"), &json!("received"), &json!("main"))
    );
}

#[tokio::test]
async fn a_flaw_is_an_alert_makes_the_next_backup_read_everything_and_suspends_who_forged_it() {
    let story = Story::new().await;
    story.receive(1).await;
    story.care().await;
    let damaged =
        json!([{"pack": "cd".repeat(32), "forged_by": story.writer}, {"pack": "ef".repeat(32), "forged_by": null}]);
    story.keeper_does(json!({"point": point(99), "point_name": "icecore-server", "sequence": 1, "full_read_reason": null,
        "provider": "direct", "source_bytes": 1, "changed_bytes": 1, "read_bytes": 1, "stored_bytes": 1, "took_ms": 1, "warnings": []})).await;
    story.keeper_does(verdicts(&[(1, Some("chunk 5 is bad"))], damaged)).await;
    assert_eq!(story.points("").await[0]["flaw"], "chunk 5 is bad");
    let mut alerts = story.alerts().await;
    alerts.sort();
    assert_eq!(alerts, ["main: damaged points", "web"]);
    let (machine, machine_id) = (&story.machine.0, story.machine.1);
    let beat = json!({"instance": Uuid::nil(), "begins": true, "version": "1", "host": "web", "boot_id": "b"});
    let refused = story.says(machine, "heartbeat", beat).await;
    assert!(refused.code() == "not_logged_in" && refused.body.to_string().contains("suspended"), "{}", refused.body);
    let run = format!("/api/v1/plans/{}/run", story.plan);
    assert_eq!(story.post(&run, json!({})).await.code(), "invalid");
    let audit = story.get("/api/v1/audit").await;
    assert!(audit["items"].to_string().contains("agent.suspend"), "{audit}");
    let again = story.post(&format!("/api/v1/agents/{machine_id}/reinstate"), json!({})).await;
    assert_eq!((again.status, &again.body["suspended_at"]), (200, &Value::Null));
    assert_eq!(story.alerts().await, ["main: damaged points"]);
    assert_eq!(story.post(&run, json!({})).await.status, 201);
    let job = story.lease(machine, &[]).await;
    assert_eq!((&job["kind"], &job["full_read"]), (&json!("backup"), &json!(true)));
    // A later look finds it whole again, such as after a pack was put back.
    assert_eq!(story.post("/api/v1/repositories/main/verify", json!({"points": [point(1)]})).await.status, 201);
    story.keeper_does(verdicts(&[(1, None)], json!([]))).await;
    assert!(story.alerts().await.is_empty());
}

#[tokio::test]
async fn a_prune_is_told_what_the_plans_do_not_keep_and_no_more() {
    let story = Story::new().await;
    for number in 1..=4 {
        story.receive(number).await;
    }
    let prune = async || {
        assert_eq!(story.post("/api/v1/repositories/main/prune", json!({})).await.status, 201);
        story.lease(&story.keeper, &["prune"]).await
    };
    let job = prune().await;
    assert_eq!(job["keeper"]["prune"]["give_up"], json!([]), "nothing later is verified");
    story.finish(&story.keeper, &job, json!({"succeeded": pruned(&[])})).await;
    assert_eq!(story.post("/api/v1/repositories/main/verify", json!({"points": [point(3)]})).await.status, 201);
    story.keeper_does(verdicts(&[(3, None)], json!([]))).await;
    let job = prune().await;
    let give_up = job["keeper"]["prune"]["give_up"].as_array().unwrap();
    assert_eq!(give_up.iter().map(|wanted| wanted["point"].clone()).collect::<Vec<_>>(), [point(1), point(2)]);
    assert_eq!(give_up[0]["minimum"], 2);
    story.finish(&story.keeper, &job, json!({"succeeded": pruned(&[1])})).await;
    assert_eq!(story.points("").await.len(), 3);
    let forgotten = story.points("?forgotten=true").await;
    assert!(forgotten.len() == 4 && forgotten[3]["delete_after"] == "2027-01-01T00:00:00.000Z", "{forgotten:?}");
    let refused = story
        .post("/api/v1/repositories/main/prune", json!({"give_up": [{"point": point(4), "minimum": 0, "reason": ""}]}));
    assert_eq!(refused.await.code(), "invalid", "nobody says what is given up but the rules");
}

#[tokio::test]
async fn points_are_shown_as_the_keeper_sees_them() {
    let story = Story::new().await;
    story.receive(1).await;
    story.receive(2).await;
    let seen = |number: u64, name: &str, forgotten: Option<&str>| {
        json!({"id": point(number), "series": "ab".repeat(16), "sequence": number, "writer": story.writer, "received_at": "2026-01-01T00:00:00Z",
            "size_bytes": 9, "suspect": number == 2, "forgotten_at": forgotten, "delete_after": forgotten, "content": {"name": name, "host": "web",
            "made_at": "2026-01-01T00:00:00Z", "kind": "full", "consistency": "offline", "source_bytes": 7, "stored_bytes": 3,
            "disks": [{"name": "sda", "path": "/dev/sda", "size_bytes": 7}]}})
    };
    let survey = async |points: Value, survey: u128, complete: bool| {
        let begun_at = story.app.app.now().to_string();
        let body =
            json!({"survey": Uuid::from_u128(survey), "begun_at": begun_at, "points": points, "complete": complete});
        assert_eq!(story.says(&story.keeper, "points", body).await.status, 204);
    };
    story.app.pass(HOUR);
    survey(json!([seen(2, "web", None), seen(3, "by hand", None)]), 7, false).await;
    survey(json!([seen(1, "web", Some("2026-02-01T00:00:00Z"))]), 7, true).await;
    let points = story.points("?forgotten=true&limit=2").await;
    assert_eq!(
        (&points[0]["name"], &points[0]["suspect"], &points[0]["disks"][0]["size_bytes"]),
        (&json!("web"), &json!(true), &json!(7))
    );
    assert_eq!((&points[0]["plan"], &points[0]["agent"]), (&json!("web"), &json!("web")));
    assert_ne!(
        points[0]["received_at"], "2026-01-01T00:00:00.000Z",
        "this server's clock counts where it received the point"
    );
    let page = story.get("/api/v1/recovery-points?forgotten=true&limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = story.points(&format!("?forgotten=true&limit=2&cursor={cursor}")).await;
    assert_eq!((rest.len(), &rest[0]["name"], &rest[0]["plan"]), (1, &json!("by hand"), &Value::Null));
    assert_eq!(story.points("").await.len(), 2, "what was given up is shown when it is asked for");
    assert_eq!(story.points(&format!("?plan_id={}", story.plan)).await.len(), 1);
    survey(json!([seen(2, "web", None)]), 8, true).await;
    assert_eq!(story.points("?forgotten=true").await.len(), 1);
    let gone = story.get(&format!("/api/v1/recovery-points/{}", point(3))).await;
    assert!(gone["gone_at"].is_string(), "{gone}");
    for nothing in [&point(9), "x"] {
        let answer = story.app.get(&format!("/api/v1/recovery-points/{nothing}")).by(&story.login).send().await;
        assert_eq!(answer.code(), "not_found");
    }
}

#[tokio::test]
async fn points_are_given_up_and_taken_back_by_jobs() {
    let story = Story::new().await;
    story.receive(1).await;
    let path = |verb: &str| format!("/api/v1/recovery-points/{}/{verb}", point(1));
    let job = story.post(&path("forget"), json!({"reason": "a mistake"})).await;
    assert_eq!((job.status, &job.body["work"]["forget"]["reason"]), (201, &json!("a mistake")));
    story.keeper_does(json!({"forget": {"points": [point(1)], "delete_after": "2027-01-01T00:00:00Z"}})).await;
    assert!(story.points("?forgotten=true").await[0]["forgotten_at"].is_string());
    assert_eq!(story.post(&path("undo"), json!({})).await.status, 201);
    let job = story.keeper_does(json!({"forget": {"points": [point(1)], "delete_after": null}})).await;
    assert_eq!(job["keeper"]["forget"]["undo"], true);
    assert_eq!(story.points("").await.len(), 1);
    let nothing = format!("/api/v1/recovery-points/{}/forget", point(9));
    assert_eq!(story.post(&nothing, json!({})).await.code(), "not_found");
}

#[tokio::test]
async fn restores_need_their_right_a_target_and_a_point() {
    let story = Story::new().await;
    story.receive(1).await;
    let work = json!({"point": point(1), "target": "/srv/restore/web.img", "dry_run": true});
    let with = |more: Value| {
        let mut work = work.clone();
        work.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        work
    };
    let made = story.post("/api/v1/restores", work.clone()).await;
    assert_eq!((made.status, &made.body["kind"]), (201, &json!("restore")));
    for (more, code) in [
        (json!({"target": "web.img"}), "invalid"),
        (json!({"target": "/a\u{0}b"}), "invalid"),
        (json!({"point": point(7)}), "not_found"),
        (json!({"point": "../config"}), "invalid"),
        (json!({"format": "qcow2", "delta": true}), "invalid"),
        (json!({"files": ["/etc"], "delta": true}), "invalid"),
        (json!({"files": ["/etc"], "in_place": true}), "invalid"),
        (json!({"in_place": true, "target": ""}), "invalid"),
        (json!({"existing": "skip"}), "invalid"),
        (json!({"files": ["/etc"], "existing": "skip", "overwrite": true}), "invalid"),
        (json!({"files": ["/etc"], "existing": "perhaps"}), "bad_request"),
        (json!({"files": [""], "dry_run": false}), "invalid"),
        (json!({"format": "vhd"}), "bad_request"),
    ] {
        assert_eq!(story.post("/api/v1/restores", with(more.clone())).await.code(), code, "{more}");
    }
    let before = story.lease(&story.keeper, &[]).await;
    assert_eq!(before["kind"], "restore", "who waits for a restore comes first");
}

#[tokio::test]
async fn without_a_keeper_nothing_is_promised_and_a_revoked_one_gets_nothing() {
    let story = Story::new().await;
    assert_eq!(story.post("/api/v1/repositories/main/check", json!({})).await.status, 201);
    let job = story.lease(&story.keeper, &["check"]).await;
    story.post(&format!("/api/v1/agents/{}/revoke", story.keeper_id), json!({})).await;
    assert_eq!(
        story.finish(&story.keeper, &job, json!({"succeeded": verdicts(&[], json!([]))})).await.code(),
        "not_logged_in"
    );
    let job = story.get(&format!("/api/v1/jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!(job["error"]["code"], "agent_revoked");
    let refused = story.post("/api/v1/repositories/main/check", json!({})).await;
    assert!(refused.code() == "conflict" && refused.body.to_string().contains("--keeps"), "{}", refused.body);
    story.receive(1).await;
    story.care().await;
    assert_eq!(story.get("/api/v1/jobs?state=queued").await["items"], json!([]));
}

#[tokio::test]
async fn what_fails_for_good_is_an_alert_until_it_succeeds() {
    let story = Story::new().await;
    story.receive(1).await;
    story.care().await;
    for _ in 0..4 {
        let job = story.lease(&story.keeper, &["verify"]).await;
        let error = json!({"code": "failed", "what": "the disk is gone", "why": [], "next": null, "attempt": 0});
        story.finish(&story.keeper, &job, json!({"failed": {"error": error, "retry": true}})).await;
        story.app.pass(HOUR);
    }
    assert_eq!(story.alerts().await, ["main: verify"]);
    story.care().await;
    let job = story.lease(&story.keeper, &["verify"]).await;
    story.finish(&story.keeper, &job, json!({"succeeded": verdicts(&[(1, None)], json!([]))})).await;
    assert!(story.alerts().await.is_empty());
}

#[tokio::test]
async fn care_is_edited_within_limits() {
    let story = Story::new().await;
    let change = async |care: Value, etag: &str| {
        let ask =
            story.app.ask(Method::PATCH, "/api/v1/repositories/main").json(json!({"care": care})).by(&story.login);
        ask.header("if-match", etag).send().await
    };
    let changed = change(json!({"prune_every_s": 3600, "check_every_s": 0}), "\"1\"").await;
    assert_eq!(
        (changed.status, &changed.body["care"]["prune_every_s"], &changed.body["revision"]),
        (200, &json!(3600), &json!(2))
    );
    assert_eq!(change(json!({}), "\"1\"").await.code(), "changed");
    for care in
        [json!({"prune_every_s": 5}), json!({"check_every_s": 99_999_999}), json!({"check_sample_percent": 101.0})]
    {
        assert_eq!(change(care.clone(), "\"2\"").await.code(), "invalid", "{care}");
    }
}

#[tokio::test]
async fn a_paused_job_goes_back_waits_and_goes_on() {
    let story = Story::new().await;
    let id = story.post("/api/v1/repositories/main/check", json!({})).await.body["id"].as_str().unwrap().to_owned();
    let post = async |verb: &str| story.post(&format!("/api/v1/jobs/{id}/{verb}"), json!({})).await;
    let job = story.lease(&story.keeper, &["check"]).await;
    let report = json!({"lease": job["lease"], "progress": {}});
    let path = format!("jobs/{id}/progress");
    assert_eq!(story.says(&story.keeper, &path, report.clone()).await.body, json!({"cancel": false}));
    let paused = post("pause").await;
    assert_eq!((&paused.body["state"], &paused.body["paused"]), (&json!("running"), &json!(true)));
    assert_eq!(story.says(&story.keeper, &path, report).await.body, json!({"cancel": false, "pause": true}));
    story.finish(&story.keeper, &job, json!("returned")).await;
    assert_eq!(story.lease(&story.keeper, &["check"]).await, Value::Null);
    assert_eq!(post("pause").await.status, 200, "once more is no error");
    assert_eq!(post("resume").await.body["paused"], false);
    let again = story.lease(&story.keeper, &["check"]).await;
    assert_eq!(again["id"], json!(id));
    post("pause").await;
    post("cancel").await;
    story.finish(&story.keeper, &again, json!("returned")).await;
    assert_eq!(story.get(&format!("/api/v1/jobs/{id}")).await["state"], "cancelled", "who wants the end gets it");
    assert_eq!(post("pause").await.code(), "conflict");
}
