//! The service against a server that a test plays: what it asks, reports and does when the server is away or refuses it.

use super::*;
use crate::remote::{Address, Renew};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use web_api::job::BackupResult;

/// Answers requests by a script: the first answer whose path fits is used up. What nothing fits gets the last of the usual ones.
#[derive(Default)]
struct Script {
    answers: VecDeque<(&'static str, u16, Value)>,
    seen: Vec<(String, Value)>,
}

struct Played {
    address: String,
    script: Arc<Mutex<Script>>,
}

fn error(code: &str) -> Value {
    json!({"error": {"code": code, "what": "no", "next": "wait"}})
}

fn usual(path: &str) -> (u16, Value) {
    match path {
        path if path.ends_with("/heartbeat") => (200, json!({"again_in_s": 1, "lease_s": 4})),
        path if path.ends_with("/lease") => (200, json!({"job": null})),
        path if path.ends_with("/progress") => (200, json!({"cancel": false})),
        _ => (204, Value::Null),
    }
}

impl Played {
    fn new(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script { answers: answers.into_iter().collect(), seen: Vec::new() }));
        let served = script.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let script = served.clone();
                std::thread::spawn(move || while answer(&connection, &script).is_some() {});
            }
        });
        Self { address, script }
    }

    fn seen(&self, end: &str) -> Vec<Value> {
        let script = self.script.lock().unwrap();
        script.seen.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, body)| body.clone()).collect()
    }
}

/// One request over a connection that is kept.
fn answer(connection: &std::net::TcpStream, script: &Mutex<Script>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut protocol) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_lowercase();
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        protocol |= header == "icecore-agent-protocol: 1";
        if header.is_empty() {
            break;
        }
    }
    assert!(protocol, "every request says which language it speaks");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, said) = {
        let mut script = script.lock().unwrap();
        script.seen.push((path.clone(), serde_json::from_slice(&body).unwrap_or_default()));
        let found = script.answers.iter().position(|(end, ..)| path.ends_with(end));
        found.and_then(|at| script.answers.remove(at)).map_or_else(|| usual(&path), |(_, status, body)| (status, body))
    };
    let said = if said.is_null() { String::new() } else { said.to_string() };
    let head =
        format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\r\n", said.len());
    let mut connection = connection;
    connection.write_all((head + &said).as_bytes()).ok()
}

/// Does a job as the test wants.
struct Scripted<F>(F);

impl<F: Fn(&Report, &AtomicBool) -> Result<()> + Sync> Worker for Scripted<F> {
    fn work(&self, _: &LeasedJob, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult> {
        (self.0)(report, cancel)?;
        let zero = web_api::unit::ByteCount(0);
        Ok(JobResult::Backup(BackupResult {
            point: "ab".into(),
            point_name: "web".into(),
            sequence: 1,
            full_read_reason: None,
            provider: "direct".into(),
            source_bytes: zero,
            changed_bytes: zero,
            read_bytes: zero,
            stored_bytes: zero,
            took_ms: 0,
            warnings: Vec::new(),
            disks: Vec::new(),
        }))
    }

    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
        let error = JobError { code: "failed".into(), what: error.to_string(), why: Vec::new(), next: None, attempt };
        (error, true)
    }
}

fn job() -> (&'static str, u16, Value) {
    let id = "01890000-0000-7000-8000-000000000001";
    let work = json!({"sources": {"paths": ["/dev/null"]}});
    (
        "/lease",
        200,
        json!({"job": {"id": id, "lease": id, "kind": "backup", "attempt": 2, "plan": "web", "backup": work, "lease_s": 1}}),
    )
}

/// Runs the service against a script until `until` says so or it ends by itself.
fn serve(
    played: &Played,
    work: impl Fn(&Report, &AtomicBool) -> Result<()> + Sync,
    until: impl Fn(&Played) -> bool,
) -> Result<(), Refused> {
    serve_as(played, None, work, until)
}

/// The same with somebody who may know another token.
fn serve_as(
    played: &Played,
    renew: Option<Renew>,
    work: impl Fn(&Report, &AtomicBool) -> Result<()> + Sync,
    until: impl Fn(&Played) -> bool,
) -> Result<(), Refused> {
    let address: Address = format!("http://{}/main", played.address).parse().unwrap();
    let server = Server { address, token: "ica_1".to_owned().into(), authority: None, renew };
    let empty = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let daemon = Daemon {
        lane: Lane::for_all(Link::new(&server).unwrap()),
        others: Vec::new(),
        worker: &Scripted(work),
        host: "web".into(),
        sys: SysRoot::at(empty.path()),
        stop: stop.clone(),
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| daemon.run());
        while !running.is_finished() && !until(played) {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::SeqCst);
        running.join().unwrap()
    })
}

/// Works until it is told to stop.
fn until_cancelled(_: &Report, cancel: &AtomicBool) -> Result<()> {
    while !cancel.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    anyhow::bail!("interrupted")
}

fn ended(played: &Played) -> bool {
    !played.seen("/finish").is_empty()
}

#[test]
fn a_job_is_done_and_reported_with_its_log() {
    let played = Played::new([job()]);
    let work = |report: &Report, _: &AtomicBool| {
        report.begin("backup", Some(10));
        report.message("half done");
        Ok(())
    };
    serve(&played, work, ended).unwrap();
    assert_eq!(played.seen("/heartbeat")[0]["begins"], true);
    let end = played.seen("/finish").remove(0);
    assert_eq!(end["ending"]["succeeded"]["point"], "ab");
    assert_eq!(
        (&end["progress"]["stages"][0]["name"], &end["progress"]["stages"][0]["ended"]),
        (&json!("backup"), &json!(true))
    );
    let logs = played.seen("/progress").into_iter().chain([end]);
    assert!(logs.flat_map(|body| body["log"].as_array().unwrap().clone()).any(|line| line["text"] == "half done"));
}

#[test]
fn a_failure_is_reported_with_its_reason() {
    let played = Played::new([job()]);
    serve(&played, |_, _| anyhow::bail!("cannot read"), ended).unwrap();
    let end = played.seen("/finish").remove(0);
    assert_eq!(
        (&end["ending"]["failed"]["error"]["what"], &end["ending"]["failed"]["retry"]),
        (&json!("cannot read"), &json!(true))
    );
}

#[test]
fn a_job_ends_when_the_server_says_that_a_person_wants_so() {
    let played = Played::new([job(), ("/progress", 200, json!({"cancel": true}))]);
    serve(&played, until_cancelled, ended).unwrap();
    assert_eq!(played.seen("/finish")[0]["ending"], "cancelled");
}

#[test]
fn a_job_that_a_person_pauses_goes_back() {
    let played = Played::new([job(), ("/progress", 200, json!({"cancel": false, "pause": true}))]);
    serve(&played, until_cancelled, ended).unwrap();
    assert_eq!(played.seen("/finish")[0]["ending"], "returned");
}

#[test]
fn a_job_that_was_taken_away_is_left_and_nothing_is_said_of_its_end() {
    let played = Played::new([job(), ("/progress", 409, error("job_lost"))]);
    serve(&played, until_cancelled, |played| played.seen("/lease").len() >= 2).unwrap();
    assert!(!ended(&played));
}

#[test]
fn a_signal_gives_the_job_back() {
    let played = Played::new([job()]);
    serve(&played, until_cancelled, |played| !played.seen("/progress").is_empty()).unwrap();
    assert_eq!(played.seen("/finish")[0]["ending"], "returned");
}

#[test]
fn the_end_of_a_job_is_told_until_the_server_hears_it() {
    let away = || ("/finish", 503, error("unavailable"));
    let played = Played::new([job(), away(), away()]);
    serve(&played, |_, _| Ok(()), |played| played.seen("/finish").len() == 3).unwrap();
    let ends = played.seen("/finish");
    assert!(ends.iter().all(|end| end["ending"]["succeeded"]["point"] == "ab"));
}

#[test]
fn a_server_that_is_away_is_asked_again_and_one_that_refuses_is_not() {
    let played = Played::new([
        ("/heartbeat", 500, error("internal")),
        ("/lease", 502, Value::Null),
        job(),
        ("/lease", 401, error("not_logged_in")),
    ]);
    let refused = serve(&played, |_, _| Ok(()), |_| false).unwrap_err();
    assert!(refused.to_string().contains("no. wait"), "{refused}");
    assert!(ended(&played));
    let other_language = Played::new([("/heartbeat", 426, error("versions_apart"))]);
    assert!(serve(&other_language, |_, _| Ok(()), |_| false).is_err());
}

#[test]
fn a_token_that_was_replaced_while_the_service_runs_is_found() {
    let refused = || ("/lease", 401, error("not_logged_in"));
    let played = Played::new([refused(), job()]);
    let renew: Renew = Arc::new(|| Some("ica_2".to_owned().into()));
    serve_as(&played, Some(renew.clone()), |_, _| Ok(()), ended).unwrap();
    let played = Played::new([refused(), refused()]);
    assert!(serve_as(&played, Some(renew), |_, _| Ok(()), |_| false).is_err(), "the same token once more is no news");
}
