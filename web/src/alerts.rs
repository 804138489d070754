//! Alerts: raised where something is noticed, told by mail or webhook, over when their cause is.
//!
//! Raising and clearing happen in the transaction that notices, so neither is lost; telling is tried until it is taken. A channel
//! gets its first message at once and then at most one in five minutes, which holds all that came up meanwhile.

mod mail;
mod message;
mod webhook;

pub use crate::db::alert::clear;
pub use mail::is_address;
pub use message::sample;

use crate::db::alert_channel::{self, StoredChannel};
use crate::db::{self, Write, alert, settings};
use crate::state::App;
use rusqlite::Connection;
use std::time::Duration;
use tokio::task::JoinSet;
use web_api::alert::{Alert, AlertKind, AlertMessage, AlertTarget};
use web_api::id::AlertId;
use web_api::unit::Time;

/// Between two messages to one channel.
const GAP: Duration = Duration::from_secs(300);
/// Before the second attempt; doubled before each further one.
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(5);
/// Alerts in one message.
const IN_MESSAGE: u32 = 100;
/// Longest answer of the other side that is kept to say why it failed.
const MAX_ERROR_CHARACTERS: usize = 300;

/// Raises an alert, unless the same cause has one that lasts. `what` and `next` are for people.
pub fn raise(
    write: &mut Write<'_>,
    (kind, subject): (AlertKind, &str),
    (what, next): (&str, Option<&str>),
    now: Time,
) -> db::Result<bool> {
    let alert = Alert {
        id: AlertId::generate(),
        kind,
        subject: subject.to_owned(),
        what: what.to_owned(),
        next: next.map(str::to_owned),
        raised_at: now,
        cleared_at: None,
    };
    alert::raise(write, &alert)
}

/// Tells what is queued until the server ends.
pub async fn run(app: App) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        if let Err(error) = tell_all(&app).await {
            tracing::warn!(%error, "alerts could not be told; it is tried again");
        }
    }
}

/// One round over all channels.
pub async fn tell_all(app: &App) -> db::Result<()> {
    let now = app.now();
    let channels = app.database.read(alert_channel::with_queue).await?;
    let mut sends = JoinSet::new();
    for stored in channels.into_iter().filter(|stored| is_due(stored, now)) {
        sends.spawn(tell(app.clone(), stored));
    }
    while let Some(ended) = sends.join_next().await {
        ended.unwrap_or_else(|panic| Err(db::Error::NotStored(panic.to_string())))?;
    }
    Ok(())
}

/// Whether a channel with something in its queue gets a message now.
fn is_due(stored: &StoredChannel, now: Time) -> bool {
    let over = |since: Option<Time>, wait: Duration| since.is_none_or(|since| now >= since.after(wait) || now < since);
    match stored.attempts {
        0 => over(stored.channel.last_sent_at, GAP),
        failed => over(stored.tried_at, retry_after(failed)),
    }
}

fn retry_after(failed: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(LONGEST_RETRY)
}

async fn tell(app: App, stored: StoredChannel) -> db::Result<()> {
    let (id, now) = (stored.channel.id, app.now());
    let read = move |connection: &Connection| -> db::Result<_> {
        let alerts = alert::queued(connection, id, IN_MESSAGE)?;
        Ok((alerts, alert::queued_count(connection, id)?, settings::get(connection)?))
    };
    let (alerts, queued, settings) = app.database.read::<_, db::Error>(read).await?;
    let message = AlertMessage {
        appliance: settings.appliance_name,
        url: app.base_url.clone(),
        sent_at: now,
        is_test: false,
        more: queued.saturating_sub(alerts.len() as u64),
        alerts,
    };
    let outcome = send(&app, &stored, &message).await?;
    if let Err(error) = &outcome {
        tracing::warn!(channel = stored.channel.name, error, "an alert was not taken; it is tried again");
    }
    app.database
        .write(move |write| {
            if outcome.is_ok() {
                alert::told(write, id, &message.alerts)?;
            }
            alert_channel::ended(write, id, now, outcome.err().as_deref())
        })
        .await
}

/// One attempt. The inner error is in the words of the other side, short, and for the owner of the channel.
pub async fn send(app: &App, stored: &StoredChannel, message: &AlertMessage) -> db::Result<Result<(), String>> {
    let (id, now) = (stored.channel.id, app.now());
    app.database.write(move |write| alert_channel::tried(write, id, now)).await?;
    let secret = stored.secret.as_deref().map(String::as_str);
    let attempt = async {
        match &stored.channel.target {
            AlertTarget::Webhook { url } => webhook::send(url, secret.unwrap_or_default(), message).await,
            target @ AlertTarget::Mail { .. } => mail::send(target, secret, message).await,
        }
    };
    let outcome = tokio::time::timeout(ATTEMPT, attempt).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {} seconds", ATTEMPT.as_secs())));
    Ok(outcome.map_err(|error| error.chars().filter(|c| !c.is_control()).take(MAX_ERROR_CHARACTERS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use web_api::alert::AlertChannel;
    use web_api::id::AlertChannelId;

    fn stored(last_sent_s: Option<i64>, tried_s: Option<i64>, attempts: u32) -> StoredChannel {
        let time = |seconds: i64| Time::from_ms(seconds * 1000);
        let channel = AlertChannel {
            id: AlertChannelId::generate(),
            name: "ops".into(),
            enabled: true,
            kinds: vec![],
            target: AlertTarget::Webhook { url: "https://ops.example".into() },
            created_at: time(0),
            last_sent_at: last_sent_s.map(time),
            last_error: None,
            revision: 1,
        };
        StoredChannel { channel, secret: None, attempts, tried_at: tried_s.map(time) }
    }

    #[test]
    fn the_first_message_goes_at_once_and_the_next_after_a_gap() {
        let due =
            |last_sent: Option<i64>, now: i64| is_due(&stored(last_sent, last_sent, 0), Time::from_ms(now * 1000));
        assert!(due(None, 0));
        assert!(!due(Some(1000), 1000 + 299) && due(Some(1000), 1000 + 300));
        assert!(due(Some(1000), 900), "a clock that was set back silences nobody");
    }

    #[test]
    fn failed_attempts_are_repeated_ever_more_rarely_but_at_least_hourly() {
        let wait = |attempts: u32| retry_after(attempts).as_secs();
        assert_eq!([wait(1), wait(2), wait(3), wait(6), wait(7), wait(u32::MAX)], [60, 120, 240, 1920, 3600, 3600]);
        assert!(!is_due(&stored(Some(0), Some(1000), 2), Time::from_ms(1_119_000)));
        assert!(is_due(&stored(Some(0), Some(1000), 2), Time::from_ms(1_120_000)));
    }
}
