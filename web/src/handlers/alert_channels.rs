//! Where alerts are told: mail and webhooks, with a trial of each.

use crate::alerts::{self, is_address};
use crate::auth::secret::{Kind, Secret};
use crate::db::alert_channel::{self, StoredChannel};
use crate::db::{self, Write, settings};
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
use rusqlite::Connection;
use std::net::IpAddr;
use std::time::Duration;
use web_api::alert::{
    AlertChannel, AlertKind, AlertTarget, ChangeAlertChannel, CreateAlertChannel, CreatedAlertChannel, MailEncryption,
};
use web_api::error::ErrorCode;
use web_api::id::AlertChannelId;
use web_api::page::{Page, PageQuery};
use zeroize::Zeroizing;

const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=100;
const RECIPIENTS: std::ops::RangeInclusive<usize> = 1..=20;
const MAX_URL_CHARACTERS: usize = 2000;
const MAX_PASSWORD_CHARACTERS: usize = 1000;
/// Between two trials of one channel.
const TRIAL_GAP: Duration = Duration::from_secs(10);

impl Made for CreatedAlertChannel {
    fn without_secret(&self) -> Self {
        Self { channel: self.channel.clone(), secret: None }
    }
}

/// Channels in the order of making.
#[utoipa::path(get, path = "/api/v1/alert-channels", tag = "alert_channels", params(PageQuery),
    responses((status = 200, body = Page<AlertChannel>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<AlertChannel>>> {
    let wanted = Wanted::<AlertChannelId>::parse(&query)?;
    let found =
        app.database.read(move |connection| alert_channel::page(connection, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found.into_iter().map(|stored| stored.channel).collect(), |channel| channel.id)))
}

/// Adds a channel. A webhook's secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/alert-channels", tag = "alert_channels", request_body = CreateAlertChannel,
    responses((status = 201, body = CreatedAlertChannel)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreateAlertChannel>,
) -> ApiResult<impl IntoResponse> {
    let made = app
        .database
        .write(move |write| once(write, &key, &acting, &request, |write| make(write, &acting, &request)))
        .await?;
    let location = format!("/api/v1/alert-channels/{}", made.channel.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], etag(made.channel.revision), Json(made)))
}

fn make(write: &mut Write<'_>, acting: &Acting, request: &CreateAlertChannel) -> ApiResult<CreatedAlertChannel> {
    check_target(&request.target, request.mail_password.as_deref())?;
    let secret = match &request.target {
        AlertTarget::Webhook { .. } => Some(Zeroizing::new(Secret::generate(Kind::Webhook).expose().to_owned())),
        AlertTarget::Mail { .. } => request.mail_password.clone().map(Zeroizing::new),
    };
    let channel = AlertChannel {
        id: AlertChannelId::generate(),
        name: checked_name(&request.name)?,
        enabled: true,
        kinds: each_once(&request.kinds),
        target: request.target.clone(),
        created_at: acting.now,
        last_sent_at: None,
        last_error: None,
        revision: 1,
    };
    alert_channel::insert(write, &channel, secret.as_deref().map(String::as_str)).map_err(taken(&channel.name))?;
    acting.done(write, "alert_channel.create", &channel.id.to_string(), &described(&channel))?;
    let shown = matches!(channel.target, AlertTarget::Webhook { .. });
    Ok(CreatedAlertChannel { channel, secret: secret.filter(|_| shown).map(|secret| secret.to_string()) })
}

/// One channel.
#[utoipa::path(get, path = "/api/v1/alert-channels/{id}", tag = "alert_channels",
    params(("id" = AlertChannelId, Path, description = "channel")), responses((status = 200, body = AlertChannel)))]
pub async fn read(State(app): State<App>, Path(id): Path<AlertChannelId>) -> ApiResult<impl IntoResponse> {
    let channel = app.database.read(move |connection| existing(connection, id)).await?.channel;
    Ok((etag(channel.revision), Json(channel)))
}

/// Changes a channel. What is queued for it is tried again at once.
#[utoipa::path(patch, path = "/api/v1/alert-channels/{id}", tag = "alert_channels", request_body = ChangeAlertChannel,
    params(("id" = AlertChannelId, Path, description = "channel")), responses((status = 200, body = AlertChannel)))]
pub async fn change(
    State(app): State<App>,
    Path(id): Path<AlertChannelId>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangeAlertChannel>,
) -> ApiResult<impl IntoResponse> {
    let channel = app
        .database
        .write(move |write| {
            let stored = existing(write, id)?;
            if_match.check(stored.channel.revision)?;
            let StoredChannel { channel, secret, .. } = changed(stored, change)?;
            let secret = secret.as_deref().map(String::as_str);
            alert_channel::change(write, &channel, secret).map_err(taken(&channel.name))?;
            acting.done(write, "alert_channel.change", &id.to_string(), &described(&channel))?;
            existing(write, id)
        })
        .await?
        .channel;
    Ok((etag(channel.revision), Json(channel)))
}

fn changed(mut stored: StoredChannel, change: ChangeAlertChannel) -> ApiResult<StoredChannel> {
    let channel = &mut stored.channel;
    if let Some(name) = change.name {
        channel.name = checked_name(&name)?;
    }
    channel.enabled = change.enabled.unwrap_or(channel.enabled);
    if let Some(kinds) = change.kinds {
        channel.kinds = each_once(&kinds);
    }
    let new_password = change.mail_password.map(Zeroizing::new);
    if let Some(target) = change.target {
        if std::mem::discriminant(&target) != std::mem::discriminant(&channel.target) {
            return Err(invalid("a channel stays what it is, mail or webhook").next("make another channel"));
        }
        // Whoever may edit channels must not get hold of a password by naming a server of their own.
        if new_password.is_none() && stored.secret.is_some() && log_in(&target) != log_in(&channel.target) {
            return Err(invalid("another mail server or user needs its password again").next("send mail_password, too"));
        }
        channel.target = target;
    }
    if let (Some(password), AlertTarget::Mail { .. }) = (new_password, &channel.target) {
        stored.secret = Some(password);
    }
    let password = stored.secret.as_deref().filter(|_| matches!(stored.channel.target, AlertTarget::Mail { .. }));
    check_target(&stored.channel.target, password.map(String::as_str))?;
    Ok(stored)
}

/// Where a password is shown to, and how.
fn log_in(target: &AlertTarget) -> Option<(&str, u16, MailEncryption, Option<&str>)> {
    match target {
        AlertTarget::Mail { host, port, encryption, user, .. } => Some((host, *port, *encryption, user.as_deref())),
        AlertTarget::Webhook { .. } => None,
    }
}

/// Removes a channel; what was queued for it is told to nobody.
#[utoipa::path(delete, path = "/api/v1/alert-channels/{id}", tag = "alert_channels",
    params(("id" = AlertChannelId, Path, description = "channel")), responses((status = 204)))]
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<AlertChannelId>,
    if_match: IfMatch,
    acting: Acting,
) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let channel = existing(write, id)?.channel;
            if_match.check(channel.revision)?;
            alert_channel::delete(write, id)?;
            acting.done(write, "alert_channel.remove", &id.to_string(), &channel.name)?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// Sends a trial there now and says what came of it.
#[utoipa::path(post, path = "/api/v1/alert-channels/{id}/test", tag = "alert_channels",
    params(("id" = AlertChannelId, Path, description = "channel")), responses((status = 204)))]
pub async fn test(State(app): State<App>, Path(id): Path<AlertChannelId>, acting: Acting) -> ApiResult<StatusCode> {
    let now = acting.now;
    let (stored, appliance) =
        app.database
            .write(move |write| {
                let stored = existing(write, id)?;
                let wait = stored.tried_at.map(|tried_at| tried_at.after(TRIAL_GAP).since(now).min(TRIAL_GAP));
                if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                    return Err(ApiError::new(ErrorCode::TooManyRequests, "this channel was tried a moment ago")
                        .retry_after(wait));
                }
                alert_channel::tried(write, id, now)?;
                acting.done(write, "alert_channel.test", &id.to_string(), &stored.channel.name)?;
                Ok((stored, settings::get(write)?.appliance_name))
            })
            .await?;
    let message = alerts::sample(appliance, app.base_url.clone(), now);
    match alerts::send(&app, &stored, &message).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(why) => Err(ApiError::new(ErrorCode::NotDelivered, "the message was not taken").why(why)),
    }
}

fn existing(connection: &Connection, id: AlertChannelId) -> ApiResult<StoredChannel> {
    alert_channel::get(connection, id)?.ok_or_else(|| ApiError::not_found("alert channel"))
}

fn invalid(what: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, what)
}

fn taken(name: &str) -> impl Fn(db::Error) -> ApiError + '_ {
    move |error| match error.is_duplicate() {
        true => ApiError::new(ErrorCode::Conflict, format!("there is an alert channel named {name}")),
        false => error.into(),
    }
}

fn described(channel: &AlertChannel) -> String {
    let to = match &channel.target {
        AlertTarget::Mail { host, to, .. } => format!("mail to {} by {host}", to.join(", ")),
        // Path and query of a webhook may be its secret.
        AlertTarget::Webhook { url } => format!("webhook at {}", host_of(url).unwrap_or_default()),
    };
    format!("{}, {to}, enabled {}", channel.name, channel.enabled)
}

fn checked_name(name: &str) -> ApiResult<String> {
    if !NAME_CHARACTERS.contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(invalid("a channel's name has 1 to 100 characters that can be seen"));
    }
    Ok(name.to_owned())
}

fn each_once(kinds: &[AlertKind]) -> Vec<AlertKind> {
    AlertKind::ALL.iter().copied().filter(|kind| kinds.contains(kind)).collect()
}

fn check_target(target: &AlertTarget, password: Option<&str>) -> ApiResult<()> {
    match target {
        AlertTarget::Webhook { url } => check_url(url, password),
        AlertTarget::Mail { host, encryption, user, from, to, .. } => {
            check_host(host, *encryption)?;
            if user.is_some() != password.is_some() {
                return Err(invalid("user and mail_password belong together"));
            }
            if password.is_some_and(|password| password.chars().count() > MAX_PASSWORD_CHARACTERS) {
                return Err(invalid("the password is too long"));
            }
            if !RECIPIENTS.contains(&to.len()) {
                return Err(invalid("mail goes to 1 to 20 addresses"));
            }
            match to.iter().chain([from]).find(|address| !is_address(address)) {
                Some(address) => Err(invalid(format!("{address:?} is no address of a mailbox"))),
                None => Ok(()),
            }
        }
    }
}

fn check_url(url: &str, password: Option<&str>) -> ApiResult<()> {
    if password.is_some() {
        return Err(invalid("mail_password is for mail"));
    }
    if url.len() > MAX_URL_CHARACTERS || host_of(url).is_none() {
        return Err(invalid(
            "a webhook's URL begins with https:// (or http://), names a host, and has no log-in in it",
        ));
    }
    Ok(())
}

fn host_of(url: &str) -> Option<String> {
    let url: reqwest::Url = url.parse().ok()?;
    let fits = ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none();
    url.host_str().filter(|_| fits).map(str::to_owned)
}

fn check_host(host: &str, encryption: MailEncryption) -> ApiResult<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:_".contains(c);
    if host.is_empty() || host.len() > 255 || !host.chars().all(allowed) {
        return Err(invalid("the mail server is a name or an address"));
    }
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if encryption == MailEncryption::Off && !is_here {
        return Err(invalid("mail without encryption goes to this machine only")
            .why("alerts and the password would cross the network in the clear")
            .next("choose tls or starttls"));
    }
    Ok(())
}
