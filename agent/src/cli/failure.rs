//! Failures as a person or a program meets them: what happened, why, what to do next, and the exit code.
//!
//! The codes are an interface (docs/exit-codes.md); a test compares that page with [`Code`].

use agent::export::ExportError;
use agent::files::FilesError;
use agent::source::provider::{self, SnapshotError};
use agent::tracker::TrackerError;
use nix::errno::Errno;
use repo_format::Error;
use serde_json::json;
use std::fmt;
use std::io;

/// Exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// The work failed: a disk, the store or the system refused.
    Failed = 1,
    /// The command line asks for something that does not exist.
    Usage = 2,
    /// The repository's bytes are damaged, or a check found errors.
    Damaged = 3,
    /// No key, a wrong one, or one that may not do this.
    Key = 4,
    /// A repository, recovery point, disk or file does not exist.
    NotFound = 5,
    /// It could be done but would be dangerous; nothing was changed.
    Refused = 6,
    /// A newer program made it.
    NewerProgram = 7,
    /// Stopped by a signal; what was stored is reused.
    Interrupted = 130,
}

impl Code {
    /// All of them, for the tests of the documentation.
    #[cfg(test)]
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Usage,
        Self::Damaged,
        Self::Key,
        Self::NotFound,
        Self::Refused,
        Self::NewerProgram,
        Self::Interrupted,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Damaged => "damaged",
            Self::Key => "key",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::NewerProgram => "newer_program",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failure that the command line itself found.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    what: String,
    next: Option<String>,
}

impl Failure {
    /// A failure with its code.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), next: None }
    }

    /// With what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// Nobody reads standard output any more. Not a failure.
#[derive(Debug)]
pub struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for NobodyReads {}

/// What is told of an error.
pub struct Report {
    /// Exit code.
    pub code: Code,
    /// What could not be done.
    pub what: String,
    /// The reasons, the outermost first.
    pub why: Vec<String>,
    /// What to do next.
    pub next: Option<String>,
}

impl Report {
    /// The report of an error with its causes.
    pub fn of(error: &anyhow::Error) -> Self {
        let own = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
        let format = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
        let tracker = error.chain().find_map(|cause| cause.downcast_ref::<TrackerError>());
        let snapshot = error.chain().find_map(|cause| cause.downcast_ref::<SnapshotError>());
        let (code, next) = match (own, format, tracker, snapshot) {
            (Some(own), ..) => (own.code, own.next.clone()),
            (_, Some(Error::AccessRefused { next, .. }), ..) => (Code::Key, Some(next.clone())),
            (_, Some(format), ..) => (code_of(format), next_of(format).map(str::to_owned)),
            (_, _, Some(tracker), _) => (code_of_tracker(tracker), tracker.next()),
            (.., Some(snapshot)) => (Code::Failed, Some(snapshot.next.clone())),
            (None, None, None, None) => (code_of_job(error), None),
        };
        let mut lines: Vec<String> = Vec::new();
        for cause in error.chain().map(ToString::to_string) {
            // A cause that its parent quotes already is not said twice.
            if !lines.last().is_some_and(|last| last.ends_with(&cause)) {
                lines.push(cause);
            }
        }
        let what = lines.remove(0);
        Self { code, what, why: lines, next }
    }

    /// As lines for a person. Escapes control characters: names from a repository may hold anything.
    pub fn text(&self, colour: bool) -> String {
        let label = |label: &str| if colour { format!("\u{1b}[1;31m{label}\u{1b}[0m") } else { label.to_owned() };
        let mut text = format!("{} {}\n", label("error:"), agent::output::lines(&self.what));
        for why in &self.why {
            text += &format!("  why: {}\n", agent::output::lines(why));
        }
        if let Some(next) = &self.next {
            text += &format!(" next: {}\n", agent::output::lines(next));
        }
        text
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        let error = json!({
            "code": self.code.name(), "exit_code": self.code as i32,
            "message": self.what, "why": self.why, "next": self.next,
        });
        json!({ "error": error }).to_string()
    }
}

/// Code of an error that is not of the repository's format.
fn code_of_job(error: &anyhow::Error) -> Code {
    let code = |cause: &(dyn std::error::Error + 'static)| {
        let is_refusal = cause.is::<agent::backup::Refusal>()
            || cause.is::<agent::restore::Refusal>()
            || cause.is::<provider::Refusal>()
            || cause.is::<agent::source::image_rules::Unprotected>();
        if is_refusal {
            return Some(Code::Refused);
        }
        if let Some(error) = cause.downcast_ref::<ExportError>() {
            return match error {
                ExportError::Exists { .. } | ExportError::NotAFile { .. } | ExportError::TooLarge { .. } => {
                    Some(Code::Refused)
                }
                ExportError::Cancelled => Some(Code::Interrupted),
                _ => None,
            };
        }
        match (cause.downcast_ref::<FilesError>(), cause.downcast_ref::<io::Error>()) {
            (Some(FilesError::NotFound { .. }), _) => Some(Code::NotFound),
            (Some(FilesError::Cancelled), _) => Some(Code::Interrupted),
            (_, Some(error)) if error.kind() == io::ErrorKind::NotFound => Some(Code::NotFound),
            _ => None,
        }
    };
    error.chain().find_map(code).unwrap_or(Code::Failed)
}

fn code_of_tracker(error: &TrackerError) -> Code {
    if matches!(error, TrackerError::Broken { .. }) {
        return Code::Refused;
    }
    match error.errno() {
        Some(Errno::ESRCH | Errno::ENOENT | Errno::ENODEV) => Code::NotFound,
        Some(Errno::EALREADY | Errno::EBUSY) => Code::Refused,
        Some(Errno::EINTR) => Code::Interrupted,
        _ => Code::Failed,
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::ForeignRepository { object, .. } if object == "the key file" => Code::Key,
        Error::Damaged { .. }
        | Error::Missing { .. }
        | Error::UnknownSigner { .. }
        | Error::ForeignRepository { .. } => Code::Damaged,
        Error::NewerVersion { .. } | Error::UnknownFeature(_) => Code::NewerProgram,
        Error::NoRepository | Error::NoSuch(_) => Code::NotFound,
        Error::WrongPassphrase | Error::KeyNeeded(_) | Error::AccessRefused { .. } => Code::Key,
        Error::RepositoryExists | Error::Refused(_) => Code::Refused,
        Error::Limit { .. } => Code::Usage,
        Error::Interrupted => Code::Interrupted,
        _ => Code::Failed,
    }
}

fn next_of(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::NoRepository => "check --repo (or ICECORE_REPO); `icecore init` makes a new repository",
        Error::WrongPassphrase => {
            "check the passphrase or key file; `--recovery-kit FILE` opens the repository without either"
        }
        Error::KeyNeeded(_) => "give --passphrase-file, --key-file or --recovery-kit instead of a writer key",
        Error::ForeignRepository { object, .. } if object == "the key file" => {
            "give the key of this repository, or the --repo that the key belongs to"
        }
        Error::Damaged { object, .. } if object == "config" => {
            "give the recovery kit: `icecore --recovery-kit FILE key repair` writes both again; or put `config` back from a replica. Nothing else is lost"
        }
        Error::UnknownSigner { .. } => {
            "`icecore key repair WRITER_KEY_FILE` writes the writer's record again; `icecore check` names what depends on it"
        }
        Error::Damaged { .. } | Error::Missing { .. } | Error::ForeignRepository { .. } => {
            "run `icecore check --read-data` to see all damage; what is intact can still be restored"
        }
        Error::RepositoryExists => "use it as it is, or give another directory",
        Error::Store { source, .. } => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space for the repository and start again; what is stored is not sent again"
            }
            io::ErrorKind::PermissionDenied => "run it as the user that owns the repository",
            io::ErrorKind::ReadOnlyFilesystem => "mount the repository's file system writable",
            _ => return None,
        },
        Error::Interrupted => "start it again; a backup or restore goes on where it was",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn every_exit_code_is_documented() {
        let page = super::super::EXIT_CODES;
        for code in Code::ALL {
            assert!(page.contains(&format!("| {} | `{}` |", code as i32, code.name())), "{code:?}");
        }
    }

    #[test]
    fn a_report_says_what_why_and_what_next() {
        let error = Err::<(), _>(Error::NoRepository).context("cannot open the repository in /x").unwrap_err();
        let report = Report::of(&error);
        assert_eq!(report.code, Code::NotFound);
        let text = report.text(false);
        assert!(text.starts_with("error: cannot open the repository in /x\n  why: there is no Icecore repository"));
        assert!(text.contains(" next: check --repo"));
    }

    #[test]
    fn a_report_cannot_control_the_terminal() {
        let report = Report::of(&anyhow::anyhow!("bad name \u{1b}[2J"));
        assert!(!report.text(false).contains('\u{1b}'));
        assert!(serde_json::from_str::<serde_json::Value>(&report.json()).is_ok());
    }
}
