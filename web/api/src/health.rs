//! Whether the server lives, and how it is.

use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};

/// Answer of `/health` and `/ready`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Liveness {
    /// `ok`.
    pub status: String,
}

/// How the server is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Version of the program.
    pub version: String,
    /// When it was started.
    pub started_at: Time,
    /// Its own clock.
    pub now_at: Time,
    /// Version of the database's structure.
    pub database_version: u32,
    /// Size of the database's file.
    pub database_bytes: ByteCount,
}
