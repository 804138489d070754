//! The one door: finds out who makes a request and whether the route is for them. No handler runs before.

use super::error::{ApiError, ApiResult};
use super::{agent, cookie, csrf};
use crate::auth::caller::{Caller, Via};
use crate::auth::need::Need;
use crate::auth::secret::{Kind, Secret};
use crate::auth::session::{self, NOTE_EVERY};
use crate::db::{self, token::Found};
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use web_api::error::ErrorCode;
use web_api::role::Right;
use web_api::unit::Time;

/// What a request proves its sender by.
pub enum Credential {
    /// A session's secret, from a cookie.
    Session(Secret),
    /// A token's secret, from `Authorization`.
    Token(Secret),
}

impl Credential {
    /// The same again, for a stream that asks from time to time whether it still counts.
    pub fn copy(&self) -> Self {
        match self {
            Self::Session(secret) => Self::Session(secret.copy()),
            Self::Token(secret) => Self::Token(secret.copy()),
        }
    }
}

/// Layer of every route: refuses, or hands the [`Caller`] on to the handler.
pub async fn guard(State((app, need)): State<(App, Need)>, mut request: Request, next: Next) -> ApiResult<Response> {
    let changes = !csrf::is_safe(request.method());
    if changes {
        csrf::check_origin(request.headers(), request.uri())?;
    }
    if need == Need::Agent || (need == Need::Objects && agent::comes(request.headers())) {
        let agent = agent::agent(&app, request.headers()).await?;
        request.extensions_mut().insert(agent);
    } else if need != Need::Nothing {
        let caller = caller(&app, credential(request.headers(), app.secure)?).await?;
        if let (true, Via::Session { csrf_token, .. }) = (changes, &caller.via) {
            csrf::check_token(request.headers(), csrf_token)?;
        }
        check_right(&caller, need)?;
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

/// What came with a request. A token counts before a cookie: it never comes unasked.
pub fn credential(headers: &HeaderMap, secure: bool) -> ApiResult<Credential> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let secret = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).map(str::trim);
        return secret
            .and_then(|text| Secret::parse(Kind::Token, text))
            .map(Credential::Token)
            .ok_or_else(|| not_logged_in("what came in Authorization is no token of this server"));
    }
    cookie::read(headers, secure)
        .and_then(|text| Secret::parse(Kind::Session, &text))
        .map(Credential::Session)
        .ok_or_else(|| not_logged_in("neither a session's cookie nor a token came with the request"))
}

/// Who that is, at this moment.
pub async fn caller(app: &App, credential: Credential) -> ApiResult<Caller> {
    let now = app.now();
    match credential {
        Credential::Session(secret) => by_session(app, secret, now).await,
        Credential::Token(secret) => by_token(app, secret, now).await,
    }
}

fn check_right(caller: &Caller, need: Need) -> ApiResult<()> {
    if caller.meets(need) {
        return Ok(());
    }
    let error = ApiError::new(ErrorCode::Forbidden, "you may not do this");
    tracing::warn!(user = %caller.name, need = need.name(), "refused for lack of a right");
    let right = match need {
        Need::Objects => Right::Restore.name(),
        _ => need.name(),
    };
    Err(match (need, &caller.via) {
        (Need::Person, _) => {
            error.why("this is for people who logged in, not for tokens").next("log in with a password")
        }
        (Need::Token, _) => error.why("this is about the token of the request").next("send one"),
        (_, Via::Session { .. }) => error
            .why(format!("the role {} does not include the right {right:?}", caller.role))
            .next("ask an admin for another role"),
        (_, Via::Token { .. }) => error
            .why(format!("the token, or its owner's role {}, does not include the right {right:?}", caller.role))
            .next(format!("make a token with this right, or `icecore login --rights {right}`")),
    })
}

async fn by_session(app: &App, secret: Secret, now: Time) -> ApiResult<Caller> {
    let hash = secret.hash();
    let found = app
        .database
        .read(move |connection| {
            let settings = db::settings::get(connection)?;
            let found = db::session::find(connection, &hash)?;
            Ok::<_, db::Error>(found.filter(|(session, _)| session::is_alive(session, &settings, now)))
        })
        .await?;
    let Some((session, owner)) = found.filter(|(_, owner)| !owner.disabled) else {
        return Err(not_logged_in("the session has ended"));
    };
    if now.since(session.last_seen_at) >= NOTE_EVERY {
        let id = session.id;
        note(app.database.write(move |write| db::session::seen(write, id, now)).await);
    }
    let via = Via::Session { id: session.id, csrf_token: secret.csrf_token() };
    Ok(Caller { user_id: session.user_id, name: owner.name, role: owner.role, via })
}

async fn by_token(app: &App, secret: Secret, now: Time) -> ApiResult<Caller> {
    let hash = secret.hash();
    let found = app.database.read(move |connection| db::token::find(connection, &hash)).await?;
    let alive = found.filter(|found| !found.owner.disabled && now < found.token.expires_at);
    let Some(Found { token, owner, is_next }) = alive else {
        return Err(not_logged_in("the token is unknown, expired or revoked"));
    };
    if is_next {
        // Refused where it cannot be stored: who uses the new one relies on the end of the old one.
        app.database.write(move |write| db::token::end_old_secret(write, &hash)).await?;
    }
    if token.last_used_at.is_none_or(|used| now.since(used) >= NOTE_EVERY) {
        let id = token.id;
        note(app.database.write(move |write| db::token::used(write, id, now)).await);
    }
    let via = Via::Token { id: token.id, rights: token.rights };
    Ok(Caller { user_id: token.user_id, name: owner.name, role: owner.role, via })
}

/// A time that could not be noted is no reason to refuse: reading works on a full disk.
fn note(result: db::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the last use of a session or token could not be noted");
    }
}

fn not_logged_in(why: &str) -> ApiError {
    ApiError::new(ErrorCode::NotLoggedIn, "you are not logged in")
        .why(why)
        .next("log in by POST /api/v1/session, or send a token as Authorization: Bearer …")
}
