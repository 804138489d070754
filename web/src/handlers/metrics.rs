//! Metrics for Prometheus.

use crate::db;
use crate::http::{ApiError, ApiResult};
use crate::state::App;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(State(app): State<App>) -> ApiResult<impl IntoResponse> {
    let (plans, open) = app
        .database
        .read(|connection| Ok::<_, db::Error>((db::plan::last_good(connection)?, db::job::open(connection)?)))
        .await?;
    app.metrics.plans_and_jobs(plans, open);
    let text = app.metrics.render(app.events.listeners()).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}
