//! Whether the server lives and is ready, for supervisors and load balancers; how it is, for people.

use crate::db;
use crate::http::{ApiError, ApiResult};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use web_api::error::ErrorCode;
use web_api::health::{Health, Liveness};
use web_api::unit::ByteCount;

/// A database that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process answers. Nothing else is looked at: a supervisor that restarts on this must not restart for a full disk.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Liveness)))]
pub async fn alive() -> Json<Liveness> {
    Json(Liveness { status: "ok".into() })
}

/// Requests that read and write would be served now.
#[utoipa::path(get, path = "/ready", tag = "health", responses((status = 200, body = Liveness)))]
pub async fn ready(State(app): State<App>) -> ApiResult<Json<Liveness>> {
    if *app.stopping.borrow() {
        return Err(ApiError::new(ErrorCode::Unavailable, "the server is stopping"));
    }
    check_database(&app).await?;
    check_room(&app).await?;
    Ok(Json(Liveness { status: "ok".into() }))
}

/// With less room than this the next change may be one too many.
const LEAST_ROOM_BYTES: u64 = 1 << 20;

/// Whether something can be stored: there is room, and a page is stored, unless one was a moment ago. A page alone proves little, since the
/// database has places of its own to write to again.
async fn check_room(app: &App) -> ApiResult<()> {
    let directory = app.database.path().parent().unwrap_or(app.database.path());
    let room_bytes = nix::sys::statvfs::statvfs(directory).map(|disk| disk.blocks_available() * disk.fragment_size());
    if room_bytes.is_ok_and(|room_bytes| room_bytes < LEAST_ROOM_BYTES) {
        return Err(db::Error::Full.into());
    }
    if app.stored_lately.is_so() {
        return Ok(());
    }
    let stored = tokio::time::timeout(PATIENCE, app.database.write(|write| db::settings::store_again(write))).await;
    stored.map_err(|_| ApiError::new(ErrorCode::Unavailable, "the database does not answer"))??;
    app.stored_lately.note();
    Ok(())
}

/// When something was stored to see whether it can be, so that whoever asks often costs no more.
#[derive(Default)]
pub struct StoredLately(Mutex<Option<Instant>>);

/// For so long it is taken for granted afterwards.
const LATELY: Duration = Duration::from_secs(1);

impl StoredLately {
    fn is_so(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < LATELY)
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Whether the writing thread and a reader answer in time.
pub async fn check_database(app: &App) -> ApiResult<()> {
    let asked = async {
        app.database.write(|write| db::settings::get(write).map(drop)).await?;
        app.database.read(|connection| db::settings::get(connection).map(drop)).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::new(ErrorCode::Unavailable, "the database does not answer")),
    }
}

/// How the server is.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", responses((status = 200, body = Health)))]
pub async fn health(State(app): State<App>) -> ApiResult<Json<Health>> {
    let database_version =
        app.database.read(|connection| db::open::version(connection).map_err(db::Error::from)).await?;
    let database_bytes = std::fs::metadata(app.database.path()).map_or(0, |metadata| metadata.len());
    Ok(Json(Health {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: app.started_at,
        now_at: app.now(),
        database_version,
        database_bytes: ByteCount(database_bytes),
    }))
}
