//! The real `icecore-server` from outside: first steps, restarts, ends in order and not, and what it refuses to start with.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use e2e::Server;
use e2e::http::{Request, Response, connect};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

/// A log-in by browser.
struct Session {
    cookie: String,
    csrf_token: String,
}

impl Session {
    fn of(answer: &Response) -> Result<Self> {
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let csrf_token = answer.body["csrf_token"].as_str().context("a log-in answers with a CSRF token")?.to_owned();
        Ok(Self { cookie, csrf_token })
    }

    fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, path).header("cookie", &self.cookie).header("x-csrf-token", &self.csrf_token)
    }
}

/// Makes the first account by the printed link.
fn first_admin(server: &Server) -> Result<Session> {
    let body = json!({"secret": server.link()?, "name": "ada", "password": PASSWORD});
    let redeemed = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?;
    Session::of(&redeemed.expect(201)?)
}

fn create_token(server: &Server, admin: &Session, rights: &[&str]) -> Result<String> {
    let expires_at = "2027-12-01T00:00:00Z";
    let body = json!({"name": "test", "rights": rights, "expires_at": expires_at});
    let made = server.send(&admin.request("POST", "/api/v1/tokens").json(&body))?.expect(201)?;
    Ok(made.body["secret"].as_str().context("a token's secret is shown once")?.to_owned())
}

fn create_user(name: &str, token: &str) -> Request {
    Request::new("POST", "/api/v1/users").token(token).json(&json!({"name": name, "role": "viewer"}))
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_person_gets_in_by_the_printed_link_and_everything_survives_a_restart() -> Result<()> {
    let mut server = Server::started()?;
    let admin = first_admin(&server)?;
    let made = server.send(&admin.request("POST", "/api/v1/users").json(&json!({"name": "bob", "role": "viewer"})))?;
    let link = made.expect(201)?.body["log_in_link"]["secret"].as_str().context("a new account has a link")?.to_owned();
    let body = json!({"secret": link, "password": PASSWORD});
    let bob = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
    let bob = Session::of(&bob)?;
    let reader = create_token(&server, &admin, &["read"])?;

    assert_eq!(server.send(&bob.request("GET", "/api/v1/settings"))?.status, 200);
    assert_eq!(server.send(&bob.request("GET", "/api/v1/users"))?.code(), "forbidden");
    assert_eq!(server.send(&Request::new("GET", "/api/v1/audit").token(&reader))?.code(), "forbidden");
    server.stop()?;

    server.start()?;
    assert!(server.link().is_err(), "there are accounts, so no link is printed");
    for session in [&admin, &bob] {
        server.send(&session.request("GET", "/api/v1/session"))?.expect(200)?;
    }
    server.send(&Request::new("GET", "/metrics").token(&reader))?.expect(200)?;
    let log_in = json!({"name": "bob", "password": PASSWORD});
    server.send(&Request::new("POST", "/api/v1/session").json(&log_in))?.expect(201)?;
    server.send(&admin.request("DELETE", "/api/v1/session"))?.expect(204)?;
    assert_eq!(server.send(&admin.request("GET", "/api/v1/session"))?.code(), "not_logged_in");
    Ok(())
}

#[test]
fn a_request_that_was_begun_is_finished_after_sigterm() -> Result<()> {
    let mut server = Server::started()?;
    let admin = first_admin(&server)?;
    let token = create_token(&server, &admin, &["users"])?;
    let address = server.address()?;
    let (head, body) = create_user("bob", &token).bytes();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut connection = connect(&address)?;
    connection.write_all(&[&head, first].concat())?;
    // The server has begun with it once another request on a later connection was answered.
    server.send(&Request::new("GET", "/ready"))?.expect(200)?;
    server.signal(Signal::SIGTERM)?;
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    connection.write_all(rest)?;
    let answer = Response::read(connection)?.expect(201)?;
    assert_eq!(answer.body["user"]["name"], "bob");
    assert!(server.wait()?.success());
    server.start()?;
    let listed = server.send(&Request::new("GET", "/api/v1/users").token(&token))?;
    assert_eq!(listed.body["items"][1]["name"], "bob");
    Ok(())
}

#[test]
fn whatever_was_acknowledged_survives_kill_nine_in_the_middle_of_writes() -> Result<()> {
    const ROUNDS: usize = 20;
    let mut server = Server::started()?;
    let admin = first_admin(&server)?;
    let token = create_token(&server, &admin, &["users", "audit"])?;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::from(["ada".to_owned()])));
    let mut lost_in_flight = 0;
    for round in 0..ROUNDS {
        let asked = write_until_killed(&mut server, &token, round, &acknowledged)?;
        server.start()?;
        let known = all_names(&server, &token)?;
        let acknowledged = acknowledged.lock().expect("no panic while held");
        let missing: Vec<_> = acknowledged.difference(&known).collect();
        assert!(missing.is_empty(), "round {round}: acknowledged and lost: {missing:?}");
        lost_in_flight += asked;
        let verify = Request::new("POST", "/api/v1/audit/verify").token(&token).json(&json!({}));
        let verdict = server.send(&verify)?.expect(200)?;
        assert_eq!(verdict.body["intact"], true, "round {round}: {}", verdict.body);
    }
    assert!(lost_in_flight > 0, "no kill ever hit a write that was under way, so nothing was proved");
    Ok(())
}

/// Four writers at once until the server is killed, at another place each round. Returns how many writes were under way.
fn write_until_killed(
    server: &mut Server,
    token: &str,
    round: usize,
    acknowledged: &Arc<Mutex<BTreeSet<String>>>,
) -> Result<usize> {
    let address = server.address()?;
    let answered = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (address, token) = (address.clone(), token.to_owned());
            let (answered, acknowledged) = (Arc::clone(&answered), Arc::clone(acknowledged));
            std::thread::spawn(move || {
                for number in 0.. {
                    let name = format!("r{round}-w{writer}-{number}");
                    // An answer that does not come, or not whole, acknowledges nothing.
                    let Ok(answer) = create_user(&name, &token).send(&address) else { return 1 };
                    if answer.status == 201 {
                        acknowledged.lock().expect("no panic while held").insert(name);
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                }
                0
            })
        })
        .collect();
    while answered.load(Ordering::SeqCst) < 3 + round {
        std::thread::yield_now();
    }
    server.kill()?;
    Ok(writers.into_iter().map(|writer| writer.join().unwrap_or(0)).sum())
}

fn all_names(server: &Server, token: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/users?limit=500{cursor}");
        let page = server.send(&Request::new("GET", &path).token(token))?.expect(200)?;
        let items = page.body["items"].as_array().context("a list has items")?;
        names.extend(items.iter().filter_map(|item| item["name"].as_str()).map(str::to_owned));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(names),
        }
    }
}

#[test]
fn the_command_line_manages_accounts_beside_the_running_server() -> Result<()> {
    let server = Server::started()?;
    first_admin(&server)?;
    let made = server.run(&["admin", "create-user", "eve", "--role", "restorer"])?;
    assert!(made.status.success(), "{}", text(&made));
    let link = text(&made).split_once("/log-in#").map(|(_, secret)| secret.trim().to_owned()).context("a link")?;
    let body = json!({"secret": link, "password": PASSWORD});
    let entered = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
    assert_eq!(entered.body["role"], "restorer");
    let eve = Session::of(&entered)?;
    let reset = server.run(&["admin", "reset-password", "eve"])?;
    assert!(reset.status.success(), "{}", text(&reset));
    assert_eq!(server.send(&eve.request("GET", "/api/v1/session"))?.code(), "not_logged_in");
    for (args, part) in [
        (&["admin", "create-user", "eve"][..], "there is an account named eve"),
        (&["admin", "create-user", "E v e"], "cannot be an account's name"),
        (&["admin", "log-in-link"], "name the one that the link is for"),
        (&["admin", "reset-password", "nobody"], "no account named nobody"),
        (&["admin", "create-user", "carl", "--role", "king"], "viewer, operator, restorer, admin"),
    ] {
        let refused = server.run(args)?;
        assert!(!refused.status.success() && text(&refused).contains(part), "{args:?}: {}", text(&refused));
    }
    Ok(())
}

#[test]
fn the_audit_log_is_verified_against_a_head_that_was_noted() -> Result<()> {
    let server = Server::started()?;
    first_admin(&server)?;
    let verified = server.run(&["admin", "audit-verify"])?;
    assert!(verified.status.success() && text(&verified).contains("intact: 1 entries"), "{}", text(&verified));
    let head =
        text(&verified).lines().last().and_then(|line| line.rsplit(' ').next().map(str::to_owned)).context("a head")?;
    assert!(server.run(&["admin", "audit-verify", "--noted", &head])?.status.success());
    let other = server.run(&["admin", "audit-verify", "--noted", &format!("1:{}", "0".repeat(64))])?;
    assert_eq!(other.status.code(), Some(3), "{}", text(&other));
    let cut = server.run(&["admin", "audit-verify", "--noted", &format!("9:{}", "0".repeat(64))])?;
    assert!(cut.status.code() == Some(3) && text(&cut).contains("ends at entry 1"), "{}", text(&cut));
    Ok(())
}

#[test]
fn what_would_be_unsafe_or_unclear_is_refused_at_the_start() -> Result<()> {
    let mut running = Server::new()?;
    let dry = running.run(&["migrate", "--dry-run"])?;
    assert!(text(&dry).contains("does not exist") && !running.data_dir().exists(), "{}", text(&dry));
    running.start()?;
    let second = running.run(&["serve"])?;
    assert!(!second.status.success() && text(&second).contains("another icecore-server runs"), "{}", text(&second));
    for (key, value, part) in [
        ("LISTEN", "0.0.0.0:0", "loopback only"),
        ("LISSTEN", "x", "lissten"),
        ("PASSWORD_MEMORY_KIB", "1", "password_memory_kib"),
        ("LOG_FILTER", "web=loud", "log_filter"),
    ] {
        let mut server = Server::new()?;
        server.set(key, value);
        let refused = server.run(&["serve"])?;
        assert!(!refused.status.success() && text(&refused).contains(part), "{key}={value}: {}", text(&refused));
    }
    let migrated = running.run(&["migrate"])?;
    assert!(migrated.status.success() && text(&migrated).contains("nothing to do"), "{}", text(&migrated));
    Ok(())
}

#[test]
fn over_tls_clients_that_trust_the_internal_authority_get_in_and_plain_ones_do_not() -> Result<()> {
    let mut server = Server::new()?;
    server.set("TLS", "internal");
    server.start()?;
    let address = server.address()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.data_dir().join("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(client), ServerName::try_from("127.0.0.1")?)?;
    let body = json!({"secret": server.link()?, "name": "ada", "password": PASSWORD});
    let request = Request::new("POST", "/api/v1/log-in-links/redeem").json(&body);
    let answer = request.send_over(rustls::StreamOwned::new(client, connect(&address)?))?.expect(201)?;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-icecore-session=") && cookie.contains("Secure"), "{cookie}");
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
    assert!(Request::new("GET", "/health").send(&address).is_err(), "nothing is answered in the clear");
    Ok(())
}
