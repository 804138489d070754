//! Recovery points: what there is to restore.

use crate::db::{self, point::Filter, point::PointPlace};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::{ApiError, ApiResult};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::page::{Page, PageQuery};
use web_api::recovery_point::{ListPoints, RecoveryPoint};

/// Recovery points that are there, the newest first.
#[utoipa::path(get, path = "/api/v1/recovery-points", tag = "recovery-points", params(ListPoints),
    responses((status = 200, body = Page<RecoveryPoint>)))]
pub async fn list(State(app): State<App>, Query(query): Query<ListPoints>) -> ApiResult<Json<Page<RecoveryPoint>>> {
    let wanted = Wanted::<PointPlace>::parse(&PageQuery { limit: query.limit, cursor: query.cursor })?;
    let filter = Filter {
        repository: query.repository,
        agent: query.agent_id,
        plan: query.plan_id,
        series: query.series.map(|series| series.to_ascii_lowercase()),
        forgotten: query.forgotten.unwrap_or(false),
    };
    let (behind, limit) = (wanted.after.clone(), wanted.fetch());
    let found =
        app.database.read(move |connection| db::point::page(connection, &filter, behind.as_ref(), limit)).await?;
    Ok(Json(wanted.page(found, |point| PointPlace { received_at: point.received_at, manifest: point.id.clone() })))
}

/// One recovery point, also one that is gone.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}", tag = "recovery-points",
    params(("id" = String, Path, description = "recovery point")), responses((status = 200, body = RecoveryPoint)))]
pub async fn read(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<RecoveryPoint>> {
    let id = id.to_ascii_lowercase();
    let found = app.database.read(move |connection| db::point::get(connection, &id)).await?;
    found.map(|(_, point)| Json(point)).ok_or_else(|| ApiError::not_found("recovery point"))
}
