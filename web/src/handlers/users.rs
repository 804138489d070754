//! People's accounts, as an admin manages them: with the sessions and tokens that hang on them.

use crate::auth::{self, name, session};
use crate::db::{self, Write, user};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::etag::{IfMatch, etag};
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use web_api::error::ErrorCode;
use web_api::id::{TokenId, UserId};
use web_api::log_in_link::NewLogInLink;
use web_api::page::{Page, PageQuery};
use web_api::role::Role;
use web_api::session::Session;
use web_api::token::Token;
use web_api::user::{ChangeUser, CreateUser, CreatedUser, User};

impl Made for CreatedUser {
    fn without_secret(&self) -> Self {
        Self { user: self.user.clone(), log_in_link: None }
    }
}

/// Accounts in the order of making.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(PageQuery),
    responses((status = 200, body = Page<User>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<User>>> {
    let wanted = Wanted::<UserId>::parse(&query)?;
    let users = app.database.read(move |connection| user::page(connection, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(users, |user| user.id)))
}

/// Makes an account. The person sets the password by the one-time link in the answer.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = CreateUser,
    responses((status = 201, body = CreatedUser)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreateUser>,
) -> ApiResult<impl IntoResponse> {
    let base_url = app.base_url.clone();
    let made = app
        .database
        .write(move |write| {
            once(write, &key, &acting, &request, |write| {
                let user = add(write, &request.name, request.role, acting.now)?;
                let link = auth::log_in_link::make(write, Some(user.id), &base_url, acting.now)?;
                let detail = format!("{} as {}", user.name, user.role);
                acting.done(write, "user.create", &user.id.to_string(), &detail)?;
                Ok(CreatedUser { user, log_in_link: Some(link) })
            })
        })
        .await?;
    let location = format!("/api/v1/users/{}", made.user.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], etag(made.user.revision), Json(made)))
}

/// Stores a new account, for the command line too.
pub fn add(write: &Write<'_>, wanted: &str, role: Role, now: web_api::unit::Time) -> ApiResult<User> {
    if !name::is_allowed(wanted) {
        return Err(ApiError::new(ErrorCode::Invalid, "this cannot be an account's name")
            .why("a name has 1 to 64 small letters, digits, '.', '_' or '-' and begins with a letter or digit"));
    }
    let id = UserId::generate();
    user::insert(write, id, wanted, role, now).map_err(|error| {
        if error.is_duplicate() {
            ApiError::new(ErrorCode::Conflict, format!("there is an account named {wanted}"))
                .next("choose another name")
        } else {
            error.into()
        }
    })?;
    Ok(existing(write, id)?.user)
}

/// One account.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "users", params(("id" = UserId, Path, description = "account")),
    responses((status = 200, body = User)))]
pub async fn read(State(app): State<App>, Path(id): Path<UserId>) -> ApiResult<impl IntoResponse> {
    let user = app.database.read(move |connection| existing(connection, id)).await?.user;
    Ok((etag(user.revision), Json(user)))
}

/// Changes role, or whether it is disabled. Disabling ends all sessions.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", request_body = ChangeUser,
    params(("id" = UserId, Path, description = "account")), responses((status = 200, body = User)))]
pub async fn change(
    State(app): State<App>,
    Path(id): Path<UserId>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangeUser>,
) -> ApiResult<impl IntoResponse> {
    let user = app
        .database
        .write(move |write| {
            let user = existing(write, id)?.user;
            if_match.check(user.revision)?;
            let (role, disabled) = (change.role.unwrap_or(user.role), change.disabled.unwrap_or(user.disabled));
            user::change(write, id, role, disabled)?;
            keep_an_admin(write)?;
            if disabled {
                db::session::delete_others(write, id, None)?;
            }
            let detail = format!("{}: role {role}, disabled {disabled}", user.name);
            acting.done(write, "user.change", &id.to_string(), &detail)?;
            existing(write, id)
        })
        .await?
        .user;
    Ok((etag(user.revision), Json(user)))
}

/// Removes an account with its sessions, tokens and links. What it did stays in the audit log.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "users",
    params(("id" = UserId, Path, description = "account")), responses((status = 204)))]
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<UserId>,
    if_match: IfMatch,
    acting: Acting,
) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let user = existing(write, id)?.user;
            if_match.check(user.revision)?;
            user::delete(write, id)?;
            keep_an_admin(write)?;
            acting.done(write, "user.remove", &id.to_string(), &user.name)?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// Makes a new one-time link for a person who lost the password. Earlier links end.
#[utoipa::path(post, path = "/api/v1/users/{id}/log-in-link", tag = "users",
    params(("id" = UserId, Path, description = "account")), responses((status = 201, body = NewLogInLink)))]
pub async fn make_link(
    State(app): State<App>,
    Path(id): Path<UserId>,
    acting: Acting,
) -> ApiResult<(StatusCode, Json<NewLogInLink>)> {
    let base_url = app.base_url.clone();
    let link = app
        .database
        .write(move |write| {
            let user = existing(write, id)?.user;
            let link = auth::log_in_link::make(write, Some(id), &base_url, acting.now)?;
            acting.done(write, "user.log_in_link", &id.to_string(), &format!("{}, link {}", user.name, link.id))?;
            ApiResult::Ok(link)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(link)))
}

/// Where a person is logged in.
#[utoipa::path(get, path = "/api/v1/users/{id}/sessions", tag = "users",
    params(("id" = UserId, Path, description = "account")), responses((status = 200, body = Page<Session>)))]
pub async fn sessions(
    State(app): State<App>,
    Path(id): Path<UserId>,
    acting: Acting,
) -> ApiResult<Json<Page<Session>>> {
    let (found, settings) = app
        .database
        .read(move |connection| {
            existing(connection, id)?;
            ApiResult::Ok((db::session::of_user(connection, id)?, db::settings::get(connection)?))
        })
        .await?;
    let current = acting.caller.session_id();
    let alive = found.into_iter().filter(|stored| session::is_alive(stored, &settings, acting.now));
    let items = alive.map(|stored| {
        let is_current = current == Some(stored.id);
        session::to_api(stored, &settings, is_current)
    });
    Ok(Json(Page { items: items.collect(), next_cursor: None }))
}

/// Logs a person out everywhere.
#[utoipa::path(delete, path = "/api/v1/users/{id}/sessions", tag = "users",
    params(("id" = UserId, Path, description = "account")), responses((status = 204)))]
pub async fn end_sessions(State(app): State<App>, Path(id): Path<UserId>, acting: Acting) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let user = existing(write, id)?.user;
            let ended = db::session::delete_others(write, id, None)?;
            acting.done(write, "user.end_sessions", &id.to_string(), &format!("{}, {ended} sessions", user.name))?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// A person's tokens.
#[utoipa::path(get, path = "/api/v1/users/{id}/tokens", tag = "users", params(("id" = UserId, Path, description = "account"), PageQuery),
    responses((status = 200, body = Page<Token>)))]
pub async fn tokens(
    State(app): State<App>,
    Path(id): Path<UserId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Token>>> {
    let wanted = Wanted::<TokenId>::parse(&query)?;
    let found = app
        .database
        .read(move |connection| {
            existing(connection, id)?;
            ApiResult::Ok(db::token::page(connection, id, wanted.after, wanted.fetch())?)
        })
        .await?;
    Ok(Json(wanted.page(found, |token| token.id)))
}

/// Revokes a person's token.
#[utoipa::path(delete, path = "/api/v1/users/{id}/tokens/{token_id}", tag = "users",
    params(("id" = UserId, Path, description = "account"), ("token_id" = TokenId, Path, description = "token")),
    responses((status = 204)))]
pub async fn revoke_token(
    State(app): State<App>,
    Path((id, token_id)): Path<(UserId, TokenId)>,
    acting: Acting,
) -> ApiResult<StatusCode> {
    app.database.write(move |write| super::tokens::revoke_for(write, &acting, id, token_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn existing(connection: &rusqlite::Connection, id: UserId) -> ApiResult<user::Account> {
    user::find(connection, id)?.ok_or_else(|| ApiError::not_found("account"))
}

/// Checked after the change, in its transaction: two changes at once cannot each remove the other's admin.
fn keep_an_admin(write: &Write<'_>) -> ApiResult<()> {
    if user::enabled_admins(write)? > 0 {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Conflict, "this is the last admin; nothing was done")
        .why("without an admin nobody could manage this server")
        .next("make somebody else an admin first"))
}
