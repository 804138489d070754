//! Alerts: what somebody has to look at, and where it is told.

use crate::id::{AlertChannelId, AlertId};
use crate::role::names;
use crate::unit::Time;
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// What an alert is about.
    AlertKind {
        /// The last job of a plan failed; its next success ends the alert.
        JobFailed = "job_failed",
        /// A repository is damaged, or what its keeper does in it fails; a later success ends the alert.
        Repository = "repository",
        /// An agent stored what it must not and was suspended, until an admin reinstates or revokes it.
        AgentSuspended = "agent_suspended",
        /// No good recovery point of a plan came in the time that it promises; the next success ends the alert.
        PlanLate = "plan_late",
        /// The same of a plan that was paused and that nobody resumed.
        PlanPaused = "plan_paused",
        /// Nothing was heard of a machine for long; its next request ends the alert.
        AgentSilent = "agent_silent",
        /// The server itself needs help, such as when its database cannot be copied.
        Server = "server",
    }
}

/// One alert. While it lasts, the same cause makes no second one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// What it is about.
    pub kind: AlertKind,
    /// The plan, machine or part that it concerns, by name.
    pub subject: String,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub next: Option<String>,
    /// Since when.
    pub raised_at: Time,
    /// When it was over.
    pub cleared_at: Option<Time>,
}

names! {
    /// How mail is protected on its way to the mail server.
    MailEncryption {
        /// TLS from the first byte, usually port 465.
        Tls = "tls",
        /// TLS after STARTTLS, usually port 587; without it nothing is sent.
        StartTls = "starttls",
        /// None; for a mail server on this machine only.
        Off = "off",
    }
}

/// Where alerts go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AlertTarget {
    /// Mail by SMTP.
    Mail {
        /// The mail server.
        host: String,
        /// Its port.
        port: u16,
        /// How the way there is protected.
        encryption: MailEncryption,
        /// Whom to log in as there; the password travels apart from this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The sender.
        from: String,
        /// The recipients, 1 to 20.
        to: Vec<String>,
    },
    /// `POST` of an [`AlertMessage`], signed.
    Webhook {
        /// `https://…`, or `http://…` where the way is trusted: the signature proves the sender and hides nothing.
        url: String,
    },
}

/// Which alerts are wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AlertQuery {
    /// Most items wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 100))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
    /// Only those that are not over.
    #[cfg_attr(feature = "openapi", param(default = false))]
    pub lasting: Option<bool>,
}

/// A place that alerts go to, without its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertChannel {
    /// Its id.
    pub id: AlertChannelId,
    /// What people call it; unique.
    pub name: String,
    /// Nothing is sent while it is not.
    pub enabled: bool,
    /// What is told there; all kinds when empty.
    pub kinds: Vec<AlertKind>,
    /// Where that is.
    pub target: AlertTarget,
    /// When it was made.
    pub created_at: Time,
    /// The last message that was taken there.
    pub last_sent_at: Option<Time>,
    /// Why the last attempt since then failed.
    pub last_error: Option<String>,
    /// Grows with every edit; the ETag.
    pub revision: u64,
}

/// A new place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAlertChannel {
    /// What people shall call it, 1 to 100 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100))]
    pub name: String,
    /// What is told there; all kinds when empty.
    #[serde(default)]
    pub kinds: Vec<AlertKind>,
    /// Where that is.
    pub target: AlertTarget,
    /// Password of the mail server's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail_password: Option<String>,
}

/// A new place with the secret that signs what is sent there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedAlertChannel {
    /// The place.
    pub channel: AlertChannel,
    /// For webhooks. Missing when an idempotency key repeats a request, because it is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Changes to a place; what is missing stays.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeAlertChannel {
    /// As in [`CreateAlertChannel`].
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100))]
    pub name: Option<String>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
    /// What is told there; all kinds when empty.
    pub kinds: Option<Vec<AlertKind>>,
    /// Another address of the same kind. Where mail goes to another server or user, the password is needed again.
    pub target: Option<AlertTarget>,
    /// Password of the mail server's user.
    pub mail_password: Option<String>,
}

/// What a webhook receives, and in other words a mail. `Icecore-Signature` is `t=SECONDS,v1=HEX`: HMAC-SHA256 under the channel's
/// secret over the seconds, a dot and the body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertMessage {
    /// What people call the server.
    pub appliance: String,
    /// Where people reach it.
    pub url: String,
    /// When it was sent.
    pub sent_at: Time,
    /// Only a trial.
    pub is_test: bool,
    /// Alerts that are new or over since the last message, the oldest first.
    pub alerts: Vec<Alert>,
    /// How many more there are than this message holds.
    pub more: u64,
}
