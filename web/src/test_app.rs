//! For tests: the whole service in one process, on a database of its own, with a clock that is moved by hand.

use crate::auth::caller::Caller;
use crate::auth::password::{Cost, Passwords};
use crate::auth::secret::{Kind, Secret};
use crate::clock::Clock;
use crate::config::Config;
use crate::copies::Copies;
use crate::db::session::StoredSession;
use crate::db::{self, Database, user};
use crate::repositories::Repositories;
use crate::router;
use crate::state::{Announcer, App, MAX_ARCHIVES, MAX_DOWNLOADS, MAX_IN_MEMORY, MAX_UPLOADS, Parts};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt as _;
use repo_format::entropy::SystemEntropy;
use repo_format::key_slot::{SlotKind, Unlock};
use repo_format::repository::{self, InitOptions};
use repo_format::store::dir::DirStore;
use serde_json::Value;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;
use web_api::agent::Agent;
use web_api::id::{AgentId, RepositoryId, SessionId, TokenId, UserId};
use web_api::keeping::Care;
use web_api::repository::Repository;
use web_api::role::{Right, Role};
use web_api::token::Token;
use web_api::unit::Time;

/// The service and what a test moves.
pub struct TestApp {
    pub app: App,
    pub stop: watch::Sender<bool>,
    router: Router,
    now_ms: Arc<AtomicI64>,
    _dir: TempDir,
}

/// What a request proves its sender by.
#[derive(Clone)]
pub enum Login {
    Session { cookie: String, csrf_token: String },
    Token(String),
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `Null` where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Code of an error, or nothing.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The login that it began.
    pub fn login(&self) -> Login {
        let cookie = self.header(header::SET_COOKIE).split(';').next().unwrap_or_default().to_owned();
        Login::Session { cookie, csrf_token: self.body["csrf_token"].as_str().unwrap_or_default().to_owned() }
    }
}

/// An empty repository, opened by its owner.
pub fn new_repository(directory: &Path, now: jiff::Timestamp) -> repository::Repository {
    let options = InitOptions {
        chunk_bytes: 65536,
        slot_kind: SlotKind::KeyFile,
        unlock: Unlock::KeyFile(&[7; 32]),
        label: "",
        now,
    };
    repository::init(Arc::new(DirStore::open(directory)), &options, Arc::new(SystemEntropy)).unwrap()
}

impl TestApp {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicI64::new(1_790_000_000_000));
        let clock_ms = Arc::clone(&now_ms);
        let clock = Clock::from_fn(move || Time::from_ms(clock_ms.load(Ordering::SeqCst)));
        let (events, metrics) = (Arc::default(), Arc::default());
        let announcer = Announcer { events: Arc::clone(&events), metrics: Arc::clone(&metrics) };
        let readers = NonZeroUsize::new(2).unwrap();
        let (stop, stopping) = watch::channel(false);
        let app = App::new(Parts {
            database: Database::open(&dir.path().join("server.sqlite"), readers, announcer).unwrap(),
            passwords: Passwords::new(Cost { memory_kib: 64, workers: 2 }).unwrap(),
            throttle: Default::default(),
            events,
            metrics,
            repositories: Repositories::new(dir.path().join("indexes")),
            stored_lately: Default::default(),
            readings: Default::default(),
            authority: None,
            bell: Default::default(),
            job_lease: Duration::from_secs(60),
            rates: Default::default(),
            silence: Duration::from_millis(200),
            uploads: Semaphore::new(MAX_UPLOADS),
            unfinished: Arc::default(),
            in_memory: Semaphore::new(MAX_IN_MEMORY),
            questions: Default::default(),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            archives: Arc::new(Semaphore::new(MAX_ARCHIVES)),
            copies: Copies::of(&Config { data_dir: dir.path().to_owned(), ..Config::default() }),
            base_url: "https://ice.example".into(),
            secure: true,
            started_at: clock.now(),
            clock,
            stopping,
        });
        Self { router: router::router(&app), app, stop, now_ms, _dir: dir }
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the clock back.
    pub fn set_back(&self, time: Duration) {
        self.now_ms.fetch_sub(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Makes an account without a password.
    pub async fn user(&self, name: &str, role: Role) -> UserId {
        let (id, name, now) = (UserId::generate(), name.to_owned(), self.app.now());
        self.app.database.write(move |write| user::insert(write, id, &name, role, now)).await.unwrap();
        id
    }

    /// Gives an account a password.
    pub async fn set_password(&self, id: UserId, password: &str) {
        let hash = self.app.passwords.hash(password.to_owned().into()).await.unwrap();
        self.app.database.write(move |write| user::set_password(write, id, Some(&hash))).await.unwrap();
    }

    /// Begins a session without the formalities.
    pub async fn session(&self, user_id: UserId) -> Login {
        let (secret, now) = (Secret::generate(Kind::Session), self.app.now());
        let (hash, id) = (secret.hash(), SessionId::generate());
        let (address, user_agent) = (String::new(), String::new());
        let session = StoredSession { id, user_id, created_at: now, last_seen_at: now, address, user_agent };
        self.app.database.write(move |write| db::session::insert(write, &session, &hash)).await.unwrap();
        let cookie = format!("__Host-icecore-session={}", secret.expose());
        Login::Session { cookie, csrf_token: secret.csrf_token() }
    }

    /// Makes a token without the formalities.
    pub async fn token(&self, user_id: UserId, rights: &[Right]) -> Login {
        let (secret, now) = (Secret::generate(Kind::Token), self.app.now());
        let hash = secret.hash();
        let token = Token {
            id: TokenId::generate(),
            user_id,
            name: "test".into(),
            prefix: secret.prefix().into(),
            rights: rights.to_vec(),
            created_at: now,
            expires_at: now.after(Duration::from_secs(3600)),
            last_used_at: None,
        };
        self.app.database.write(move |write| db::token::insert(write, &token, &hash)).await.unwrap();
        Login::Token(secret.expose().to_owned())
    }

    /// Makes an agent of a repository that is not there.
    pub async fn agent(&self) -> Login {
        let (secret, now) = (Secret::generate(Kind::Agent), self.app.now());
        let (hash, id) = (secret.hash(), RepositoryId::generate());
        let name = format!("other-{id}");
        let repository = Repository {
            id,
            name: name.clone(),
            directory: name.clone(),
            format_id: name.clone(),
            created_at: now,
            care: Care::default(),
            keeper: None,
            revision: 1,
            kit_confirmed_at: None,
            kit_confirmed_by: None,
        };
        let agent = Agent {
            id: AgentId::generate(),
            name: name.clone(),
            repository: name,
            writer: "ab".repeat(16),
            prefix: secret.prefix().into(),
            created_at: now,
            last_seen_at: None,
            revoked_at: None,
            limit_bytes_per_s: None,
            quota_bytes: None,
            keeper: false,
            suspended_at: None,
            silent_after_s: None,
            revision: 1,
        };
        let insert = move |write: &mut db::Write<'_>| {
            db::repository::insert(write, &repository)?;
            db::agent::insert(write, &agent, id, &hash)
        };
        self.app.database.write(insert).await.unwrap();
        Login::Token(secret.expose().to_owned())
    }

    /// Who a login is.
    pub async fn caller(&self, login: &Login) -> Option<Caller> {
        let request = self.ask(Method::GET, "/").by(login).request();
        let credential = crate::http::access::credential(request.headers(), true).ok()?;
        crate::http::access::caller(&self.app, credential).await.ok()
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "ice.example")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711))));
        Ask { app: self, request, body: Body::empty() }
    }

    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Ask<'_> {
        self.ask(Method::POST, path).json(body)
    }
}

/// A request that is put together.
pub struct Ask<'a> {
    app: &'a TestApp,
    request: axum::http::request::Builder,
    body: Body,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: Value) -> Self {
        self.body = Body::from(body.to_string());
        self.header("content-type", "application/json")
    }

    /// A body as it is.
    pub fn body_text(&mut self, body: &'static str) {
        self.body = Body::from(body);
    }

    /// Bytes as they are, or a stream of them.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn by(self, login: &Login) -> Self {
        match login {
            Login::Session { cookie, csrf_token } => self.header("cookie", cookie).header("x-csrf-token", csrf_token),
            Login::Token(secret) => self.header("authorization", &format!("Bearer {secret}")),
        }
    }

    pub fn request(self) -> Request<Body> {
        self.request.body(self.body).unwrap()
    }

    /// Sends it; the body of a stream is left alone.
    pub async fn stream(self) -> axum::response::Response {
        let router = self.app.router.clone();
        router.oneshot(self.request()).await.unwrap()
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        let (head, body) = self.stream().await.into_parts();
        let is_stream = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = match is_stream {
            true => Value::Null,
            false => serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default(),
        };
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}
