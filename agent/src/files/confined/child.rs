//! The process that understands a file system and can do nothing else.
//!
//! It has two pipes and no other file, no privileges, and limits of memory and processor time. [`confine`] gives up what it does not
//! need before the first byte of the disk is looked at, and fails rather than to go on with more than it should have.

use super::Life;
use super::frame::{Answer, FromChild, MAX_BYTES, Named, Question, ToChild, Visited};
use crate::files::detail::{Detail, pair};
use crate::files::{
    self, DataExtent, DirEntry, FileContent, FileId, FileKind, FileSystem, FilesError, Visit, Walk, escape_name,
    listing, lookup_path, unescape_name,
};
use crate::read_at::ReadAt;
use anyhow::{Context as _, Result};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Stdin, Stdout};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory for what it makes itself. A directory of a million names fits.
const MEMORY_BYTES: u64 = 512 << 20;
/// Processor time of its whole life; whoever looks at files for longer gets another child.
const PROCESSOR_S: u64 = 300;
/// Processor time of a child that goes through whole directories; its parent ends it when one answer takes too long.
const LONG_PROCESSOR_S: u64 = 24 * 3600;
/// Who it is where it began as root: nobody.
const NOBODY: u32 = 65534;
/// Bytes of the disk are fetched and kept in blocks of this size.
const BLOCK_BYTES: u64 = 64 << 10;
/// So many of them are kept.
const MOST_BLOCKS: usize = 512;
/// So many names of a walk are one answer, which has a time limit.
const NAMES: usize = 128;
/// So many stretches of a file are one answer.
const EXTENTS: usize = 8192;
/// A longer path is cut, which makes it none that anybody takes.
const LONGEST_PATH_BYTES: usize = 16 << 10;
/// A page of a directory ends before it is longer than this.
const PAGE_BYTES: usize = 256 << 10;

/// Gives up everything but the pipes, memory and time.
pub fn confine(life: Life) -> Result<()> {
    let processor_s = if life == Life::Long { LONG_PROCESSOR_S } else { PROCESSOR_S };
    prctl::set_no_new_privs().context("cannot give up gaining privileges")?;
    prctl::set_dumpable(false).context("cannot keep others out of its memory")?;
    for (limit, most) in [
        (Resource::RLIMIT_DATA, MEMORY_BYTES),
        (Resource::RLIMIT_CPU, processor_s),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, 3),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
    ] {
        setrlimit(limit, most, most).with_context(|| format!("cannot set the limit {limit:?}"))?;
    }
    if Uid::effective().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).context("cannot leave root's groups")?;
        setresgid(group, group, group).context("cannot become nobody's group")?;
        setresuid(user, user, user).context("cannot become nobody")?;
    }
    // After the change of user: root may have more processes than it may begin.
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).context("cannot give up starting processes")?;
    only_pipes_and_memory()
}

/// What it may ask of the kernel from now on; anything else ends it at once.
const CALLS: [i64; 22] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn only_pipes_and_memory() -> Result<()> {
    let rules = CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let machine = std::env::consts::ARCH.try_into().context("this kind of processor has no such filter")?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, machine)?;
    let program: BpfProgram = filter.try_into().context("the filter of system calls cannot be made")?;
    seccompiler::apply_filter(&program).context("cannot give up system calls")
}

/// Answers the parent's questions about the file system on a disk of this size until the parent has no more.
pub fn serve(disk_bytes: u64) -> Result<()> {
    let disk = Arc::new(PipeDisk::new(disk_bytes));
    let mut opened = Opened { disk: disk.clone(), fs: None, directory: None, walk: None, file: None };
    loop {
        let question = match disk.question() {
            Ok(question) => question,
            // The parent has gone or wants no more.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (answer, bytes) = opened.answer(&question).unwrap_or_else(|error| (refusal(&error), Vec::new()));
        disk.answer(answer, bytes)?;
    }
}

fn refusal(error: &FilesError) -> Answer {
    let is_missing = matches!(error, FilesError::NotFound { .. } | FilesError::NotADirectory { .. });
    Answer::Refused { is_missing, what: error.to_string() }
}

/// The file system, opened at the first question, the directory that was listed last, the walk under way, and the file that was read last.
struct Opened {
    disk: Arc<PipeDisk>,
    /// Lives as long as the process, which reads no other.
    fs: Option<&'static dyn FileSystem>,
    directory: Option<(String, Vec<DirEntry>)>,
    walk: Option<Walk>,
    /// Kept, because pieces of one file follow each other, and the map of a large one is long.
    file: Option<(FileId, Box<dyn FileContent>)>,
}

impl Opened {
    fn fs(&mut self) -> files::Result<&'static dyn FileSystem> {
        if let Some(fs) = self.fs {
            return Ok(fs);
        }
        let fs: &'static dyn FileSystem = Box::leak(files::open(self.disk.clone())?);
        self.fs = Some(fs);
        Ok(fs)
    }

    fn answer(&mut self, question: &Question) -> files::Result<(Answer, Vec<u8>)> {
        let fs = self.fs()?;
        match question {
            Question::List { path, behind, limit } => {
                self.list(fs, path, (behind.as_deref(), *limit)).map(|answer| (answer, Vec::new()))
            }
            Question::Look { path } => {
                let entry = files::stat(fs, &bytes_of(path)?)?;
                Ok((Answer::Look(Box::new(entry)), Vec::new()))
            }
            Question::Read { path, offset_bytes, length_bytes } => {
                let file = lookup_path(fs, &bytes_of(path)?)?;
                self.read(fs, file, (*offset_bytes, *length_bytes))
            }
            Question::Walk { path } => {
                let bytes = bytes_of(path)?;
                let start = lookup_path(fs, &bytes)?;
                if fs.metadata(start)?.kind != FileKind::Directory {
                    return Err(FilesError::NotADirectory { path: escape_name(&bytes), hint: String::new() });
                }
                self.walk = Some(Walk::new(start));
                Ok((Answer::Walking, Vec::new()))
            }
            Question::Step => {
                let visit = self.walk.as_mut().and_then(|walk| walk.step(fs));
                let visited = visit.map(|visit| visited(fs, visit)).transpose()?;
                Ok((Answer::Step(visited.map(Box::new)), Vec::new()))
            }
            Question::Names => Ok((Answer::Names(self.names(fs)), Vec::new())),
            Question::NamesIn { path, behind, limit } => {
                self.names_in(fs, path, (behind.as_deref(), *limit)).map(|answer| (answer, Vec::new()))
            }
            Question::Details { path, behind, limit } => {
                self.details(fs, path, (behind.as_deref(), *limit)).map(|answer| (answer, Vec::new()))
            }
            Question::Detail { path } => {
                let detail = Detail::of(fs, b"", lookup_path(fs, &bytes_of(path)?)?);
                Ok((Answer::Details { details: vec![detail], more: false }, Vec::new()))
            }
            Question::Extents { id, from_bytes } => {
                let behind = |extent: &DataExtent| extent.offset_bytes >= *from_bytes;
                let extents = self.file(fs, *id)?.data_extents().filter(behind).take(EXTENTS).map(pair).collect();
                Ok((Answer::Extents(extents), Vec::new()))
            }
            Question::ReadVisited { id, offset_bytes, length_bytes } => {
                self.read(fs, *id, (*offset_bytes, *length_bytes))
            }
        }
    }

    fn read(
        &mut self,
        fs: &'static dyn FileSystem,
        id: FileId,
        (offset_bytes, length_bytes): (u64, u32),
    ) -> files::Result<(Answer, Vec<u8>)> {
        let mut bytes = vec![0; length_bytes.min(MAX_BYTES) as usize];
        self.file(fs, id)?.read_exact_at(&mut bytes, offset_bytes)?;
        Ok((Answer::Piece, bytes))
    }

    fn file(&mut self, fs: &'static dyn FileSystem, id: FileId) -> files::Result<&dyn FileContent> {
        // The one before goes first: its map takes memory.
        let kept = self.file.take().filter(|(kept, _)| *kept == id);
        let (_, file) = self.file.insert(match kept {
            Some(file) => file,
            None => (id, fs.open_file(id)?),
        });
        Ok(&**file)
    }

    fn names_in(
        &mut self,
        fs: &dyn FileSystem,
        path: &str,
        (behind, limit): (Option<&str>, usize),
    ) -> files::Result<Answer> {
        let rest = behind_in(self.directory(fs, path)?, behind)?;
        let (mut names, mut length) = (Vec::new(), 0);
        for entry in rest.iter().take(limit) {
            let name = escape_name(&entry.name);
            length += name.len() + 50;
            if length > PAGE_BYTES && !names.is_empty() {
                break;
            }
            names.push((name, entry.id));
        }
        let more = names.len() < rest.len();
        Ok(Answer::NamesIn { names, more })
    }

    fn details(
        &mut self,
        fs: &dyn FileSystem,
        path: &str,
        (behind, limit): (Option<&str>, usize),
    ) -> files::Result<Answer> {
        let rest = behind_in(self.directory(fs, path)?, behind)?;
        let (mut details, mut length) = (Vec::new(), 0);
        for entry in rest.iter().take(limit) {
            let detail = Detail::of(fs, &entry.name, entry.id);
            length += detail.length();
            if length > PAGE_BYTES && !details.is_empty() {
                break;
            }
            details.push(detail);
        }
        let more = details.len() < rest.len();
        Ok(Answer::Details { details, more })
    }

    fn names(&mut self, fs: &dyn FileSystem) -> Vec<Named> {
        let (mut named, mut length) = (Vec::new(), 0);
        while let Some(walk) = self.walk.as_mut().filter(|_| named.len() < NAMES && length < PAGE_BYTES) {
            let Some(Visit { mut path, metadata, id }) = walk.step(fs) else { break };
            path.truncate(LONGEST_PATH_BYTES + 1);
            let path = escape_name(&path);
            length += path.len();
            let facts = metadata.ok();
            named.push(Named {
                path,
                id,
                kind: facts.as_ref().map(|facts| facts.kind),
                size_bytes: facts.as_ref().map_or(0, |facts| facts.size_bytes),
                modified: facts.map(|facts| facts.modified).unwrap_or_default(),
            });
        }
        named
    }

    fn list(
        &mut self,
        fs: &dyn FileSystem,
        path: &str,
        (behind, limit): (Option<&str>, usize),
    ) -> files::Result<Answer> {
        let directory = self.directory(fs, path)?;
        let rest = behind_in(directory, behind)?;
        let (mut entries, mut length) = (Vec::new(), 0);
        for entry in rest.iter().take(limit) {
            let described = listing::describe(fs, &entry.name, entry.id);
            length += described.name.len() + described.link_target.as_ref().map_or(0, String::len) + 300;
            if length > PAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(described);
        }
        let more = entries.len() < rest.len();
        Ok(Answer::List {
            file_system: fs.name().into(),
            notes: fs.notes().iter().take(50).cloned().collect(),
            count: directory.len() as u64,
            entries,
            more,
        })
    }

    /// The entries in the order of their names; kept, because pages of one directory follow each other.
    fn directory(&mut self, fs: &dyn FileSystem, path: &str) -> files::Result<&[DirEntry]> {
        if self.directory.as_ref().is_none_or(|(known, _)| known != path) {
            let bytes = bytes_of(path)?;
            let id: FileId = lookup_path(fs, &bytes)?;
            if fs.metadata(id)?.kind != FileKind::Directory {
                return Err(FilesError::NotADirectory { path: escape_name(&bytes), hint: String::new() });
            }
            let mut entries = fs.read_dir(id)?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            self.directory = Some((path.to_owned(), entries));
        }
        Ok(self.directory.as_ref().map_or(&[], |(_, entries)| entries))
    }
}

/// The entries behind a name.
fn behind_in<'e>(directory: &'e [DirEntry], behind: Option<&str>) -> files::Result<&'e [DirEntry]> {
    let behind = behind.map(bytes_of).transpose()?;
    let first = behind.map_or(0, |behind| directory.partition_point(|entry| entry.name <= behind));
    Ok(&directory[first..])
}

/// What is damaged comes back as an error that names it.
fn visited(fs: &dyn FileSystem, visit: Visit) -> files::Result<Visited> {
    let path = escape_name(&visit.path);
    let named = |error: FilesError| FilesError::corrupt(format!("/{path}: {error}"));
    let metadata = visit.metadata.map_err(named)?;
    let link_target = match metadata.kind {
        FileKind::Symlink => Some(escape_name(&fs.read_link(visit.id).map_err(named)?)),
        _ => None,
    };
    Ok(Visited { path, metadata, link_target })
}

fn bytes_of(path: &str) -> files::Result<Vec<u8>> {
    unescape_name(path).ok_or_else(|| FilesError::NotFound { path: path.to_owned() })
}

/// The disk at the other end of the pipes.
struct PipeDisk {
    size_bytes: u64,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    from: BufReader<Stdin>,
    to: BufWriter<Stdout>,
    blocks: HashMap<u64, Arc<[u8]>>,
}

impl PipeDisk {
    fn new(size_bytes: u64) -> Self {
        let (from, to) = (BufReader::new(io::stdin()), BufWriter::new(io::stdout()));
        Self { size_bytes, pipes: Mutex::new(Pipes { from, to, blocks: HashMap::new() }) }
    }

    fn question(&self) -> io::Result<Question> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        match ToChild::read(&mut pipes.from)? {
            ToChild::Ask(question) => Ok(question),
            ToChild::Bytes(_) | ToChild::Unreadable(_) => Err(io::Error::other("bytes that nobody wanted")),
        }
    }

    fn answer(&self, answer: Answer, bytes: Vec<u8>) -> io::Result<()> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        FromChild::Answer(answer, bytes).write(&mut pipes.to)
    }
}

impl Pipes {
    fn block(&mut self, number: u64, size_bytes: u64) -> io::Result<Arc<[u8]>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let offset_bytes = number * BLOCK_BYTES;
        let length = BLOCK_BYTES.min(size_bytes - offset_bytes);
        let length_bytes = u32::try_from(length).map_err(io::Error::other)?;
        FromChild::Wants { offset_bytes, length_bytes }.write(&mut self.to)?;
        let block: Arc<[u8]> = match ToChild::read(&mut self.from)? {
            ToChild::Bytes(bytes) if bytes.len() as u64 == length => bytes.into(),
            ToChild::Unreadable(why) => return Err(io::Error::other(why)),
            ToChild::Bytes(_) | ToChild::Ask(_) => {
                return Err(io::Error::other("the disk did not answer as it was asked"));
            }
        };
        if self.blocks.len() >= MOST_BLOCKS {
            self.blocks.clear();
        }
        self.blocks.insert(number, block.clone());
        Ok(block)
    }
}

impl ReadAt for PipeDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = offset_bytes;
        let mut rest = buf;
        while at < end {
            let number = at / BLOCK_BYTES;
            let block = pipes.block(number, self.size_bytes)?;
            let from = crate::lengths::in_memory(at - number * BLOCK_BYTES);
            let length = rest.len().min(block.len() - from);
            let (piece, left) = rest.split_at_mut(length);
            piece.copy_from_slice(&block[from..from + length]);
            rest = left;
            at += length as u64;
        }
        Ok(())
    }
}
