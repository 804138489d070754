//! What a person changes about the own account: the password and the authenticator. Each asks for the password again.

use crate::auth::password::{self, Password};
use crate::auth::totp;
use crate::db::{self, Write, recovery_code, user};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use web_api::account::{ChangePassword, ConfirmPassword, ConfirmTotp, RecoveryCodes, TotpOffer};
use web_api::error::ErrorCode;
use zeroize::Zeroizing;

/// Sets another password. All other sessions of the account end.
#[utoipa::path(post, path = "/api/v1/account/password", tag = "account", request_body = ChangePassword,
    responses((status = 204)))]
pub async fn change_password(
    State(app): State<App>,
    acting: Acting,
    Body(request): Body<ChangePassword>,
) -> ApiResult<StatusCode> {
    let new = Zeroizing::new(request.new_password);
    if let Some(refusal) = password::refusal(&new, &acting.caller.name) {
        return Err(ApiError::new(ErrorCode::Invalid, "this password is not good enough").why(refusal));
    }
    let stored = check_password(&app, &acting, Zeroizing::new(request.current_password)).await?;
    let hash = app.passwords.hash(new).await?;
    app.database
        .write(move |write| {
            still_the_same(write, &acting, &stored)?;
            let id = acting.caller.user_id;
            user::set_password(write, id, Some(&hash))?;
            let ended = db::session::delete_others(write, id, acting.caller.session_id())?;
            acting.done(write, "account.password", &id.to_string(), &format!("{ended} other sessions ended"))?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// Offers a secret for an authenticator. It counts once a code of it was confirmed.
#[utoipa::path(post, path = "/api/v1/account/totp", tag = "account", request_body = ConfirmPassword,
    responses((status = 200, body = TotpOffer)))]
pub async fn offer_totp(
    State(app): State<App>,
    acting: Acting,
    Body(request): Body<ConfirmPassword>,
) -> ApiResult<Json<TotpOffer>> {
    let stored = check_password(&app, &acting, Zeroizing::new(request.password)).await?;
    let secret = totp::new_secret();
    app.database
        .write(move |write| {
            still_the_same(write, &acting, &stored)?;
            user::offer_totp(write, acting.caller.user_id, secret.as_slice())?;
            let appliance = db::settings::get(write)?.appliance_name;
            let (secret, url) = totp::offer(secret.as_slice(), &acting.caller.name, &appliance);
            ApiResult::Ok(Json(TotpOffer { secret, url }))
        })
        .await
}

/// Confirms an authenticator by its first code. From now on logging in needs one; the answer has the recovery codes.
#[utoipa::path(post, path = "/api/v1/account/totp/confirm", tag = "account", request_body = ConfirmTotp,
    responses((status = 200, body = RecoveryCodes)))]
pub async fn confirm_totp(
    State(app): State<App>,
    acting: Acting,
    Body(request): Body<ConfirmTotp>,
) -> ApiResult<Json<RecoveryCodes>> {
    app.throttle
        .begin(&acting.caller.name, acting.peer.address, acting.now)
        .map_err(|wait| ApiError::new(ErrorCode::TooManyRequests, "too many wrong codes").retry_after(wait))?;
    let (name, address) = (acting.caller.name.clone(), acting.peer.address);
    let codes = app.database.write(move |write| confirm(write, &acting, &request.code)).await?;
    app.throttle.succeeded(&name, address);
    Ok(Json(RecoveryCodes { codes }))
}

fn confirm(write: &mut Write<'_>, acting: &Acting, code: &str) -> ApiResult<Vec<String>> {
    let id = acting.caller.user_id;
    let account = user::find(write, id)?.ok_or_else(|| ApiError::not_found("account"))?;
    let secret = account.totp_offered.ok_or_else(|| {
        ApiError::new(ErrorCode::Conflict, "no authenticator was offered").next("begin with POST /api/v1/account/totp")
    })?;
    let step = totp::step_of(&secret, code, acting.now);
    let used = step.map(|step| user::use_totp_step(write, id, step)).transpose()?;
    if used != Some(true) {
        return Err(ApiError::new(ErrorCode::WrongCredentials, "this is not the code of the moment")
            .next("look whether the clocks of server and authenticator agree, and type the next code"));
    }
    let codes = totp::new_recovery_codes();
    user::set_totp(write, id, Some(&secret))?;
    recovery_code::replace(write, id, &codes.iter().map(|code| totp::recovery_hash(code)).collect::<Vec<_>>())?;
    acting.done(write, "account.totp_set", &id.to_string(), "")?;
    Ok(codes)
}

/// Takes the authenticator away.
#[utoipa::path(post, path = "/api/v1/account/totp/remove", tag = "account", request_body = ConfirmPassword,
    responses((status = 204)))]
pub async fn remove_totp(
    State(app): State<App>,
    acting: Acting,
    Body(request): Body<ConfirmPassword>,
) -> ApiResult<StatusCode> {
    let stored = check_password(&app, &acting, Zeroizing::new(request.password)).await?;
    app.database
        .write(move |write| {
            still_the_same(write, &acting, &stored)?;
            let id = acting.caller.user_id;
            user::set_totp(write, id, None)?;
            recovery_code::replace(write, id, &[])?;
            acting.done(write, "account.totp_removed", &id.to_string(), "")?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// The stored hash, once the password was right. Wrong ones count for the brake: a stolen session must not guess either.
async fn check_password(app: &App, acting: &Acting, given: Password) -> ApiResult<String> {
    let (id, name, address) = (acting.caller.user_id, &acting.caller.name, acting.peer.address);
    app.throttle
        .begin(name, address, acting.now)
        .map_err(|wait| ApiError::new(ErrorCode::TooManyRequests, "too many wrong passwords").retry_after(wait))?;
    if given.len() > password::MAX_BYTES {
        return Err(wrong_password());
    }
    let account = app.database.read(move |connection| user::find(connection, id)).await?;
    let stored = account.and_then(|account| account.password);
    let compared = app.passwords.compare(given, stored.clone()).await?;
    let stored = stored.filter(|_| compared.is_right).ok_or_else(wrong_password)?;
    app.throttle.succeeded(name, address);
    Ok(stored)
}

/// Between comparing and writing somebody else may have set another password.
fn still_the_same(write: &Write<'_>, acting: &Acting, stored: &str) -> ApiResult<()> {
    let account = user::find(write, acting.caller.user_id)?;
    let same = account.is_some_and(|account| account.password.as_deref() == Some(stored));
    if same { Ok(()) } else { Err(wrong_password()) }
}

fn wrong_password() -> ApiError {
    ApiError::new(ErrorCode::WrongCredentials, "the password is wrong")
}
