//! Running the server: listening, the limits of connections, and the end in order.

use crate::auth::password::{Cost, Passwords};
use crate::clock::Clock;
use crate::config::Config;
use crate::copies::{self, Copies};
use crate::db::{Database, user};
use crate::jobs::Bell;
use crate::patience::{Patience, Punctual};
use crate::repositories::Repositories;
use crate::scheduler::{care, clockwork};
use crate::state::{Announcer, App, MAX_ARCHIVES, MAX_DOWNLOADS, MAX_IN_MEMORY, MAX_UPLOADS, Parts};
use crate::{alerts, auth, housekeeping, promises, router, systemd, tls};
use anyhow::Context as _;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

/// Serves until SIGTERM or SIGINT, then finishes what was begun.
pub fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let database = runtime.block_on(serve(config))?;
    // Streams and late handlers end with the runtime; what they handed over to the database is still written.
    runtime.shutdown_timeout(Duration::from_secs(5));
    database.close();
    tracing::info!("stopped");
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<Database> {
    let clock = Clock::system();
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _only_server = lock(&config)?;
    let tls = tls::load(&config, clock.now())?;
    let app = assemble(&config, address, clock.clone(), stopping)?;
    first_link(&app).await?;

    let handle = Handle::new();
    let (limit, head_within) =
        (Duration::from_secs(config.stop_within_s.get()), Duration::from_secs(config.head_within_s.get()));
    tokio::spawn(end_on_signal(endings()?, handle.clone(), stop, limit));
    tokio::spawn(housekeeping::run(app.clone()));
    tokio::spawn(clockwork::run(app.clone()));
    tokio::spawn(care::run(app.clone()));
    tokio::spawn(promises::run(app.clone()));
    tokio::spawn(alerts::run(app.clone()));
    tokio::spawn(copies::run(app.clone()));
    tokio::spawn(systemd::answer_watchdog(app.clone()));
    if let Some(tls) = &tls {
        tokio::spawn(tls::keep_fresh(tls.clone(), config.clone(), clock));
    }
    tracing::info!(%address, url = app.base_url, version = env!("CARGO_PKG_VERSION"), "listening");
    say(&format!("icecore-server listens on {}", app.base_url));
    systemd::ready();

    let service = router::router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    let http = server.http_builder();
    let stalled_after = Duration::from_secs(config.stalled_after_s.get());
    http.http1().timer(TokioTimer::new()).header_read_timeout(head_within);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(stalled_after)
        .keep_alive_timeout(head_within)
        .max_concurrent_streams(128);
    let (patience, begins_within) = (Patience { stalled_after }, head_within);
    match tls {
        Some(tls) => {
            let inner = RustlsAcceptor::new(tls).handshake_timeout(head_within).acceptor(patience);
            server.acceptor(Punctual { inner, begins_within }).serve(service).await?;
        }
        None => server.acceptor(Punctual { inner: patience, begins_within }).serve(service).await?,
    }
    Ok(app.database.clone())
}

/// Two servers on one database would be two schedulers; and nobody exchanges the database under one.
pub fn lock(config: &Config) -> anyhow::Result<Flock<File>> {
    let directory = &config.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let file =
        File::create(directory.join("lock")).with_context(|| format!("cannot write to {}", directory.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| anyhow::anyhow!("another icecore-server runs on {}; stop it first", directory.display()))
}

fn assemble(
    config: &Config,
    address: SocketAddr,
    clock: Clock,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<App> {
    let (events, metrics) = (Arc::default(), Arc::default());
    let announcer = Announcer { events: Arc::clone(&events), metrics: Arc::clone(&metrics) };
    let cost = Cost { memory_kib: config.password_memory_kib, workers: config.password_workers.get() };
    Ok(App::new(Parts {
        database: Database::open(&config.database_file(), config.database_readers, announcer)?,
        passwords: Passwords::new(cost).context("password_memory_kib cannot be used")?,
        throttle: auth::throttle::Throttle::default(),
        events,
        metrics,
        repositories: Repositories::new(config.data_dir.join("indexes")),
        stored_lately: Default::default(),
        readings: Default::default(),
        authority: tls::authority(config)?,
        bell: Bell::default(),
        job_lease: Duration::from_secs(config.job_lease_s.get()),
        rates: Default::default(),
        silence: Duration::from_secs(config.stalled_after_s.get()),
        uploads: Semaphore::new(MAX_UPLOADS),
        unfinished: Arc::default(),
        in_memory: Semaphore::new(MAX_IN_MEMORY),
        questions: Default::default(),
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        archives: Arc::new(Semaphore::new(MAX_ARCHIVES)),
        copies: Copies::of(config),
        base_url: config.base_url(address),
        secure: config.is_secure(),
        started_at: clock.now(),
        clock,
        stopping,
    }))
}

/// While nobody has an account, every start prints a link that makes the first one. Earlier ones end.
async fn first_link(app: &App) -> anyhow::Result<()> {
    let (base_url, now) = (app.base_url.clone(), app.now());
    let make = move |write: &mut crate::db::Write<'_>| {
        let nobody = user::nobody(write)?;
        nobody.then(|| auth::log_in_link::make(write, None, &base_url, now)).transpose()
    };
    if let Some(link) = app.database.write(make).await.map_err(|error: crate::db::Error| error)? {
        // To standard output and not to the log: logs are kept and sent around.
        say(&format!(
            "nobody has an account yet; make the first one (an admin) until {} at\n{}",
            link.expires_at, link.url
        ));
    }
    Ok(())
}

/// For whoever started it by hand; a server runs without that, too.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// The signals that end this server. They are caught from now on, and not only when somebody waits for them.
fn endings() -> anyhow::Result<[Signal; 2]> {
    let caught = |kind| signal(kind).context("signals cannot be received");
    Ok([caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?])
}

async fn end_on_signal(
    [mut terminate, mut interrupt]: [Signal; 2],
    handle: Handle<SocketAddr>,
    stop: watch::Sender<bool>,
    limit: Duration,
) {
    for first in [true, false] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if first {
            tracing::info!(limit_s = limit.as_secs(), "stopping; requests that were begun are finished");
            systemd::stopping();
            stop.send_replace(true);
            handle.graceful_shutdown(Some(limit));
        } else {
            tracing::warn!("stopping at once");
            handle.shutdown();
        }
    }
}
