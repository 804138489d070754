//! Removing what nobody can use any more, from time to time.

use crate::db::{
    self, Write, alert, enrolment, event, idempotency, job, log_in_link, point, reading_lease, session, settings, token,
};
use crate::http;
use crate::state::App;
use std::time::Duration;
use web_api::unit::Time;

const EVERY: Duration = Duration::from_secs(600);
/// Expired tokens stay in the list for a while, so that people see why a script failed.
const TOKENS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Alerts that are over, and messages that nobody takes.
const ALERTS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// Jobs stay for more than a year: whoever asks how the last one went compares it with the year before.
const JOBS_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// Enrolments that ended stay in the list for a while.
const ENROLMENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Leases end within an hour unless they are renewed, which is noted.
const READING_LEASES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Runs until the server ends.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        app.unfinished.forget_old();
        let now = app.now();
        if let Err(error) = app.database.write(move |write| clean(write, now)).await {
            tracing::warn!(%error, "old rows could not be removed; it is tried again later");
        }
    }
}

fn clean(write: &Write<'_>, now: Time) -> db::Result<()> {
    let ago = |while_: Duration| {
        Time::from_ms(now.ms().saturating_sub(i64::try_from(while_.as_millis()).unwrap_or(i64::MAX)))
    };
    let settings = settings::get(write)?;
    let idle = Duration::from_secs(settings.session_idle_s);
    let lifetime = Duration::from_secs(settings.session_lifetime_s);
    session::delete_ended(write, ago(lifetime), ago(idle))?;
    log_in_link::delete_ended(write, now)?;
    enrolment::delete_ended(write, ago(ENROLMENTS_KEPT))?;
    token::delete_ended(write, ago(TOKENS_KEPT))?;
    idempotency::delete_old(write, ago(http::idempotency::KEPT))?;
    alert::delete_old(write, ago(ALERTS_KEPT))?;
    event::delete_old(write)?;
    reading_lease::delete_old(write, ago(READING_LEASES_KEPT))?;
    job::delete_old(write, ago(JOBS_KEPT))?;
    point::delete_gone(write, ago(JOBS_KEPT))?;
    Ok(())
}
