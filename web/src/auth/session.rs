//! When sessions end.

use crate::db::session::StoredSession;
use std::time::Duration;
use web_api::session::Session;
use web_api::settings::Settings;
use web_api::unit::Time;

/// Uses within this long of the last note are not noted: most requests write nothing.
pub const NOTE_EVERY: Duration = Duration::from_secs(60);

/// When it ends unless it is used, and when in any case. Changed settings count for sessions that exist.
pub fn ends(session: &StoredSession, settings: &Settings) -> (Time, Time) {
    let idle_until = session.last_seen_at.after(Duration::from_secs(settings.session_idle_s));
    (idle_until, session.created_at.after(Duration::from_secs(settings.session_lifetime_s)))
}

/// Whether it still counts.
pub fn is_alive(session: &StoredSession, settings: &Settings, now: Time) -> bool {
    let (idle_until, expires) = ends(session, settings);
    now < idle_until && now < expires
}

/// As it travels.
pub fn to_api(session: StoredSession, settings: &Settings, current: bool) -> Session {
    let (idle_until_at, expires_at) = ends(&session, settings);
    Session {
        id: session.id,
        user_id: session.user_id,
        current,
        created_at: session.created_at,
        last_seen_at: session.last_seen_at,
        idle_until_at,
        expires_at,
        address: session.address,
        user_agent: session.user_agent,
    }
}
