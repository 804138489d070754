//! Alerts that last or lasted.

use crate::db;
use crate::http::ApiResult;
use crate::http::body::Query;
use crate::http::cursor::Wanted;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::alert::{Alert, AlertQuery};
use web_api::id::AlertId;
use web_api::page::{Page, PageQuery};

/// Alerts, the newest first. Those that are over are kept for 90 days.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertQuery),
    responses((status = 200, body = Page<Alert>)))]
pub async fn list(State(app): State<App>, Query(query): Query<AlertQuery>) -> ApiResult<Json<Page<Alert>>> {
    let lasting = query.lasting.unwrap_or(false);
    let wanted = Wanted::<AlertId>::parse(&PageQuery { limit: query.limit, cursor: query.cursor })?;
    let found =
        app.database.read(move |connection| db::alert::page(connection, lasting, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found, |alert| alert.id)))
}
