//! Repositories that this server keeps.

use crate::id::RepositoryId;
use crate::keeping::Care;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// What names of repositories are made of, for people.
pub const REPOSITORY_NAMES: &str = "A repository's name has 1 to 63 small letters, digits or `-`";

/// Whether a repository can have this name.
pub fn is_repository_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}

/// A repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Repository {
    /// Its id on this server.
    pub id: RepositoryId,
    /// Its name, as in `https://SERVER/NAME`.
    pub name: String,
    /// Where it is on the server.
    pub directory: String,
    /// The id that stands in all of its objects.
    pub format_id: String,
    /// When it was added.
    pub created_at: Time,
    /// How it is looked after.
    #[serde(default)]
    pub care: Care,
    /// The agent that keeps it, by name; without one nothing in it is verified, checked or pruned.
    #[serde(default)]
    pub keeper: Option<String>,
    /// Grows with every edit; the ETag.
    #[serde(default)]
    pub revision: u64,
    /// When somebody confirmed that its recovery kit is in a safe place. Without the kit a lost passphrase means lost backups.
    pub kit_confirmed_at: Option<Time>,
    /// Who that was.
    pub kit_confirmed_by: Option<String>,
}

/// Changes to a repository; what is missing stays.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeRepository {
    /// How it is looked after; what is missing in it gets its default.
    pub care: Option<Care>,
}

/// How many digits at the end of the line `repository:` of a recovery kit are typed to confirm it.
pub const KIT_DIGITS: usize = 6;

/// Says that the recovery kit of a repository is in a safe place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfirmKit {
    /// The last six digits of the kit's line `repository:`.
    #[cfg_attr(feature = "openapi", schema(min_length = 6, max_length = 32))]
    pub digits: String,
}

/// A repository that is there already, to be kept by this server from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AddRepository {
    /// Its name here: small letters, digits and `-`.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 63))]
    pub name: String,
    /// Its directory on the server; `icecore init` makes one.
    pub directory: String,
}
