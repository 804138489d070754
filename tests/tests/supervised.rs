//! The real `icecore-server` under a supervisor: what it tells systemd, and certificates that are exchanged while it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::Server;
use e2e::http::{Request, Response, connect};
use nix::sys::signal::Signal;
use rustls::pki_types::{CertificateDer, ServerName};

/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where systemd would listen.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    /// With a limit of the watchdog, of which the server answers in half.
    fn of(server: &mut Server, watchdog: Duration) -> Result<Self> {
        let path = server.dir().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        server.environment("NOTIFY_SOCKET", &path.to_string_lossy());
        server.environment("WATCHDOG_USEC", &watchdog.as_micros().to_string());
        Ok(Self { socket, path })
    }

    /// The next thing that the server tells, unless it tells none within this time.
    fn told(&self, within: Duration) -> Result<Option<String>> {
        let mut message = [0; 4096];
        self.socket.set_read_timeout(Some(within))?;
        match self.socket.recv(&mut message) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(&message[..length]).trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot listen at {}", self.path.display())),
        }
    }

    fn must_tell(&self, wanted: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while Instant::now() < until {
            match self.told(PATIENCE)? {
                Some(told) if told == wanted => return Ok(()),
                told => others.push(told),
            }
        }
        anyhow::bail!("it never told {wanted}, but {others:?}")
    }
}

#[test]
fn systemd_hears_ready_then_that_it_lives_and_that_it_stops() -> Result<()> {
    // Long, for machines that have much else to do.
    let watchdog = Duration::from_secs(4);
    let mut server = Server::new()?;
    let supervisor = Supervisor::of(&mut server, watchdog)?;
    server.start()?;
    ensure!(supervisor.told(PATIENCE)?.as_deref() == Some("READY=1"), "ready comes first");
    server.send(&Request::new("GET", "/ready"))?.expect(200)?;
    for _ in 0..2 {
        ensure!(supervisor.told(watchdog)?.as_deref() == Some("WATCHDOG=1"), "a sign of life comes within the limit");
    }
    server.signal(Signal::SIGTERM)?;
    supervisor.must_tell("STOPPING=1")?;
    ensure!(server.wait()?.success());
    Ok(())
}

#[test]
fn the_watchdog_hears_nothing_while_the_database_hangs_and_everything_goes_on_afterwards() -> Result<()> {
    let watchdog = Duration::from_millis(400);
    let mut server = Server::new()?;
    let supervisor = Supervisor::of(&mut server, watchdog)?;
    server.start()?;
    supervisor.must_tell("WATCHDOG=1")?;
    let other = rusqlite::Connection::open(server.data_dir().join("server.sqlite"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    // What was told before lies there still, and one answer may have been under way.
    while supervisor.told(Duration::from_millis(1))?.is_some() {}
    supervisor.told(watchdog * 5)?;
    ensure!(supervisor.told(watchdog * 5)?.is_none(), "whoever hangs says nothing");
    server.send(&Request::new("GET", "/health"))?.expect(200)?;
    other.execute_batch("ROLLBACK")?;
    supervisor.must_tell("WATCHDOG=1")?;
    server.send(&Request::new("GET", "/ready"))?.expect(200)?;
    server.stop()
}

/// A certificate for the loopback that signs itself.
struct Identity {
    certificate: CertificateDer<'static>,
    texts: [String; 2],
}

impl Identity {
    fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let texts = [made.cert.pem(), made.signing_key.serialize_pem()];
        Ok(Self { certificate: made.cert.der().clone(), texts })
    }

    /// A connection of a client that trusts this certificate alone.
    fn connect(&self, server: &Server) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = rustls::ClientConnection::new(Arc::new(client), ServerName::try_from("127.0.0.1")?)?;
        Ok(rustls::StreamOwned::new(client, connect(&server.address()?)?))
    }

    fn is_served_by(&self, server: &Server) -> Result<bool> {
        let connection = self.connect(server)?;
        Ok(Request::new("GET", "/health").send_over(connection).is_ok_and(|answer| answer.status == 200))
    }
}

#[test]
fn certificates_are_read_anew_at_sighup_and_connections_that_are_there_go_on() -> Result<()> {
    let mut server = Server::new()?;
    let files = ["certificate.pem", "key.pem"].map(|name| server.dir().join(name));
    let put = |texts: &[String; 2]| -> Result<()> {
        files.iter().zip(texts).try_for_each(|(file, text)| Ok(fs::write(file, text)?))
    };
    let (first, second, third) = (Identity::new()?, Identity::new()?, Identity::new()?);
    put(&first.texts)?;
    server.set("TLS", "files");
    server.set("TLS_CERTIFICATE_FILE", &files[0].to_string_lossy());
    server.set("TLS_KEY_FILE", &files[1].to_string_lossy());
    server.start()?;
    let mut lasting = first.connect(&server)?;
    let head = b"GET /health HTTP/1.1\r\nhost: localhost\r\n";
    lasting.write_all(&[head.as_slice(), b"\r\n"].concat())?;
    let mut answer = [0; 15];
    lasting.read_exact(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));

    put(&second.texts)?;
    reload_until_served(&server, &second)?;
    ensure!(!first.is_served_by(&server)?, "the one before is served no more");
    // What cannot be used leaves the one before in its place.
    put(&["garbage".to_owned(), third.texts[1].clone()])?;
    server.signal(Signal::SIGHUP)?;
    for _ in 0..20 {
        ensure!(second.is_served_by(&server)?, "a certificate that cannot be read must not end the one before");
    }
    put(&third.texts)?;
    reload_until_served(&server, &third)?;

    lasting.write_all(&[head.as_slice(), b"connection: close\r\n\r\n"].concat())?;
    let mut rest = Vec::new();
    lasting.read_to_end(&mut rest)?;
    let (_, second_answer) = rest.split_at(rest.windows(8).position(|part| part == b"HTTP/1.1").context("an answer")?);
    Response::read(second_answer)?.expect(200)?;
    Ok(())
}

fn reload_until_served(server: &Server, wanted: &Identity) -> Result<()> {
    server.signal(Signal::SIGHUP)?;
    let until = Instant::now() + PATIENCE;
    while !wanted.is_served_by(server)? {
        ensure!(Instant::now() < until, "the new certificate was never served");
        std::thread::yield_now();
    }
    Ok(())
}
