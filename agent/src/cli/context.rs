//! What every verb works with: the global options, the repository they open, the index, time and signals.

use super::console::Console;
use super::failure::{Code, Failure};
use super::reach::{self, Enrolment};
use super::secrets::{self, Credential, KeyOptions};
use super::server::ServerOptions;
use super::signals;
use agent::open::{self, Opened};
use agent::progress::{self, Progress};
use agent::remote::enrolled::{Enrolled, Holds};
use agent::remote::{Client, Place};
use anyhow::Context as _;
use jiff::Timestamp;
use repo_format::Error;
use repo_format::config::{CONFIG_COPY_KEY, CONFIG_KEY};
use repo_format::index::Index;
use repo_format::key_slot::Unlock;
use repo_format::keys::WriterKeys;
use repo_format::manifest::{Manifest, StoredManifest};
use repo_format::repair::rebuild_config;
use repo_format::repository::{Access, Repository, read_config};
use repo_format::store::Store;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Options that every verb has.
#[derive(clap::Args)]
pub struct Globals {
    /// The repository: a directory, s3://BUCKET/PREFIX, or https://SERVER/NAME
    #[arg(
        long,
        global = true,
        value_name = "DIR|URL",
        env = "ICECORE_REPO",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub repo: Option<Place>,
    #[command(flatten)]
    pub server: ServerOptions,
    /// Write only JSON to standard output; an error is a JSON object on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// No progress and no notes, only results, warnings and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Directory for indexes [default: icecore in the user's cache]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ICECORE_INDEX_DIR",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub index_dir: Option<PathBuf>,
    /// Take this as the time now (RFC 3339); for tests and demonstrations only
    #[arg(long, global = true, value_name = "TIME", env = "ICECORE_NOW", hide = true)]
    pub now: Option<Timestamp>,
    #[command(flatten)]
    pub keys: KeyOptions,
}

fn open_with(opened: &Opened, credential: &Credential) -> anyhow::Result<Repository> {
    if let Credential::Kit(repository, _) = credential {
        let config = read_config(&*opened.store)?;
        if *repository != config.repository {
            let what = format!("the recovery kit is for repository {repository}, this one is {}", config.repository);
            return Err(Failure::new(Code::Key, what).next("use the kit of this repository").into());
        }
    }
    Ok(opened.repository(credential.access())?)
}

/// Opens with a key, or asks for a passphrase on a terminal. `used` hears what opened a key slot.
fn open_or_ask(
    place: &Opened,
    credential: impl FnOnce() -> anyhow::Result<Option<Credential>>,
    used: &mut dyn FnMut(&Unlock<'_>),
) -> anyhow::Result<Repository> {
    // Before anybody is asked for a passphrase.
    read_config(&*place.store)?;
    match credential()? {
        Some(credential) => {
            let repo = open_with(place, &credential)?;
            credential.unlock().iter().for_each(used);
            Ok(repo)
        }
        None => {
            secrets::asking(&mut |passphrase| match place.repository(Access::Unlock(Unlock::Passphrase(passphrase))) {
                Err(Error::WrongPassphrase) => Ok(None),
                other => {
                    let repo = other?;
                    used(&Unlock::Passphrase(passphrase));
                    Ok(Some(repo))
                }
            })
        }
    }
}

/// What a verb gets.
pub struct Context {
    globals: Globals,
    opened: OnceLock<Opened>,
    /// As [`Context::enrolment`] found it.
    pub(super) enrolment: OnceLock<Option<Enrolment>>,
    /// Output.
    pub console: Console,
}

impl Context {
    /// From the options; touches nothing.
    pub fn new(globals: Globals, console: Console) -> Self {
        Self { globals, opened: OnceLock::new(), enrolment: OnceLock::new(), console }
    }

    /// Time now.
    pub fn now(&self) -> Timestamp {
        self.globals.now.unwrap_or_else(Timestamp::now)
    }

    /// Where the repository is.
    pub fn place(&self) -> anyhow::Result<&Place> {
        if let Some(place) = self.named_place() {
            return Ok(place);
        }
        if let Some(enrolment) = self.enrolment()? {
            return Ok(&enrolment.place);
        }
        let next = "give --repo DIR (or https://SERVER/NAME), or set ICECORE_REPO; or enrol this machine: `icecore agent enroll`";
        Err(Failure::new(Code::Usage, "no repository was named").next(next).into())
    }

    /// The repository that option or environment name.
    pub(super) fn named_place(&self) -> Option<&Place> {
        self.globals.repo.as_ref().filter(|place| !place.directory().is_some_and(|dir| dir.as_os_str().is_empty()))
    }

    /// The token that options or environment name.
    pub fn given_token(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        self.globals.server.token(self.console)
    }

    /// The file of it, where an option names one.
    pub(super) fn token_file(&self) -> Option<&Path> {
        self.globals.server.token_file.as_deref()
    }

    /// Whether there is one, without reading it.
    pub(super) fn token_is_given(&self) -> bool {
        self.globals.server.token_file.is_some() || secrets::variable_path("ICECORE_TOKEN").is_some()
    }

    /// The certificate authority that options or environment name, as PEM.
    pub fn ca_file(&self) -> anyhow::Result<Option<String>> {
        self.globals.server.ca_file.as_deref().map(secrets::certificates).transpose()
    }

    /// How long a server that does not answer is asked again.
    pub fn patience(&self) -> std::time::Duration {
        self.globals.server.patience()
    }

    /// The repository's directory, for what only works there.
    pub fn repo_dir(&self, work: &str) -> anyhow::Result<&Path> {
        let place = self.place()?;
        place.directory().ok_or_else(|| {
            let (at, next) = match place {
                Place::Bucket(_) => ("in object storage", "give --repo DIR"),
                _ => ("behind a server", "do it on the machine that has the repository, with --repo DIR"),
            };
            Failure::new(Code::Usage, format!("{place} is {at}, and {work} works on a directory")).next(next).into()
        })
    }

    /// The store; a server is not asked yet.
    pub fn opened(&self) -> anyhow::Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = match self.place()? {
            Place::Directory(dir) => Opened::directory(dir),
            Place::Bucket(address) => Opened::bucket(self.bucket(address)?)?,
            Place::Server(address) => {
                let client = Client::new(address.clone(), self.reach(address)?)?;
                Opened::server(client.renewing(self.renew(address)))
            }
        };
        Ok(self.opened.get_or_init(|| opened))
    }

    /// The store, if the verb used one.
    pub fn used_store(&self) -> Option<&dyn Store> {
        self.opened.get().map(|opened| &*opened.store)
    }

    /// The writer key that options, environment or this machine's enrolment name; another key is refused.
    pub fn writer_keys(&self) -> anyhow::Result<WriterKeys> {
        match self.credential()? {
            Some(Credential::Writer(keys)) => Ok(*keys),
            given => {
                let what = match given {
                    Some(_) => "a key that reads everything is no key for an agent",
                    None => "no writer key was given",
                };
                Err(Failure::new(Code::Key, what)
                    .next("give --writer-key FILE; `icecore key writer-export` beside the repository makes one")
                    .into())
            }
        }
    }

    /// Key options.
    pub fn key_options(&self) -> &KeyOptions {
        &self.globals.keys
    }

    /// Whether options or environment name a key; nobody would have to be asked.
    pub fn key_is_given(&self) -> bool {
        secrets::is_given(&self.globals.keys) || self.enrolled_key().is_ok_and(|key| key.is_some())
    }

    /// The key that this machine's enrolment has, where it counts. A keeper may have none: it asks.
    fn enrolled_key(&self) -> anyhow::Result<Option<Credential>> {
        let Some(enrolment) = self.enrolment()?.filter(|_| self.enrolment_counts()) else { return Ok(None) };
        match &enrolment.enrolled.holds {
            Holds::WriterKey(text) => secrets::writer_text(text).map(Some),
            Holds::Repository(_) => {
                let file = Enrolled::repository_key_file(&reach::agent_directory());
                let key = file.exists().then(|| secrets::key_file(&file, self.console)).transpose()?;
                Ok(key.map(Credential::KeyFile))
            }
        }
    }

    /// The key that options, environment or this machine's enrolment name; `None` when a person has to be asked.
    fn credential(&self) -> anyhow::Result<Option<Credential>> {
        match secrets::given(&self.globals.keys, self.console)? {
            None => self.enrolled_key(),
            given => Ok(given),
        }
    }

    /// Opens the repository with whatever key was given, asking for a passphrase on a terminal.
    pub fn open(&self) -> anyhow::Result<Repository> {
        self.open_and_tell(&mut |_| {})
    }

    /// The same; `used` hears what opened a key slot.
    pub fn open_and_tell(&self, used: &mut dyn FnMut(&Unlock<'_>)) -> anyhow::Result<Repository> {
        let mut opened = || open_or_ask(self.opened()?, || self.credential(), used);
        let repo = opened().with_context(|| self.cannot_open())?;
        self.warn_of_unsound(&repo);
        Ok(repo)
    }

    /// Opens the repository in a directory with the key that options or environment name, or that is asked for.
    pub fn open_directory(&self, directory: &Path) -> anyhow::Result<Repository> {
        let credential = || secrets::given(&self.globals.keys, self.console);
        open_or_ask(&Opened::directory(directory), credential, &mut |_| {})
            .with_context(|| format!("cannot open the repository in {}", directory.display()))
    }

    /// Opens the repository; when its configuration is lost and a recovery kit was given, writes the configuration again. Returns what
    /// was written, too.
    pub fn open_or_rebuild(&self) -> anyhow::Result<(Repository, Vec<String>)> {
        let place = self.opened()?;
        let lost =
            read_config(&*place.store).is_err_and(|error| error.is_loss() || matches!(error, Error::NoRepository));
        if lost && let Some(kit) = &self.globals.keys.recovery_kit {
            let kit = secrets::kit_content(kit, self.console)?;
            let repo = rebuild_config(place.store.clone(), kit, open::entropy())
                .with_context(|| format!("cannot make the configuration of {} again", place.store.describe()))?;
            return Ok((repo, [CONFIG_KEY, CONFIG_COPY_KEY].map(str::to_owned).into()));
        }
        Ok((self.open()?, Vec::new()))
    }

    /// Damage that did not keep the repository from opening is said at once: the next one may.
    fn warn_of_unsound(&self, repo: &Repository) {
        for object in repo.unsound() {
            let known = object.writer.is_some_and(|writer| repo.signers().writers.contains_key(&writer));
            let cost = match (object.writer, object.is_replaced) {
                (Some(_), true) => continue,
                (None, true) => "Its copy was read instead; `icecore key repair` writes it again",
                (None, false) => "Nothing is pruned until it is moved out of the store",
                (Some(_), false) if known => {
                    "Whether this writer was revoked is not known, and nothing is pruned, until `icecore key repair WRITER_KEY_FILE`"
                }
                (Some(_), false) => {
                    "What this writer stored cannot be verified, and nothing is pruned, until `icecore key repair WRITER_KEY_FILE`"
                }
            };
            self.console.warn(&format!("{}. {cost}", object.what));
        }
    }

    /// Opens the repository with a recovery kit, whatever other keys were named.
    pub fn open_with_kit(&self, file: &Path) -> anyhow::Result<Repository> {
        let place = self.opened()?;
        let opened = || {
            read_config(&*place.store)?;
            open_with(place, &secrets::kit_file(file, self.console)?)
        };
        opened().with_context(|| self.cannot_open())
    }

    fn cannot_open(&self) -> String {
        match self.place() {
            Ok(place @ (Place::Server(_) | Place::Bucket(_))) => format!("cannot open the repository at {place}"),
            place => {
                format!("cannot open the repository in {}", place.iter().map(ToString::to_string).collect::<String>())
            }
        }
    }

    /// Opens the index and makes it say what the store holds. Damaged packs are a warning: they cost chunks, not the verb.
    pub fn index(&self, repo: &Repository) -> anyhow::Result<Index> {
        let index = self.unreconciled_index(repo)?;
        if repo.elsewhere().is_some() {
            // It learns from the server what is asked for; to list all that is there would be the work of hours.
            return Ok(index);
        }
        self.bring_up_to_date(repo, &index)?;
        Ok(index)
    }

    /// The same, of everything that the store holds even where a server knows it: for counting it. Reads the footer of every pack that is
    /// not known here yet.
    pub fn whole_index(&self, repo: &Repository) -> anyhow::Result<Index> {
        let index = self.unreconciled_index(repo)?;
        // A writer key does not show what others stored.
        if repo.elsewhere().is_none() || repo.keys().private().is_some() {
            self.bring_up_to_date(repo, &index)?;
        }
        Ok(index)
    }

    fn unreconciled_index(&self, repo: &Repository) -> anyhow::Result<Index> {
        let dir = self.index_place()?;
        let index = open::index(dir.as_deref(), repo).or_else(|error| match error {
            Error::Index { .. } => {
                self.console.warn(&format!("{error}\nGoing on with an index in memory"));
                Index::in_memory()
            }
            other => Err(other),
        })?;
        Ok(index)
    }

    fn bring_up_to_date(&self, repo: &Repository, index: &Index) -> anyhow::Result<()> {
        let progress = self.progress();
        let done = open::bring_up_to_date(repo, index, &*progress, &*self.cancel()?)?;
        for (object, error) in &done.damaged {
            self.console.warn(&format!("{object} cannot be used: {error}"));
        }
        if !done.damaged.is_empty() {
            self.console.warn("the repository is damaged; `icecore check --read-data` says which points are affected");
        }
        Ok(())
    }

    /// Where this repository's index lies; `None` when there is no place for it but memory.
    pub fn index_place(&self) -> anyhow::Result<Option<PathBuf>> {
        let place = self.place()?;
        let bucket = match place {
            Place::Bucket(_) => Some(&*self.opened()?.store),
            _ => None,
        };
        Ok(self.index_base().map(|base| open::index_dir_of(&base, place, bucket)))
    }

    fn index_base(&self) -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(dir) = &self.globals.index_dir {
            return Some(dir.clone());
        }
        if let Some(cache) = variable("XDG_CACHE_HOME") {
            return Some(cache.join("icecore"));
        }
        let system = Path::new("/var/cache/icecore");
        if nix::unistd::geteuid().is_root() && std::fs::create_dir_all(system).is_ok() {
            return Some(system.to_owned());
        }
        Some(variable("HOME")?.join(".cache/icecore"))
    }

    /// Progress for a long job.
    pub fn progress(&self) -> Box<dyn Progress + Send> {
        progress::for_stderr(self.console.quiet())
    }

    /// Becomes true at SIGINT or SIGTERM; a second signal ends the process.
    pub fn cancel(&self) -> anyhow::Result<Arc<AtomicBool>> {
        signals::cancel()
    }

    /// Reads under a lease that pins `points`.
    pub fn reading<R>(
        &self,
        repo: &Repository,
        points: &[(&StoredManifest, &Manifest)],
        read: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let (clock, warn) = (|| self.now(), |line: &str| self.console.warn(line));
        open::reading(repo, points, (&clock, &warn), read)
    }
}
