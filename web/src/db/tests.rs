//! The writing thread, the checks when the file is opened, and the rules that the database itself keeps.

use super::{Batch, Database, Error, Observer, Write, audit, event, open, settings, user};
use crate::audit::Record;
use crate::handlers::audit::walk;
use rusqlite::Connection;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use tempfile::TempDir;
use web_api::audit::Outcome;
use web_api::event::Event;
use web_api::id::UserId;
use web_api::role::Role;
use web_api::unit::Time;

#[derive(Clone, Default)]
struct Seen {
    batches: Arc<Mutex<Vec<usize>>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Observer for Seen {
    fn committed(&self, events: Vec<Event>) {
        self.events.lock().unwrap().extend(events);
    }

    fn batch(&self, batch: Batch) {
        self.batches.lock().unwrap().push(batch.writes);
    }
}

struct Fixture {
    database: Database,
    seen: Seen,
    path: PathBuf,
    _dir: TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/server.sqlite");
    let seen = Seen::default();
    let database = Database::open(&path, NonZeroUsize::MIN, seen.clone()).unwrap();
    Fixture { database, seen, path, _dir: dir }
}

fn now() -> Time {
    Time::from_ms(1_790_000_000_000)
}

fn add(write: &mut Write<'_>, name: &str) -> Result<UserId, Error> {
    let id = UserId::generate();
    user::insert(write, id, name, Role::Viewer, now())?;
    event::append(write, now(), "user.create", name)?;
    Ok(id)
}

async fn names(database: &Database) -> Vec<String> {
    let users = database.read(|connection| user::page(connection, None, 500)).await.unwrap();
    users.into_iter().map(|user| user.name).collect()
}

fn record(subject: &str) -> Record {
    Record {
        at: now(),
        actor: "ada".into(),
        address: "::1".into(),
        action: "user.create".into(),
        subject: subject.into(),
        outcome: Outcome::Done,
        detail: String::new(),
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let Fixture { database, path, seen, _dir } = fixture();
    database.write(|write| add(write, "ada")).await.unwrap();
    database.close();
    assert!(matches!(database.write(|write| add(write, "bob")).await, Err(Error::Closed)));
    drop(database);
    let database = Database::open(&path, NonZeroUsize::MIN, seen).unwrap();
    assert_eq!(names(&database).await, ["ada"]);
}

#[tokio::test]
async fn writes_that_wait_share_a_transaction_and_a_failed_one_leaves_nothing() {
    let Fixture { database, seen, .. } = &fixture();
    let (go, wait) = mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let blocking = database.write(move |_| {
        began.send(()).unwrap();
        wait.recv().map_err(|_| Error::Closed)
    });
    let work =
        |name: &'static str, result: Result<(), Error>| database.write(move |write| add(write, name).and(result));
    let panicking = database.write(|write| {
        add(write, "never")?;
        if write.is_autocommit() { Ok(()) } else { panic!("as it must in this test") }
    });
    let release = async {
        begun.await.unwrap();
        go.send(()).unwrap();
    };
    let (first, ada, refused, panicked, twice, bob, ()) = tokio::join!(
        blocking,
        work("ada", Ok(())),
        work("eve", Err(Error::Busy)),
        panicking,
        work("ada", Ok(())),
        work("bob", Ok(())),
        release,
    );
    assert!(first.is_ok() && ada.is_ok() && bob.is_ok());
    assert!(matches!(refused, Err(Error::Busy)) && matches!(panicked, Err(Error::Panicked)));
    assert!(twice.unwrap_err().is_duplicate());
    assert_eq!(names(database).await, ["ada", "bob"]);
    let told: Vec<_> = seen.events.lock().unwrap().iter().map(|event| event.subject.clone()).collect();
    assert_eq!(told, ["ada", "bob"], "events of what was not stored are not told");
    assert_eq!(seen.batches.lock().unwrap().iter().sum::<usize>(), 6);
    assert!(seen.batches.lock().unwrap().len() <= 2, "all that waited were one transaction");
}

#[tokio::test]
async fn a_full_disk_is_told_and_later_writes_work_again() {
    let Fixture { database, .. } = &fixture();
    let pages =
        |count: u32| database.write(move |write| Ok::<_, Error>(write.pragma_update(None, "max_page_count", count)?));
    let large = || {
        database.write(|write| {
            for number in 0..200 {
                audit::append(write, Record { detail: "x".repeat(4000), ..record(&number.to_string()) })?;
            }
            Ok::<_, Error>(())
        })
    };
    pages(1).await.unwrap();
    let error = large().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    pages(1 << 20).await.unwrap();
    large().await.unwrap();
    let verdict = database.read(|connection| walk(connection, None)).await.unwrap();
    assert!(verdict.intact && verdict.entries == 200, "{verdict:?}");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let Fixture { database, .. } = &fixture();
    let result = database.read(|connection| Ok::<_, Error>(connection.execute("DELETE FROM users", [])?)).await;
    assert!(matches!(result, Err(Error::Sql(_))));
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_not_touched() {
    let Fixture { database, path, seen, _dir } = fixture();
    database.close();
    drop(database);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", open::VERSION + 1).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Database::open(&path, NonZeroUsize::MIN, seen).map(drop).unwrap_err();
    assert!(matches!(error, Error::Newer { found, known, .. } if found == known + 1), "{error}");
    assert!(error.to_string().contains("newer icecore-server"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    let Fixture { database, path, seen, _dir } = fixture();
    database.close();
    drop(database);
    let sound = std::fs::read(&path).unwrap();
    let page = 4096;
    let mut broken = sound.clone();
    broken[page..2 * page].fill(0xA5);
    for bytes in [broken, b"this is no database, but long enough to look like one".repeat(100), sound[..page].to_vec()]
    {
        std::fs::write(&path, bytes).unwrap();
        let error = Database::open(&path, NonZeroUsize::MIN, seen.clone()).map(drop).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("restore-database"), "{error}");
    }
    std::fs::write(&path, sound).unwrap();
    Database::open(&path, NonZeroUsize::MIN, seen).unwrap();
}

#[test]
fn agents_and_what_refers_to_them_survive_the_migration_that_makes_their_table_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.sqlite");
    let mut old = Connection::open(&path).unwrap();
    old.pragma_update(None, "foreign_keys", true).unwrap();
    open::migrations(&open::MIGRATIONS[..7]).to_latest(&mut old).unwrap();
    old.execute_batch(
        "INSERT INTO repositories (id, name, directory, format_id, created_at_ms) VALUES (x'01', 'main', '/r', 'f', 1);
         INSERT INTO agents (id, secret_hash, name, repository_id, writer, prefix, created_at_ms, revoked_at_ms, quota_bytes, revision, keeps)
             VALUES (x'02', x'aa', 'web', x'01', 'w', 'p', 5, NULL, 77, 3, 1), (x'03', x'bb', 'mail', x'01', 'w', 'p', 6, 9, NULL, 1, 0);
         INSERT INTO machines (agent_id, instance, version, host, boot_id, heard_at_ms) VALUES (x'02', x'00', '1', 'h', 'b', 8);
         INSERT INTO plans (id, name, agent_id, work, time_rule, keep, retry_count, retry_pause_s, paused, considered_until_ms, created_at_ms)
             VALUES (x'04', 'nightly', x'02', '{}', '{}', '{}', 1, 1, 0, 1, 1);
         INSERT INTO enrolments (id, secret_hash, prefix, repository_id, created_by, created_at_ms, expires_at_ms, agent_id)
             VALUES (x'05', x'cc', 'p', x'01', 'ada', 1, 2, x'02');",
    )
    .unwrap();
    drop(old);
    let new = open::writable(&path).unwrap();
    let row = |sql: &str| -> String { new.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        row(
            "SELECT group_concat(name || created_at_ms || coalesce(revoked_at_ms, quota_bytes) || revision || keeps) FROM agents"
        ),
        "web57731,mail6910"
    );
    assert_eq!(
        row("SELECT host FROM machines JOIN agents ON agents.id = agent_id"),
        "h",
        "nothing was deleted with the table"
    );
    assert_eq!(row("SELECT plans.name FROM plans JOIN agents a ON a.id = agent_id"), "nightly");
    let refused = |sql: &str| new.execute(sql, []).unwrap_err().to_string();
    assert!(refused("DELETE FROM agents WHERE id = x'02'").contains("FOREIGN KEY"), "foreign keys hold again");
    let another = |name: &str, secret: &str| {
        format!(
            "INSERT INTO agents (id, secret_hash, name, repository_id, writer, prefix, created_at_ms)
             VALUES (randomblob(16), x'{secret}', '{name}', x'01', 'w', 'p', 1)"
        )
    };
    assert!(refused(&another("web", "d1")).contains("UNIQUE"), "a name is one agent's");
    new.execute(&another("mail", "d2"), []).unwrap();
    assert!(refused(&another("mail", "d3")).contains("UNIQUE"), "free after the revocation, and taken again");
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let Fixture { path, .. } = &fixture();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_the_audit_log() {
    let Fixture { database, .. } = &fixture();
    for subject in ["a", "b"] {
        database.write(move |write| audit::append(write, record(subject))).await.unwrap();
    }
    for sql in [
        "UPDATE audit SET actor = 'eve' WHERE number = 1",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT number, at_ms, 'eve', address, action, subject, outcome, detail, previous_hash, hash FROM audit",
        "INSERT INTO audit SELECT number + 5, at_ms, actor, address, action, subject, outcome, detail, previous_hash, hash FROM audit",
    ] {
        let error = database.write(move |write| Ok::<_, Error>(write.execute(sql, [])?)).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
    let verdict = database.read(|connection| walk(connection, None)).await.unwrap();
    assert!(verdict.intact && verdict.entries == 2);
}

#[tokio::test]
async fn tampering_behind_the_servers_back_is_found() {
    let Fixture { database, path, .. } = &fixture();
    for subject in ["a", "b", "c"] {
        database.write(move |write| audit::append(write, record(subject))).await.unwrap();
    }
    let head = database.read(|connection| walk(connection, None)).await.unwrap().head;
    let foreign = Connection::open(path).unwrap();
    foreign.execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened").unwrap();
    for (tamper, mend, damage) in [
        (
            "UPDATE audit SET subject = 'x' WHERE number = 2",
            "UPDATE audit SET subject = 'b' WHERE number = 2",
            "entry 2 was changed",
        ),
        (
            "UPDATE audit SET outcome = 'odd' WHERE number = 1",
            "UPDATE audit SET outcome = 'done' WHERE number = 1",
            "entry 1 cannot be read",
        ),
        ("UPDATE audit SET hash = x'00' WHERE number = 3", "SELECT 1", "entry 3 cannot be read"),
        ("DELETE FROM audit WHERE number = 3", "SELECT 1", "ends at entry 2"),
        ("DELETE FROM audit WHERE number = 1", "SELECT 1", "entry 1 is missing"),
    ] {
        foreign.execute_batch(tamper).unwrap();
        let noted = Some(head.clone());
        let verdict = database.read(move |connection| walk(connection, noted)).await.unwrap();
        assert!(verdict.damage.as_deref().is_some_and(|found| found.contains(damage)), "{tamper}: {verdict:?}");
        foreign.execute_batch(mend).unwrap();
    }
}

#[tokio::test]
async fn numbers_of_events_are_never_used_again() {
    let Fixture { database, .. } = &fixture();
    let append = || database.write(|write| event::append(write, now(), "test", "x"));
    append().await.unwrap();
    append().await.unwrap();
    database.write(|write| Ok::<_, Error>(write.execute("DELETE FROM events", [])?)).await.unwrap();
    assert_eq!(database.read(event::bounds).await.unwrap(), (0, 2));
    append().await.unwrap();
    let events = database.read(|connection| event::after(connection, 0, 10)).await.unwrap();
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn settings_begin_with_what_the_migration_says() {
    let Fixture { database, .. } = &fixture();
    let settings = database.read(settings::get).await.unwrap();
    assert_eq!((settings.session_idle_s, settings.session_lifetime_s, settings.revision), (12 * 3600, 30 * 86_400, 1));
}
