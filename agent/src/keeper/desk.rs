//! Questions about files, and parts of disks for machines that restore them, answered while somebody waits for it: the keeper comes for them as it comes for jobs.
//!
//! Archives take long and have desks of their own ([`super::archive`]), so that nobody who looks at a directory waits for one.
//!
//! One desk answers one question at a time. What it opened for one (repository, index, the lease that keeps prune away, the process that
//! reads the file system) stays open while more come about the same point, and for half a minute after.

use super::archive::{self, Carrier};
use super::passing::Passing;
use super::passing_files::PassingFiles;
use super::searching::Searching;
use crate::daemon::work::{OpenRepository, index};
use crate::daemon::{Asked, Link, Pauses, wait};
use crate::files::confined::{Confined, Failed, Life, Listing};
use crate::files::{FileKind, ListEntry};
use crate::medium::Medium;
use crate::progress::Report;
use crate::read_at::Slice;
use crate::volumes::{self, Meant};
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use repo_format::id::WriterId;
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::reader::Reader;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use web_api::file::{
    AskedQuestion, FileAnswer, FileEntry, FilePage, FileQuestion, FileRefusal, MAX_PIECE_BYTES, PassDisk, PassFiles,
    PointVolume, PointVolumes, Volume,
};
use web_api::unit::ByteCount;

/// How long one request for a question waits at the server. Short, because a signal waits as long.
const WAIT_S: u32 = 5;
/// What was opened is closed when nobody asks about it for so long.
const IDLE: Duration = Duration::from_secs(30);
/// Most disks and partitions of an answer.
const MAX_VOLUMES: usize = 256;

/// A place where questions are answered, one at a time.
pub struct Desk<'k> {
    /// To the server.
    pub link: Link,
    /// Opens the repository.
    pub open: &'k OpenRepository<'k>,
    /// Where the index is.
    pub index_dir: Option<PathBuf>,
    /// Whether people may look at files.
    pub show_files: bool,
    /// Writers of the machines that disks may be passed to.
    pub pass_to: Vec<WriterId>,
    /// This program, which reads file systems in a process of its own.
    pub program: PathBuf,
    /// The time.
    pub clock: &'k (dyn Fn() -> Timestamp + Sync),
    /// Whether it makes archives, and answers nothing else.
    pub archives: bool,
    /// Set when the service ends.
    pub stop: Arc<AtomicBool>,
}

/// The point that is looked into.
struct Open<'o> {
    at: PointKey,
    stored: &'o StoredManifest,
    reader: &'o Reader<'o>,
    manifest: &'o Manifest,
    searching: RefCell<Searching<'o>>,
}

impl Desk<'_> {
    /// Answers until the service ends, or the server does not want this agent; its lanes say so.
    pub fn serve(&self) {
        let mut pauses = Pauses::default();
        let mut next = None;
        while !self.stop.load(Ordering::Relaxed) {
            let question = match next.take() {
                Some(question) => question,
                None => match self.link.ask_question(WAIT_S, self.archives) {
                    Ok(Some(question)) => question,
                    Ok(None) => {
                        pauses.reset();
                        continue;
                    }
                    Err(Asked::Refused(_)) => return,
                    Err(Asked::Away(why)) => {
                        tracing::debug!(why, "the server gives no questions");
                        wait(pauses.another(), &self.stop);
                        continue;
                    }
                },
            };
            let asked = question.clone();
            next = self.point(question).unwrap_or_else(|error| {
                tracing::warn!(
                    point = asked.point,
                    error = format!("{error:#}"),
                    "a question about files was not answered"
                );
                self.refuse(&asked, false, format!("{error:#}"));
                None
            });
        }
    }

    /// Answers about one point; returns a question about another one.
    fn point(&self, first: AskedQuestion) -> Result<Option<AskedQuestion>> {
        let (report, cancel) = (Report::default(), self.stop.clone());
        let repo = (self.open)(&cancel)?;
        let index = index(self.index_dir.as_deref(), &repo, &report, &cancel)?;
        let all = repo.points()?;
        let Some(at) = all.iter().find(|at| at.manifest.to_string() == first.point) else {
            self.refuse(&first, true, format!("there is no recovery point {} in the repository", first.point));
            return Ok(None);
        };
        let (stored, manifest) = repo.open_point_unverified(*at)?;
        let warn = |line: &str| tracing::warn!("{line}");
        crate::open::reading(&repo, &[(&stored, &manifest)], (self.clock, &warn), || {
            let reader = Reader::new(&repo, &index);
            let searching = RefCell::new(Searching::new(&repo, (at.name, &manifest)));
            let open = Open { at: *at, stored: &stored, reader: &reader, manifest: &manifest, searching };
            let mut question = first;
            loop {
                let next = self.about(&open, &question).unwrap_or_else(|error| {
                    self.refuse(&question, false, format!("{error:#}"));
                    self.next()
                });
                match next {
                    Some(next) if next.point == question.point => question = next,
                    other => return Ok(other),
                }
            }
        })
    }

    /// Answers about the point that is open; returns a question about something else.
    fn about(&self, open: &Open<'_>, question: &AskedQuestion) -> Result<Option<AskedQuestion>> {
        match (&question.question, question.question.volume()) {
            (FileQuestion::Pass(wanted), _) => self.pass(open, wanted, question),
            (FileQuestion::PassFiles(wanted), _) => self.pass_files(open, wanted, question),
            _ if !self.show_files => bail!("the keeper shows no files; it was started without --show-files"),
            (_, Some(volume)) => self.volume(open, volume, question.clone()),
            (_, None) => {
                let answer = match &question.question {
                    FileQuestion::Volumes => FileAnswer::Volumes(volumes_of(open)?),
                    search => open.searching.borrow_mut().answer(search)?,
                };
                self.say(question, &answer);
                Ok(self.next())
            }
        }
    }

    /// Passes a disk to a machine, for as long as its order is the next question.
    fn pass(&self, open: &Open<'_>, wanted: &PassDisk, first: &AskedQuestion) -> Result<Option<AskedQuestion>> {
        let passing = Passing::begin(open.reader, (open.at, open.manifest), &wanted.order, &self.pass_to)?;
        tracing::info!(point = %open.at.manifest, writer = %passing.writer(), "a disk is passed to a machine");
        let (mut question, mut offset_bytes) = (first.clone(), wanted.offset_bytes);
        loop {
            match passing.part(offset_bytes) {
                Ok(sealed) => self.tell(self.link.bring_piece(question.id, sealed)),
                Err(error) => self.refuse(&question, false, format!("{error:#}")),
            }
            question = match self.next() {
                Some(next) if next.point == first.point => next,
                other => return Ok(other),
            };
            offset_bytes = match &question.question {
                FileQuestion::Pass(next) if next.order == wanted.order => next.offset_bytes,
                _ => return Ok(Some(question)),
            };
        }
    }

    /// Passes files to a machine, for as long as questions to its order come.
    fn pass_files(&self, open: &Open<'_>, wanted: &PassFiles, first: &AskedQuestion) -> Result<Option<AskedQuestion>> {
        let mut passing = PassingFiles::begin(open.reader, open.stored, wanted, &self.pass_to)?;
        tracing::info!(point = %open.at.manifest, writer = %passing.writer(), files = wanted.files.len(), "files are passed to a machine");
        let medium = Medium::chosen(open.reader, open.manifest, wanted.disk.as_deref(), wanted.partition)?;
        let volume = volume_of(&medium, wanted.partition)?;
        passing.lies_on(volume.content);
        let slice = Slice::new(medium.content()?, volume.offset_bytes, volume.length_bytes)?;
        let mut files = Confined::start(&self.program, &slice, Life::Long)?;
        let (mut question, mut ask) = (first.clone(), wanted.ask.clone());
        loop {
            match passing.answer(&mut files, &ask) {
                Ok((sealed, is_broken)) => {
                    self.tell(self.link.bring_piece(question.id, sealed));
                    if is_broken {
                        tracing::warn!(point = question.point, "the process that reads files failed");
                        return Ok(self.next());
                    }
                }
                Err(error) => self.refuse(&question, false, format!("{error:#}")),
            }
            question = match self.next() {
                Some(next) if next.point == first.point => next,
                other => return Ok(other),
            };
            ask = match &question.question {
                FileQuestion::PassFiles(next) if PassFiles { ask: wanted.ask.clone(), ..next.clone() } == *wanted => {
                    next.ask.clone()
                }
                _ => return Ok(Some(question)),
            };
        }
    }

    /// Answers about one file system; returns a question about something else.
    fn volume(&self, open: &Open<'_>, volume: Volume, first: AskedQuestion) -> Result<Option<AskedQuestion>> {
        let medium = Medium::chosen(open.reader, open.manifest, volume.disk.as_deref(), volume.partition)?;
        let place = volume_of(&medium, volume.partition)?;
        let slice = Slice::new(medium.content()?, place.offset_bytes, place.length_bytes)?;
        let life = if self.archives { Life::Long } else { Life::Short };
        let mut files = Confined::start(&self.program, &slice, life)?;
        let mut question = first;
        loop {
            match self.answer(&mut files, &question) {
                Ok(Answer::Words(answer)) => self.say(&question, &answer),
                Ok(Answer::Piece(bytes)) => self.tell(self.link.bring_piece(question.id, bytes)),
                Err(Failed::Refused(is_missing, what)) => self.refuse(&question, is_missing, what),
                // Another child may fare better with another question.
                Err(Failed::Broken(error)) => {
                    tracing::warn!(
                        point = question.point,
                        error = format!("{error:#}"),
                        "the process that reads files failed"
                    );
                    self.refuse(&question, false, format!("{error:#}"));
                    return Ok(self.next());
                }
            }
            match self.next() {
                Some(next) if next.point == question.point && next.question.volume().as_ref() == Some(&volume) => {
                    question = next
                }
                other => return Ok(other),
            }
        }
    }

    fn answer(&self, files: &mut Confined<'_>, asked: &AskedQuestion) -> Result<Answer, Failed> {
        match &asked.question {
            FileQuestion::Archive { path, format, .. } if self.archives => {
                archive::send(files, (path, *format), &Carrier::new(&self.link, asked.id))?;
                Ok(Answer::Words(FileAnswer::Whole))
            }
            question => answer(files, question),
        }
    }

    /// The next question, if one comes soon.
    fn next(&self) -> Option<AskedQuestion> {
        let until = Instant::now() + IDLE;
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < until {
            match self.link.ask_question(WAIT_S, self.archives) {
                Ok(Some(question)) => return Some(question),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn say(&self, question: &AskedQuestion, answer: &FileAnswer) {
        self.tell(self.link.answer(question.id, answer));
    }

    fn refuse(&self, question: &AskedQuestion, is_missing: bool, what: String) {
        self.say(question, &FileAnswer::Refused(FileRefusal { is_missing, what }));
    }

    /// Who asked gives up after a while, so nothing is tried again.
    fn tell(&self, told: Result<(), Asked>) {
        if let Err(error) = told {
            tracing::warn!(?error, "the server did not take an answer about files");
        }
    }
}

enum Answer {
    Words(FileAnswer),
    Piece(Vec<u8>),
}

fn answer(files: &mut Confined<'_>, question: &FileQuestion) -> Result<Answer, Failed> {
    Ok(match question {
        FileQuestion::Archive { .. } => {
            let what = "archives are made by another desk";
            return Err(Failed::Refused(false, what.into()));
        }
        FileQuestion::Search { .. } | FileQuestion::Versions { .. } => {
            return Err(Failed::Refused(false, "a search opens no file system".into()));
        }
        FileQuestion::Volumes | FileQuestion::Pass(_) | FileQuestion::PassFiles(_) => {
            Answer::Words(FileAnswer::Volumes(Vec::new()))
        }
        FileQuestion::List { path, behind, limit, .. } => {
            let Listing { file_system, notes, count, entries, more } =
                files.list(path, behind.as_deref(), *limit as usize)?;
            let items = entries.into_iter().map(entry).collect();
            Answer::Words(FileAnswer::List(FilePage { file_system, notes, count, items, more }))
        }
        FileQuestion::Look { path, .. } => Answer::Words(FileAnswer::Look(entry(files.look(path)?))),
        FileQuestion::Read { path, offset_bytes, length_bytes, .. } => {
            Answer::Piece(files.read(path, *offset_bytes, (*length_bytes).min(MAX_PIECE_BYTES))?)
        }
    })
}

fn entry(of: ListEntry) -> FileEntry {
    FileEntry {
        name: of.name,
        kind: of.kind.map(|kind| kind_name(kind).to_owned()),
        mode: of.mode,
        uid: of.uid,
        gid: of.gid,
        size_bytes: ByteCount(of.size_bytes),
        modified_at: of.modified_at,
        link_target: of.link_target,
        error: of.error,
    }
}

fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "regular",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// Where a partition lies, or what is meant when none is named.
fn volume_of(medium: &Medium<'_>, partition: Option<u32>) -> Result<volumes::Volume> {
    let known = medium.volumes()?;
    let (name, listed) = (&medium.name, volumes::listed(&known));
    let found = match (partition, volumes::meant(&known)) {
        (None, Meant::One(at)) => known.get(at),
        (None, Meant::Several) => bail!("disk {name} has several partitions with files; say which one: {listed}"),
        (None, Meant::None) => bail!("no partition of disk {name} is known to have files: {listed}"),
        (Some(_), _) => known.iter().find(|volume| volume.partition == partition),
    };
    found.cloned().with_context(|| format!("disk {name} has no partition {}", partition.unwrap_or(0)))
}

/// What the manifest says, which is signed and needs no look at the disk; of logical volumes what their metadata says.
fn volumes_of(open: &Open<'_>) -> Result<Vec<PointVolumes>> {
    let all = Medium::all(open.reader, open.manifest)?;
    let meant = Medium::meant(&all)?;
    let mut left = MAX_VOLUMES;
    let mut found = Vec::new();
    for (at, medium) in all.iter().enumerate() {
        let volumes = volumes_on(medium, meant.filter(|(medium, _)| *medium == at).map(|(_, number)| number))?;
        let volumes: Vec<PointVolume> = volumes.into_iter().take(left.saturating_sub(1)).collect();
        left = left.saturating_sub(1 + volumes.len());
        if left == 0 {
            break;
        }
        found.push(PointVolumes { disk: medium.name.clone(), size_bytes: ByteCount(medium.size_bytes), volumes });
    }
    Ok(found)
}

fn volumes_on(medium: &Medium<'_>, meant: Option<usize>) -> Result<Vec<PointVolume>> {
    let described = medium.volumes()?.into_iter().enumerate().map(|(at, volume)| PointVolume {
        holds: volume.holds(),
        readable: volume.is_readable(),
        is_default: meant == Some(at),
        partition: volume.partition,
        name: volume.name,
        size_bytes: ByteCount(volume.length_bytes),
        label: volume.content.and_then(|content| content.label),
    });
    Ok(described.collect())
}
