//! What people change about their own account.

use crate::auth::totp;
use crate::test_app::{Answer, Login, TestApp};
use serde_json::json;
use std::time::Duration;
use totp_rs::{Algorithm, Builder, Secret};
use web_api::id::UserId;
use web_api::role::Role;

const PASSWORD: &str = "correct horse battery";

async fn ada(app: &TestApp) -> (UserId, Login) {
    let ada = app.user("ada", Role::Viewer).await;
    app.set_password(ada, PASSWORD).await;
    (ada, app.session(ada).await)
}

async fn log_in(app: &TestApp, code: Option<&str>) -> Answer {
    app.post("/api/v1/session", json!({"name": "ada", "password": PASSWORD, "code": code})).send().await
}

/// The code that an authenticator shows now.
fn code(app: &TestApp, secret: &str) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let authenticator = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30);
    authenticator.with_secret(secret).build().unwrap().generate(app.app.now().unix_s()).to_string()
}

/// Sets an authenticator; its secret and the recovery codes.
async fn with_totp(app: &TestApp, login: &Login) -> (String, Vec<String>) {
    let offer = app.post("/api/v1/account/totp", json!({"password": PASSWORD})).by(login).send().await;
    let secret = offer.body["secret"].as_str().unwrap().to_owned();
    let confirm = |code: String| app.post("/api/v1/account/totp/confirm", json!({ "code": code })).by(login);
    let wrong = code(app, &secret).chars().rev().map(|c| if c == '9' { '0' } else { '9' }).collect();
    assert_eq!(confirm(wrong).send().await.code(), "wrong_credentials");
    let confirmed = confirm(code(app, &secret)).send().await;
    let codes = confirmed.body["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned());
    (secret, codes.collect())
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_the_other_sessions() {
    let app = TestApp::new();
    let (ada, here) = ada(&app).await;
    let there = app.session(ada).await;
    let change = |current: &str, new: &str| {
        app.post("/api/v1/account/password", json!({"current_password": current, "new_password": new})).by(&here)
    };
    assert_eq!(change("wrong", "another long password").send().await.code(), "wrong_credentials");
    assert_eq!(change(PASSWORD, "short").send().await.code(), "invalid");
    assert!(app.caller(&there).await.is_some());
    assert_eq!(change(PASSWORD, "another long password").send().await.status, 204);
    assert!(app.caller(&there).await.is_none() && app.caller(&here).await.is_some());
    assert_eq!(log_in(&app, None).await.code(), "wrong_credentials");
}

#[tokio::test]
async fn a_stolen_session_cannot_guess_the_password() {
    let app = TestApp::new();
    let (_, here) = ada(&app).await;
    let guess = || app.post("/api/v1/account/totp/remove", json!({"password": "wrong"})).by(&here);
    for _ in 0..6 {
        assert_eq!(guess().send().await.code(), "wrong_credentials");
    }
    assert_eq!(guess().send().await.code(), "too_many_requests");
}

#[tokio::test]
async fn a_code_is_asked_for_and_counts_once() {
    let app = TestApp::new();
    let (_, here) = ada(&app).await;
    let (secret, _) = with_totp(&app, &here).await;
    assert_eq!(log_in(&app, None).await.code(), "code_needed");
    assert_eq!(
        log_in(&app, Some(&code(&app, &secret))).await.code(),
        "wrong_credentials",
        "it confirmed the authenticator"
    );
    app.pass(Duration::from_secs(30));
    let fresh = code(&app, &secret);
    assert_eq!(log_in(&app, Some(&fresh)).await.status, 201);
    assert_eq!(log_in(&app, Some(&fresh)).await.code(), "wrong_credentials", "somebody looked over the shoulder");
    app.pass(Duration::from_secs(30));
    assert_eq!(log_in(&app, Some(&fresh)).await.code(), "wrong_credentials", "nor in the next step");
    assert_eq!(log_in(&app, Some(&code(&app, &secret))).await.status, 201);
}

#[tokio::test]
async fn a_wrong_password_never_learns_that_there_is_an_authenticator() {
    let app = TestApp::new();
    let (_, here) = ada(&app).await;
    with_totp(&app, &here).await;
    let answer = app.post("/api/v1/session", json!({"name": "ada", "password": "wrong password"})).send().await;
    assert_eq!(answer.code(), "wrong_credentials");
}

#[tokio::test]
async fn each_recovery_code_works_once() {
    let app = TestApp::new();
    let (_, here) = ada(&app).await;
    let (_, codes) = with_totp(&app, &here).await;
    assert_eq!(codes.len(), totp::RECOVERY_CODES);
    assert_eq!(log_in(&app, Some(&codes[3])).await.status, 201);
    assert_eq!(log_in(&app, Some(&codes[3])).await.code(), "wrong_credentials");
    assert_eq!(log_in(&app, Some(&codes[4].to_uppercase())).await.status, 201);
}

#[tokio::test]
async fn an_authenticator_is_removed_by_password_and_its_codes_with_it() {
    let app = TestApp::new();
    let (_, here) = ada(&app).await;
    let (_, codes) = with_totp(&app, &here).await;
    let remove = |password: &str| app.post("/api/v1/account/totp/remove", json!({ "password": password })).by(&here);
    assert_eq!(remove("wrong").send().await.code(), "wrong_credentials");
    assert_eq!(remove(PASSWORD).send().await.status, 204);
    assert_eq!(log_in(&app, None).await.status, 201);
    app.pass(Duration::from_secs(30));
    with_totp(&app, &here).await;
    assert_eq!(log_in(&app, Some(&codes[0])).await.code(), "wrong_credentials", "codes of the one before");
}
