//! Lines that are cut in the middle of requests and answers, at every place in turn: whoever asks again gets through, and nothing is lost or done twice.
//!
//! A proxy on the loopback stands for the network. It counts what it passes on in both directions together and cuts the connection that is
//! used when so many bytes are through.

use super::machine::{Points, ensure_no_leases, ensure_nothing_was_lost, fleet};
use super::wire::Times;
use super::{Random, or_soak};
use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, content};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Passes on what comes until a cut is due.
struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<String>,
    /// Bytes that are passed on before the next cut.
    left: AtomicU64,
    /// Says how many bytes pass before the cut after this one.
    next: Mutex<Box<dyn FnMut() -> u64 + Send>>,
    cuts: AtomicUsize,
    passed: AtomicU64,
    over: AtomicBool,
}

/// No further cut.
const NEVER: u64 = u64::MAX / 2;

impl Proxy {
    fn to(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            server: Mutex::new(server.to_owned()),
            left: AtomicU64::new(NEVER),
            next: Mutex::new(Box::new(|| NEVER)),
            cuts: AtomicUsize::new(0),
            passed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) =
                    (client, TcpStream::connect(&*accepting.server.lock().expect("no panic")))
                else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let shared = accepting.clone();
                    std::thread::spawn(move || shared.pass(from, to));
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Cuts once, after so many bytes.
    fn cut_after(&self, bytes: u64) {
        *self.shared.next.lock().expect("no panic while held") = Box::new(|| NEVER);
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Cuts again and again.
    fn cut_by(&self, mut next: impl FnMut() -> u64 + Send + 'static) {
        self.shared.left.store(next(), Ordering::SeqCst);
        *self.shared.next.lock().expect("no panic while held") = Box::new(next);
    }

    fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Bytes that were passed on so far.
    fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let allowed = self.allowed(length as u64);
            let is_cut = allowed < length as u64;
            let sent = to.write_all(&piece[..usize::try_from(allowed).unwrap_or(length)]);
            self.passed.fetch_add(allowed, Ordering::SeqCst);
            if is_cut || sent.is_err() {
                break;
            }
        }
        // A cut ends both directions.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// How many of these bytes pass; fewer when a cut is due in the middle of them.
    fn allowed(&self, length: u64) -> u64 {
        let before =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(length)));
        let before = before.unwrap_or_default();
        if before >= length {
            return length;
        }
        self.cuts.fetch_add(1, Ordering::SeqCst);
        let next = (self.next.lock().expect("no panic while held"))();
        self.left.store(next, Ordering::SeqCst);
        before
    }
}

#[test]
fn a_backup_that_is_cut_once_at_any_byte_of_its_session_is_whole_and_leaves_no_lease() -> Result<()> {
    let appliance = Appliance::new()?;
    let proxy = Proxy::to(&appliance.server.address()?)?;
    let (times, points) = (Arc::<Times>::default(), Points::default());
    let mut machines = fleet(&appliance, 1, &times)?;
    let machine = machines.pop().context("one was made")?.reached_at(&proxy.address, &times);
    machine.back_up_noted(0, &points)?;
    let before = proxy.passed();
    machine.back_up_noted(1, &points)?;
    let session = proxy.passed() - before;
    let step = or_soak(session / 25, session / 3000).max(1);
    let (mut at, mut cut) = (0, 0);
    while at < session {
        let cuts = proxy.cuts();
        proxy.cut_after(at);
        machine.back_up_noted(2 + at, &points).with_context(|| format!("cut after {at} of {session} bytes"))?;
        cut += proxy.cuts() - cuts;
        at += step;
    }
    ensure!(cut as u64 >= session / step * 9 / 10, "{cut} cuts of {}", session / step);
    ensure_nothing_was_lost(&appliance, &points)?;
    ensure_no_leases(&appliance)?;
    let checked = appliance.local(&["list"])?;
    let listed = checked.as_array().map_or(0, Vec::len);
    ensure!(listed == points.lock().expect("no panic").len(), "a commit that was repeated made a second point");
    Ok(())
}

/// Soon, and then now and then, at places that are rather early than late, since most of what is sent is short.
fn now_and_then(seed: u64) -> impl FnMut() -> u64 + Send + 'static {
    let mut random = Random(seed);
    let mut soon = Some(1500);
    move || {
        if let Some(first) = soon.take() {
            return first;
        }
        let bits = 6 + random.below(13);
        (1 << bits) + random.below(1 << bits)
    }
}

#[test]
fn the_real_programs_get_through_a_line_that_is_cut_again_and_again() -> Result<()> {
    let appliance = Appliance::new()?;
    appliance.person("rita", "restorer")?;
    let token = appliance.token_of("rita", &["read", "restore"])?;
    let rounds = or_soak(3, 40);
    let proxies: Vec<Proxy> = (0..rounds).map(|_| Proxy::to(&appliance.server.address()?)).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let rounds: Vec<_> = (0..rounds)
            .zip(&proxies)
            .map(|(round, proxy)| {
                let (appliance, token) = (&appliance, token.as_str());
                let machine = appliance.machine(&format!("web-{round}"));
                scope.spawn(move || -> Result<()> {
                    let machine = machine?;
                    proxy.cut_by(now_and_then(round as u64));
                    let over = |mut command: Command| -> Result<Value> {
                        command.env("ICECORE_REPO", format!("http://{}/main", proxy.address));
                        command.env("ICECORE_PATIENCE", "120");
                        let output = e2e::capture(&mut command)?;
                        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
                    };
                    let bytes = content(round, 40);
                    let disk = appliance.disk(&machine.name, &bytes)?;
                    let point = over(
                        appliance.remote(&machine, &["backup", &disk.to_string_lossy(), "--name", &machine.name])?,
                    )?;
                    let to = appliance.dir().join(format!("restored-{round}"));
                    let id = point["id"].as_str().context("a point has an id")?;
                    let mut restore =
                        appliance.at_home(&format!("rita-{round}"), &["restore", id, "--to", &to.to_string_lossy()])?;
                    restore.env("ICECORE_TOKEN", token);
                    over(restore)?;
                    ensure!(std::fs::read(&to)? == bytes, "what was restored over a bad line differs");
                    Ok(())
                })
            })
            .collect();
        rounds.into_iter().try_for_each(|round| round.join().expect("no panic"))
    })?;
    let cuts: usize = proxies.iter().map(Proxy::cuts).sum();
    ensure!(cuts >= rounds, "{cuts} cuts prove nothing");
    ensure_no_leases(&appliance)
}

#[test]
fn an_enrolment_that_is_cut_anywhere_makes_one_agent_by_the_same_line() -> Result<()> {
    let appliance = Appliance::new()?;
    let proxy = Proxy::to(&appliance.server.address()?)?;
    let key = appliance.machine("template")?.key_file;
    let enrolled = |number: u64| -> Result<()> {
        let made = appliance.post("/api/v1/enrolments", &json!({"repository": "main"}))?.expect(201)?.body;
        let secret = made["secret"].as_str().context("an enrolment has a token")?.to_owned();
        let mut command = appliance.command()?;
        let directory = appliance.dir().join(format!("host-{number}"));
        command.env("ICECORE_AGENT_DIR", &directory).env("ICECORE_PATIENCE", "60").env("HOME", &directory);
        let server = format!("http://{}", proxy.address);
        command.args([
            "agent",
            "enroll",
            &server,
            "--token",
            &secret,
            "--name",
            &format!("host-{number}"),
            "--writer-key",
        ]);
        e2e::capture(command.arg(&key)).map(drop)
    };
    enrolled(0)?;
    let before = proxy.passed();
    enrolled(1)?;
    let conversation = proxy.passed() - before;
    let tries = or_soak(4, 100);
    for number in 0..tries {
        proxy.cut_after(conversation * number / tries);
        enrolled(2 + number).with_context(|| format!("cut {number} of {tries}"))?;
    }
    ensure!(proxy.cuts() as u64 >= tries * 3 / 4, "{} cuts of {tries}", proxy.cuts());
    let agents = appliance.get("/api/v1/agents?limit=500")?;
    let agents = agents["items"].as_array().context("a list has items")?;
    // The template is one, too.
    ensure!(agents.len() as u64 == tries + 3, "{} agents of {} enrolments", agents.len(), tries + 2);
    Ok(())
}

#[test]
fn jobs_are_carried_out_once_over_a_line_that_is_cut_again_and_again() -> Result<()> {
    let appliance = Appliance::with(&[("JOB_LEASE_S", "300")])?;
    let proxy = Proxy::to(&appliance.server.address()?)?;
    let machine = appliance.machine("web")?;
    let bytes = content(5, 40);
    let disk = appliance.disk("disk", &bytes)?;
    let body = json!({"name": "web", "agent_id": machine.id, "work": {"sources": {"paths": [disk]}},
        "retries": {"count": 0, "pause_s": 0}});
    let plan = appliance.post("/api/v1/plans", &body)?.expect(201)?.body;
    let plan = plan["id"].as_str().context("a plan has an id")?;
    proxy.cut_by(now_and_then(11));
    let mut command = appliance.remote(&machine, &["agent", "run", "--host", "web"])?;
    command.env("ICECORE_REPO", format!("http://{}/main", proxy.address));
    let agent = Agent::start(command, &machine)?;
    for _ in 0..or_soak(1, 30) {
        let job = appliance.post(&format!("/api/v1/plans/{plan}/run"), &json!({}))?.expect(201)?.body;
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().context("a job has an id")?);
        let job = appliance
            .until(&path, |job| ["succeeded", "failed"].contains(&job["state"].as_str()?).then(|| job.clone()))?;
        ensure!(job["state"] == "succeeded" && job["attempt"] == 1, "{job}");
        appliance.ensure_restores(&json!({"id": job["result"]["point"]}), &bytes)?;
    }
    ensure!(proxy.cuts() >= 1, "no cut, so nothing was proved");
    proxy.cut_after(NEVER);
    agent.stop()?;
    let listed = appliance.local(&["list"])?;
    ensure!(listed.as_array().map_or(0, Vec::len) == or_soak(1, 30), "{listed}");
    ensure_no_leases(&appliance)
}
