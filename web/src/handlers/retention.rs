//! What a plan's rules say of the recovery points that its runs made.

use crate::db::{self, receipt::Series};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::{ApiError, ApiResult};
use crate::ingest::blocking;
use crate::retention::{Received, decide};
use crate::scheduler::calendar::zone;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use repo_format::id::ManifestId;
use repo_format::store::Store as _;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use web_api::error::ErrorCode;
use web_api::id::PlanId;
use web_api::page::{Page, PageQuery};
use web_api::plan::{AskRetention, Plan, PointDecision};
use web_api::unit::Time;

/// Objects that say which points were given up (FORMAT.md, "Delete order").
const TOMBSTONES: &str = "tombstones/";

/// What the plan's rules say of every point of its series, the newest first. Nothing is deleted by that.
#[utoipa::path(get, path = "/api/v1/plans/{id}/retention", tag = "plans",
    params(("id" = PlanId, Path, description = "plan"), AskRetention), responses((status = 200, body = Page<PointDecision>)))]
pub async fn decided(
    State(app): State<App>,
    Path(id): Path<PlanId>,
    Query(query): Query<AskRetention>,
) -> ApiResult<Json<Page<PointDecision>>> {
    let wanted = Wanted::<u64>::parse(&PageQuery { limit: query.limit, cursor: query.cursor })?;
    let now = query.at.unwrap_or_else(|| app.now());
    let (_, mut items) = decisions_of(&app, id, now).await?;
    items.retain(|item| wanted.after.is_none_or(|after| item.sequence < after));
    items.truncate(usize::try_from(wanted.fetch()).unwrap_or(usize::MAX));
    Ok(Json(wanted.page(items, |item| item.sequence)))
}

/// What a plan's rules say of its points, the newest first, as of a time.
pub async fn decisions_of(app: &App, id: PlanId, now: Time) -> ApiResult<(Plan, Vec<PointDecision>)> {
    let now = Timestamp::from_millisecond(now.ms()).map_err(|error| ApiError::internal(&error))?;
    let (plan, mut points, series) = app
        .database
        .read(move |connection| {
            let plan = db::plan::get(connection, id)?.ok_or_else(|| ApiError::not_found("plan"))?;
            let series = db::receipt::series_of(connection, id)?;
            let points = series.as_ref().map(|series| db::receipt::of_series(connection, series, id)).transpose()?;
            ApiResult::Ok((plan, points.unwrap_or_default(), series))
        })
        .await?;
    if let Some(series) = series {
        let gone = gone(app, series).await?;
        points.retain(|point| !gone.contains(&point.manifest));
    }
    blocking(move || {
        let items = decisions(&plan, &points, now)?;
        Ok((plan, items))
    })
    .await
}

/// Points that a person gave up already, and did not take back.
async fn gone(app: &App, series: Series) -> ApiResult<HashSet<ManifestId>> {
    let found = app.database.read(move |connection| db::repository::get(connection, series.repository)).await?;
    let directory = PathBuf::from(found.ok_or_else(|| ApiError::not_found("repository"))?.directory);
    let app = app.clone();
    blocking(move || {
        let served = app.repositories.get(&directory).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "a repository cannot be opened");
            ApiError::new(ErrorCode::Unavailable, "the repository cannot be used at the moment")
        })?;
        let mut forgotten = HashSet::new();
        served.store().list(TOMBSTONES, &mut |key, _| {
            forgotten.extend(key.strip_prefix(TOMBSTONES).and_then(|name| name.parse::<ManifestId>().ok()));
        })?;
        Ok(forgotten)
    })
    .await
}

fn decisions(plan: &Plan, points: &[Received], now: Timestamp) -> ApiResult<Vec<PointDecision>> {
    let zone = zone(&plan.when.zone).unwrap_or(TimeZone::UTC);
    let decided = decide(&plan.keep, points, now, &zone).map_err(|error| {
        ApiError::new(ErrorCode::Invalid, "the plan's rules cannot be applied").why(error.to_string())
    })?;
    let known: HashMap<ManifestId, &Received> = points.iter().map(|point| (point.manifest, point)).collect();
    let item = |decision: repo_format::retention::Decision| {
        let point = known.get(&decision.manifest)?;
        Some(PointDecision {
            point: decision.manifest.to_string(),
            sequence: decision.sequence,
            received_at: decision.received_at.into(),
            job_id: point.run,
            verified: point.is_verified,
            keep: decision.keep,
            reasons: decision.reasons,
        })
    };
    Ok(decided.into_iter().filter_map(item).collect())
}
