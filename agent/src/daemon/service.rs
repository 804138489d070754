//! What systemd is told. Without it nobody listens.

use sd_notify::NotifyState;

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// The server knows this agent; jobs are asked for from now on.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The end has begun.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// A line for `systemctl status`.
pub fn status(line: &str) {
    tell(NotifyState::Status(line));
}
