//! What a restore did, what it could not do, and the calls to the progress callback.

use serde::Serialize;

use super::{ProgressCallback, RestoreProgress};
use crate::files::{FilesError, Result};

/// More problems than this are counted but not listed.
const MAX_LISTED_PROBLEMS: usize = 10_000;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The file is restored, but for something such as its owner.
    Incomplete,
    /// A file of that name exists and stays; this one has another name.
    Beside,
    /// A file of that name exists and was left alone.
    Exists,
    /// The file is not restored.
    Failed,
}

/// Something that is not as it was.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Escaped path below the target.
    pub path: String,
    /// How bad it is.
    pub kind: ProblemKind,
    /// What happened.
    pub message: String,
}

/// Result of a restore. It is complete when `failed` and `existing` are zero.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreOutcome {
    /// Regular files written.
    pub regular_files: u64,
    /// Directories made or entered.
    pub directories: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Further names given to restored files.
    pub hard_links: u64,
    /// Devices, pipes and sockets made.
    pub special_files: u64,
    /// Sum of the sizes of the regular files.
    pub bytes_content: u64,
    /// Bytes written, holes not counted.
    pub bytes_written: u64,
    /// Files that are not restored.
    pub failed: u64,
    /// Files that were left alone because they exist.
    pub existing: u64,
    /// Files that took the place of others.
    pub replaced: u64,
    /// Files that stand under another name because theirs was taken.
    pub beside: u64,
    /// Files that were there already, with this content and metadata.
    pub unchanged: u64,
    /// Files that are restored but for an owner, a mode, a time or an attribute.
    pub incomplete: u64,
    /// The first problems, in the order they were met; the counters above count all.
    pub problems: Vec<Problem>,
}

/// Collects the outcome and calls back.
pub(super) struct Report<'a> {
    outcome: RestoreOutcome,
    callback: &'a mut ProgressCallback<'a>,
}

impl<'a> Report<'a> {
    pub(super) fn new(callback: &'a mut ProgressCallback<'_>) -> Self {
        Self { outcome: RestoreOutcome::default(), callback }
    }

    pub(super) fn counts(&mut self) -> &mut RestoreOutcome {
        &mut self.outcome
    }

    pub(super) fn into_outcome(self) -> RestoreOutcome {
        self.outcome
    }

    pub(super) fn progress(&mut self, path: &str) -> Result<()> {
        let o = &self.outcome;
        let files = o.regular_files + o.directories + o.symlinks + o.hard_links + o.special_files;
        let progress = RestoreProgress { files, bytes_written: o.bytes_written, path };
        if (self.callback)(&progress).is_break() { Err(FilesError::Cancelled) } else { Ok(()) }
    }

    pub(super) fn failed(&mut self, path: &str, error: &FilesError) {
        self.outcome.failed += 1;
        self.problem(path, ProblemKind::Failed, error.to_string());
    }

    pub(super) fn skipped(&mut self, path: &str) {
        self.outcome.existing += 1;
        self.problem(path, ProblemKind::Exists, "it exists in the target and was left as it is".to_owned());
    }

    /// It got another name, or would.
    pub(super) fn beside(&mut self, path: &str, name: &str) {
        self.outcome.beside += 1;
        self.problem(path, ProblemKind::Beside, format!("a file of this name is there and stays; this one is {name}"));
    }

    pub(super) fn incomplete(&mut self, path: &str, messages: Vec<String>) {
        if !messages.is_empty() {
            self.outcome.incomplete += 1;
            self.problem(path, ProblemKind::Incomplete, messages.join("; "));
        }
    }

    fn problem(&mut self, path: &str, kind: ProblemKind, message: String) {
        if self.outcome.problems.len() < MAX_LISTED_PROBLEMS {
            self.outcome.problems.push(Problem { path: path.to_owned(), kind, message });
        }
    }
}
