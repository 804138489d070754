//! Files of a recovery point that are passed to this machine, as a file system that a restore reads like any other.
//!
//! The machine has no key that reads: it asks, and the keeper answers ([`talk`]). It sees what was ordered, and on the way there nothing
//! but the directories that lead to it. One directory's names are held at a time, with all there is to know of a page of them.

pub mod talk;
#[cfg(test)]
mod tests;
mod whole;

use crate::files::detail::{self, Detail, Found};
use crate::files::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result, escape_name,
    split_path, unescape_name,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talk::{About, Answer, Ask, Words};
use whole::PassedContent;

/// Asks and brings the answer; an error ends the restore.
pub type Converse<'c> = dyn Fn(&Ask) -> anyhow::Result<Answer> + Send + Sync + 'c;

/// The components of a path.
type PathParts = Arc<[Vec<u8>]>;

/// The ordered files.
pub struct PassedFiles<'c> {
    converse: &'c Converse<'c>,
    about: About,
    wanted: Vec<Vec<Vec<u8>>>,
    with_content: bool,
    root: FileId,
    state: Mutex<State>,
}

/// What is known of a file.
#[derive(Clone)]
struct Known {
    path: PathParts,
    found: std::result::Result<Arc<Found>, String>,
    content: Option<Arc<[u8]>>,
}

#[derive(Default)]
struct State {
    /// Directories, which are asked for again at the end, and what leads to the wanted files.
    kept: HashMap<FileId, Known>,
    /// The directory that was listed last.
    listed: Option<(PathParts, Vec<DirEntry>)>,
    /// A page of its entries.
    page: HashMap<FileId, Known>,
}

impl<'c> PassedFiles<'c> {
    /// Asks what the files lie on. Content is brought along with small files unless nothing is going to be written.
    pub fn open(converse: &'c Converse<'c>, wanted: &[Vec<u8>], with_content: bool) -> anyhow::Result<Self> {
        let about = match converse(&Ask::About)?.words {
            Words::About(about) => about,
            other => return Err(anyhow::anyhow!(refusal(other))),
        };
        let split = |path: &Vec<u8>| split_path(path).into_iter().map(<[u8]>::to_vec).collect();
        let wanted = wanted.iter().map(split).collect();
        let mut files =
            Self { converse, about, wanted, with_content, root: FileId(0), state: Mutex::new(State::default()) };
        let root = files.look(&[])?.ok_or_else(|| FilesError::corrupt("the file system has no root"))?;
        files.root = root;
        Ok(files)
    }

    /// What the files lie on.
    pub fn about(&self) -> &About {
        &self.about
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ask: &Ask) -> Result<Answer> {
        (self.converse)(ask).map_err(|error| FilesError::Passage { what: format!("{error:#}") })
    }

    /// Asks for one file by its path, and keeps what is known; nothing when it is not there.
    fn look(&self, path: &[Vec<u8>]) -> Result<Option<FileId>> {
        match self.ask(&Ask::Detail { path: escaped(path) })?.words {
            Words::Detail(detail) => {
                let Detail { id, found, .. } = *detail;
                let known = Known { path: path.into(), found: found.map(Arc::new), content: None };
                self.state().kept.insert(id, known);
                Ok(Some(id))
            }
            Words::Refused { is_missing: true, .. } => Ok(None),
            other => Err(told(other)),
        }
    }

    fn known(&self, id: FileId) -> Result<Known> {
        if let Some(known) = self.at_hand(id) {
            return Ok(known);
        }
        let (path, behind) = {
            let state = self.state();
            let listed = state.listed.as_ref();
            let place = listed.and_then(|(path, entries)| {
                let at = entries.iter().position(|entry| entry.id == id)?;
                Some((path.clone(), at.checked_sub(1).map(|before| escape_name(&entries[before].name))))
            });
            place.ok_or_else(|| FilesError::corrupt("a file that no directory named"))?
        };
        self.turn_page(&path, behind)?;
        self.at_hand(id).ok_or_else(|| FilesError::corrupt("a directory that changes while it is read"))
    }

    fn at_hand(&self, id: FileId) -> Option<Known> {
        let state = self.state();
        state.page.get(&id).or_else(|| state.kept.get(&id)).cloned()
    }

    fn found(&self, id: FileId) -> Result<Arc<Found>> {
        self.known(id)?.found.map_err(|what| FilesError::Told { what })
    }

    fn turn_page(&self, path: &PathParts, behind: Option<String>) -> Result<()> {
        let with_content = self.with_content;
        let Answer { words, bytes } = self.ask(&Ask::Details { path: escaped(path), behind, with_content })?;
        let Words::Details { details, contents } = words else { return Err(told(words)) };
        let mut state = self.state();
        state.page.clear();
        let mut rest = bytes.as_slice();
        for (at, detail) in details.into_iter().enumerate() {
            let content = match contents.get(at).copied().flatten() {
                None => None,
                Some(length) => {
                    let (piece, behind) = rest
                        .split_at_checked(length as usize)
                        .ok_or_else(|| FilesError::corrupt("the content of a file came cut"))?;
                    rest = behind;
                    Some(Arc::from(piece))
                }
            };
            let name = unescape_name(&detail.name).ok_or_else(|| FilesError::corrupt("a name came damaged"))?;
            let path: PathParts = path.iter().cloned().chain([name]).collect();
            let known = Known { path, found: detail.found.map(Arc::new), content };
            let is_directory = known.found.as_ref().is_ok_and(|found| found.metadata.kind == FileKind::Directory);
            if is_directory {
                // A directory that appears twice is the first one.
                state.kept.entry(detail.id).or_insert(known);
            } else {
                state.page.insert(detail.id, known);
            }
        }
        Ok(())
    }

    /// What lies on the way to wanted files shows nothing but them.
    fn on_the_way(&self, path: &[Vec<u8>]) -> Result<Vec<DirEntry>> {
        let mut names: Vec<&Vec<u8>> = self
            .wanted
            .iter()
            .filter(|wanted| wanted.starts_with(path))
            .filter_map(|wanted| wanted.get(path.len()))
            .collect();
        names.sort();
        names.dedup();
        let mut entries = Vec::new();
        for name in names {
            let whole: Vec<Vec<u8>> = path.iter().cloned().chain([name.clone()]).collect();
            if let Some(id) = self.look(&whole)? {
                entries.push(DirEntry { name: name.clone(), id });
            }
        }
        Ok(entries)
    }

    fn list(&self, path: &PathParts) -> Result<Vec<DirEntry>> {
        let (mut entries, mut behind): (Vec<DirEntry>, _) = (Vec::new(), None);
        loop {
            let words = self.ask(&Ask::Names { path: escaped(path), behind })?.words;
            let Words::Names { names, more } = words else { return Err(told(words)) };
            for (name, id) in &names {
                let name = unescape_name(name).ok_or_else(|| FilesError::corrupt("a name came damaged"))?;
                entries.push(DirEntry { name, id: *id });
            }
            behind = names.into_iter().next_back().map(|(name, _)| name);
            if !more || behind.is_none() {
                break;
            }
        }
        let mut state = self.state();
        state.page.clear();
        state.listed = Some((path.clone(), entries.clone()));
        Ok(entries)
    }
}

impl FileSystem for PassedFiles<'_> {
    fn name(&self) -> &'static str {
        "passed"
    }

    fn root(&self) -> FileId {
        self.root
    }

    fn notes(&self) -> &[String] {
        &self.about.notes
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        Ok(self.found(id)?.metadata())
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        let path = self.known(id)?.path;
        let is_wanted = self.wanted.iter().any(|wanted| path.starts_with(wanted));
        if is_wanted { self.list(&path) } else { self.on_the_way(&path) }
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        let found = self.found(id)?;
        let target = found.link_target.as_deref().and_then(unescape_name);
        target.ok_or_else(|| FilesError::corrupt("a symbolic link leads nowhere"))
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
        self.found(id)?.extended_attributes()
    }

    fn left_out(&self, id: FileId) -> Result<Vec<String>> {
        Ok(self.found(id)?.left_out.clone())
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        let Known { path, content, .. } = self.known(id)?;
        let found = self.found(id)?;
        let (size_bytes, path) = (found.metadata.size_bytes, escaped(&path));
        if content.as_ref().is_some_and(|content| content.len() as u64 != size_bytes) {
            return Err(FilesError::corrupt("the content of a file came cut"));
        }
        let extents = match &found.extents {
            Some(pairs) => detail::extents(pairs, 0, size_bytes)?,
            None => self.all_extents(&path, id, size_bytes)?,
        };
        Ok(Box::new(PassedContent { files: self, path, id, size_bytes, extents, content }))
    }
}

fn escaped(path: &[Vec<u8>]) -> String {
    format!("/{}", escape_name(&path.join(&b'/')))
}

fn refusal(words: Words) -> String {
    match words {
        Words::Refused { what, .. } => what,
        _ => "the keeper answered another question; it may be of another version".into(),
    }
}

fn told(words: Words) -> FilesError {
    match words {
        Words::Refused { .. } => FilesError::Told { what: refusal(words) },
        other => FilesError::Passage { what: refusal(other) },
    }
}
