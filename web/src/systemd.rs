//! What systemd is told: ready, stopping, and alive as long as the database answers.

use crate::handlers::health;
use crate::state::App;
use sd_notify::NotifyState;

/// Tells one thing; without systemd nobody listens.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Requests are served from now on.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The end has begun.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Answers the watchdog, if the unit has one. Stops answering when the database stops, so that systemd restarts a server that hangs.
pub async fn answer_watchdog(app: App) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(limit / 2);
    loop {
        ticks.tick().await;
        match health::check_database(&app).await {
            Ok(()) => tell(NotifyState::Watchdog),
            Err(error) => tracing::error!(?error, "the watchdog gets no answer while the database gives none"),
        }
    }
}
