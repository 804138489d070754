//! Every caller on every route, the committed documents against the code, and what holds for all routes alike.

use super::{endpoints, openapi_json};
use crate::test_app::{Login, TestApp};
use axum::http::{Method, header};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use web_api::error::ErrorCode;
use web_api::id::UserId;
use web_api::job::JobState;
use web_api::role::{Right, Role};

const OPENAPI: &str = include_str!("../../openapi.json");
const CONVENTIONS: &str = include_str!("../../API.md");

/// Callers of the table below. Tokens belong to an admin and have one right, but for `Overreaching`: a viewer's with all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Nobody,
    Session(Role),
    Token(Right),
    Overreaching,
    /// One of another repository.
    Agent,
}

const SESSIONS: [Who; 4] =
    [Who::Session(Role::Viewer), Who::Session(Role::Operator), Who::Session(Role::Restorer), Who::Session(Role::Admin)];

fn everybody() -> Vec<Who> {
    let tokens = Right::ALL.iter().map(|right| Who::Token(*right));
    [Who::Nobody, Who::Overreaching, Who::Agent].into_iter().chain(SESSIONS).chain(tokens).collect()
}

fn people() -> Vec<Who> {
    SESSIONS.to_vec()
}

fn readers() -> Vec<Who> {
    [people(), vec![Who::Token(Right::Read), Who::Overreaching]].concat()
}

fn agents() -> Vec<Who> {
    vec![Who::Agent]
}

fn machines_and_restorers() -> Vec<Who> {
    vec![Who::Agent, Who::Session(Role::Restorer), Who::Session(Role::Admin), Who::Token(Right::Restore)]
}

fn tokens() -> Vec<Who> {
    let tokens = Right::ALL.iter().map(|right| Who::Token(*right));
    tokens.chain([Who::Overreaching]).collect()
}

fn operators() -> Vec<Who> {
    vec![Who::Session(Role::Operator), Who::Session(Role::Admin), Who::Token(Right::Operate)]
}

fn restorers() -> Vec<Who> {
    vec![Who::Session(Role::Restorer), Who::Session(Role::Admin), Who::Token(Right::Restore)]
}

fn admins_with(right: Right) -> Vec<Who> {
    vec![Who::Session(Role::Admin), Who::Token(right)]
}

/// Who may use what. Written by hand and not made of the router: a change there has to be made here, too, on purpose.
fn table() -> BTreeMap<&'static str, Vec<Who>> {
    [
        ("GET /health", everybody()),
        ("GET /ready", everybody()),
        ("GET /metrics", readers()),
        ("GET /api/v1/health", readers()),
        ("GET /api/v1/openapi.json", everybody()),
        ("GET /api/v1/authority", everybody()),
        ("POST /api/v1/session", everybody()),
        ("POST /api/v1/log-in-links/redeem", everybody()),
        ("GET /api/v1/session", people()),
        ("DELETE /api/v1/session", people()),
        ("GET /api/v1/sessions", people()),
        ("DELETE /api/v1/sessions/{id}", people()),
        ("POST /api/v1/account/password", people()),
        ("POST /api/v1/account/totp", people()),
        ("POST /api/v1/account/totp/confirm", people()),
        ("POST /api/v1/account/totp/remove", people()),
        ("GET /api/v1/tokens", people()),
        ("POST /api/v1/tokens", people()),
        ("DELETE /api/v1/tokens/{id}", people()),
        ("GET /api/v1/token", tokens()),
        ("POST /api/v1/token/rotate", tokens()),
        ("DELETE /api/v1/token", tokens()),
        ("GET /api/v1/users", admins_with(Right::Users)),
        ("POST /api/v1/users", admins_with(Right::Users)),
        ("GET /api/v1/users/{id}", admins_with(Right::Users)),
        ("PATCH /api/v1/users/{id}", admins_with(Right::Users)),
        ("DELETE /api/v1/users/{id}", admins_with(Right::Users)),
        ("POST /api/v1/users/{id}/log-in-link", admins_with(Right::Users)),
        ("GET /api/v1/users/{id}/sessions", admins_with(Right::Users)),
        ("DELETE /api/v1/users/{id}/sessions", admins_with(Right::Users)),
        ("GET /api/v1/users/{id}/tokens", admins_with(Right::Users)),
        ("DELETE /api/v1/users/{id}/tokens/{token_id}", admins_with(Right::Users)),
        ("GET /api/v1/repositories", readers()),
        ("POST /api/v1/repositories", admins_with(Right::Agents)),
        ("GET /api/v1/repositories/{repository}", readers()),
        ("PATCH /api/v1/repositories/{repository}", admins_with(Right::Agents)),
        ("POST /api/v1/repositories/{repository}/verify", operators()),
        ("POST /api/v1/repositories/{repository}/check", operators()),
        ("POST /api/v1/repositories/{repository}/prune", operators()),
        ("POST /api/v1/repositories/{repository}/copy-database", operators()),
        ("GET /api/v1/recovery-points", readers()),
        ("GET /api/v1/recovery-points/{id}", readers()),
        ("POST /api/v1/recovery-points/{id}/forget", operators()),
        ("POST /api/v1/recovery-points/{id}/undo", operators()),
        ("POST /api/v1/restores", restorers()),
        ("GET /api/v1/recovery-points/{id}/volumes", restorers()),
        ("GET /api/v1/recovery-points/{id}/files", restorers()),
        ("GET /api/v1/recovery-points/{id}/content", restorers()),
        ("GET /api/v1/recovery-points/{id}/archive", restorers()),
        ("GET /api/v1/recovery-points/{id}/search", restorers()),
        ("GET /api/v1/recovery-points/{id}/versions", restorers()),
        ("POST /api/v1/repositories/{repository}/recovery-kit", admins_with(Right::Agents)),
        ("GET /api/v1/agents", readers()),
        ("POST /api/v1/agents", admins_with(Right::Agents)),
        ("GET /api/v1/agents/{id}", readers()),
        ("PATCH /api/v1/agents/{id}", admins_with(Right::Agents)),
        ("POST /api/v1/agents/{id}/revoke", admins_with(Right::Agents)),
        ("POST /api/v1/agents/{id}/reinstate", admins_with(Right::Agents)),
        ("GET /api/v1/agents/{id}/devices", readers()),
        ("GET /api/v1/plans", readers()),
        ("POST /api/v1/plans", operators()),
        ("GET /api/v1/plans/{id}", readers()),
        ("PATCH /api/v1/plans/{id}", operators()),
        ("DELETE /api/v1/plans/{id}", operators()),
        ("POST /api/v1/plans/{id}/run", operators()),
        ("POST /api/v1/plans/{id}/pause", operators()),
        ("POST /api/v1/plans/{id}/resume", operators()),
        ("GET /api/v1/plans/{id}/retention", readers()),
        ("GET /api/v1/job-days", readers()),
        ("GET /api/v1/jobs", readers()),
        ("GET /api/v1/jobs/{id}", readers()),
        ("GET /api/v1/jobs/{id}/log", readers()),
        ("POST /api/v1/jobs/{id}/cancel", operators()),
        ("POST /api/v1/jobs/{id}/retry", operators()),
        ("POST /api/v1/jobs/{id}/pause", operators()),
        ("POST /api/v1/jobs/{id}/resume", operators()),
        ("POST /api/v1/agent/points", agents()),
        ("POST /api/v1/agent/questions/next", agents()),
        ("POST /api/v1/agent/questions/{id}/answer", agents()),
        ("POST /api/v1/agent/questions/{id}/piece", agents()),
        ("POST /api/v1/agent/jobs/{id}/part", agents()),
        ("POST /api/v1/agent/heartbeat", agents()),
        ("POST /api/v1/agent/jobs/lease", agents()),
        ("POST /api/v1/agent/jobs/{id}/progress", agents()),
        ("POST /api/v1/agent/jobs/{id}/finish", agents()),
        ("GET /api/v1/agent", agents()),
        ("POST /api/v1/agent/rotate", agents()),
        ("GET /api/v1/enrolments", admins_with(Right::Agents)),
        ("POST /api/v1/enrolments", admins_with(Right::Agents)),
        ("GET /api/v1/enrolments/{id}", admins_with(Right::Agents)),
        ("DELETE /api/v1/enrolments/{id}", admins_with(Right::Agents)),
        ("POST /api/v1/enrolments/{id}/writer-key", admins_with(Right::Agents)),
        ("POST /api/v1/enrolments/redeem", everybody()),
        ("GET /api/v1/repositories/{repository}/objects", machines_and_restorers()),
        ("GET /api/v1/repositories/{repository}/objects/{key}", machines_and_restorers()),
        ("HEAD /api/v1/repositories/{repository}/objects/{key}", machines_and_restorers()),
        ("PUT /api/v1/repositories/{repository}/objects/{key}", machines_and_restorers()),
        ("DELETE /api/v1/repositories/{repository}/objects/{key}", machines_and_restorers()),
        ("POST /api/v1/repositories/{repository}/packs-with", machines_and_restorers()),
        ("POST /api/v1/repositories/{repository}/persist", machines_and_restorers()),
        ("GET /api/v1/repositories/{repository}/uploads/{key}", machines_and_restorers()),
        ("POST /api/v1/repositories/{repository}/read-objects", machines_and_restorers()),
        ("GET /api/v1/alerts", readers()),
        ("GET /api/v1/alert-channels", admins_with(Right::Settings)),
        ("POST /api/v1/alert-channels", admins_with(Right::Settings)),
        ("GET /api/v1/alert-channels/{id}", admins_with(Right::Settings)),
        ("PATCH /api/v1/alert-channels/{id}", admins_with(Right::Settings)),
        ("DELETE /api/v1/alert-channels/{id}", admins_with(Right::Settings)),
        ("POST /api/v1/alert-channels/{id}/test", admins_with(Right::Settings)),
        ("GET /api/v1/settings", readers()),
        ("PATCH /api/v1/settings", admins_with(Right::Settings)),
        ("GET /api/v1/events", readers()),
        ("GET /api/v1/audit", admins_with(Right::Audit)),
        ("POST /api/v1/audit/verify", admins_with(Right::Audit)),
    ]
    .into()
}

/// `METHOD path` of every route that is served.
fn served() -> BTreeSet<String> {
    let mut served = BTreeSet::new();
    for endpoint in endpoints() {
        let paths: Value = serde_json::to_value(&endpoint.routes.1).unwrap();
        for (path, methods) in paths.as_object().unwrap() {
            let methods = methods.as_object().unwrap();
            served.extend(methods.keys().map(|method| format!("{} {path}", method.to_uppercase())));
        }
    }
    served
}

struct Callers {
    app: TestApp,
    users: BTreeMap<Role, UserId>,
}

impl Callers {
    async fn new() -> Self {
        let app = TestApp::new();
        let mut users = BTreeMap::new();
        for role in Role::ALL {
            users.insert(*role, app.user(role.name(), *role).await);
        }
        Self { app, users }
    }

    /// A fresh login: a route may end it.
    async fn login(&self, who: Who) -> Option<Login> {
        match who {
            Who::Nobody => None,
            Who::Session(role) => Some(self.app.session(self.users[&role]).await),
            Who::Token(right) => Some(self.app.token(self.users[&Role::Admin], &[right]).await),
            Who::Agent => Some(self.app.agent().await),
            Who::Overreaching => Some(self.app.token(self.users[&Role::Viewer], Right::ALL).await),
        }
    }
}

fn split(route: &str) -> (Method, String) {
    let (method, path) = route.split_once(' ').unwrap();
    let id = UserId::generate().to_string();
    (
        method.parse().unwrap(),
        path.replace("{id}", &id).replace("{token_id}", &id).replace("{repository}", "main").replace("{key}", "config"),
    )
}

fn is_head(route: &str) -> bool {
    route.starts_with("HEAD ")
}

#[test]
fn every_route_that_is_served_is_in_the_table_of_rights_and_the_other_way_round() {
    let table: BTreeSet<String> = table().keys().map(|route| (*route).to_owned()).collect();
    assert_eq!(served(), table);
}

#[tokio::test]
async fn every_caller_on_every_route_is_let_in_or_refused_as_the_table_says() {
    let callers = Callers::new().await;
    let mut cells = 0;
    for (route, allowed) in table() {
        for who in everybody() {
            let (method, path) = split(route);
            let mut ask = callers.app.ask(method, &path).json(json!({}));
            if let Some(login) = callers.login(who).await {
                ask = ask.by(&login);
            }
            let answer = ask.send().await;
            let expected_refusal = match who {
                _ if allowed.contains(&who) => "",
                Who::Nobody | Who::Agent => "not_logged_in",
                _ => "forbidden",
            };
            let code = match (is_head(route), answer.status) {
                // Such an answer has no body to say more.
                (true, 401) => "not_logged_in",
                (true, 403) => "forbidden",
                _ => answer.code(),
            };
            let refusal = Some(code).filter(|code| ["not_logged_in", "forbidden", "cross_site"].contains(code));
            assert_eq!(refusal.unwrap_or_default(), expected_refusal, "{route} by {who:?}: {}", answer.body);
            assert!(answer.status < 500, "{route} by {who:?}: {}", answer.body);
            cells += 1;
        }
    }
    assert_eq!(cells, table().len() * (3 + Role::ALL.len() + Right::ALL.len()));
}

#[tokio::test]
async fn nothing_is_changed_by_cookie_without_the_csrf_token_or_from_another_site() {
    let callers = Callers::new().await;
    let reads = |route: &str| route.starts_with("GET ") || route.starts_with("HEAD ");
    // Agents bring no cookies, and a cookie does not open their own routes.
    let of_people = table().into_iter().filter(|(route, allowed)| !reads(route) && *allowed != agents());
    for (route, _) in of_people {
        let (method, path) = split(route);
        let Some(Login::Session { cookie, csrf_token }) = callers.login(Who::Session(Role::Admin)).await else {
            panic!()
        };
        let ask = || callers.app.ask(method.clone(), &path).json(json!({})).header("cookie", &cookie);
        if !route.ends_with("v1/session") && !route.ends_with("redeem") {
            assert_eq!(ask().send().await.code(), "cross_site", "{route}");
            assert_eq!(ask().header("x-csrf-token", "0").send().await.code(), "cross_site", "{route}");
        }
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
            let answer = ask().header("x-csrf-token", &csrf_token).header(name, value).send().await;
            assert_eq!(answer.code(), "cross_site", "{route} with {name}");
        }
        assert!(callers.app.caller(&Login::Session { cookie, csrf_token }).await.is_some(), "{route}");
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_its_id() {
    let app = TestApp::new();
    for path in ["/health", "/api/v1/users", "/nowhere"] {
        let answer = app.get(path).send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(answer.header(header::CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
        assert_eq!(answer.headers["x-request-id"].len(), 32);
        if answer.status >= 400 {
            assert_eq!(answer.body["error"]["request_id"], answer.headers["x-request-id"].to_str().unwrap());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_envelope() {
    let callers = Callers::new().await;
    let app = &callers.app;
    let login = callers.login(Who::Token(Right::Users)).await.unwrap();
    let users = |method: Method, query: &str| app.ask(method, &format!("/api/v1/users{query}")).by(&login);
    let raw = |body: &'static str| {
        let mut ask = users(Method::POST, "").header("content-type", "application/json");
        ask.body_text(body);
        ask
    };
    let large = json!({ "name": "x".repeat(20 << 10), "role": "viewer" });
    for (ask, code) in [
        (app.get("/nowhere"), "not_found"),
        (users(Method::PUT, ""), "method_not_allowed"),
        (users(Method::GET, "/not-an-id"), "not_found"),
        (users(Method::GET, "?limit=0"), "bad_request"),
        (users(Method::GET, "?limit=many"), "bad_request"),
        (users(Method::GET, "?limits=1"), "bad_request"),
        (users(Method::GET, "?cursor=x"), "bad_request"),
        (users(Method::POST, ""), "unsupported_media"),
        (raw("{"), "bad_request"),
        (raw("[]"), "bad_request"),
        (raw(r#"{"name":"a","role":"king"}"#), "bad_request"),
        (raw(r#"{"name":"a","role":"viewer","id":1}"#), "bad_request"),
        (users(Method::POST, "").json(large), "too_large"),
        (users(Method::POST, "").json(json!({"name": "No", "role": "viewer"})), "invalid"),
        (users(Method::POST, "").json(json!({"name": "viewer", "role": "viewer"})), "conflict"),
        (users(Method::POST, "").json(json!({})).header("idempotency-key", ""), "bad_request"),
        (users(Method::PATCH, &format!("/{}", callers.users[&Role::Viewer])).json(json!({})), "if_match_needed"),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.code(), code, "{}", answer.body);
        let known = ErrorCode::ALL.iter().find(|known| known.name() == code).unwrap();
        assert_eq!(answer.status, known.status());
        assert!(answer.body["error"]["what"].as_str().is_some_and(|what| !what.is_empty()));
    }
}

#[test]
fn the_committed_openapi_document_is_that_of_the_code() {
    assert!(
        openapi_json() == OPENAPI,
        "web/openapi.json is not that of the code; renew it with\n  cargo run -p web --bin icecore-server -- openapi > web/openapi.json"
    );
}

#[test]
fn the_openapi_document_says_what_every_operation_needs() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let need = operation["x-icecore-need"].as_str().unwrap_or_default();
            assert!(!need.is_empty(), "{method} {path}");
            assert_eq!(operation["security"].as_array().unwrap().is_empty(), need == "nothing", "{method} {path}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            assert!(
                operations.insert(operation["operationId"].as_str().unwrap()),
                "{method} {path}: a second of that id"
            );
        }
    }
    assert_eq!(operations.len(), table().len());
}

#[test]
fn words_in_the_openapi_document_are_those_that_travel() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(words("Role"), json!(Role::ALL));
    assert_eq!(words("Right"), json!(Right::ALL));
    assert_eq!(words("JobState"), json!(JobState::ALL));
    assert_eq!(words("ErrorCode"), json!(ErrorCode::ALL));
}

#[test]
fn every_error_code_is_in_the_conventions_and_no_other() {
    let row = |code: &ErrorCode| format!("| `{}` | {} | {} |", code.name(), code.status(), code.meaning());
    let rows: Vec<_> = ErrorCode::ALL.iter().map(row).collect();
    let table = format!("| code | status | means |\n|---|---|---|\n{}\n\n", rows.join("\n"));
    assert!(CONVENTIONS.contains(&table), "web/API.md needs this table, followed by an empty line:\n{table}");
}
