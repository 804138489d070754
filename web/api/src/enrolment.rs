//! Enrolment: how a machine becomes an agent by a one-time token.
//!
//! The machine brings the id of a writer whose key file it has, or a public key to which a person then seals a new writer key
//! (`icecore key writer-export --for`). The server passes the sealed key on and can neither open nor exchange it.

use crate::agent::Agent;
use crate::id::EnrolmentId;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// How far an enrolment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentState {
    /// No machine has come yet.
    Open,
    /// A machine has come and waits for its writer key.
    Waiting,
    /// The machine is an agent.
    Done,
    /// It was revoked, or ended before it was done.
    Ended,
}

/// An enrolment, without its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// Its id.
    pub id: EnrolmentId,
    /// The repository that the machine shall store into, by name.
    pub repository: String,
    /// The format's id of that repository.
    pub format_id: String,
    /// What the machine shall be called; the machine says it where nobody else did.
    pub name: Option<String>,
    /// Whether the machine shall keep the repository.
    #[serde(default)]
    pub keeper: bool,
    /// How far it is.
    pub state: EnrolmentState,
    /// First characters of its token, to recognise it.
    pub prefix: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Time,
    /// When the token stops working.
    pub expires_at: Time,
    /// The machine's public key (X25519) as 64 hexadecimal digits, where it waits for a writer key.
    pub public_key: Option<String>,
    /// The agent that it became.
    pub agent: Option<Agent>,
}

/// A new enrolment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateEnrolment {
    /// The repository that the machine may store into, by name.
    pub repository: String,
    /// What the machine shall be called; without it the machine says it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64))]
    pub name: Option<String>,
    /// How long the token works, at most a week; a day without it.
    pub expires_in_s: Option<u64>,
    /// Whether the machine shall keep the repository: it has to be the one that the repository lies on, and to have its key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeper: bool,
}

/// A new enrolment with its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedEnrolment {
    /// The enrolment.
    pub enrolment: Enrolment,
    /// The token. Missing when an idempotency key repeats a request, because it is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What to run on the machine. Missing with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A machine that comes with a token. The same request once more gets the same answer, so that a lost answer loses nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RedeemEnrolment {
    /// The token.
    pub secret: String,
    /// The secret that the machine chose for itself: `ica_` and 64 hexadecimal digits.
    pub agent_secret: String,
    /// What the machine calls itself.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64))]
    pub name: String,
    /// The writer whose key file the machine has. Either this or a public key.
    pub writer: Option<String>,
    /// X25519 public key as 64 hexadecimal digits, to which a writer key shall be sealed.
    pub public_key: Option<String>,
    /// Whether the machine comes to keep the repository; the token has to be one for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeper: bool,
}

/// What a machine gets for its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedeemedEnrolment {
    /// The enrolment's id.
    pub id: EnrolmentId,
    /// The repository, by name.
    pub repository: String,
    /// The agent; missing while the machine waits for its writer key.
    pub agent: Option<Agent>,
    /// The writer key as a person sealed it, in hexadecimal digits.
    pub sealed_writer_key: Option<String>,
}

/// A writer key, sealed to a machine that waits for one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GiveWriterKey {
    /// The writer.
    pub writer: String,
    /// The public key that it is sealed to.
    pub public_key: String,
    /// The sealed key, in hexadecimal digits; at most 8 KiB.
    #[cfg_attr(feature = "openapi", schema(max_length = 8192))]
    pub sealed_writer_key: String,
}
