//! One's own sessions: the current one, the others, and their end.

use crate::auth::caller::Via;
use crate::auth::{role, session};
use crate::db;
use crate::http::body::Path;
use crate::http::{Acting, ApiError, ApiResult, cookie};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use web_api::id::SessionId;
use web_api::page::Page;
use web_api::session::{CurrentSession, Session};

/// Who is logged in here.
#[utoipa::path(get, path = "/api/v1/session", tag = "sessions", responses((status = 200, body = CurrentSession)))]
pub async fn current(State(app): State<App>, acting: Acting) -> ApiResult<Json<CurrentSession>> {
    let own = own(&app, &acting).await?;
    let session = own.into_iter().find(|session| session.current).ok_or_else(|| ApiError::not_found("session"))?;
    let csrf_token = match acting.caller.via {
        Via::Session { csrf_token, .. } => csrf_token,
        Via::Token { .. } => String::new(),
    };
    let role = acting.caller.role;
    Ok(Json(CurrentSession { session, name: acting.caller.name, role, rights: role::rights(role), csrf_token }))
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "sessions", responses((status = 204)))]
pub async fn log_out(State(app): State<App>, acting: Acting) -> ApiResult<impl IntoResponse> {
    if let Some(id) = acting.caller.session_id() {
        end(&app, acting, id).await?;
    }
    Ok((StatusCode::NO_CONTENT, cookie::clear(app.secure)))
}

/// Where one is logged in.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", responses((status = 200, body = Page<Session>)))]
pub async fn list(State(app): State<App>, acting: Acting) -> ApiResult<Json<Page<Session>>> {
    Ok(Json(Page { items: own(&app, &acting).await?, next_cursor: None }))
}

/// Ends one of one's own sessions.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = SessionId, Path, description = "session")), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, Path(id): Path<SessionId>, acting: Acting) -> ApiResult<StatusCode> {
    end(&app, acting, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn own(app: &App, acting: &Acting) -> ApiResult<Vec<Session>> {
    let user = acting.caller.user_id;
    let (stored, settings) = app
        .database
        .read(move |connection| {
            Ok::<_, db::Error>((db::session::of_user(connection, user)?, db::settings::get(connection)?))
        })
        .await?;
    let current = acting.caller.session_id();
    let alive = stored.into_iter().filter(|stored| session::is_alive(stored, &settings, acting.now));
    let to_api = |stored: db::session::StoredSession| {
        let is_current = current == Some(stored.id);
        session::to_api(stored, &settings, is_current)
    };
    Ok(alive.map(to_api).collect())
}

async fn end(app: &App, acting: Acting, id: SessionId) -> ApiResult<()> {
    app.database
        .write(move |write| {
            if !db::session::delete(write, acting.caller.user_id, id)? {
                return Err(ApiError::not_found("session"));
            }
            acting.done(write, "session.end", &id.to_string(), "")?;
            Ok(())
        })
        .await
}
