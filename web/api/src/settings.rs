//! What an admin can change about the server while it runs. What it needs to start is in its configuration.

use serde::{Deserialize, Serialize};

/// The settings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settings {
    /// What people call this server.
    pub appliance_name: String,
    /// A session ends when it is not used for this long.
    pub session_idle_s: u64,
    /// A session ends this long after the log-in in any case.
    pub session_lifetime_s: u64,
    /// How long a one-time log-in link works.
    pub log_in_link_lifetime_s: u64,
    /// Grows with every change; the ETag.
    pub revision: u64,
}

/// Changes to the settings; what is missing stays.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    /// 1 to 100 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100))]
    pub appliance_name: Option<String>,
    /// 5 minutes to 30 days.
    #[cfg_attr(feature = "openapi", schema(minimum = 300, maximum = 2_592_000))]
    pub session_idle_s: Option<u64>,
    /// 5 minutes to 90 days.
    #[cfg_attr(feature = "openapi", schema(minimum = 300, maximum = 7_776_000))]
    pub session_lifetime_s: Option<u64>,
    /// 5 minutes to 7 days.
    #[cfg_attr(feature = "openapi", schema(minimum = 300, maximum = 604_800))]
    pub log_in_link_lifetime_s: Option<u64>,
}
