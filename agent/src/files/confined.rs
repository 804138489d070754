//! Files of an untrusted file system, read by a process of its own that can do nothing else.
//!
//! The parent (here) has the key and reads the disk; the child ([`child`]) understands the file system. They talk over two pipes
//! ([`frame`]): the child asks for bytes of the disk and answers questions about files. It is the same program, started anew with one
//! verb, so nothing of the parent's memory is in it, no key above all. What the child sends is checked here like everything else that
//! comes from a hostile disk: lengths, kinds, and how long it takes.

pub mod child;
pub mod frame;

use crate::files::detail::Detail;
use crate::files::{FileId, ListEntry};
use crate::read_at::ReadAt;
use anyhow::{Context as _, Result, bail, ensure};
use frame::{Answer, FromChild, Question, ToChild, Visited};

pub use frame::Named;
use std::io::{BufReader, BufWriter};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// The hidden verb of the program that starts a child.
pub const VERB: &str = "read-files";
/// A question that takes longer ends the child.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// For what a child is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Single questions.
    Short,
    /// Whole directories, which may take the processor for hours. Each answer has its time limit all the same.
    Long,
}

/// A child that has one file system open, and the disk that it reads.
pub struct Confined<'d> {
    disk: &'d dyn ReadAt,
    child: Child,
    to: BufWriter<ChildStdin>,
    from: Receiver<std::io::Result<FromChild>>,
    answer_within: Duration,
}

/// What went wrong.
#[derive(Debug)]
pub enum Failed {
    /// The child says why it cannot answer; it can be asked on. The flag says whether what was asked for is not there.
    Refused(bool, String),
    /// The child is of no more use.
    Broken(anyhow::Error),
}

impl<'d> Confined<'d> {
    /// Starts a child of this program for a file system that begins at the disk's first byte.
    pub fn start(program: &std::path::Path, disk: &'d dyn ReadAt, life: Life) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(VERB).arg(disk.size_bytes().to_string()).args((life == Life::Long).then_some("--long"));
        command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the process that reads files")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdin = stdin.context("it was started with a pipe")?;
        let from = listen(stdout.context("it was started with a pipe")?);
        Ok(Self { disk, child, to: BufWriter::new(stdin), from, answer_within: ANSWER_WITHIN })
    }

    /// Entries of a directory behind a name.
    pub fn list(&mut self, path: &str, behind: Option<&str>, limit: usize) -> Result<Listing, Failed> {
        let question = Question::List { path: path.into(), behind: behind.map(str::to_owned), limit };
        match self.ask(&question)? {
            (Answer::List { file_system, notes, count, entries, more }, _) if entries.len() <= limit => {
                Ok(Listing { file_system, notes, count, entries, more })
            }
            _ => Err(odd()),
        }
    }

    /// One file.
    pub fn look(&mut self, path: &str) -> Result<ListEntry, Failed> {
        match self.ask(&Question::Look { path: path.into() })? {
            (Answer::Look(entry), _) => Ok(*entry),
            _ => Err(odd()),
        }
    }

    /// A piece of a file, which must lie within it.
    pub fn read(&mut self, path: &str, offset_bytes: u64, length_bytes: u32) -> Result<Vec<u8>, Failed> {
        match self.ask(&Question::Read { path: path.into(), offset_bytes, length_bytes })? {
            (Answer::Piece, bytes) if bytes.len() == length_bytes as usize => Ok(bytes),
            _ => Err(odd()),
        }
    }

    /// Begins a walk through a directory; one at a time.
    pub fn walk(&mut self, path: &str) -> Result<(), Failed> {
        match self.ask(&Question::Walk { path: path.into() })? {
            (Answer::Walking, _) => Ok(()),
            _ => Err(odd()),
        }
    }

    /// The next file of the walk, if there is one. What is damaged is refused.
    pub fn step(&mut self) -> Result<Option<Visited>, Failed> {
        match self.ask(&Question::Step)? {
            (Answer::Step(visited), _) => Ok(visited.map(|visited| *visited)),
            _ => Err(odd()),
        }
    }

    /// The next names of the walk; none at its end. What is damaged is among them.
    pub fn names(&mut self) -> Result<Vec<Named>, Failed> {
        match self.ask(&Question::Names)? {
            (Answer::Names(named), _) => Ok(named),
            _ => Err(odd()),
        }
    }

    /// Names of a directory in their order, behind one of them, and whether more follow.
    pub fn names_in(
        &mut self,
        path: &str,
        behind: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, FileId)>, bool), Failed> {
        let question = Question::NamesIn { path: path.into(), behind: behind.map(str::to_owned), limit };
        match self.ask(&question)? {
            (Answer::NamesIn { names, more }, _) if names.len() <= limit => Ok((names, more)),
            _ => Err(odd()),
        }
    }

    /// All there is to know of entries of a directory, behind one of them, and whether more follow.
    pub fn details(&mut self, path: &str, behind: Option<&str>, limit: usize) -> Result<(Vec<Detail>, bool), Failed> {
        let question = Question::Details { path: path.into(), behind: behind.map(str::to_owned), limit };
        match self.ask(&question)? {
            (Answer::Details { details, more }, _) if details.len() <= limit => Ok((details, more)),
            _ => Err(odd()),
        }
    }

    /// All there is to know of one file.
    pub fn detail(&mut self, path: &str) -> Result<Detail, Failed> {
        match self.ask(&Question::Detail { path: path.into() })? {
            (Answer::Details { mut details, .. }, _) if details.len() == 1 => details.pop().ok_or_else(odd),
            _ => Err(odd()),
        }
    }

    /// Stretches with data of a file, the first of those that begin at an offset or behind it.
    pub fn extents(&mut self, id: FileId, from_bytes: u64) -> Result<Vec<(u64, u64)>, Failed> {
        match self.ask(&Question::Extents { id, from_bytes })? {
            (Answer::Extents(extents), _) => Ok(extents),
            _ => Err(odd()),
        }
    }

    /// A piece of a file that a step came to, which must lie within it.
    pub fn read_visited(&mut self, id: FileId, offset_bytes: u64, length_bytes: u32) -> Result<Vec<u8>, Failed> {
        match self.ask(&Question::ReadVisited { id, offset_bytes, length_bytes })? {
            (Answer::Piece, bytes) if bytes.len() == length_bytes as usize => Ok(bytes),
            _ => Err(odd()),
        }
    }

    fn ask(&mut self, question: &Question) -> Result<(Answer, Vec<u8>), Failed> {
        match self.converse(question).map_err(Failed::Broken)? {
            (Answer::Refused { is_missing, what }, _) => Err(Failed::Refused(is_missing, what)),
            answered => Ok(answered),
        }
    }

    /// Asks and gives the child what it wants of the disk, until it answers.
    fn converse(&mut self, question: &Question) -> Result<(Answer, Vec<u8>)> {
        let until = Instant::now() + self.answer_within;
        ToChild::Ask(question.clone()).write(&mut self.to).context("the process that reads files has ended")?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok(Ok(FromChild::Answer(answer, bytes))) => return Ok((answer, bytes)),
                Ok(Ok(FromChild::Wants { offset_bytes, length_bytes })) => {
                    ensure!(!left.is_zero(), "it takes too long");
                    self.give(offset_bytes, length_bytes)?;
                }
                Ok(Err(error)) => {
                    return Err(error)
                        .context("the process that reads files ended; the file system may be damaged or made to harm");
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("reading the files takes longer than {} seconds", self.answer_within.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the process that reads files ended; the file system may be damaged or made to harm")
                }
            }
        }
    }

    fn give(&mut self, offset_bytes: u64, length_bytes: u32) -> Result<()> {
        ensure!(length_bytes <= frame::MAX_BYTES, "the process that reads files asked for too much");
        let end = offset_bytes.checked_add(length_bytes.into());
        ensure!(
            end.is_some_and(|end| end <= self.disk.size_bytes()),
            "the process that reads files asked for bytes that are not there"
        );
        let mut bytes = vec![0; length_bytes as usize];
        let given = match self.disk.read_exact_at(&mut bytes, offset_bytes) {
            Ok(()) => ToChild::Bytes(bytes),
            Err(error) => ToChild::Unreadable(error.to_string()),
        };
        given.write(&mut self.to).context("the process that reads files has ended")
    }
}

impl Drop for Confined<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Part of a directory.
pub struct Listing {
    /// What the file system is.
    pub file_system: String,
    /// What a person should know of its state.
    pub notes: Vec<String>,
    /// Entries of the whole directory.
    pub count: u64,
    /// These of them.
    pub entries: Vec<ListEntry>,
    /// Whether more follow.
    pub more: bool,
}

fn odd() -> Failed {
    Failed::Broken(anyhow::anyhow!("the process that reads files answered another question"))
}

/// A thread takes what the child says, because a pipe cannot be waited for with a time limit. One message lies ready at most.
fn listen(stdout: ChildStdout) -> Receiver<std::io::Result<FromChild>> {
    let (sender, receiver) = sync_channel(0);
    std::thread::spawn(move || {
        let mut from = BufReader::new(stdout);
        loop {
            let message = FromChild::read(&mut from);
            let is_over = message.is_err();
            if sender.send(message).is_err() || is_over {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// What comes of a question to a child that does this instead of reading a file system.
    fn asked_of(script: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("child");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let disk = vec![7_u8; 4096];
        let mut files = Confined::start(&program, &disk, Life::Short).unwrap();
        files.answer_within = Duration::from_millis(1500);
        match files.look("/etc") {
            Err(Failed::Broken(error)) => format!("{error:#}"),
            Err(Failed::Refused(_, what)) => what,
            Ok(entry) => panic!("{entry:?}"),
        }
    }

    #[test]
    fn a_child_that_ends_stalls_or_asks_for_too_much_costs_an_answer() {
        for (script, told) in [
            ("exit 0", "ended"),
            ("exec sleep 20", "takes longer"),
            // Eight bytes of offset, four of length.
            (r"printf 'w\014\0\0\0\0\020\0\0\0\0\0\0\001\0\0\0'; exec sleep 20", "not there"),
            (r"printf 'w\014\0\0\0\0\0\0\0\0\0\0\0\0\0\0\177'; exec sleep 20", "too much"),
            (r"printf 'z\0\0\0\0'; exec sleep 20", "ended"),
            (r#"printf 'a\007\0\0\0"Piece"b\0\0\0\0'; exec sleep 20"#, "another question"),
            (r"printf 'a\377\377\377\377'; exec sleep 20", "ended"),
        ] {
            let what = asked_of(script);
            assert!(what.contains(told), "{script}: {what}");
        }
    }
}
