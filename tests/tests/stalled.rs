//! Clients that hold a connection and do not go on, against the real server over real sockets: each is cut off, and nobody else waits for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::Server;
use e2e::appliance::{Appliance, content, noise};
use e2e::http::{Request, Response, connect};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

/// What the server is told to wait for.
const LIMIT: Duration = Duration::from_secs(1);
/// Who is still connected after this time was not cut off.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client says before it says no more.
const BEGINNINGS: [&str; 7] = [
    "",
    "G",
    "PRI * HTTP/2.0\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET /ready HTTP/1.1\r\n",
    "GET /ready HTTP/1.1\r\nhost: localhost\r\nx: ",
    "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n",
];
/// Clients that stall in each of these ways at the same time.
const OF_EACH: usize = 20;

fn server() -> Result<Server> {
    let mut server = Server::new()?;
    server.set("HEAD_WITHIN_S", &LIMIT.as_secs().to_string());
    server.set("STALLED_AFTER_S", &LIMIT.as_secs().to_string());
    Ok(server)
}

fn stall(server: &Server, beginning: &str) -> Result<TcpStream> {
    let mut connection = connect(&server.address()?)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(beginning.as_bytes())?;
    Ok(connection)
}

/// Reads until the server ends the connection, in whichever way.
fn ensure_cut_off(mut connection: impl std::io::Read, how: &str) -> Result<()> {
    let mut said = Vec::new();
    match connection.read_to_end(&mut said) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            anyhow::bail!("after {PATIENCE:?} who said {how:?} still holds a connection")
        }
        // A reset ends it, too.
        Err(_) => Ok(()),
    }
}

#[test]
fn who_sends_no_whole_head_is_cut_off_and_nobody_waits_for_it() -> Result<()> {
    let mut server = server()?;
    server.start()?;
    let mut stalled = Vec::new();
    for beginning in BEGINNINGS {
        for _ in 0..OF_EACH {
            stalled.push((stall(&server, beginning)?, beginning));
        }
    }
    for _ in 0..10 {
        server.send(&Request::new("GET", "/ready"))?.expect(200)?;
    }
    stalled.into_iter().try_for_each(|(connection, beginning)| ensure_cut_off(connection, beginning))
}

#[test]
fn a_head_that_comes_a_byte_at_a_time_is_cut_off() -> Result<()> {
    let mut server = server()?;
    server.start()?;
    let mut connection = stall(&server, "GET /ready HTTP/1.1\r\nx: ")?;
    connection.set_read_timeout(Some(Duration::from_millis(50)))?;
    let began = Instant::now();
    // The pause between two bytes is the time for which the read waits.
    while connection.write_all(b"y").is_ok() {
        ensure!(began.elapsed() < PATIENCE, "it may go on for ever");
        if connection.read(&mut [0; 256]).is_ok_and(|length| length == 0) {
            break;
        }
    }
    ensure!(began.elapsed() + Duration::from_millis(100) > LIMIT, "a slow line is no attack: {:?}", began.elapsed());
    Ok(())
}

#[test]
fn over_tls_neither_a_handshake_nor_the_silence_after_it_lasts() -> Result<()> {
    let mut server = server()?;
    server.set("TLS", "internal");
    server.start()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.data_dir().join("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = Arc::new(
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    ensure_cut_off(stall(&server, "")?, "nothing")?;
    ensure_cut_off(stall(&server, "\x16\x03\x01")?, "the beginning of a handshake")?;
    for beginning in BEGINNINGS {
        let session = rustls::ClientConnection::new(client.clone(), ServerName::try_from("127.0.0.1")?)?;
        let mut stream = rustls::StreamOwned::new(session, stall(&server, "")?);
        stream.conn.complete_io(&mut stream.sock)?;
        stream.write_all(beginning.as_bytes())?;
        ensure_cut_off(stream, beginning)?;
    }
    Ok(())
}

#[test]
fn who_stops_in_the_middle_of_an_object_is_told_and_leaves_what_it_may_go_on_with() -> Result<()> {
    let appliance = Appliance::with(&[("STALLED_AFTER_S", "1")])?;
    let web = appliance.machine("web")?;
    let address = appliance.server.address()?;
    let id = "ab".repeat(32);
    let put = format!(
        "PUT /api/v1/repositories/main/objects/data.ab.{id} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 1000000\r\n\r\n",
        web.secret
    );
    // More than may arrive at the same time: whoever waits for a place gets one when those before are cut off.
    let stalled: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut connection = connect(&address)?;
            connection.write_all(put.as_bytes())?;
            connection.write_all(&[7; 1000])?;
            Ok(connection)
        })
        .collect::<Result<_>>()?;
    let disk = appliance.disk("disk", &content(1, 20))?;
    let point = appliance.backup(&web, &disk, "web")?;
    for connection in stalled {
        // It may be reset before the answer was read as a whole, since the rest of what was announced never came.
        if let Ok(answer) = Response::read(connection) {
            ensure!(answer.code() == "timed_out", "{}", answer.body);
        }
    }
    appliance.ensure_restores(&point, &content(1, 20))?;
    let left = std::fs::read_dir(appliance.repository().join("tmp")).map(Iterator::count).unwrap_or_default();
    ensure!(left == 1, "{left} files are left: of one pack of one machine one part is kept");
    Ok(())
}

#[test]
fn who_takes_no_answer_is_cut_off() -> Result<()> {
    const CLIENTS: usize = 8;
    let appliance = Appliance::with(&[("STALLED_AFTER_S", "1")])?;
    let web = appliance.machine("web")?;
    // One pack that is longer than what two sockets hold by themselves.
    let bytes = noise(1, 16 << 20);
    let disk = appliance.disk("disk", &bytes)?;
    appliance.backup(&web, &disk, "web")?;
    let key = largest_pack(&appliance)?;
    appliance.person("rita", "restorer")?;
    let token = appliance.token_of("rita", &["restore"])?;
    let before = open_sockets_at_rest(&appliance.server)?;
    let get = Request::new("GET", &format!("/api/v1/repositories/main/objects/{key}"))
        .token(&token)
        .header("range", "bytes=0-8388607");
    let (head, _) = get.bytes();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = connect(&appliance.server.address()?)?;
        connection.write_all(&head)?;
        // The answer has begun.
        connection.read_exact(&mut [0; 8])?;
        clients.push(connection);
    }
    let until = Instant::now() + PATIENCE;
    while open_sockets(&appliance.server)? > before {
        ensure!(Instant::now() < until, "whoever reads nothing holds its place for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    for mut client in clients {
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        ensure!(rest.len() < 8 << 20, "it got everything, so nothing was proved");
    }
    Ok(())
}

/// As it stands in a URL.
fn largest_pack(appliance: &Appliance) -> Result<String> {
    let mut largest = (0, String::new());
    for directory in std::fs::read_dir(appliance.repository().join("data"))? {
        let directory = directory?;
        for pack in std::fs::read_dir(directory.path())? {
            let pack = pack?;
            let name = format!("data.{}.{}", directory.file_name().display(), pack.file_name().display());
            largest = largest.max((pack.metadata()?.len(), name));
        }
    }
    ensure!(largest.0 > 8 << 20, "the largest pack has {} bytes", largest.0);
    Ok(largest.1)
}

/// Sockets that the server has open when those of earlier requests are closed.
fn open_sockets_at_rest(server: &Server) -> Result<usize> {
    let (mut seen, mut times) = (0, 0);
    while times < 10 {
        let now = open_sockets(server)?;
        times = if now == seen { times + 1 } else { 0 };
        seen = now;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(seen)
}

/// Sockets that the server has open.
fn open_sockets(server: &Server) -> Result<usize> {
    let mut sockets = 0;
    for descriptor in std::fs::read_dir(format!("/proc/{}/fd", server.pid()?))? {
        // One that was closed since the listing is none.
        let Ok(target) = std::fs::read_link(descriptor?.path()) else { continue };
        sockets += usize::from(target.to_string_lossy().starts_with("socket:"));
    }
    Ok(sockets)
}
