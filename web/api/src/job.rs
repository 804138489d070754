//! Jobs: one run of something long. Every long action answers with one.

use crate::error::ErrorDetail;
use crate::id::JobId;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn or for an agent.
    Queued,
    /// An agent works on it.
    Running,
    /// Done.
    Succeeded,
    /// Ended without success; `error` says why.
    Failed,
    /// A person ended it.
    Cancelled,
}

/// One run of something long.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What is done, such as `backup`.
    pub kind: String,
    /// How far it is.
    pub state: JobState,
    /// When it was asked for.
    pub created_at: Time,
    /// When work on it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// Why it failed.
    pub error: Option<ErrorDetail>,
}
