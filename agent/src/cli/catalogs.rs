//! Catalogs of a repository for verbs that search them: those that are missing are made first, where the repository is at hand.

use super::console::Console;
use super::context::Context;
use super::point;
use agent::catalog::make::Making;
use agent::catalog::missing;
use agent::catalog::search::{Found, Page, Part, Version, Wanted, discard_damaged, search};
use agent::catalog::shelf::{MAX_POINTS, Shelf, VolumeKey};
use agent::files::{escape_name, time_text};
use agent::output;
use agent::progress::{Counts, Unit};
use agent::remote::Place;
use repo_format::catalog::leaf::Kind;
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use std::sync::atomic::Ordering;

/// Options of verbs that search.
#[derive(clap::Args)]
pub struct Options {
    /// Only points of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Search only points whose files are listed already; to list the others can take long
    #[arg(long)]
    pub listed_only: bool,
}

/// After so many failures in a row it is the repository that cannot be written, or read.
const MOST_IN_VAIN: u32 = 3;

/// What is searched.
pub struct Searched {
    /// The repository.
    pub repo: Repository,
    /// The catalogs.
    pub shelf: Shelf,
}

/// Opens the repository and reads its catalogs; those that are missing are made before.
pub fn open(options: &Options, context: &Context) -> anyhow::Result<Searched> {
    let repo = context.open()?;
    repo.keys().private_for("searching for files")?;
    let mut points = missing::points(&repo)?;
    if let Some(name) = &options.name {
        let id = repo.keys().ids().name(name);
        points.retain(|at| at.name == id);
        if points.is_empty() {
            return Err(point::no_such(format!("there is no recovery point of the name {name:?}")));
        }
    }
    if !options.listed_only && matches!(context.place()?, Place::Directory(_) | Place::Bucket(_)) {
        make(&repo, &points, context)?;
    }
    let shelf = Shelf::of(&repo, &points)?;
    Ok(Searched { repo, shelf })
}

/// What keeps one from being made is told, and the others are made.
fn make(repo: &Repository, points: &[PointKey], context: &Context) -> anyhow::Result<()> {
    let mut have = missing::sound(repo)?;
    let mut due = missing::missing(points, &have);
    due.truncate(MAX_POINTS);
    if due.is_empty() {
        return Ok(());
    }
    let (index, progress, stop) = (context.index(repo)?, context.progress(), context.cancel()?);
    let mut in_vain = 0;
    progress.begin_counted("list files", Unit::Points, Some(due.len() as u64));
    for at in due {
        let making = Making {
            repo,
            index: &index,
            program: std::path::Path::new("/proc/self/exe"),
            clock: &|| context.now(),
            warn: &|line| context.console.warn(line),
            listed: &|_| {},
            settles: false,
            stop: &stop,
        };
        let made = missing::before(repo, at, (points, &have))
            .map_err(anyhow::Error::from)
            .and_then(|before| making.make(at, before.as_ref()));
        match made {
            Ok(_) => {
                have.insert(at.manifest);
                in_vain = 0;
            }
            Err(error) if stop.load(Ordering::Relaxed) => return Err(error),
            Err(error) => {
                context.console.warn(&format!("the files of {} cannot be listed: {error:#}", point::short(&at)));
                in_vain += 1;
                if in_vain == MOST_IN_VAIN {
                    context.console.warn("the files of further points are not listed now");
                    break;
                }
            }
        }
        progress.advance(Counts { done: 1, ..Counts::default() });
    }
    progress.end();
    Ok(())
}

impl Searched {
    /// A page of what is wanted. Catalogs that turn out to be damaged are removed, and made again by the next search.
    pub fn page(&self, wanted: &Wanted<'_>, limit: usize, only: Option<&VolumeKey>) -> anyhow::Result<Page> {
        let page = search(&self.repo, &self.shelf, wanted, &Part { limit, from: None, only, is_late: &|| false })?;
        // Who may only read leaves them to the keeper.
        let _ = discard_damaged(&self.repo, &self.shelf, &page.damaged);
        Ok(page)
    }

    /// The id of a point in the shelf.
    pub fn id(&self, number: u32) -> String {
        self.shelf.points.get(number as usize).map(|point| point.manifest.to_string()).unwrap_or_default()
    }

    /// Points that were not searched, and why one has to know: what is not found may be there.
    pub fn told(&self, page: &Page, console: Console) {
        let without = self.shelf.without.len();
        if without > 0 {
            let s = if without == 1 { "" } else { "s" };
            console.warn(&format!("{without} recovery point{s} could not be searched: the files are not listed"));
        }
        if self.shelf.partly > 0 {
            console.warn(&format!("of {} recovery points not all files are listed", self.shelf.partly));
        }
        if !page.damaged.is_empty() {
            console.warn("a part of the lists is damaged and was not searched; search again, and it is made anew");
        }
    }
}

/// The path as people name it, escaped.
pub fn path_of(found: &Found) -> String {
    format!("/{}", escape_name(&found.path))
}

/// Where a file lies, for people.
pub fn place_of(volume: &VolumeKey) -> String {
    let partition = volume.partition.map_or_else(String::new, |number| format!(":{number}"));
    format!("{} {}{partition}", output::name(&volume.name), output::name(&volume.disk))
}

/// When the content of a version changed last.
pub fn modified(version: &Version) -> String {
    if version.facts.kind == Kind::Damaged {
        return String::new();
    }
    let (seconds, nanoseconds) = version.facts.modified;
    time_text(agent::files::Timestamp { seconds, nanoseconds })
}

/// What a file is, as in listings; none where it is damaged.
pub fn kind(version: &Version) -> Option<&'static str> {
    agent::catalog::kind_name(version.facts.kind)
}

/// Points whose files are in no catalog.
pub fn unsearched(searched: &Searched) -> Vec<String> {
    searched.shelf.without.iter().map(ToString::to_string).collect()
}

/// A path as a person wrote it, without slashes at its ends.
pub fn inner(path: &[u8]) -> Vec<u8> {
    agent::files::split_path(path).join(&b'/')
}
