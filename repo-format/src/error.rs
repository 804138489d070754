//! The one error type of the crate. It decides nothing; callers act on the variant.

use crate::id::WriterId;
use std::io;

/// What went wrong, with what is needed to act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed; `key` names the object. Retrying may help.
    #[error("the store failed on {key}: {source}")]
    Store {
        /// Object the operation was about.
        key: String,
        /// What the store said.
        source: io::Error,
    },
    /// An object that must exist does not.
    #[error("{key} is missing from the repository")]
    Missing {
        /// Key of the object.
        key: String,
    },
    /// An object exists and its bytes are not what they must be.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// Key or id of the object.
        object: String,
        /// Which rule it breaks.
        what: String,
    },
    /// An object is signed by a writer whose record is lost or damaged, so nobody can tell whether the signature is right.
    #[error("{object} is signed by writer {writer}, of whom there is no sound record, so it cannot be verified")]
    UnknownSigner {
        /// Key of the object.
        object: String,
        /// Who signed, as the object says.
        writer: WriterId,
    },
    /// The object was made by a newer program.
    #[error("{object} has format version {found}; this program knows {known}. Use a newer icecore")]
    NewerVersion {
        /// Key of the object.
        object: String,
        /// Version it carries.
        found: u16,
        /// Newest version this program reads.
        known: u16,
    },
    /// The repository uses a feature this program does not know.
    #[error("the repository uses the feature {0:?}, which this program does not know. Use a newer icecore")]
    UnknownFeature(String),
    /// There is no repository at the place.
    #[error("there is no Icecore repository here (no config object)")]
    NoRepository,
    /// There is already one.
    #[error("there is already an Icecore repository here; nothing was changed")]
    RepositoryExists,
    /// The object belongs to another repository.
    #[error("{object} belongs to repository {found}, not to {expected}")]
    ForeignRepository {
        /// Key of the object, or what was given.
        object: String,
        /// Repository it names.
        found: String,
        /// Repository that is open.
        expected: String,
    },
    /// No key slot opens with what was given.
    #[error("the passphrase or key file opens none of the repository's key slots")]
    WrongPassphrase,
    /// The keys at hand cannot do this.
    #[error("{0}")]
    KeyNeeded(String),
    /// No such recovery point, disk, key … or several of that name.
    #[error("{0}")]
    NoSuch(String),
    /// A value is outside what the format allows.
    #[error("{what} is {value}; allowed is {allowed}")]
    Limit {
        /// Which value.
        what: &'static str,
        /// What it was.
        value: u64,
        /// What it may be.
        allowed: String,
    },
    /// The session's lease was revoked or lapsed; nothing was committed and what was stored is reused by the next backup.
    #[error(
        "this session's lease was revoked after it lapsed; the backup was not committed. Start it again: what is stored is not sent again"
    )]
    LeaseLost,
    /// The local index is damaged or cannot be used. It can be deleted and is rebuilt.
    #[error("the local index {path}: {what}. It is only a cache: `icecore index rebuild` makes it again")]
    Index {
        /// File of the index.
        path: String,
        /// What SQLite said.
        what: String,
    },
    /// The operation was cancelled by its caller.
    #[error("interrupted")]
    Interrupted,
    /// Encoding produced bytes that did not decode to the same again: a fault of memory, processor or library.
    #[error(
        "what was encoded did not decode to the same bytes again ({0}); nothing wrong was stored. Test this machine's memory"
    )]
    SelfCheck(&'static str),
    /// Something the caller asked for cannot be done as asked.
    #[error("{0}")]
    Refused(String),
    /// Whoever keeps the store does not let this caller do that; another login may.
    #[error("{what}")]
    AccessRefused {
        /// What was refused, and by whom.
        what: String,
        /// What lifts it.
        next: String,
    },
}

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A `Damaged` from its parts.
    pub fn damaged(object: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged { object: object.into(), what: what.into() }
    }

    /// Whether the bytes of the repository, and not the circumstances, are at fault: the object cannot be used, another copy may be.
    /// A version from the future counts, since one flipped bit makes one.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Missing { .. }
                | Self::UnknownSigner { .. }
                | Self::ForeignRepository { .. }
                | Self::NewerVersion { .. }
        )
    }

    /// Whether one object cannot be had although the store works: damage, or a medium that has lost its sectors.
    pub fn is_loss(&self) -> bool {
        const EIO: i32 = 5;
        self.is_damage() || matches!(self, Self::Store { source, .. } if source.raw_os_error() == Some(EIO))
    }
}
