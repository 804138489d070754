//! The settings that an admin changes while the server runs.

use crate::db;
use crate::http::etag::{IfMatch, etag};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use std::ops::RangeInclusive;
use web_api::error::ErrorCode;
use web_api::settings::{ChangeSettings, Settings};

const NAME_CHARACTERS: RangeInclusive<usize> = 1..=100;
const SESSION_IDLE_S: RangeInclusive<u64> = 300..=2_592_000;
const SESSION_LIFETIME_S: RangeInclusive<u64> = 300..=7_776_000;
const LOG_IN_LINK_LIFETIME_S: RangeInclusive<u64> = 300..=604_800;

/// What holds now.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = Settings)))]
pub async fn read(State(app): State<App>) -> ApiResult<impl IntoResponse> {
    let settings = app.database.read(db::settings::get).await?;
    Ok((etag(settings.revision), Json(settings)))
}

/// Changes some of them.
#[utoipa::path(patch, path = "/api/v1/settings", tag = "settings", request_body = ChangeSettings,
    responses((status = 200, body = Settings)))]
pub async fn change(
    State(app): State<App>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangeSettings>,
) -> ApiResult<impl IntoResponse> {
    let settings = app
        .database
        .write(move |write| {
            let mut settings = db::settings::get(write)?;
            if_match.check(settings.revision)?;
            let changed = apply(&mut settings, change)?;
            db::settings::set(write, &settings)?;
            acting.done(write, "settings.change", "settings", &changed.join(", "))?;
            ApiResult::Ok(db::settings::get(write)?)
        })
        .await?;
    Ok((etag(settings.revision), Json(settings)))
}

/// Changes what is given; returns the names of what was.
fn apply(settings: &mut Settings, change: ChangeSettings) -> ApiResult<Vec<&'static str>> {
    let mut changed = Vec::new();
    if let Some(name) = change.appliance_name {
        if !NAME_CHARACTERS.contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(ApiError::new(ErrorCode::Invalid, "appliance_name has 1 to 100 characters that can be seen"));
        }
        settings.appliance_name = name;
        changed.push("appliance_name");
    }
    for (name, value, new, allowed) in [
        ("session_idle_s", &mut settings.session_idle_s, change.session_idle_s, SESSION_IDLE_S),
        ("session_lifetime_s", &mut settings.session_lifetime_s, change.session_lifetime_s, SESSION_LIFETIME_S),
        (
            "log_in_link_lifetime_s",
            &mut settings.log_in_link_lifetime_s,
            change.log_in_link_lifetime_s,
            LOG_IN_LINK_LIFETIME_S,
        ),
    ] {
        let Some(new) = new else { continue };
        if !allowed.contains(&new) {
            let (least, most) = (allowed.start(), allowed.end());
            return Err(ApiError::new(ErrorCode::Invalid, format!("{name} is {new}; allowed is {least} to {most}")));
        }
        *value = new;
        changed.push(name);
    }
    Ok(changed)
}
