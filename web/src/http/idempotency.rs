//! Requests that are sent again because the answer was lost: by the same key, what they make is made once.

use super::acting::Acting;
use super::error::{ApiError, ApiResult};
use crate::db::{Write, idempotency};
use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use web_api::error::ErrorCode;

/// How long a key is known.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_CHARACTERS: usize = 255;

/// The key of a request, where it has one.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get(HEADER) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=MAX_CHARACTERS).contains(&key.len()));
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            ApiError::new(ErrorCode::BadRequest, "the Idempotency-Key cannot be used")
                .why(format!("it has 1 to {MAX_CHARACTERS} visible ASCII characters"))
        })
    }
}

/// Something that is made and answered with.
pub trait Made: Serialize + DeserializeOwned {
    /// The same without what is shown only once.
    fn without_secret(&self) -> Self;
}

/// Runs `make`, unless the same request with the same key was answered before: then it is that answer, without secrets.
pub fn once<T: Made>(
    write: &mut Write<'_>,
    key: &IdempotencyKey,
    acting: &Acting,
    request: &impl Serialize,
    make: impl FnOnce(&mut Write<'_>) -> ApiResult<T>,
) -> ApiResult<T> {
    let Some(key) = &key.0 else { return make(write) };
    let caller = acting.caller.user_id.to_string();
    let request_hash = hash::<T>(request)?;
    if let Some(known) = idempotency::find(write, &caller, key)? {
        if known.request_hash != request_hash {
            return Err(ApiError::new(ErrorCode::KeyReused, "the Idempotency-Key was used for another request")
                .next("use a new key for every new request"));
        }
        return serde_json::from_str(&known.body).map_err(|error| ApiError::internal(&error));
    }
    let made = make(write)?;
    let body = serde_json::to_string(&made.without_secret()).map_err(|error| ApiError::internal(&error))?;
    idempotency::insert(write, &caller, key, &idempotency::StoredAnswer { request_hash, body }, acting.now)?;
    Ok(made)
}

/// Covers what kind of thing is made, too: a key of one route does not answer on another.
fn hash<T>(request: &impl Serialize) -> ApiResult<[u8; 32]> {
    let body = serde_json::to_vec(request).map_err(|error| ApiError::internal(&error))?;
    Ok(blake3::Hasher::new().update(std::any::type_name::<T>().as_bytes()).update(&body).finalize().into())
}
