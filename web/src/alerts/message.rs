//! What a message says: as text for people. The JSON of webhooks is the wire type itself.

use std::fmt::Write as _;
use web_api::alert::{Alert, AlertKind, AlertMessage};
use web_api::id::AlertId;
use web_api::unit::Time;

/// The message of a trial.
pub fn sample(appliance: String, url: String, now: Time) -> AlertMessage {
    let alert = Alert {
        id: AlertId::generate(),
        kind: AlertKind::Server,
        subject: "test".into(),
        what: "This is only a trial: alerts of this server arrive here.".into(),
        next: None,
        raised_at: now,
        cleared_at: Some(now),
    };
    AlertMessage { appliance, url, sent_at: now, is_test: true, alerts: vec![alert], more: 0 }
}

/// The line that a reader sees first: the worst news in it.
pub fn subject(message: &AlertMessage) -> String {
    let appliance = &message.appliance;
    if message.is_test {
        return format!("[{appliance}] Test of alerts");
    }
    let lasting = message.alerts.iter().filter(|alert| alert.cleared_at.is_none()).count();
    let rest = |count: usize| if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    match (message.alerts.iter().find(|alert| alert.cleared_at.is_none()), message.alerts.first()) {
        (Some(alert), _) => format!("[{appliance}] {}: {}{}", title(alert.kind), alert.subject, rest(lasting)),
        (None, Some(alert)) => {
            format!("[{appliance}] Over: {}: {}{}", title(alert.kind), alert.subject, rest(message.alerts.len()))
        }
        (None, None) => format!("[{appliance}] Nothing new"),
    }
}

/// The text of a mail.
pub fn text(message: &AlertMessage) -> String {
    let mut text = String::new();
    for alert in &message.alerts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}", title(alert.kind), alert.subject);
        let _ = writeln!(text, "  {}", alert.what);
        if let Some(next) = alert.next.as_ref().filter(|_| alert.cleared_at.is_none()) {
            let _ = writeln!(text, "  Next: {next}");
        }
        let _ = match alert.cleared_at {
            Some(cleared_at) => writeln!(text, "  From {} until {}: over.", alert.raised_at, cleared_at),
            None => writeln!(text, "  Since {}.", alert.raised_at),
        };
        text.push('\n');
    }
    if message.more > 0 {
        let _ = writeln!(text, "{} more follow in the next message.\n", message.more);
    }
    let _ = writeln!(text, "{} at {}", message.appliance, message.url);
    text
}

fn title(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::JobFailed => "A job failed",
        AlertKind::Repository => "A repository needs help",
        AlertKind::AgentSuspended => "An agent was suspended",
        AlertKind::PlanLate => "No good recovery point",
        AlertKind::PlanPaused => "A plan has been paused for long",
        AlertKind::AgentSilent => "Nothing heard of a machine",
        AlertKind::Server => "The server needs help",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: AlertKind, subject: &str, over: bool) -> Alert {
        let at = Time::from_ms(1_790_000_000_000);
        Alert {
            id: AlertId::generate(),
            kind,
            subject: subject.into(),
            what: "the disk cannot be read".into(),
            next: Some("look at the disk".into()),
            raised_at: at,
            cleared_at: over.then_some(at),
        }
    }

    fn message(alerts: Vec<Alert>) -> AlertMessage {
        let at = Time::from_ms(1_790_000_000_000);
        AlertMessage {
            appliance: "Attic".into(),
            url: "https://ice.example".into(),
            sent_at: at,
            is_test: false,
            alerts,
            more: 3,
        }
    }

    #[test]
    fn the_subject_tells_what_lasts_before_what_is_over() {
        let mixed = vec![
            alert(AlertKind::JobFailed, "web", true),
            alert(AlertKind::Server, "copies", false),
            alert(AlertKind::JobFailed, "db", false),
        ];
        assert_eq!(subject(&message(mixed)), "[Attic] The server needs help: copies and 1 more");
        let over = vec![alert(AlertKind::JobFailed, "web", true)];
        assert_eq!(subject(&message(over)), "[Attic] Over: A job failed: web");
        assert_eq!(subject(&sample("Attic".into(), String::new(), Time::from_ms(0))), "[Attic] Test of alerts");
    }

    #[test]
    fn the_text_says_what_since_when_and_what_to_do() {
        let text =
            text(&message(vec![alert(AlertKind::JobFailed, "web", false), alert(AlertKind::Server, "copies", true)]));
        for part in [
            "A job failed: web",
            "Next: look at the disk",
            "Since 2026-",
            "until 2026-",
            "3 more follow",
            "https://ice.example",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("Next:").count(), 1, "what is over needs nothing more");
    }
}
