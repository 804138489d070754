//! Enrolments: an admin makes a one-time token, a machine comes with it and is an agent from then on.

use super::agents;
use crate::auth::secret::{Kind, Secret, SecretHash};
use crate::db::enrolment::StoredEnrolment;
use crate::db::{self, Write};
use crate::http::acting::Author;
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::peer::Peer;
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use repo_format::id::WriterId;
use std::time::Duration;
use web_api::agent::{Agent, SILENT_AFTER_S};
use web_api::audit::Outcome;
use web_api::authority::Authority;
use web_api::enrolment::{
    CreateEnrolment, CreatedEnrolment, Enrolment, EnrolmentState, GiveWriterKey, RedeemEnrolment, RedeemedEnrolment,
};
use web_api::error::ErrorCode;
use web_api::id::{AgentId, EnrolmentId};
use web_api::page::{Page, PageQuery};
use web_api::unit::Time;

const USUAL: Duration = Duration::from_secs(24 * 3600);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const MAX_SEALED_DIGITS: usize = 8192;

impl Made for CreatedEnrolment {
    fn without_secret(&self) -> Self {
        Self { enrolment: self.enrolment.clone(), secret: None, command: None }
    }
}

/// Makes an enrolment. Its token is in this answer and nowhere else, in the line to run on the machine.
#[utoipa::path(post, path = "/api/v1/enrolments", tag = "enrolments", request_body = CreateEnrolment,
    responses((status = 201, body = CreatedEnrolment)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreateEnrolment>,
) -> ApiResult<(StatusCode, Json<CreatedEnrolment>)> {
    if let Some(name) = &request.name {
        agents::check_name(name)?;
    }
    let lasts = request.expires_in_s.map_or(USUAL, Duration::from_secs);
    if lasts.is_zero() || lasts > LONGEST {
        return Err(ApiError::new(ErrorCode::Invalid, "an enrolment's token works for a week at most"));
    }
    let server = app.clone();
    let made = app
        .database
        .write(move |write| {
            once(write, &key, &acting, &request, |write| make(write, &server, &acting, &request, lasts))
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

fn make(
    write: &mut Write<'_>,
    app: &App,
    acting: &Acting,
    request: &CreateEnrolment,
    lasts: Duration,
) -> ApiResult<CreatedEnrolment> {
    let repository = db::repository::named(write, &request.repository)?.ok_or_else(|| {
        ApiError::new(ErrorCode::Invalid, format!("this server has no repository named {:?}", request.repository))
    })?;
    let secret = Secret::generate(Kind::Enrolment);
    let enrolment = Enrolment {
        id: EnrolmentId::generate(),
        repository: repository.name.clone(),
        format_id: repository.format_id.clone(),
        name: request.name.clone(),
        keeper: request.keeper,
        state: EnrolmentState::Open,
        prefix: secret.prefix().to_owned(),
        created_by: acting.caller.actor(),
        created_at: acting.now,
        expires_at: acting.now.after(lasts),
        public_key: None,
        agent: None,
    };
    db::enrolment::insert(write, &enrolment, repository.id, &secret.hash())?;
    let does = if request.keeper { "keeper of" } else { "into" };
    let detail = format!("{} {does} {}", request.name.as_deref().unwrap_or("a machine"), enrolment.repository);
    acting.done(write, "enrolment.create", &enrolment.id.to_string(), &detail)?;
    let keeps = request.keeper.then_some(repository.directory.as_str());
    let command = command(&app.base_url, app.authority.as_ref(), &secret, keeps);
    Ok(CreatedEnrolment { enrolment, secret: Some(secret.expose().to_owned()), command: Some(command) })
}

/// What a person copies to the machine; the one that keeps a repository has its directory.
pub fn command(base_url: &str, authority: Option<&Authority>, secret: &Secret, keeps: Option<&str>) -> String {
    let trust = authority.map(|authority| format!(" --ca-fingerprint {}", authority.fingerprint)).unwrap_or_default();
    let keeps = keeps.map(|directory| format!(" --keeps {}", quoted(directory))).unwrap_or_default();
    format!("icecore agent enroll {base_url} --token {}{trust}{keeps}", secret.expose())
}

/// A path as a word of a shell.
fn quoted(path: &str) -> String {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// Enrolments in the order of making.
#[utoipa::path(get, path = "/api/v1/enrolments", tag = "enrolments", params(PageQuery),
    responses((status = 200, body = Page<Enrolment>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<Enrolment>>> {
    let (wanted, now) = (Wanted::<EnrolmentId>::parse(&query)?, app.now());
    let (after, limit) = (wanted.after, wanted.fetch());
    let found = app
        .database
        .read(move |connection| {
            let page = db::enrolment::page(connection, after, limit)?;
            page.iter().map(|stored| stored.to_api(connection, now)).collect::<db::Result<Vec<_>>>()
        })
        .await?;
    Ok(Json(wanted.page(found, |enrolment| enrolment.id)))
}

/// One enrolment.
#[utoipa::path(get, path = "/api/v1/enrolments/{id}", tag = "enrolments",
    params(("id" = EnrolmentId, Path, description = "enrolment")), responses((status = 200, body = Enrolment)))]
pub async fn read(State(app): State<App>, Path(id): Path<EnrolmentId>) -> ApiResult<Json<Enrolment>> {
    let now = app.now();
    let found = app
        .database
        .read(move |connection| {
            let stored = db::enrolment::get(connection, id)?;
            stored.map(|stored| stored.to_api(connection, now)).transpose()
        })
        .await?;
    Ok(Json(found.ok_or_else(|| ApiError::not_found("enrolment"))?))
}

/// Revokes an enrolment that no machine has completed.
#[utoipa::path(delete, path = "/api/v1/enrolments/{id}", tag = "enrolments",
    params(("id" = EnrolmentId, Path, description = "enrolment")), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, Path(id): Path<EnrolmentId>, acting: Acting) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let stored = db::enrolment::get(write, id)?.ok_or_else(|| ApiError::not_found("enrolment"))?;
            if stored.agent_id.is_some() {
                return Err(ApiError::new(ErrorCode::Conflict, "the machine is an agent already")
                    .next("revoke the agent: POST /api/v1/agents/{id}/revoke"));
            }
            if db::enrolment::revoke(write, id, acting.now)? {
                acting.done(write, "enrolment.revoke", &id.to_string(), &stored.prefix)?;
            }
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a machine brings, in its form.
struct Coming {
    secret: SecretHash,
    machine: Secret,
    name: String,
    writer: Option<WriterId>,
    public_key: Option<String>,
}

/// A machine comes with a token. It is an agent then, or waits for a writer key and asks again.
#[utoipa::path(post, path = "/api/v1/enrolments/redeem", tag = "enrolments", request_body = RedeemEnrolment,
    responses((status = 200, body = RedeemedEnrolment)))]
pub async fn redeem(
    State(app): State<App>,
    peer: Peer,
    Body(request): Body<RedeemEnrolment>,
) -> ApiResult<Json<RedeemedEnrolment>> {
    let coming = coming(&request)?;
    let (secret, now) = (coming.secret, app.now());
    let stored = app.database.read(move |connection| db::enrolment::find(connection, &secret)).await?;
    let stored = stored.ok_or_else(wrong_token)?;
    check_role(stored.keeper, request.keeper)?;
    if let Some(writer) = coming.writer {
        agents::check_writer(&app, writer, &stored.directory, stored.keeper).await?;
    }
    let redeemed = app.database.write(move |write| answer(write, &coming, &peer, now)).await?;
    Ok(Json(redeemed))
}

/// A machine becomes what the admin meant it to, or nothing.
fn check_role(meant: bool, comes: bool) -> ApiResult<()> {
    match (meant, comes) {
        (true, false) => Err(ApiError::new(ErrorCode::Invalid, "this token is for the keeper of a repository")
            .next("run it on the machine that has the repository: `icecore agent enroll … --keeps DIR`")),
        (false, true) => Err(ApiError::new(ErrorCode::Invalid, "this token makes no keeper of a repository")
            .next("ask an admin for one: POST /api/v1/enrolments with \"keeper\": true")),
        _ => Ok(()),
    }
}

fn coming(request: &RedeemEnrolment) -> ApiResult<Coming> {
    let invalid = |what: &str| ApiError::new(ErrorCode::Invalid, what);
    agents::check_name(&request.name)?;
    let public_key = request.public_key.as_ref().map(|key| hexadecimal(key, 64..=64)).transpose()?;
    if request.keeper && request.writer.is_none() {
        return Err(invalid("a keeper has the repository's own key and needs no other"));
    }
    if request.writer.is_some() == public_key.is_some() {
        return Err(invalid("a machine brings a writer or a public key, one of them"));
    }
    Ok(Coming {
        secret: Secret::parse(Kind::Enrolment, &request.secret).ok_or_else(wrong_token)?.hash(),
        machine: Secret::parse(Kind::Agent, &request.agent_secret)
            .ok_or_else(|| invalid("the machine's own secret has another form: `ica_` and 64 hexadecimal digits"))?,
        name: request.name.clone(),
        writer: request.writer.as_deref().map(agents::parse_writer).transpose()?,
        public_key,
    })
}

fn hexadecimal(text: &str, length: std::ops::RangeInclusive<usize>) -> ApiResult<String> {
    let fits = length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if fits { Ok(text.to_owned()) } else { Err(ApiError::new(ErrorCode::Invalid, "these are no hexadecimal digits")) }
}

/// The machine that comes first has the enrolment; it gets the same answer however often it asks, and no other gets any.
fn answer(write: &mut Write<'_>, coming: &Coming, peer: &Peer, now: Time) -> ApiResult<RedeemedEnrolment> {
    let stored = db::enrolment::find(write, &coming.secret)?.ok_or_else(wrong_token)?;
    let author = Author {
        actor: format!("enrolment {} of {}", stored.id, stored.created_by),
        address: peer.address.to_string(),
        at: now,
    };
    match (stored.state(now), stored.machine_secret) {
        (EnrolmentState::Ended, _) => return Err(wrong_token()),
        (EnrolmentState::Open, _) => {
            let name = stored.name.as_deref().unwrap_or(&coming.name);
            let machine = (&coming.machine.hash(), coming.machine.prefix());
            db::enrolment::came(write, stored.id, name, machine, coming.public_key.as_deref())?;
            author.record(write, "enrolment.come", &stored.id.to_string(), Outcome::Done, name)?;
            db::event::append(write, now, "enrolment.come", &stored.id.to_string())?;
        }
        (_, Some(known)) if known != coming.machine.hash() => return Err(wrong_token()),
        _ => {}
    }
    let stored = existing(write, stored.id)?;
    let agent = match (stored.agent_id, coming.writer) {
        (Some(id), _) => db::agent::get(write, id)?,
        (None, Some(writer)) => Some(become_agent(write, &stored, writer, None, &author)?),
        (None, None) => None,
    };
    let sealed_writer_key = existing(write, stored.id)?.sealed_writer_key;
    Ok(RedeemedEnrolment { id: stored.id, repository: stored.repository, agent, sealed_writer_key })
}

fn existing(write: &Write<'_>, id: EnrolmentId) -> ApiResult<StoredEnrolment> {
    db::enrolment::get(write, id)?.ok_or_else(|| ApiError::not_found("enrolment"))
}

fn become_agent(
    write: &mut Write<'_>,
    stored: &StoredEnrolment,
    writer: WriterId,
    sealed: Option<&str>,
    author: &Author,
) -> ApiResult<Agent> {
    let (Some(secret), Some(prefix), Some(name)) = (stored.machine_secret, &stored.machine_prefix, &stored.name) else {
        return Err(ApiError::internal(&"an enrolment is completed before a machine came"));
    };
    let agent = Agent {
        id: AgentId::generate(),
        name: name.clone(),
        repository: stored.repository.clone(),
        writer: writer.to_string(),
        prefix: prefix.clone(),
        created_at: author.at,
        last_seen_at: None,
        revoked_at: None,
        limit_bytes_per_s: None,
        quota_bytes: None,
        keeper: stored.keeper,
        suspended_at: None,
        silent_after_s: Some(SILENT_AFTER_S),
        revision: 1,
    };
    agents::insert(write, &agent, stored.repository_id, &secret)?;
    db::enrolment::done(write, stored.id, agent.id, sealed)?;
    let detail = agents::told(&agent);
    author.record(write, "agent.enroll", &agent.id.to_string(), Outcome::Done, &detail)?;
    db::event::append(write, author.at, "agent.enroll", &agent.id.to_string())?;
    Ok(agent)
}

/// Gives a machine that waits its writer key, sealed by a person; the machine is an agent from then on.
#[utoipa::path(post, path = "/api/v1/enrolments/{id}/writer-key", tag = "enrolments", request_body = GiveWriterKey,
    params(("id" = EnrolmentId, Path, description = "enrolment")), responses((status = 200, body = Enrolment)))]
pub async fn give_writer_key(
    State(app): State<App>,
    Path(id): Path<EnrolmentId>,
    acting: Acting,
    Body(request): Body<GiveWriterKey>,
) -> ApiResult<Json<Enrolment>> {
    let writer = agents::parse_writer(&request.writer)?;
    let sealed = hexadecimal(&request.sealed_writer_key, 64..=MAX_SEALED_DIGITS)?;
    let stored = app.database.read(move |connection| db::enrolment::get(connection, id)).await?;
    let stored = stored.ok_or_else(|| ApiError::not_found("enrolment"))?;
    agents::check_writer(&app, writer, &stored.directory, stored.keeper).await?;
    let given = app
        .database
        .write(move |write| {
            let stored = existing(write, id)?;
            if stored.state(acting.now) != EnrolmentState::Waiting
                || stored.public_key.as_ref() != Some(&request.public_key)
            {
                return Err(ApiError::new(ErrorCode::Conflict, "no machine waits for this key")
                    .next("look at the enrolment: GET /api/v1/enrolments/{id}"));
            }
            let (actor, address) = (acting.caller.actor(), acting.peer.address.to_string());
            become_agent(write, &stored, writer, Some(&sealed), &Author { actor, address, at: acting.now })?;
            Ok(existing(write, id)?.to_api(write, acting.now)?)
        })
        .await?;
    Ok(Json(given))
}

fn wrong_token() -> ApiError {
    ApiError::new(ErrorCode::WrongCredentials, "this enrolment token does not work, or not any more")
        .why("it is unknown, ended, was revoked, or another machine used it")
        .next("ask an admin for a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_words_of_a_shell() {
        assert_eq!(quoted("/srv/ice.core-1"), "/srv/ice.core-1");
        assert_eq!(quoted("/srv/it's; rm"), "'/srv/it'\\''s; rm'");
    }

    #[test]
    fn what_a_machine_brings_is_looked_at_before_its_token_is_used() {
        let request = RedeemEnrolment {
            secret: Secret::generate(Kind::Enrolment).expose().to_owned(),
            agent_secret: Secret::generate(Kind::Agent).expose().to_owned(),
            name: "web".into(),
            writer: Some("ab".repeat(16)),
            public_key: None,
            keeper: false,
        };
        assert!(coming(&request).is_ok());
        let refused = [
            RedeemEnrolment { name: "Web server".into(), ..request.clone() },
            RedeemEnrolment { secret: "ice_1".into(), ..request.clone() },
            RedeemEnrolment { agent_secret: "ica_short".into(), ..request.clone() },
            RedeemEnrolment { writer: Some("x".into()), ..request.clone() },
            RedeemEnrolment { writer: None, ..request.clone() },
            RedeemEnrolment { writer: None, public_key: Some("AB".repeat(32)), ..request.clone() },
            RedeemEnrolment { writer: None, public_key: Some("ab".repeat(32)), keeper: true, ..request.clone() },
            RedeemEnrolment { public_key: Some("ab".repeat(32)), ..request },
        ];
        for request in refused {
            assert!(coming(&request).is_err(), "{request:?}");
        }
    }
}
