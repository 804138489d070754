//! Passphrases, key files, kits and writer keys: where they come from, and how new ones are written.
//!
//! What is given on the command line counts before the environment; of the environment the strongest counts first.
//! No secret is ever an argument: other users can read arguments.

use super::console::Console;
use super::failure::{Code, Failure};
use anyhow::Context as _;
use repo_format::entropy::{SystemEntropy, random};
use repo_format::id::RepositoryId;
use repo_format::key_slot::{KEY_FILE_BYTES, Unlock};
use repo_format::keys::{MasterSecret, WriterKeys};
use repo_format::repository::Access;
use repo_format::{kit, writer_key};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file of a secret; a disk image given by mistake is not read into memory.
const MAX_SECRET_FILE_BYTES: u64 = 64 << 10;
const ATTEMPTS: u32 = 3;

/// Where the key to the repository is.
#[derive(clap::Args)]
pub struct KeyOptions {
    /// File whose first line is the passphrase (or set ICECORE_PASSPHRASE, or be asked)
    #[arg(long, global = true, value_name = "FILE", group = "credential", help_heading = "Keys")]
    pub passphrase_file: Option<PathBuf>,
    /// Key file that opens the repository (or set ICECORE_KEY_FILE)
    #[arg(long, global = true, value_name = "FILE", group = "credential", help_heading = "Keys")]
    pub key_file: Option<PathBuf>,
    /// Recovery kit that opens the repository
    #[arg(long, global = true, value_name = "FILE", group = "credential", help_heading = "Keys")]
    pub recovery_kit: Option<PathBuf>,
    /// Writer key: may back up, cannot read data (or set ICECORE_WRITER_KEY)
    #[arg(long, global = true, value_name = "FILE", group = "credential", help_heading = "Keys")]
    pub writer_key: Option<PathBuf>,
}

/// A key that was given.
pub enum Credential {
    /// Opens a passphrase slot.
    Passphrase(Zeroizing<String>),
    /// Opens a key file slot.
    KeyFile(Zeroizing<[u8; KEY_FILE_BYTES]>),
    /// The master secret of a repository.
    Kit(RepositoryId, MasterSecret),
    /// A writer.
    Writer(Box<WriterKeys>),
}

impl Credential {
    /// What opens a key slot; `None` for what does not go through a slot.
    pub fn unlock(&self) -> Option<Unlock<'_>> {
        match self {
            Self::Passphrase(passphrase) => Some(Unlock::Passphrase(passphrase)),
            Self::KeyFile(bytes) => Some(Unlock::KeyFile(bytes)),
            Self::Kit(..) | Self::Writer(_) => None,
        }
    }

    /// What opens the repository.
    pub fn access(&self) -> Access<'_> {
        match self {
            Self::Passphrase(passphrase) => Access::Unlock(Unlock::Passphrase(passphrase)),
            Self::KeyFile(bytes) => Access::Unlock(Unlock::KeyFile(bytes)),
            Self::Kit(_, master) => Access::Master(master.clone()),
            Self::Writer(keys) => Access::Writer(keys.clone()),
        }
    }
}

/// Whether [`given`] would find one, without reading it.
pub fn is_given(options: &KeyOptions) -> bool {
    let files = [&options.passphrase_file, &options.key_file, &options.recovery_kit, &options.writer_key];
    let variables = ["ICECORE_PASSPHRASE", "ICECORE_PASSPHRASE_FILE", "ICECORE_KEY_FILE", "ICECORE_WRITER_KEY"];
    files.iter().any(|file| file.is_some()) || variables.iter().any(|name| variable_path(name).is_some())
}

/// The key that options or environment name; `None` when a person has to be asked.
pub fn given(options: &KeyOptions, console: Console) -> anyhow::Result<Option<Credential>> {
    if let Some(file) = &options.passphrase_file {
        return Ok(Some(Credential::Passphrase(passphrase_file(file, console)?)));
    }
    if let Some(file) = &options.key_file {
        return Ok(Some(Credential::KeyFile(key_file(file, console)?)));
    }
    if let Some(file) = &options.recovery_kit {
        return kit_file(file, console).map(Some);
    }
    if let Some(file) = &options.writer_key {
        return writer(file, console).map(Some);
    }
    from_environment(console)
}

fn from_environment(console: Console) -> anyhow::Result<Option<Credential>> {
    if let Some(passphrase) = variable_text("ICECORE_PASSPHRASE")? {
        return Ok(Some(Credential::Passphrase(passphrase)));
    }
    if let Some(file) = variable_path("ICECORE_PASSPHRASE_FILE") {
        return Ok(Some(Credential::Passphrase(passphrase_file(&file, console)?)));
    }
    if let Some(file) = variable_path("ICECORE_KEY_FILE") {
        return Ok(Some(Credential::KeyFile(key_file(&file, console)?)));
    }
    variable_path("ICECORE_WRITER_KEY").map(|file| writer(&file, console)).transpose()
}

fn writer(file: &Path, console: Console) -> anyhow::Result<Credential> {
    writer_text(&secret_text(file, console)?).with_context(|| unusable(file))
}

/// What a writer key file holds.
pub fn writer_key_text(file: &Path, console: Console) -> anyhow::Result<Zeroizing<String>> {
    secret_text(file, console)
}

/// The writer of what a writer key file holds.
pub fn writer_text(text: &str) -> anyhow::Result<Credential> {
    Ok(Credential::Writer(Box::new(writer_key::from_text(text)?)))
}

/// What a file with certificates holds.
pub fn certificates(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A recovery kit.
pub fn kit_file(file: &Path, console: Console) -> anyhow::Result<Credential> {
    kit_content(file, console).map(|(repository, master)| Credential::Kit(repository, master))
}

/// What a recovery kit holds.
pub fn kit_content(file: &Path, console: Console) -> anyhow::Result<(RepositoryId, MasterSecret)> {
    kit::import(&secret_text(file, console)?).with_context(|| unusable(file))
}

fn unusable(file: &Path) -> String {
    format!("cannot use {}", file.display())
}

/// A passphrase in an environment variable; empty counts as unset.
pub fn variable_text(name: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    let not_text = |_| Failure::new(Code::Usage, format!("{name} is not UTF-8"));
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    Ok(value.map(|value| value.into_string().map_err(not_text)).transpose()?.map(Zeroizing::new))
}

/// A path in an environment variable; empty counts as unset.
pub fn variable_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The first line of a file.
pub fn passphrase_file(file: &Path, console: Console) -> anyhow::Result<Zeroizing<String>> {
    let text = secret_text(file, console)?;
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    if line.is_empty() {
        return Err(Failure::new(Code::Usage, format!("the first line of {} is empty", file.display()))
            .next("write the passphrase into its first line")
            .into());
    }
    Ok(line)
}

/// The token in a file, on its first line.
pub fn token_file(file: &Path, console: Console) -> anyhow::Result<Zeroizing<String>> {
    let text = secret_text(file, console)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned()))
}

/// The first bytes of a key file.
pub fn key_file(file: &Path, console: Console) -> anyhow::Result<Zeroizing<[u8; KEY_FILE_BYTES]>> {
    let bytes = secret_bytes(file, console)?;
    match bytes.first_chunk() {
        Some(key) => Ok(Zeroizing::new(*key)),
        None => Err(Failure::new(
            Code::Key,
            format!("{} has {} bytes; a key file has at least {KEY_FILE_BYTES}", file.display(), bytes.len()),
        )
        .next("give the key file, or make one: `icecore key add-file NEW_FILE`")
        .into()),
    }
}

fn secret_text(file: &Path, console: Console) -> anyhow::Result<Zeroizing<String>> {
    let bytes = secret_bytes(file, console)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not text", file.display()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn secret_bytes(path: &Path, console: Console) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        let others = format!("{} can be read by other users; `chmod 600` it", path.display());
        console.warn(&others);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_SECRET_FILE_BYTES + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > MAX_SECRET_FILE_BYTES {
        return Err(Failure::new(Code::Usage, format!("{} is too long to be a key", path.display())).into());
    }
    Ok(bytes)
}

/// Asks for the passphrase until `open` takes it, a few times.
pub fn asking<T>(open: &mut dyn FnMut(&str) -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    for attempt in 1.. {
        let passphrase = ask("Passphrase", None)?;
        match open(&passphrase)? {
            Some(opened) => return Ok(opened),
            None if attempt == ATTEMPTS => break,
            None => eprintln!("It opens no key slot; try again."),
        }
    }
    Err(repo_format::Error::WrongPassphrase.into())
}

/// A new passphrase: from a file, an environment variable, or asked for twice.
pub fn new_passphrase(file: Option<&Path>, variables: &[&str], console: Console) -> anyhow::Result<Zeroizing<String>> {
    if let Some(file) = file {
        return passphrase_file(file, console);
    }
    for variable in variables {
        if let Some(passphrase) = variable_text(variable)? {
            return Ok(passphrase);
        }
    }
    ask("New passphrase", Some("Once more"))
}

/// Whether there is a person to ask.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for something that may be seen while it is typed.
pub fn ask_line(prompt: &str) -> anyhow::Result<String> {
    if !can_ask() {
        let what = format!("{} is needed, and there is no terminal to ask on", prompt.to_lowercase());
        return Err(Failure::new(Code::Usage, what).next("`--help` names the option or variable for it").into());
    }
    dialoguer::Input::new().with_prompt(prompt).interact_text().with_context(|| format!("cannot ask for {prompt}"))
}

/// The code that a machine shows while it waits for its writer key.
pub fn enrolment_code() -> anyhow::Result<Zeroizing<String>> {
    match variable_text("ICECORE_ENROLMENT_CODE")? {
        Some(code) => Ok(code),
        None => ask_line("Code that the machine shows").map(Zeroizing::new),
    }
}

/// A person's password at a server: from a file, from ICECORE_PASSWORD, or asked for.
pub fn password(file: Option<&Path>, console: Console) -> anyhow::Result<Zeroizing<String>> {
    if let Some(file) = file {
        return passphrase_file(file, console);
    }
    if let Some(password) = variable_text("ICECORE_PASSWORD")? {
        return Ok(password);
    }
    if !can_ask() {
        return Err(Failure::new(Code::Key, "no password was given, and there is no terminal to ask on")
            .next("give --password-file, or set ICECORE_PASSWORD; or give a token by --token-file")
            .into());
    }
    let question = dialoguer::Password::new().with_prompt("Password");
    Ok(Zeroizing::new(question.interact().context("cannot ask for the password")?))
}

fn ask(prompt: &str, again: Option<&str>) -> anyhow::Result<Zeroizing<String>> {
    if !can_ask() {
        return Err(Failure::new(Code::Key, "no passphrase was given, and there is no terminal to ask on")
            .next("set ICECORE_PASSPHRASE, or give --passphrase-file, --key-file, --recovery-kit or --writer-key")
            .into());
    }
    let mut question = dialoguer::Password::new().with_prompt(prompt);
    if let Some(again) = again {
        question = question.with_confirmation(again, "They differ; type both again.");
    }
    Ok(Zeroizing::new(question.interact().context("cannot ask for the passphrase")?))
}

/// A new file that only its owner can read. Never replaces anything; removed again when it is dropped before [`NewFile::keep`].
pub struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Creates it.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, kept: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let what =
                    format!("{} exists already; a file with a secret never replaces another one", path.display());
                Err(Failure::new(Code::Refused, what).next("give another name, or move the old file away").into())
            }
            Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }

    /// Writes the content durably and keeps the file.
    pub fn keep(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // It is ours: it was created new and nobody was told of it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Reads a key file, or makes a new one where there is none. Tells which.
pub fn key_file_or_new(file: &Path, console: Console) -> anyhow::Result<(bool, Zeroizing<[u8; KEY_FILE_BYTES]>)> {
    if file.symlink_metadata().is_ok() {
        return Ok((false, key_file(file, console)?));
    }
    let key = Zeroizing::new(random(&SystemEntropy));
    NewFile::create(file)?.keep(key.as_slice())?;
    Ok((true, key))
}
