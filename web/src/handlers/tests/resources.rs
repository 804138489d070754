//! Users, tokens, settings and the audit log, as an admin works with them.

use crate::test_app::{Answer, Ask, Login, TestApp};
use axum::http::{Method, header};
use serde_json::{Value, json};
use std::time::Duration;
use web_api::role::{Right, Role};

async fn admin(app: &TestApp) -> Login {
    let root = app.user("root", Role::Admin).await;
    app.session(root).await
}

fn create_user<'a>(app: &'a TestApp, login: &Login, name: &str) -> Ask<'a> {
    app.post("/api/v1/users", json!({"name": name, "role": "operator"})).by(login)
}

fn names(page: &Answer) -> Vec<String> {
    page.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_account_is_made_with_a_link_and_listed_in_pages() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let made = create_user(&app, &login, "ada").send().await;
    assert_eq!((made.status, made.header(header::ETAG)), (201, "\"1\""));
    assert!(made.body["log_in_link"]["secret"].as_str().unwrap().starts_with("icl_"));
    let location = made.header(header::LOCATION);
    assert_eq!(app.get(location).by(&login).send().await.body["name"], "ada");
    create_user(&app, &login, "bob").send().await;
    let first = app.get("/api/v1/users?limit=2").by(&login).send().await;
    assert_eq!(names(&first), ["root", "ada"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("/api/v1/users?limit=2&cursor={cursor}")).by(&login).send().await;
    assert_eq!((names(&second), &second.body["next_cursor"]), (vec!["bob".to_owned()], &Value::Null));
}

#[tokio::test]
async fn the_same_request_with_the_same_key_makes_one_account() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let create = |name: &str| create_user(&app, &login, name).header("idempotency-key", "k1");
    let (first, again) = (create("ada").send().await, create("ada").send().await);
    assert_eq!((again.status, &again.body["user"]), (201, &first.body["user"]));
    assert!(first.body["log_in_link"].is_object() && again.body["log_in_link"].is_null(), "a secret is shown once");
    assert_eq!(create("bob").send().await.code(), "key_reused");
    assert_eq!(create_user(&app, &login, "ada").header("idempotency-key", "k2").send().await.code(), "conflict");
    let other = app.user("other", Role::Admin).await;
    let other = app.session(other).await;
    let theirs = create_user(&app, &other, "carl").header("idempotency-key", "k1").send().await;
    assert_eq!(theirs.status, 201, "keys are each caller's own");
    let token = json!({"name": "x", "rights": ["read"], "expires_at": "2026-12-31T00:00:00Z"});
    let token = app.post("/api/v1/tokens", token).by(&login).header("idempotency-key", "k1").send().await;
    assert_eq!(token.code(), "key_reused", "and of one kind of request");
}

#[tokio::test]
async fn an_edit_of_what_somebody_else_changed_is_refused() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let ada = app.user("ada", Role::Viewer).await;
    let edit = |method: Method, etag: &str| {
        let path = format!("/api/v1/users/{ada}");
        app.ask(method, &path).by(&login).header("if-match", etag).json(json!({"role": "restorer"}))
    };
    for wrong in ["\"2\"", "1", "*", "W/\"1\""] {
        assert_eq!(edit(Method::PATCH, wrong).send().await.code(), "changed", "{wrong}");
    }
    let changed = edit(Method::PATCH, "\"1\"").send().await;
    assert_eq!((changed.header(header::ETAG), &changed.body["role"]), ("\"2\"", &json!("restorer")));
    assert_eq!(edit(Method::PATCH, "\"1\"").send().await.code(), "changed");
    assert_eq!(edit(Method::DELETE, "\"1\"").send().await.code(), "changed");
    assert_eq!(edit(Method::DELETE, "\"2\"").send().await.status, 204);
    assert_eq!(edit(Method::DELETE, "\"2\"").send().await.code(), "not_found");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let app = TestApp::new();
    let root = app.user("root", Role::Admin).await;
    let login = app.session(root).await;
    let edit = |method: Method, body: Value| {
        let path = format!("/api/v1/users/{root}");
        app.ask(method, &path).by(&login).header("if-match", "\"1\"").json(body)
    };
    for body in [json!({"role": "viewer"}), json!({"disabled": true})] {
        assert_eq!(edit(Method::PATCH, body).send().await.code(), "conflict");
    }
    assert_eq!(edit(Method::DELETE, json!({})).send().await.code(), "conflict");
    assert!(app.caller(&login).await.is_some(), "nothing of it was done");
    app.user("second", Role::Admin).await;
    assert_eq!(edit(Method::DELETE, json!({})).send().await.status, 204);
    assert!(app.caller(&login).await.is_none(), "sessions go with the account");
}

#[tokio::test]
async fn a_token_is_scoped_expires_and_is_revoked() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Operator).await;
    let login = app.session(ada).await;
    let create = |rights: Value, expires_at: &str| {
        app.post("/api/v1/tokens", json!({"name": "script", "rights": rights, "expires_at": expires_at})).by(&login)
    };
    for (rights, expires_at) in [
        (json!([]), "2026-12-01T00:00:00Z"),
        (json!(["users"]), "2026-12-01T00:00:00Z"),
        (json!(["read"]), "2020-01-01T00:00:00Z"),
        (json!(["read"]), "2036-01-01T00:00:00Z"),
    ] {
        assert_eq!(create(rights, expires_at).send().await.code(), "invalid", "{expires_at}");
    }
    let expires_at = app.app.now().after(Duration::from_secs(7200)).to_string();
    let made = create(json!(["operate", "read", "read"]), &expires_at).send().await;
    assert_eq!(made.body["token"]["rights"], json!(["read", "operate"]));
    let secret = made.body["secret"].as_str().unwrap();
    assert!(secret.starts_with(made.body["token"]["prefix"].as_str().unwrap()));
    let token = Login::Token(secret.to_owned());
    assert_eq!(app.get("/api/v1/settings").by(&token).send().await.status, 200);
    let listed = app.get("/api/v1/tokens").by(&login).send().await;
    assert!(listed.body["items"][0]["last_used_at"].is_string() && !listed.body.to_string().contains(secret));
    app.pass(Duration::from_secs(7200));
    assert_eq!(app.get("/api/v1/settings").by(&token).send().await.code(), "not_logged_in");
    let again = create(json!(["read"]), &app.app.now().after(Duration::from_secs(60)).to_string()).send().await;
    let token = Login::Token(again.body["secret"].as_str().unwrap().to_owned());
    let path = format!("/api/v1/tokens/{}", again.body["token"]["id"].as_str().unwrap());
    assert_eq!(app.ask(Method::DELETE, &path).by(&login).send().await.status, 204);
    assert!(app.caller(&token).await.is_none());
}

#[tokio::test]
async fn settings_are_changed_within_bounds_and_count_at_once() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let read = app.get("/api/v1/settings").by(&login).send().await;
    let change = |body: Value| {
        let etag = read.header(header::ETAG);
        app.ask(Method::PATCH, "/api/v1/settings").by(&login).header("if-match", etag).json(body)
    };
    for body in
        [json!({"session_idle_s": 299}), json!({"session_lifetime_s": 7_776_001}), json!({"appliance_name": ""})]
    {
        assert_eq!(change(body.clone()).send().await.code(), "invalid", "{body}");
    }
    let changed = change(json!({"session_idle_s": 300, "appliance_name": "Attic"})).send().await;
    assert_eq!((changed.status, &changed.body["appliance_name"]), (200, &json!("Attic")));
    assert_eq!(change(json!({"session_idle_s": 600})).send().await.code(), "changed");
    app.pass(Duration::from_secs(300));
    assert!(app.caller(&login).await.is_none(), "the shorter idle time counts for sessions that exist");
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_and_from_where() {
    let app = TestApp::new();
    let login = admin(&app).await;
    create_user(&app, &login, "ada").send().await;
    app.post("/api/v1/session", json!({"name": "ada", "password": "wrong password"})).send().await;
    app.post("/api/v1/session", json!({"name": "My Password 1", "password": "x"})).send().await;
    let page = app.get("/api/v1/audit").by(&login).send().await;
    let entries: Vec<_> = page.body["items"].as_array().unwrap().iter().rev().collect();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| ["actor", "address", "action", "outcome"].map(|field| entry[field].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["root", "192.0.2.1", "user.create", "done"],
            ["nobody", "192.0.2.1", "session.begin", "refused"],
            ["nobody", "192.0.2.1", "session.begin", "refused"],
        ]
    );
    assert_eq!(entries[2]["subject"], "?", "what was typed as a name may be a password");
    let verdict = app.post("/api/v1/audit/verify", json!({})).by(&login).send().await;
    assert_eq!((&verdict.body["intact"], &verdict.body["entries"]), (&json!(true), &json!(3)));
    let noted = json!({"noted": {"number": 3, "hash": "0".repeat(64)}});
    let verdict = app.post("/api/v1/audit/verify", noted).by(&login).send().await;
    assert!(verdict.body["damage"].as_str().unwrap().contains("another than the one that was noted"));
}

#[tokio::test]
async fn a_recovery_kit_is_confirmed_by_who_has_it_before_them() {
    let app = TestApp::new();
    let login = admin(&app).await;
    app.agent().await;
    let repository = || async { app.get("/api/v1/repositories").by(&login).send().await.body["items"][0].clone() };
    let before = repository().await;
    assert_eq!((&before["kit_confirmed_at"], &before["kit_confirmed_by"]), (&Value::Null, &Value::Null));
    let id = before["format_id"].as_str().unwrap();
    let path = format!("/api/v1/repositories/{}/recovery-kit", before["name"].as_str().unwrap());
    let confirm = |digits: String| app.post(&path, json!({"digits": digits})).by(&login).send();
    for wrong in ["", "000000", &id[..6], &id[id.len() - 5..], &format!("0{}", &id[id.len() - 6..])] {
        assert_eq!(confirm(wrong.to_owned()).await.code(), "invalid", "{wrong}");
    }
    let (left, right) = id[id.len() - 6..].split_at(3);
    let confirmed = confirm(format!("{} {}-", left.to_uppercase(), right)).await;
    assert_eq!((confirmed.status, &confirmed.body["kit_confirmed_by"]), (200, &json!("root")));
    assert_eq!(repository().await, confirmed.body);
    let audit = app.get("/api/v1/audit").by(&login).send().await;
    assert_eq!(audit.body["items"][0]["action"], "repository.kit_confirm");
}

#[tokio::test]
async fn metrics_and_health_are_for_readers() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    let token = app.token(ada, &[Right::Read]).await;
    let health = app.get("/api/v1/health").by(&token).send().await;
    assert_eq!(health.body["database_version"], crate::db::open::VERSION);
    let metrics = app.get("/metrics").by(&token).stream().await;
    assert!(metrics.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(app.get("/ready").send().await.status, 200);
    app.stop.send_replace(true);
    assert_eq!(app.get("/ready").send().await.code(), "unavailable");
    assert_eq!(app.get("/health").send().await.status, 200);
}
