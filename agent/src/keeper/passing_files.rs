//! Passing files of recovery points to machines that restore them: the confined process reads, and what it says is sealed to the machine
//! ([`repo_format::passage`]). Nothing but the files of the order and of the server's job is answered, and on the way to them only what
//! leads there.

use super::passing::ordered;
use crate::facts::content::Content;
use crate::files::confined::{Confined, Failed};
use crate::files::detail::Detail;
use crate::files::{FileId, FileKind, split_path, unescape_name};
use crate::restore::passed_files::talk::{About, Answer, Ask, PIECE_BYTES, Words};
use anyhow::{Context as _, Result, anyhow, ensure};
use repo_format::id::WriterId;
use repo_format::manifest::{PointKey, StoredManifest};
use repo_format::passage::{Files, MAX_PART_BYTES, Order};
use repo_format::reader::Reader;
use repo_format::sign::Signer;
use std::collections::HashSet;
use web_api::file::PassFiles;

/// Entries of one answer.
const ENTRIES: usize = 500;
/// Files whose whole content may come with their names are no longer.
const SMALL_BYTES: u64 = 64 << 10;
/// Files of which it is remembered that they were ordered; others are looked up by their path again.
const MOST_KNOWN: usize = 1 << 20;

/// Files that are being passed to one machine.
pub(super) struct PassingFiles<'p> {
    reader: &'p Reader<'p>,
    at: PointKey,
    writer: Option<WriterId>,
    content: Option<Content>,
    order: Order,
    signer: Signer,
    /// The components of each wanted path.
    wanted: Vec<Vec<Vec<u8>>>,
    known: HashSet<FileId>,
}

impl<'p> PassingFiles<'p> {
    /// Looks at the order. What the volume holds is said before the first question.
    pub(super) fn begin(
        reader: &'p Reader<'p>,
        stored: &StoredManifest,
        wanted: &PassFiles,
        pass_to: &[WriterId],
    ) -> Result<Self> {
        let (order, signer) = ordered(reader, stored.at, &wanted.order, pass_to)?;
        let files = Files { partition: wanted.partition, paths: &wanted.files };
        ensure!(
            order.disk == wanted.disk && order.is_for(Some(&files)),
            "the order is about something else than the job"
        );
        let split = |path: &String| split_path(path.as_bytes()).into_iter().map(<[u8]>::to_vec).collect();
        let writer = stored.is_verified.then_some(stored.writer);
        let wanted = wanted.files.iter().map(split).collect();
        Ok(Self { reader, at: stored.at, writer, content: None, order, signer, wanted, known: HashSet::new() })
    }

    /// Who ordered them.
    pub(super) fn writer(&self) -> WriterId {
        self.order.writer
    }

    /// Notes what the volume holds.
    pub(super) fn lies_on(&mut self, content: Option<Content>) {
        self.content = content;
    }

    /// Answers a sealed question; sealed. The flag says that the process that reads is of no more use: what it broke at is one file, and
    /// the others are read by another one.
    pub(super) fn answer(&mut self, files: &mut Confined<'_>, ask: &str) -> Result<(Vec<u8>, bool)> {
        let repo = self.reader.repository();
        let (repository, private) = (repo.config().repository, repo.keys().private_for("passing files")?);
        let sealed = bytes_of(ask).context("a question that is not of hexadecimal digits")?;
        let question = serde_json::from_slice(&self.order.open_ask(&sealed, &repository, private)?)
            .context("a question that this keeper does not know; machine and keeper may be of different versions")?;
        let refused = |is_missing, what| Answer { words: Words::Refused { is_missing, what }, bytes: Vec::new() };
        let (answer, is_broken) = match self.answered(files, &question) {
            Ok(answer) => (answer, false),
            Err(Failed::Refused(is_missing, what)) => (refused(is_missing, what), false),
            Err(Failed::Broken(error)) => (refused(false, format!("{error:#}")), true),
        };
        let plain = answer.encode()?;
        let sealed = self.order.seal_answer((plain, &sealed), (&repository, &self.signer), repo.entropy())?;
        Ok((sealed, is_broken))
    }

    fn answered(&mut self, files: &mut Confined<'_>, ask: &Ask) -> Result<Answer, Failed> {
        let words = match ask {
            Ask::About => self.about(files)?,
            Ask::Names { path, behind } => {
                self.check(path)?;
                let (names, more) = files.names_in(path, behind.as_deref(), ENTRIES)?;
                Words::Names { names, more }
            }
            Ask::Details { path, behind, with_content } => {
                self.check(path)?;
                return self.details(files, (path, behind.as_deref()), *with_content);
            }
            Ask::Detail { path } => {
                let is_wanted = self.is_wanted(path)?;
                if !is_wanted && !self.leads_to_wanted(path)? {
                    return Err(not_ordered());
                }
                let detail = files.detail(path)?;
                if is_wanted {
                    self.note(&detail);
                }
                Words::Detail(Box::new(detail))
            }
            Ask::Extents { path, id, from_bytes } => {
                self.check_file(files, path, *id)?;
                Words::Extents(files.extents(*id, *from_bytes)?)
            }
            Ask::Read { path, id, offset_bytes, length_bytes } => {
                self.check_file(files, path, *id)?;
                let bytes = files.read_visited(*id, *offset_bytes, (*length_bytes).min(PIECE_BYTES))?;
                return Ok(Answer { words: Words::Piece, bytes });
            }
        };
        Ok(Answer { words, bytes: Vec::new() })
    }

    fn about(&self, files: &mut Confined<'_>) -> Result<Words, Failed> {
        let listing = files.list("/", None, 1)?;
        let said = |note: &String| format!("the {} file system: {note}", listing.file_system);
        let notes = listing.notes.iter().map(said).collect();
        let writer = self.writer.map(|writer| writer.to_string());
        Ok(Words::About(About { point: self.at.key(), writer, content: self.content.clone(), notes }))
    }

    /// Entries with all there is to know, and the content of those that are small, as far as there is room.
    fn details(
        &mut self,
        files: &mut Confined<'_>,
        (path, behind): (&str, Option<&str>),
        with_content: bool,
    ) -> Result<Answer, Failed> {
        let (details, _) = files.details(path, behind, ENTRIES)?;
        details.iter().for_each(|detail| self.note(detail));
        let contents = vec![None; details.len()];
        let mut answer = Answer { words: Words::Details { details, contents }, bytes: Vec::new() };
        // Each length takes a few digits.
        let words = answer.encode().map_err(Failed::Broken)?.len() + 10 * ENTRIES;
        let mut room = MAX_PART_BYTES.saturating_sub(words) as u64;
        let Words::Details { details, contents } = &mut answer.words else { return Ok(answer) };
        for (detail, content) in details.iter().zip(contents).filter(|_| with_content) {
            let Ok(found) = &detail.found else { continue };
            let size_bytes = found.metadata.size_bytes;
            let fits = found.metadata.kind == FileKind::Regular && size_bytes <= SMALL_BYTES.min(room);
            if !fits {
                continue;
            }
            let length_bytes = u32::try_from(size_bytes).map_err(|error| Failed::Broken(error.into()))?;
            match files.read_visited(detail.id, 0, length_bytes) {
                Ok(bytes) => {
                    answer.bytes.extend(bytes);
                    *content = Some(length_bytes);
                    room -= size_bytes;
                }
                // It is asked for alone, and why it cannot be read is said then.
                Err(Failed::Refused(..)) => {}
                Err(broken) => return Err(broken),
            }
        }
        Ok(answer)
    }

    fn note(&mut self, detail: &Detail) {
        let is_regular = detail.found.as_ref().is_ok_and(|found| found.metadata.kind == FileKind::Regular);
        if is_regular && self.known.len() < MOST_KNOWN {
            self.known.insert(detail.id);
        }
    }

    /// A number says nothing of where its file is: it is one that was answered before, or what its path leads to.
    fn check_file(&mut self, files: &mut Confined<'_>, path: &str, id: FileId) -> Result<(), Failed> {
        self.check(path)?;
        if self.known.contains(&id) {
            return Ok(());
        }
        let detail = files.detail(path)?;
        if detail.id != id {
            return Err(not_ordered());
        }
        self.note(&detail);
        Ok(())
    }

    fn check(&self, path: &str) -> Result<(), Failed> {
        if self.is_wanted(path)? { Ok(()) } else { Err(not_ordered()) }
    }

    fn is_wanted(&self, path: &str) -> Result<bool, Failed> {
        let parts = parts(path)?;
        Ok(self.wanted.iter().any(|wanted| parts.starts_with(wanted)))
    }

    fn leads_to_wanted(&self, path: &str) -> Result<bool, Failed> {
        let parts = parts(path)?;
        Ok(self.wanted.iter().any(|wanted| wanted.starts_with(&parts)))
    }
}

fn not_ordered() -> Failed {
    Failed::Refused(false, "that was not ordered".into())
}

fn parts(path: &str) -> Result<Vec<Vec<u8>>, Failed> {
    let bytes = unescape_name(path).ok_or_else(|| Failed::Broken(anyhow!("a path that is escaped in another way")))?;
    Ok(split_path(&bytes).into_iter().map(<[u8]>::to_vec).collect())
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}
