//! One's own API tokens.

use crate::auth::role;
use crate::auth::secret::{Kind, Secret};
use crate::db::{self, Write};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::time::Duration;
use web_api::error::ErrorCode;
use web_api::id::{TokenId, UserId};
use web_api::page::{Page, PageQuery};
use web_api::role::Right;
use web_api::token::{CreateToken, CreatedToken, Token};

const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=100;
const LONGEST: Duration = Duration::from_secs(2 * 366 * 24 * 3600);

impl Made for CreatedToken {
    fn without_secret(&self) -> Self {
        Self { token: self.token.clone(), secret: None }
    }
}

/// One's own tokens in the order of making.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(PageQuery),
    responses((status = 200, body = Page<Token>)))]
pub async fn list(
    State(app): State<App>,
    acting: Acting,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Token>>> {
    let wanted = Wanted::<TokenId>::parse(&query)?;
    let user = acting.caller.user_id;
    let found =
        app.database.read(move |connection| db::token::page(connection, user, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found, |token| token.id)))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = CreateToken,
    responses((status = 201, body = CreatedToken)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreateToken>,
) -> ApiResult<(StatusCode, Json<CreatedToken>)> {
    let made = app
        .database
        .write(move |write| once(write, &key, &acting, &request, |write| make(write, &acting, &request)))
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

fn make(write: &mut Write<'_>, acting: &Acting, request: &CreateToken) -> ApiResult<CreatedToken> {
    let rights = check(request, acting)?;
    let secret = Secret::generate(Kind::Token);
    let token = Token {
        id: TokenId::generate(),
        user_id: acting.caller.user_id,
        name: request.name.clone(),
        prefix: secret.prefix().to_owned(),
        rights,
        created_at: acting.now,
        expires_at: request.expires_at,
        last_used_at: None,
    };
    db::token::insert(write, &token, &secret.hash())?;
    let names = token.rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ");
    acting.done(write, "token.create", &token.id.to_string(), &format!("{}, may {names}", token.name))?;
    Ok(CreatedToken { token, secret: Some(secret.expose().to_owned()) })
}

/// The rights in their order, each once.
fn check(request: &CreateToken, acting: &Acting) -> ApiResult<Vec<Right>> {
    let invalid = |what: String| Err(ApiError::new(ErrorCode::Invalid, what));
    if !NAME_CHARACTERS.contains(&request.name.chars().count()) || request.name.chars().any(char::is_control) {
        return invalid("a token's name has 1 to 100 characters that can be seen".into());
    }
    if request.expires_at <= acting.now || request.expires_at > acting.now.after(LONGEST) {
        return invalid("a token ends in the future and within two years".into());
    }
    if request.rights.is_empty() {
        return invalid("a token needs at least one right".into());
    }
    let role = acting.caller.role;
    if let Some(right) = request.rights.iter().find(|right| !role::includes(role, **right)) {
        return invalid(format!("your role {role} does not include the right {right}, so no token of yours can"));
    }
    Ok(Right::ALL.iter().copied().filter(|right| request.rights.contains(right)).collect())
}

/// Revokes one of one's own tokens.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = TokenId, Path, description = "token")), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, Path(id): Path<TokenId>, acting: Acting) -> ApiResult<StatusCode> {
    app.database.write(move |write| revoke_for(write, &acting, acting.caller.user_id, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revokes a token of an account.
pub fn revoke_for(write: &mut Write<'_>, acting: &Acting, user: UserId, id: TokenId) -> ApiResult<()> {
    if !db::token::delete(write, user, id)? {
        return Err(ApiError::not_found("token"));
    }
    acting.done(write, "token.revoke", &id.to_string(), &format!("of account {user}"))?;
    Ok(())
}
