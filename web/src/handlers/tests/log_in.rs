//! Getting in: links, passwords, sessions, and the brake.

use crate::auth;
use crate::test_app::{Answer, TestApp};
use serde_json::{Value, json};
use std::time::Duration;
use web_api::id::UserId;
use web_api::role::Role;

const PASSWORD: &str = "correct horse battery";

async fn log_in(app: &TestApp, body: Value) -> Answer {
    app.post("/api/v1/session", body).send().await
}

async fn link(app: &TestApp, user: Option<UserId>) -> String {
    let now = app.app.now();
    let made = app.app.database.write(move |write| auth::log_in_link::make(write, user, "https://ice.example/", now));
    let link = made.await.unwrap();
    let path = if user.is_none() { "first/log-in" } else { "log-in" };
    assert_eq!(link.url, format!("https://ice.example/{path}#{}", link.secret));
    link.secret
}

async fn redeem(app: &TestApp, secret: &str, name: Option<&str>) -> Answer {
    let body = json!({ "secret": secret, "name": name, "password": PASSWORD });
    app.post("/api/v1/log-in-links/redeem", body).send().await
}

#[tokio::test]
async fn the_first_link_makes_an_admin_once() {
    let app = TestApp::new();
    let first = link(&app, None).await;
    let second = link(&app, None).await;
    assert_eq!(redeem(&app, &first, Some("ada")).await.code(), "wrong_credentials", "a new link ends the one before");
    let weak = json!({ "secret": second, "name": "ada", "password": "short" });
    assert_eq!(app.post("/api/v1/log-in-links/redeem", weak).send().await.code(), "invalid");
    assert_eq!(redeem(&app, &second, Some("No Name")).await.code(), "invalid");
    let entered = redeem(&app, &second, Some("ada")).await;
    assert_eq!(
        (entered.status, &entered.body["role"]),
        (201, &json!("admin")),
        "a refused attempt does not use a link up"
    );
    let seen = app.get("/api/v1/session").by(&entered.login()).send().await;
    assert_eq!((seen.body["name"].as_str(), &seen.body["csrf_token"]), (Some("ada"), &entered.body["csrf_token"]));
    assert_eq!(redeem(&app, &second, Some("eve")).await.code(), "wrong_credentials");
    let late = link(&app, None).await;
    assert_eq!(redeem(&app, &late, Some("eve")).await.code(), "wrong_credentials", "there is a first account already");
}

#[tokio::test]
async fn a_link_expires_and_sets_the_password_of_its_account_only() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    let old_session = app.session(ada).await;
    let late = link(&app, Some(ada)).await;
    app.pass(Duration::from_secs(86_400));
    assert_eq!(redeem(&app, &late, None).await.code(), "wrong_credentials");
    let session = app.session(ada).await;
    let secret = link(&app, Some(ada)).await;
    let entered = redeem(&app, &secret, None).await;
    assert_eq!((entered.status, &entered.body["name"], &entered.body["role"]), (201, &json!("ada"), &json!("viewer")));
    for login in [old_session, session] {
        assert!(app.caller(&login).await.is_none(), "a new password ends all sessions before");
    }
    assert_eq!(log_in(&app, json!({"name": "ada", "password": PASSWORD})).await.status, 201);
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_told_alike() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    app.user("bob", Role::Viewer).await;
    app.set_password(ada, PASSWORD).await;
    let mut answers = Vec::new();
    for name in ["ada", "bob", "nobody", &"x".repeat(65)] {
        let answer = log_in(&app, json!({"name": name, "password": "wrong password 1"})).await;
        assert_eq!(answer.status, 401);
        answers.push((answer.body["error"]["code"].clone(), answer.body["error"]["what"].clone()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    let entered = log_in(&app, json!({"name": "ada", "password": PASSWORD})).await;
    assert_eq!(entered.status, 201);
    assert!(app.caller(&entered.login()).await.is_some());
}

#[tokio::test]
async fn guessing_is_braked_and_the_brake_lets_go() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    app.set_password(ada, PASSWORD).await;
    for _ in 0..6 {
        assert_eq!(log_in(&app, json!({"name": "ada", "password": "wrong"})).await.code(), "wrong_credentials");
    }
    let braked = log_in(&app, json!({"name": "ada", "password": PASSWORD})).await;
    assert_eq!((braked.code(), braked.header(axum::http::header::RETRY_AFTER)), ("too_many_requests", "1"));
    app.pass(Duration::from_secs(1));
    assert_eq!(log_in(&app, json!({"name": "ada", "password": PASSWORD})).await.status, 201);
}

#[tokio::test]
async fn a_disabled_account_gets_in_by_no_way() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    app.set_password(ada, PASSWORD).await;
    let session = app.session(ada).await;
    let token = app.token(ada, &[web_api::role::Right::Read]).await;
    let secret = link(&app, Some(ada)).await;
    let disable = move |write: &mut crate::db::Write<'_>| crate::db::user::change(write, ada, Role::Viewer, true);
    app.app.database.write(disable).await.unwrap();
    assert!(app.caller(&session).await.is_none() && app.caller(&token).await.is_none());
    assert_eq!(log_in(&app, json!({"name": "ada", "password": PASSWORD})).await.code(), "wrong_credentials");
    assert_eq!(redeem(&app, &secret, None).await.code(), "wrong_credentials");
}

#[tokio::test]
async fn sessions_end_when_idle_and_at_the_end_of_their_life() {
    let app = TestApp::new();
    let ada = app.user("ada", Role::Viewer).await;
    let (idle, used) = (app.session(ada).await, app.session(ada).await);
    let hour = Duration::from_secs(3600);
    for _ in 0..12 {
        app.pass(hour);
        assert!(app.caller(&used).await.is_some());
    }
    assert!(app.caller(&idle).await.is_none(), "idle for 12 hours");
    for _ in 0..(30 * 24 - 13) {
        app.pass(hour);
        assert!(app.caller(&used).await.is_some());
    }
    app.pass(hour);
    assert!(app.caller(&used).await.is_none(), "30 days old");
}

#[tokio::test]
async fn people_see_and_end_their_sessions_and_nobody_elses() {
    let app = TestApp::new();
    let (ada, bob) = (app.user("ada", Role::Admin).await, app.user("bob", Role::Viewer).await);
    let (here, there, other) = (app.session(ada).await, app.session(ada).await, app.session(bob).await);
    let listed = app.get("/api/v1/sessions").by(&here).send().await;
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|item| item["current"].as_bool().unwrap()).collect::<Vec<_>>(), [true, false]);
    let end = |id: &Value| {
        app.ask(axum::http::Method::DELETE, &format!("/api/v1/sessions/{}", id.as_str().unwrap())).by(&here)
    };
    assert_eq!(end(&items[1]["id"]).send().await.status, 204);
    assert!(app.caller(&there).await.is_none());
    let bobs = app.get(&format!("/api/v1/users/{bob}/sessions")).by(&here).send().await;
    assert_eq!(end(&bobs.body["items"][0]["id"]).send().await.code(), "not_found");
    assert!(app.caller(&other).await.is_some());
    let left = app.ask(axum::http::Method::DELETE, "/api/v1/session").by(&here).send().await;
    assert!(left.status == 204 && left.header(axum::http::header::SET_COOKIE).contains("Max-Age=0"));
    assert!(app.caller(&here).await.is_none());
}
