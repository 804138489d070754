//! What happened, as it happens: the server-sent events of `/api/v1/events`.

use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// Number of events that are not kept, such as a job's progress.
pub const PASSING: u64 = 0;

/// Something that a page may want to show. Carries no secrets: everybody who may read sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Grows; the `id:` of the server-sent event, and what `Last-Event-ID` names. There may be gaps. 0 for what is not kept
    /// (a job's progress): such an event has no `id:` and is not sent again.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What, such as `settings.changed`; the `event:` of the server-sent event.
    pub kind: String,
    /// Of what: an id or a name.
    pub subject: String,
}
