//! Alerts from their cause to whoever is told: against a mail server and a webhook on the loopback.

use crate::alerts;
use crate::test_app::{Login, TestApp};
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::routing::post;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use web_api::alert::AlertKind;
use web_api::role::Role;

const CHANNELS: &str = "/api/v1/alert-channels";

/// What a webhook got, and what it answers.
#[derive(Clone, Default)]
struct Hook {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Hook {
    async fn listening() -> (Self, String) {
        let hook = Self::default();
        let state = hook.clone();
        let answer = move |headers: HeaderMap, body: Bytes| async move {
            if *state.refuses.lock().unwrap() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            state.got.lock().unwrap().push((headers, body));
            StatusCode::NO_CONTENT
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?key=1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/in", post(answer))).await });
        (hook, url)
    }

    fn messages(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

/// A mail server that takes one mail after another; gives what was said to it.
async fn mail_server() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, said) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(String::new())));
    let heard = Arc::clone(&said);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 here\r\n").await.unwrap();
            let mut in_data = false;
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push_str(&format!("{line}\n"));
                let answer: &[u8] = match line.as_str() {
                    "." => b"250 taken\r\n",
                    _ if in_data => continue,
                    "DATA" => b"354 go on\r\n",
                    _ if line.starts_with("EHLO") => b"250-here\r\n250 AUTH PLAIN\r\n",
                    _ if line.starts_with("AUTH") => b"235 you are\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 yes\r\n",
                };
                in_data = line == "DATA";
                write.write_all(answer).await.unwrap();
            }
        }
    });
    (address, said)
}

async fn admin(app: &TestApp) -> Login {
    let root = app.user("root", Role::Admin).await;
    app.session(root).await
}

async fn raise(app: &TestApp, kind: AlertKind, subject: &'static str) -> bool {
    let now = app.app.now();
    let what = ("the disk cannot be read", Some("look at the disk"));
    app.app.database.write(move |write| alerts::raise(write, (kind, subject), what, now)).await.unwrap()
}

async fn clear(app: &TestApp, kind: AlertKind, subject: &'static str) -> bool {
    let now = app.app.now();
    app.app.database.write(move |write| alerts::clear(write, kind, subject, now)).await.unwrap()
}

async fn webhook(app: &TestApp, login: &Login, url: &str, kinds: Value) -> (String, String) {
    let body = json!({"name": format!("hook {kinds}"), "kinds": kinds, "target": {"kind": "webhook", "url": url}});
    let made = app.post(CHANNELS, body).by(login).send().await;
    assert_eq!(made.status, 201, "{}", made.body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made.body["channel"]["id"]), text(&made.body["secret"]))
}

fn subjects(message: &Value) -> Vec<(&str, bool)> {
    let alerts = message["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| (alert["subject"].as_str().unwrap(), alert["cleared_at"].is_string())).collect()
}

#[tokio::test]
async fn a_cause_is_one_alert_and_is_told_once_signed_and_once_more_when_it_is_over() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let (hook, url) = Hook::listening().await;
    let (_, secret) = webhook(&app, &login, &url, json!([])).await;
    assert!(raise(&app, AlertKind::JobFailed, "web").await);
    assert!(!raise(&app, AlertKind::JobFailed, "web").await, "it lasts already");
    alerts::tell_all(&app.app).await.unwrap();
    alerts::tell_all(&app.app).await.unwrap();
    let messages = hook.messages();
    assert_eq!((messages.len(), subjects(&messages[0])), (1, vec![("web", false)]));
    let (headers, body) = hook.got.lock().unwrap()[0].clone();
    let signature = headers["icecore-signature"].to_str().unwrap().to_owned();
    let (time, digits) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [time.as_bytes(), b".", &body].concat();
    let tag: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    aws_lc_rs::hmac::verify(&key, &signed, &tag).unwrap();
    assert!(clear(&app, AlertKind::JobFailed, "web").await && !clear(&app, AlertKind::JobFailed, "web").await);
    app.pass(Duration::from_secs(300));
    alerts::tell_all(&app.app).await.unwrap();
    assert_eq!(subjects(&hook.messages()[1]), [("web", true)]);
    assert!(raise(&app, AlertKind::JobFailed, "web").await, "the next time it is another alert");
}

#[tokio::test]
async fn a_storm_is_one_message_in_five_minutes_with_everything_in_it() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let (hook, url) = Hook::listening().await;
    webhook(&app, &login, &url, json!(["job_failed"])).await;
    raise(&app, AlertKind::JobFailed, "first").await;
    alerts::tell_all(&app.app).await.unwrap();
    raise(&app, AlertKind::Server, "not wanted here").await;
    for subject in ["second", "third", "fourth"] {
        app.pass(Duration::from_secs(60));
        raise(&app, AlertKind::JobFailed, subject).await;
        alerts::tell_all(&app.app).await.unwrap();
    }
    assert_eq!(hook.messages().len(), 1);
    clear(&app, AlertKind::JobFailed, "third").await;
    app.pass(Duration::from_secs(120));
    alerts::tell_all(&app.app).await.unwrap();
    let mut second =
        subjects(&hook.messages()[1]).into_iter().map(|(name, over)| (name.to_owned(), over)).collect::<Vec<_>>();
    second.sort();
    let expected = [("fourth", false), ("second", false), ("third", true)].map(|(name, over)| (name.to_owned(), over));
    assert_eq!(second, expected);
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_and_said_why() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let (hook, url) = Hook::listening().await;
    let (id, _) = webhook(&app, &login, &url, json!([])).await;
    *hook.refuses.lock().unwrap() = true;
    raise(&app, AlertKind::JobFailed, "web").await;
    alerts::tell_all(&app.app).await.unwrap();
    let path = format!("{CHANNELS}/{id}");
    let channel = app.get(&path).by(&login).send().await;
    assert!(channel.body["last_error"].as_str().unwrap().contains("503"), "{}", channel.body);
    *hook.refuses.lock().unwrap() = false;
    alerts::tell_all(&app.app).await.unwrap();
    assert!(hook.messages().is_empty(), "not at once");
    app.pass(Duration::from_secs(60));
    alerts::tell_all(&app.app).await.unwrap();
    assert_eq!(subjects(&hook.messages()[0]), [("web", false)]);
    let channel = app.get(&path).by(&login).send().await;
    assert!(channel.body["last_error"].is_null() && channel.body["last_sent_at"].is_string(), "{}", channel.body);
}

#[tokio::test]
async fn mail_goes_out_with_log_in_and_a_trial_says_what_is_wrong() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let (address, said) = mail_server().await;
    let target = json!({"kind": "mail", "host": "127.0.0.1", "port": address.port(), "encryption": "off",
        "user": "ice", "from": "Icecore <ice@example.org>", "to": ["ops@example.org", "eve@example.org"]});
    let body = json!({"name": "mail", "target": target, "mail_password": "pass word"});
    let made = app.post(CHANNELS, body).by(&login).send().await;
    assert!(made.status == 201 && made.body["secret"].is_null(), "{}", made.body);
    let path = format!("{CHANNELS}/{}", made.body["channel"]["id"].as_str().unwrap());
    let trial = || app.post(&format!("{path}/test"), json!({})).by(&login);
    assert_eq!(trial().send().await.status, 204);
    assert_eq!(trial().send().await.code(), "too_many_requests");
    {
        let said = said.lock().unwrap();
        for part in [
            "AUTH PLAIN",
            "RCPT TO:<ops@example.org>",
            "RCPT TO:<eve@example.org>",
            "Subject: [Icecore] Test of alerts",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    app.pass(Duration::from_secs(10));
    let target = |port: u16| {
        json!({"kind": "mail", "host": "127.0.0.1", "port": port, "encryption": "starttls",
        "user": "ice", "from": "ice@example.org", "to": ["ops@example.org"]})
    };
    let edit = |body: Value| app.ask(Method::PATCH, &path).by(&login).header("if-match", "\"1\"").json(body);
    assert_eq!(
        edit(json!({"target": target(1)})).send().await.code(),
        "invalid",
        "another server needs the password again"
    );
    let changed = edit(json!({"target": target(address.port()), "mail_password": "pass word"})).send().await;
    assert_eq!((changed.status, changed.header(header::ETAG)), (200, "\"2\""), "{}", changed.body);
    let before = said.lock().unwrap().len();
    let refused = trial().send().await;
    assert_eq!(refused.code(), "not_delivered", "{}", refused.body);
    assert!(!said.lock().unwrap()[before..].contains("AUTH"), "no password without encryption where it is asked for");
}

#[tokio::test]
async fn what_cannot_be_an_address_is_refused() {
    let app = TestApp::new();
    let login = admin(&app).await;
    let mail = |change: (&str, Value)| {
        let mut target = json!({"kind": "mail", "host": "mail.example", "port": 465, "encryption": "tls",
            "from": "ice@example.org", "to": ["ops@example.org"]});
        target[change.0] = change.1;
        target
    };
    for target in [
        mail(("encryption", json!("off"))),
        mail(("from", json!("nobody"))),
        mail(("to", json!([]))),
        mail(("to", json!(["a@example.org\r\nBcc: b@example.org"]))),
        mail(("host", json!("mail.example\r\n"))),
        mail(("user", json!("ice"))),
        json!({"kind": "webhook", "url": "ftp://ops.example"}),
        json!({"kind": "webhook", "url": "https://user:secret@ops.example"}),
        json!({"kind": "webhook", "url": "https://"}),
    ] {
        let body = json!({"name": "x", "target": target});
        assert_eq!(app.post(CHANNELS, body.clone()).by(&login).send().await.code(), "invalid", "{body}");
    }
    let (_, url) = Hook::listening().await;
    webhook(&app, &login, &url, json!([])).await;
    let body = json!({"name": "hook []", "target": {"kind": "webhook", "url": url}});
    assert_eq!(app.post(CHANNELS, body).by(&login).send().await.code(), "conflict");
    let listed = app.get(CHANNELS).by(&login).send().await;
    assert!(!listed.body.to_string().contains("icw_"), "secrets are shown once");
    let audit = app.get("/api/v1/audit").by(&login).send().await;
    assert!(!audit.body.to_string().contains("key=1"), "a webhook's path may be a secret: {}", audit.body);
}

#[tokio::test]
async fn alerts_are_listed_newest_first_and_those_that_last_alone() {
    let app = TestApp::new();
    let login = admin(&app).await;
    for subject in ["a", "b", "c"] {
        raise(&app, AlertKind::JobFailed, subject).await;
    }
    clear(&app, AlertKind::JobFailed, "b").await;
    let first = app.get("/api/v1/alerts?limit=2").by(&login).send().await;
    let names = |body: &Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|alert| alert["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first.body), ["c", "b"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("/api/v1/alerts?limit=2&cursor={cursor}")).by(&login).send().await;
    assert_eq!(names(&second.body), ["a"]);
    let lasting = app.get("/api/v1/alerts?lasting=true").by(&login).send().await;
    assert_eq!(names(&lasting.body), ["c", "a"]);
}
