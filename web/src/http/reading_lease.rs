//! Whose a lease for reading is. All persons sign theirs with the same key, so the repository cannot tell; who opened one renews and ends it,
//! and nobody else.

use super::{ApiError, ApiResult, Asker};
use crate::db;
use crate::state::App;
use repo_format::gate::Object;
use web_api::error::ErrorCode;

/// Before a lease is stored: a new one becomes the asker's, another's is refused. What machines hold is the repository's to look after.
pub async fn before_storing(app: &App, asker: &Asker, object: &Object) -> ApiResult<()> {
    match object {
        Object::Lease(_, 0) => note(app, asker, object).await,
        _ => check(app, asker, object).await,
    }
}

/// After a lease was renewed: it is the asker's still, or becomes that where nobody's was noted.
pub async fn after_storing(app: &App, asker: &Asker, object: &Object) -> ApiResult<()> {
    match object {
        Object::Lease(_, 0) => Ok(()),
        _ => note(app, asker, object).await,
    }
}

/// Notes that a lease is in the asker's hands. A database that takes nothing must not keep anybody from restoring: then it stays nobody's.
async fn note(app: &App, asker: &Asker, object: &Object) -> ApiResult<()> {
    let (Asker::Person(acting), Object::Lease(lease, _)) = (asker, object) else { return Ok(()) };
    let (lease, user, now) = (lease.to_string(), acting.caller.user_id, acting.now);
    match app.database.write(move |write| db::reading_lease::take(write, &lease, user, now)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(anothers()),
        Err(error) => {
            tracing::warn!(%error, "it could not be noted whose a lease for reading is");
            Ok(())
        }
    }
}

/// Refuses a lease that somebody else opened.
pub async fn check(app: &App, asker: &Asker, object: &Object) -> ApiResult<()> {
    let (Asker::Person(acting), Object::Lease(lease, _)) = (asker, object) else { return Ok(()) };
    let lease = lease.to_string();
    let owner = app.database.read(move |connection| db::reading_lease::owner(connection, &lease)).await?;
    match owner.is_none_or(|owner| owner == acting.caller.user_id) {
        true => Ok(()),
        false => Err(anothers()),
    }
}

fn anothers() -> ApiError {
    ApiError::new(ErrorCode::Forbidden, "this lease is another person's")
        .why("who opened a session for reading ends it")
        .next("a session that was left behind ends by itself within an hour")
}
