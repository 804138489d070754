//! The audit log: its pages, and the walk along its chain.

use crate::audit::Walk;
use crate::db;
use crate::http::body::Query;
use crate::http::cursor::Wanted;
use crate::http::{ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::audit::{AuditEntry, AuditHead, AuditVerdict, VerifyAudit};
use web_api::page::{Page, PageQuery};

/// Entries, the latest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(PageQuery),
    responses((status = 200, body = Page<AuditEntry>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<AuditEntry>>> {
    let wanted = Wanted::<u64>::parse(&query)?;
    let entries =
        app.database.read(move |connection| db::audit::page(connection, wanted.after, wanted.fetch())).await?;
    let entries = entries.iter().map(crate::audit::Entry::to_api).collect();
    Ok(Json(wanted.page(entries, |entry| entry.number)))
}

/// Walks along the whole chain. Give a head that was noted elsewhere: only that finds a log that was cut or written anew.
#[utoipa::path(post, path = "/api/v1/audit/verify", tag = "audit", request_body = VerifyAudit,
    responses((status = 200, body = AuditVerdict)))]
pub async fn verify(State(app): State<App>, Body(request): Body<VerifyAudit>) -> ApiResult<Json<AuditVerdict>> {
    let verdict = app.database.read(move |connection| walk(connection, request.noted)).await?;
    if let Some(damage) = &verdict.damage {
        tracing::error!(damage, "the audit log is not intact");
    }
    Ok(Json(verdict))
}

/// The walk, for the command line too.
pub fn walk(connection: &rusqlite::Connection, noted: Option<AuditHead>) -> db::Result<AuditVerdict> {
    let mut walk = Walk::new(noted);
    db::audit::walk(connection, |entry| walk.step(entry))?;
    Ok(walk.verdict())
}
