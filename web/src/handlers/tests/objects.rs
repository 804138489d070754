//! What a broken or malicious machine may try with the objects of its repository, request by request.

mod unfinished;

use crate::auth::secret::{Kind as SecretKind, Secret};
use crate::db;
use crate::test_app::{Answer, Ask, Login, TestApp, new_repository};
use axum::body::{Body, Bytes};
use axum::http::Method;
use futures_core::Stream;
use repo_format::codec::Kind;
use repo_format::keys::WriterKeys;
use repo_format::lease::{LEASE_TTL, LeaseBody, Purpose};
use repo_format::pack::{FinishedPack, MAX_PACK_BYTES, PackBuilder, PackKind};
use repo_format::record;
use repo_format::repository::Repository;
use serde_json::{Value, json};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;
use web_api::agent::Agent;
use web_api::id::{AgentId, RepositoryId};
use web_api::object::{Framed, to_url};
use web_api::role::Role;

const CHUNK: usize = 65536;
const OBJECTS: &str = "/api/v1/repositories/main/objects";

/// A server with one repository and one machine that stores into it.
struct Scene {
    app: TestApp,
    dir: TempDir,
    repo: Repository,
    keys: WriterKeys,
    machine: Login,
    agent: AgentId,
    admin: Login,
}

fn repository(dir: &Path, app: &TestApp) -> Repository {
    std::fs::create_dir_all(dir).unwrap();
    new_repository(dir, now(app))
}

fn now(app: &TestApp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(app.app.now().ms()).unwrap()
}

impl Scene {
    async fn new() -> Self {
        let (app, dir) = (TestApp::new(), tempfile::tempdir().unwrap());
        let repo = repository(&dir.path().join("main"), &app);
        let keys = repo.create_writer("web", None, now(&app)).unwrap();
        let root = app.user("root", Role::Admin).await;
        let admin = app.session(root).await;
        let body = json!({"name": "main", "directory": dir.path().join("main")});
        assert_eq!(app.post("/api/v1/repositories", body).by(&admin).send().await.status, 201);
        let (machine, agent) = machine(&app, &keys).await;
        Self { app, dir, repo, keys, machine, agent, admin }
    }

    /// A pack of one chunk.
    fn pack(&self, byte: u8) -> FinishedPack {
        pack(&self.repo, &self.keys, byte)
    }

    fn put(&self, key: &str, body: impl Into<Body>) -> Ask<'_> {
        self.app.ask(Method::PUT, &format!("{OBJECTS}/{}", to_url(key))).by(&self.machine).body(body)
    }

    async fn put_pack(&self, pack: &FinishedPack) -> Answer {
        self.put(&PackKind::Data.key(&pack.id), pack.bytes.clone()).send().await
    }

    /// Sets what the machine may at most.
    async fn limit(&self, change: Value) -> Answer {
        let path = format!("/api/v1/agents/{}", self.agent);
        let revision = self.app.get(&path).by(&self.admin).send().await.body["revision"].clone();
        let edit = self.app.ask(Method::PATCH, &path).by(&self.admin).header("if-match", &format!("\"{revision}\""));
        edit.json(change).send().await
    }

    /// Neither an object, nor a file that is not kept for who sends the rest.
    fn ensure_nothing_was_stored(&self) {
        self.app.app.unfinished.forget_all();
        let store = self.repo.store();
        assert!(store.keys("data/").unwrap().is_empty() && store.keys("tree/").unwrap().is_empty());
        let left = std::fs::read_dir(self.dir.path().join("main/tmp")).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "what did not become an object is removed");
    }
}

async fn machine(app: &TestApp, keys: &WriterKeys) -> (Login, AgentId) {
    let (secret, id, writer) = (Secret::generate(SecretKind::Agent), AgentId::generate(), keys.writer.to_string());
    let (hash, prefix, now) = (secret.hash(), secret.prefix().to_owned(), app.app.now());
    let insert = move |write: &mut db::Write<'_>| {
        let repository = db::repository::named(write, "main")?.unwrap();
        let agent = Agent {
            id,
            name: format!("agent-{id}"),
            repository: "main".into(),
            writer,
            prefix,
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
        db::agent::insert(write, &agent, repository.id, &hash)
    };
    app.app.database.write(insert).await.unwrap();
    (Login::Token(secret.expose().to_owned()), id)
}

fn pack(repo: &Repository, keys: &WriterKeys, byte: u8) -> FinishedPack {
    let by = (keys.writer, keys.writer);
    let mut pack = PackBuilder::data(keys.repository, by, &keys.public, 65536, repo.entropy()).unwrap();
    let plain = [byte; CHUNK];
    pack.add(keys.ids.chunk(&plain).into(), Kind::Raw, u32::try_from(CHUNK).unwrap(), &plain).unwrap();
    pack.finish(&keys.signer())
}

/// A body that comes as its maker says, piece by piece.
struct Sent<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Unpin> Stream for Sent<F> {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        (self.0)(context).map(|piece| piece.map(Ok))
    }
}

#[tokio::test]
async fn a_pack_is_stored_once_however_often_it_is_sent() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    for _ in 0..2 {
        let answer = scene.put_pack(&pack).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    assert_eq!(scene.repo.store().get(&PackKind::Data.key(&pack.id)).unwrap(), pack.bytes);
}

#[tokio::test]
async fn who_sends_half_a_pack_and_goes_silent_is_cut_off_and_leaves_nothing() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    let mut half = Some(Bytes::copy_from_slice(&pack.bytes[..1000]));
    let body = Body::from_stream(Sent(move |_: &mut Context<'_>| match half.take() {
        Some(piece) => Poll::Ready(Some(piece)),
        // Nobody will wake this: the sender is silent.
        None => Poll::Pending,
    }));
    let answer = scene.put(&PackKind::Data.key(&pack.id), body).send().await;
    assert_eq!(answer.code(), "timed_out", "{}", answer.body);
    scene.ensure_nothing_was_stored();
    assert_eq!(scene.put_pack(&pack).await.status, 204, "and its place is free again");
}

#[tokio::test]
async fn who_sends_a_byte_now_and_then_only_to_hold_a_place_is_cut_off() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    let mut drip = Box::pin(tokio::time::sleep(Duration::ZERO));
    let body = Body::from_stream(Sent(move |context: &mut Context<'_>| {
        if drip.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // Far more often than a silence would be.
        drip = Box::pin(tokio::time::sleep(Duration::from_millis(20)));
        Poll::Ready(Some(Bytes::from_static(b"x")))
    }));
    let answer = scene.put(&PackKind::Data.key(&pack.id), body).send().await;
    assert_eq!(answer.code(), "timed_out", "{}", answer.body);
    assert!(answer.body["error"]["why"].as_str().unwrap().contains("a MiB of it"), "{}", answer.body);
    scene.ensure_nothing_was_stored();
}

#[tokio::test]
async fn bodies_without_an_end_are_cut_at_the_limit() {
    let scene = Scene::new().await;
    let piece = Bytes::from(vec![0; 1 << 20]);
    let mut sent = 0;
    let body = Body::from_stream(Sent(move |_: &mut Context<'_>| {
        sent += piece.len() as u64;
        assert!(sent < 2 * MAX_PACK_BYTES, "nobody takes so much");
        Poll::Ready(Some(piece.clone()))
    }));
    let answer = scene.put(&PackKind::Data.key(&scene.pack(1).id), body).send().await;
    assert_eq!(answer.code(), "too_large", "{}", answer.body);
    let large = vec![0; usize::try_from(MAX_PACK_BYTES).unwrap() + 1];
    assert_eq!(scene.put(&format!("leases/{}-00000000", "ab".repeat(16)), large).send().await.code(), "too_large");
    scene.ensure_nothing_was_stored();
}

#[tokio::test]
async fn packs_that_are_not_what_they_say_are_refused_and_leave_nothing() {
    let scene = Scene::new().await;
    let (good, other) = (scene.pack(1), scene.pack(2));
    let key = PackKind::Data.key(&good.id);
    let refused = |body: Vec<u8>| async { scene.put(&key, body).send().await };
    assert_eq!(refused(other.bytes.clone()).await.code(), "invalid", "another's name");
    assert_eq!(refused(Vec::new()).await.code(), "invalid");
    assert_eq!(refused(good.bytes[..good.bytes.len() - 1].to_vec()).await.code(), "invalid");
    // Behind the header: what is sealed. The name is right, the signed footer says otherwise.
    let mut lying = good.bytes.clone();
    lying[300] ^= 1;
    let name = PackKind::Data.key(&repo_format::id::PackId(*blake3::hash(&lying).as_bytes()));
    let answer = scene.put(&name, lying).send().await;
    assert!(answer.body["error"]["what"].as_str().unwrap().contains("hash of the footer"), "{}", answer.body);
    let as_tree = format!("tree/{}", key.strip_prefix("data/").unwrap());
    assert_eq!(scene.put(&as_tree, good.bytes.clone()).send().await.code(), "invalid");
    scene.ensure_nothing_was_stored();
}

#[tokio::test]
async fn packs_of_another_writer_or_another_repository_are_refused() {
    let scene = Scene::new().await;
    let mail = scene.repo.create_writer("mail", None, now(&scene.app)).unwrap();
    assert_eq!(scene.put_pack(&pack(&scene.repo, &mail, 1)).await.status, 403);
    let elsewhere = repository(&scene.dir.path().join("elsewhere"), &scene.app);
    let foreign = elsewhere.create_writer("web", None, now(&scene.app)).unwrap();
    assert_eq!(scene.put_pack(&pack(&elsewhere, &foreign, 1)).await.code(), "invalid");
    scene.ensure_nothing_was_stored();
    let wrong = format!("/api/v1/repositories/other/objects/{}", to_url(&PackKind::Data.key(&scene.pack(1).id)));
    let answer = scene.app.ask(Method::PUT, &wrong).by(&scene.machine).body(scene.pack(1).bytes).send().await;
    assert_eq!(answer.code(), "not_found");
}

#[tokio::test]
async fn no_name_leads_out_of_the_repository() {
    let scene = Scene::new().await;
    let secret = scene.dir.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let names = [
        "..%2Fsecret",
        "..",
        "%2e%2e%2fsecret",
        "....secret",
        "data...secret",
        "main.....secret",
        "%00",
        "config%00",
        "tmp.x",
        "keys.%2e%2e",
        "leases.a%2Fb",
        "writers.x",
        "DATA.ab",
        "%F0%9F%92%A9",
    ];
    for name in names {
        let path = format!("{OBJECTS}/{name}");
        for method in [Method::PUT, Method::DELETE, Method::GET] {
            let ask = scene.app.ask(method.clone(), &path).by(&scene.machine).header("range", "bytes=0-5");
            let answer = ask.body("mine").send().await;
            assert!((400..500).contains(&answer.status), "{method} {name}: {}", answer.status);
        }
    }
    // Not a fault of the server either: who asks for what cannot be a key hears so.
    for odd in ["../", "ice_e9", "\u{1f4a9}", "DATA/ab"] {
        let encoded: String = odd.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let listed = scene.app.get(&format!("{OBJECTS}?prefix={encoded}")).by(&scene.machine).send().await;
        let persist = scene.app.post("/api/v1/repositories/main/persist", json!({"keys": [odd]})).by(&scene.machine);
        for answer in [listed, persist.send().await] {
            assert!((400..500).contains(&answer.status), "{odd}: {} {}", answer.status, answer.body);
        }
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
    scene.ensure_nothing_was_stored();
}

#[tokio::test]
async fn a_machine_that_is_revoked_while_it_sends_stores_nothing_more() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    let (first, rest) = (Bytes::copy_from_slice(&pack.bytes[..100]), Bytes::copy_from_slice(&pack.bytes[100..]));
    let (go_on, mut wait) = tokio::sync::oneshot::channel::<()>();
    let mut pieces = vec![rest, first];
    let body = Body::from_stream(Sent(move |context: &mut Context<'_>| {
        if pieces.len() == 1 && Pin::new(&mut wait).poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(pieces.pop())
    }));
    let revoke = async {
        let path = format!("/api/v1/agents/{}/revoke", scene.agent);
        assert_eq!(scene.app.post(&path, json!({})).by(&scene.admin).send().await.status, 204);
        go_on.send(()).unwrap();
    };
    let key = PackKind::Data.key(&pack.id);
    let (answer, ()) = tokio::join!(scene.put(&key, body).send(), revoke);
    assert_eq!(answer.code(), "not_logged_in", "{}", answer.body);
    scene.ensure_nothing_was_stored();
}

#[tokio::test]
async fn a_lease_is_taken_once_and_not_replaced_or_revived() {
    let scene = Scene::new().await;
    let body = |minutes: i64| {
        let at = now(&scene.app) + jiff::SignedDuration::from_mins(minutes);
        let body = LeaseBody {
            lease: "ab".repeat(16).parse().unwrap(),
            purpose: Purpose::Backup,
            writer: scene.keys.writer,
            started_at: at,
            expires_at: at + LEASE_TTL,
            parent: None,
            pinned: Vec::new(),
        };
        record::encode_json(record::LEASE, &scene.keys.repository, &scene.keys.signer(), &body).unwrap()
    };
    let key = format!("leases/{}-{:08x}", "ab".repeat(16), 0);
    for _ in 0..2 {
        assert_eq!(scene.put(&key, body(0)).send().await.status, 204);
    }
    assert_eq!(scene.put(&key, body(1)).send().await.code(), "conflict");
    assert_eq!(scene.put(&key.replace("-00000000", "-00000007"), body(0)).send().await.code(), "lease_lost");
}

#[tokio::test]
async fn a_lease_for_reading_is_renewed_and_ended_by_who_opened_it_alone() {
    let scene = Scene::new().await;
    let person = async |name: &str| {
        let id = scene.app.user(name, Role::Restorer).await;
        scene.app.session(id).await
    };
    let (rita, rob) = (person("rita").await, person("rob").await);
    let body = LeaseBody {
        lease: "cd".repeat(16).parse().unwrap(),
        purpose: Purpose::Read,
        writer: scene.repo.keys().writer().writer,
        started_at: now(&scene.app),
        expires_at: now(&scene.app) + LEASE_TTL,
        parent: None,
        pinned: Vec::new(),
    };
    // All who have the passphrase sign alike.
    let bytes = record::encode_json(record::LEASE, &scene.keys.repository, scene.repo.signer(), &body).unwrap();
    let ask = async |method: Method, counter: u32, login: &Login| {
        let path = format!("{OBJECTS}/leases.{}-{counter:08x}", "cd".repeat(16));
        scene.app.ask(method, &path).by(login).body(bytes.clone()).send().await
    };
    for _ in 0..2 {
        assert_eq!(ask(Method::PUT, 0, &rita).await.status, 204, "once more after a lost answer, too");
    }
    for (method, counter) in [(Method::DELETE, 0), (Method::PUT, 0), (Method::PUT, 1)] {
        let refused = ask(method.clone(), counter, &rob).await;
        assert!(
            refused.body["error"]["what"].as_str().unwrap().contains("another person's"),
            "{method}: {}",
            refused.body
        );
    }
    assert_eq!(scene.repo.store().keys("leases/").unwrap().len(), 1);
    assert_eq!(ask(Method::PUT, 1, &rita).await.status, 204);
    assert_eq!(ask(Method::DELETE, 0, &rita).await.status, 204);
    assert_eq!(ask(Method::DELETE, 1, &rob).await.code(), "forbidden");
    assert_eq!(ask(Method::DELETE, 1, &rita).await.status, 204);
    assert!(scene.repo.store().keys("leases/").unwrap().is_empty());
}

#[tokio::test]
async fn several_objects_come_in_one_answer_and_only_what_is_for_the_caller() {
    let scene = Scene::new().await;
    let pack = scene.pack(1);
    assert_eq!(scene.put_pack(&pack).await.status, 204);
    let slot = scene.repo.store().keys("keys/").unwrap().remove(0);
    let keys = ["config", "writers/none", &slot, "config-copy", "../secret"];
    let read = async |login: &Login, keys: Value| {
        let ask = scene.app.post("/api/v1/repositories/main/read-objects", json!({ "keys": keys })).by(login);
        let answer = ask.stream().await;
        let status = answer.status().as_u16();
        (status, http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes())
    };
    let lengths = |answer: &[u8]| -> Vec<Option<usize>> {
        let mut rest = answer;
        let framed = std::iter::from_fn(|| Framed::read(&mut rest));
        framed.map(|framed| if let Framed::Whole(bytes) = framed { Some(bytes.len()) } else { None }).collect()
    };
    let config = scene.repo.store().get("config").unwrap().len();
    let (status, answer) = read(&scene.machine, json!(keys)).await;
    assert_eq!((status, lengths(&answer)), (200, vec![Some(config), None, None, Some(config), None]));
    let (_, answer) = read(&scene.admin, json!(keys)).await;
    assert!(lengths(&answer)[2].is_some(), "a person reads sealed keys, too");
    let many: Vec<&str> = std::iter::repeat_n("config", 257).collect();
    assert_eq!(read(&scene.machine, json!(many)).await.0, 422);
    // Packs fill the answer; what has no room is asked for alone.
    let large: Vec<String> = std::iter::repeat_n(PackKind::Data.key(&pack.id), 200).collect();
    let (_, answer) = read(&scene.admin, json!(large)).await;
    let found = lengths(&answer);
    assert!(answer.len() < 9 << 20 && found.len() == 200 && found[0].is_some() && found[199].is_none());
}

#[tokio::test]
async fn a_quota_is_kept_and_its_end_is_told_with_what_lifts_it() {
    let scene = Scene::new().await;
    assert_eq!(scene.limit(json!({"quota_bytes": 100_000})).await.status, 200);
    assert_eq!(scene.put_pack(&scene.pack(1)).await.status, 204);
    let full = scene.put_pack(&scene.pack(2)).await;
    assert_eq!((full.status, full.code()), (413, "quota_exceeded"));
    assert!(full.body["error"]["why"].as_str().unwrap().contains("100000"), "{}", full.body);
    assert_eq!(scene.limit(json!({"quota_bytes": 0})).await.body["quota_bytes"], Value::Null);
    assert_eq!(scene.put_pack(&scene.pack(2)).await.status, 204);
}

#[tokio::test]
async fn limits_that_let_no_pack_arrive_are_refused_and_edits_need_what_was_read() {
    let scene = Scene::new().await;
    assert_eq!(scene.limit(json!({"limit_bytes_per_s": 1000})).await.code(), "invalid");
    assert_eq!(scene.limit(json!({"limit_bytes_per_s": 1 << 20})).await.body["limit_bytes_per_s"], 1 << 20);
    let path = format!("/api/v1/agents/{}", scene.agent);
    let blind = scene.app.ask(Method::PATCH, &path).by(&scene.admin).json(json!({}));
    assert_eq!(blind.send().await.code(), "if_match_needed");
    let stale = scene.app.ask(Method::PATCH, &path).by(&scene.admin).header("if-match", "\"1\"").json(json!({}));
    assert_eq!(stale.send().await.code(), "changed");
    assert_eq!(scene.put_pack(&scene.pack(1)).await.status, 204);
    let unknown = RepositoryId::generate();
    assert_eq!(scene.app.get(&format!("/api/v1/agents/{unknown}")).by(&scene.admin).send().await.code(), "not_found");
}
