//! What a plan's rules say of points that came in, with a real repository.

use super::backup_result;
use crate::db::{self, job::NewJob};
use crate::test_app::{Login, TestApp, new_repository};
use repo_format::manifest::PointKey;
use repo_format::store::Store as _;
use repo_format::store::dir::DirStore;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::job::{JobCause, JobResult, JobState};
use web_api::role::Role;
use web_api::unit::Time;

const HOUR: Duration = Duration::from_secs(3600);

struct Story {
    app: TestApp,
    login: Login,
    dir: TempDir,
    repository: RepositoryId,
    agent: AgentId,
    plan: PlanId,
}

fn id<T: std::str::FromStr>(value: &Value) -> T {
    value.as_str().and_then(|text| text.parse().ok()).expect("an id")
}

fn manifest(number: u64) -> String {
    format!("{number:064x}")
}

impl Story {
    /// A plan that keeps the last two points.
    async fn new() -> Self {
        let (app, dir) = (TestApp::new(), tempfile::tempdir().unwrap());
        let repo = new_repository(dir.path(), jiff::Timestamp::UNIX_EPOCH);
        let root = app.user("root", Role::Admin).await;
        let login = app.session(root).await;
        let body = json!({"name": "main", "directory": dir.path()});
        let repository = app.post("/api/v1/repositories", body).by(&login).send().await.body["id"].clone();
        let body = json!({"name": "web", "repository": "main", "writer": repo.config().builtin_writer.to_string()});
        let agent = app.post("/api/v1/agents", body).by(&login).send().await.body["agent"]["id"].clone();
        let body = json!({"name": "web", "agent_id": agent, "work": {"sources": "all_disks"}, "keep": {"last": 2}});
        let plan = app.post("/api/v1/plans", body).by(&login).send().await.body["id"].clone();
        Self { login, dir, repository: id(&repository), agent: id(&agent), plan: id(&plan), app }
    }

    /// A point comes in, an hour after the one before.
    async fn receive(&self, number: u64) -> Time {
        self.app.pass(HOUR);
        let (repository, agent, now) = (self.repository, self.agent, self.app.app.now());
        let point = PointKey {
            name: "ab".repeat(16).parse().unwrap(),
            sequence: number,
            manifest: manifest(number).parse().unwrap(),
        };
        let note = move |write: &mut db::Write<'_>| db::receipt::note(write, (repository, agent), &point, 5, now);
        self.app.app.database.write(note).await.unwrap();
        now
    }

    /// The same, and a run of the plan ends with it.
    async fn run(&self, number: u64) {
        let now = self.receive(number).await;
        let plan_id = self.plan;
        let run = move |write: &mut db::Write<'_>| {
            let (id, run_key) = (JobId::generate(), number.to_string());
            db::job::insert(
                write,
                &NewJob { id, cause: JobCause::Calendar, plan_id, run_key: &run_key, due_at: now },
                now,
            )?;
            db::lease::end(
                write,
                id,
                JobState::Succeeded,
                Some(&JobResult::Backup(backup_result(manifest(number), number))),
                now,
            )
        };
        self.app.app.database.write(run).await.unwrap();
    }

    async fn verify(&self, number: u64) {
        let (repository, now) = (self.repository, self.app.app.now());
        let verify =
            move |write: &mut db::Write<'_>| db::receipt::verified(write, repository, &manifest(number), (now, now));
        self.app.app.database.write(verify).await.unwrap();
    }

    async fn ask(&self, query: &str) -> Value {
        let path = format!("/api/v1/plans/{}/retention{query}", self.plan);
        let answer = self.app.get(&path).by(&self.login).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Sequences of the points that stay.
    async fn kept(&self) -> Vec<u64> {
        let items = self.ask("").await["items"].as_array().unwrap().clone();
        items.iter().filter(|item| item["keep"] == true).map(|item| item["sequence"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn points_of_runs_go_by_the_rules_once_later_ones_are_verified_and_others_stay() {
    let story = Story::new().await;
    assert!(story.kept().await.is_empty(), "a plan without a run has no series yet");
    for number in 1..=4 {
        story.run(number).await;
    }
    story.receive(5).await;
    assert_eq!(story.kept().await, [5, 4, 3, 2, 1], "nothing is verified yet");
    story.verify(3).await;
    assert_eq!(story.kept().await, [5, 4, 3], "5 was made by hand and takes nobody's place");
    let items = story.ask("").await["items"].clone();
    assert!(items[0]["job_id"].is_null() && items[1]["job_id"].is_string(), "{items}");
    assert_eq!((&items[2]["verified"], &items[3]["keep"]), (&json!(true), &json!(false)));
    let page = story.ask("?limit=2").await;
    let rest = story.ask(&format!("?limit=2&cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&page["items"][1]["sequence"], &rest["items"][0]["sequence"]), (&json!(4), &json!(3)));
}

#[tokio::test]
async fn points_that_were_given_up_are_not_decided_about_again() {
    let story = Story::new().await;
    for number in 1..=3 {
        story.run(number).await;
    }
    DirStore::open(story.dir.path()).put(&format!("tombstones/{}", manifest(2)), b"x").unwrap();
    assert_eq!(story.kept().await, [3, 1]);
}
