//! Logging in: by name, password and code, or by a one-time link that sets the password.
//!
//! Every way that fails takes as long and says the same, whether the account exists or not; only a right password learns that
//! a code is missing.

use crate::auth::password::Password;
use crate::auth::secret::{Kind, Secret};
use crate::auth::{self, name, password, role};
use crate::db::session::StoredSession;
use crate::db::{self, Write, log_in_link, recovery_code, user};
use crate::http::acting::Author;
use crate::http::peer::Peer;
use crate::http::{ApiError, ApiResult, Body, cookie};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use web_api::audit::Outcome;
use web_api::error::ErrorCode;
use web_api::id::SessionId;
use web_api::log_in_link::RedeemLogInLink;
use web_api::role::Role;
use web_api::session::{CurrentSession, LogIn};
use web_api::unit::Time;
use zeroize::Zeroizing;

/// What wrong links are called where accounts have names: no account has such a name.
const LINKS: &str = "log-in link";

/// Logs in. The answer sets the session's cookie and holds the CSRF token.
#[utoipa::path(post, path = "/api/v1/session", tag = "sessions", request_body = LogIn,
    responses((status = 201, body = CurrentSession)))]
pub async fn log_in(State(app): State<App>, peer: Peer, Body(request): Body<LogIn>) -> ApiResult<impl IntoResponse> {
    let (given, now) = (Zeroizing::new(request.password), app.now());
    if request.name.len() > name::MAX_CHARACTERS || given.len() > password::MAX_BYTES {
        return Err(wrong_credentials());
    }
    brake(&app, &request.name, &peer, now)?;
    let entry = Entry { peer: peer.clone(), now };
    let result = with_password(&app, &entry, request.name.clone(), given, request.code).await;
    settle(&app, &entry, &request.name, &result).await?;
    answer(&app, result?)
}

/// Uses a one-time link up: sets the password, makes the first account where there is none, and logs in.
#[utoipa::path(post, path = "/api/v1/log-in-links/redeem", tag = "sessions", request_body = RedeemLogInLink,
    responses((status = 201, body = CurrentSession)))]
pub async fn redeem(
    State(app): State<App>,
    peer: Peer,
    Body(request): Body<RedeemLogInLink>,
) -> ApiResult<impl IntoResponse> {
    let now = app.now();
    // Each address has a brake of its own: nobody guesses a link, and nobody shall keep others from using theirs.
    let name = format!("{LINKS} {}", peer.address);
    brake(&app, &name, &peer, now)?;
    let entry = Entry { peer, now };
    let result = with_link(&app, &entry, request).await;
    settle(&app, &entry, &name, &result).await?;
    answer(&app, result?)
}

/// From where and when somebody comes in.
#[derive(Clone)]
struct Entry {
    peer: Peer,
    now: Time,
}

impl Entry {
    fn author(&self, actor: &str) -> Author {
        Author { actor: actor.to_owned(), address: self.peer.address.to_string(), at: self.now }
    }
}

/// A session that was just made.
struct LoggedIn {
    secret: Secret,
    session: StoredSession,
    name: String,
    role: Role,
    settings: web_api::settings::Settings,
}

async fn with_password(
    app: &App,
    entry: &Entry,
    name: String,
    given: Password,
    code: Option<String>,
) -> ApiResult<LoggedIn> {
    let account = app.database.read(move |connection| user::find_by_name(connection, &name)).await?;
    let stored = account.as_ref().and_then(|account| account.password.clone());
    let compared = app.passwords.compare(given, stored.clone()).await?;
    let Some((account, stored)) = account.zip(stored).filter(|_| compared.is_right) else {
        return Err(wrong_credentials());
    };
    let entry = entry.clone();
    app.database
        .write(move |write| {
            // What was compared may have changed meanwhile.
            let account = user::find(write, account.user.id)?.filter(|now| now.password.as_ref() == Some(&stored));
            let account = account.filter(|account| !account.user.disabled).ok_or_else(wrong_credentials)?;
            check_code(write, &account, code.as_deref(), entry.now)?;
            if let Some(renewed) = &compared.renewed {
                user::renew_hash(write, account.user.id, &stored, renewed)?;
            }
            begin(write, &account, &entry, "password")
        })
        .await
}

async fn with_link(app: &App, entry: &Entry, request: RedeemLogInLink) -> ApiResult<LoggedIn> {
    let given = Zeroizing::new(request.password);
    let secret = Secret::parse(Kind::LogInLink, &request.secret).ok_or_else(wrong_link)?.hash();
    let link = app.database.read(move |connection| log_in_link::find(connection, &secret)).await?;
    let now = entry.now;
    let link = link.filter(|link| now < link.expires_at).ok_or_else(wrong_link)?;
    let new_name = request.name.unwrap_or_default();
    if let Some(refusal) = password::refusal(&given, &new_name) {
        return Err(ApiError::new(ErrorCode::Invalid, "this password is not good enough").why(refusal));
    }
    let hash = app.passwords.hash(given).await?;
    let entry = entry.clone();
    app.database
        .write(move |write| {
            if !log_in_link::delete(write, link.id)? {
                return Err(wrong_link());
            }
            let id = match link.user_id {
                Some(id) => id,
                None => first_account(write, &new_name, now)?,
            };
            let account = user::find(write, id)?.filter(|account| !account.user.disabled).ok_or_else(wrong_link)?;
            check_code(write, &account, request.code.as_deref(), now)?;
            user::set_password(write, id, Some(&hash))?;
            db::session::delete_others(write, id, None)?;
            begin(write, &account, &entry, &format!("link {}", link.id))
        })
        .await
}

fn first_account(write: &Write<'_>, name: &str, now: Time) -> ApiResult<web_api::id::UserId> {
    if !user::nobody(write)? {
        return Err(wrong_link());
    }
    Ok(super::users::add(write, name, Role::Admin, now)?.id)
}

/// Asks for a one-time code where the account has an authenticator. What was used is used up.
fn check_code(write: &Write<'_>, account: &user::Account, code: Option<&str>, now: Time) -> ApiResult<()> {
    let Some(secret) = &account.totp_secret else { return Ok(()) };
    let Some(code) = code else {
        return Err(ApiError::new(ErrorCode::CodeNeeded, "this account needs a one-time code too")
            .next("send the code of the authenticator, or a recovery code, as code"));
    };
    let is_right = match auth::totp::step_of(secret, code, now) {
        Some(step) => user::use_totp_step(write, account.user.id, step)?,
        None => recovery_code::take(write, account.user.id, &auth::totp::recovery_hash(code))?,
    };
    if is_right { Ok(()) } else { Err(wrong_credentials()) }
}

fn begin(write: &mut Write<'_>, account: &user::Account, entry: &Entry, how: &str) -> ApiResult<LoggedIn> {
    let secret = Secret::generate(Kind::Session);
    let session = StoredSession {
        id: SessionId::generate(),
        user_id: account.user.id,
        created_at: entry.now,
        last_seen_at: entry.now,
        address: entry.peer.address.to_string(),
        user_agent: entry.peer.user_agent.clone(),
    };
    db::session::insert(write, &session, &secret.hash())?;
    user::logged_in(write, account.user.id, entry.now)?;
    let author = entry.author(&account.user.name);
    author.record(write, "session.begin", &session.id.to_string(), Outcome::Done, &format!("by {how}"))?;
    let settings = db::settings::get(write)?;
    Ok(LoggedIn { secret, session, name: account.user.name.clone(), role: account.user.role, settings })
}

fn brake(app: &App, name: &str, peer: &Peer, now: Time) -> ApiResult<()> {
    app.throttle.begin(name, peer.address, now).map_err(|wait| {
        app.metrics.log_in(false);
        ApiError::new(ErrorCode::TooManyRequests, "too many log-ins failed for this account or from this address")
            .next("wait as long as Retry-After says; an admin can make a log-in link")
            .retry_after(wait)
    })
}

/// Tells brake, metrics and audit log how it ended. Only what is about credentials counts as a guess.
async fn settle(app: &App, entry: &Entry, name: &str, result: &ApiResult<LoggedIn>) -> ApiResult<()> {
    let code = result.as_ref().err().map(ApiError::code);
    app.metrics.log_in(code.is_none());
    match code {
        Some(ErrorCode::WrongCredentials) => {}
        None => {
            app.throttle.succeeded(name, entry.peer.address);
            return Ok(());
        }
        // The right password without a code: whoever sends the code next is forgiven then.
        Some(ErrorCode::CodeNeeded) => return Ok(()),
        Some(_) => {
            app.throttle.not_tried(name, entry.peer.address);
            return Ok(());
        }
    }
    // A name that was typed may be a password: only names that could be an account's are recorded.
    let subject = match name {
        name if name::is_allowed(name) => name.to_owned(),
        name if name.starts_with(LINKS) => LINKS.to_owned(),
        _ => "?".to_owned(),
    };
    let author = entry.author("nobody");
    let recorded = app
        .database
        .write(move |write| author.record(write, "session.begin", &subject, Outcome::Refused, "wrong credentials"))
        .await;
    Ok(recorded?)
}

fn answer(app: &App, logged_in: LoggedIn) -> ApiResult<impl IntoResponse + use<>> {
    let LoggedIn { secret, session, name, role, settings } = logged_in;
    let body = CurrentSession {
        session: auth::session::to_api(session, &settings, true),
        name,
        role,
        rights: role::rights(role),
        csrf_token: secret.csrf_token(),
    };
    Ok((StatusCode::CREATED, cookie::set(secret.expose(), app.secure), Json(body)))
}

fn wrong_credentials() -> ApiError {
    ApiError::new(ErrorCode::WrongCredentials, "name, password or code is wrong")
}

fn wrong_link() -> ApiError {
    ApiError::new(ErrorCode::WrongCredentials, "this log-in link does not work, or not any more")
        .next("ask an admin for a new one, or run `icecore-server admin log-in-link` on the server")
}
