//! `icecore init`: a new repository in a new or empty directory, or in object storage.

use super::bucket;
use super::context::Context;
use super::failure::{Code, Failure};
use super::secrets;
use super::size;
use agent::open;
use agent::output;
use agent::remote::Place;
use anyhow::Context as _;
use repo_format::Error;
use repo_format::config;
use repo_format::key_slot::{DEFAULT_PASSPHRASE, SlotKind, Unlock};
use repo_format::probe;
use repo_format::repository::{InitOptions, init, read_config};
use repo_format::store::Store;
use serde_json::json;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Options of `init`.
#[derive(clap::Args)]
pub struct Args {
    /// Size of a chunk: 64K, 128K, 256K, 512K or 1M
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = chunk_size)]
    chunk_size: u32,
    /// What to call the first key in `key list`
    #[arg(long, value_name = "TEXT", default_value = "first")]
    label: String,
}

fn chunk_size(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(size::parse(text)?).unwrap_or(u32::MAX);
    config::check_chunk_bytes(bytes).map_err(|error| error.to_string())
}

/// Makes the repository.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let (place, store) = new_place(context)?;
    let options = context.key_options();
    if options.recovery_kit.is_some() || options.writer_key.is_some() {
        let what = "a new repository is opened by a passphrase or a key file";
        return Err(Failure::new(Code::Usage, what).next("give --passphrase-file or --key-file").into());
    }
    // Asked for before anything is made; the key file is made when its repository has a place.
    let key_file = key_file_wanted(context);
    let passphrase = match key_file {
        Some(_) => None,
        None => Some(first_passphrase(context)?),
    };
    place.directory().map_or(Ok(()), make_dir)?;
    let key_file = key_file.map(|file| secrets::key_file_or_new(&file, context.console)).transpose()?;
    let unlock = match (&key_file, &passphrase) {
        (Some((_, key)), _) => Unlock::KeyFile(key),
        (None, passphrase) => Unlock::Passphrase(passphrase.as_deref().map_or("", |text| text.as_str())),
    };
    let slot_kind = if key_file.is_some() { SlotKind::KeyFile } else { DEFAULT_PASSPHRASE };
    let init_options =
        InitOptions { chunk_bytes: args.chunk_size, slot_kind, unlock, label: &args.label, now: context.now() };
    let repo = init(store, &init_options, open::entropy()).with_context(|| cannot_make(place))?;
    let config = repo.config();
    let tried = probe::newest(repo.records())?;
    let at = place.to_string();
    let result = json!({
        "repository": config.repository, "path": at, "chunk_bytes": config.chunk_bytes,
        "created_at": config.created_at, "key_file_created": key_file.is_some_and(|(new, _)| new),
        "probe": tried,
    });
    context.console.result(&result, |_| {
        format!(
            "Made repository {} in {}, with chunks of {}.\n{}\n\
             Without the key nobody can read a backup, you included. Make a recovery kit, print it, and keep it elsewhere:\n  \
             icecore --repo {} key recovery-export --out recovery-kit.txt\n",
            config.repository,
            output::name(&at),
            output::bytes(config.chunk_bytes.into()),
            tried.as_ref().map(|probe| format!("\n{}", bucket::findings(&probe.findings))).unwrap_or_default(),
            output::name(&at),
        )
    })
}

fn cannot_make(place: &Place) -> String {
    format!("cannot make a repository in {place}")
}

/// Where it is to be made, and the store there; refuses a place that has something.
fn new_place(context: &Context) -> anyhow::Result<(&Place, Arc<dyn Store>)> {
    let place = context.place()?;
    if !matches!(place, Place::Bucket(_)) {
        let dir = context.repo_dir("init")?;
        refuse_what_is_there(dir)?;
        return Ok((place, open::store(dir)));
    }
    let store = context.opened()?.store.clone();
    match read_config(&*store) {
        Err(Error::NoRepository) => Ok((place, store)),
        // Damaged, it may be somebody's backups all the same.
        Ok(_) => Err(Error::RepositoryExists).with_context(|| cannot_make(place)),
        Err(error) => Err(error).with_context(|| cannot_make(place)),
    }
}

/// The key file that options or environment name, unless they name a passphrase first.
fn key_file_wanted(context: &Context) -> Option<PathBuf> {
    let options = context.key_options();
    let passphrases = ["ICECORE_PASSPHRASE", "ICECORE_PASSPHRASE_FILE"];
    let names_passphrase =
        options.passphrase_file.is_some() || passphrases.iter().any(|name| secrets::variable_path(name).is_some());
    let from_environment = || (!names_passphrase).then(|| secrets::variable_path("ICECORE_KEY_FILE")).flatten();
    options.key_file.clone().or_else(from_environment)
}

fn first_passphrase(context: &Context) -> anyhow::Result<Zeroizing<String>> {
    let console = context.console;
    if let Some(file) = &context.key_options().passphrase_file {
        return secrets::passphrase_file(file, console);
    }
    let file = match secrets::variable_path("ICECORE_PASSPHRASE") {
        Some(_) => None,
        None => secrets::variable_path("ICECORE_PASSPHRASE_FILE"),
    };
    secrets::new_passphrase(file.as_deref(), &["ICECORE_PASSPHRASE"], console)
}

fn refuse_what_is_there(dir: &Path) -> anyhow::Result<()> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot use {} for a repository", dir.display())),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    match read_config(&*open::store(dir)) {
        Err(Error::NoRepository) => Err(Failure::new(Code::Refused, format!("{} is not empty", dir.display()))
            .next("give a new or empty directory; if an `init` was interrupted here, remove what it left")
            .into()),
        // Even one that cannot be read: it may be somebody's backups.
        _ => Err(Error::RepositoryExists).with_context(|| format!("cannot make a repository in {}", dir.display())),
    }
}

/// Makes the directory, durably, for its owner alone. One that exists keeps its rights.
fn make_dir(dir: &Path) -> anyhow::Result<()> {
    let made = match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => {
            let absolute = std::path::absolute(dir)?;
            absolute.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        }
        other => other,
    };
    made.map_err(|error| {
        let next = "make the directory above it first, or choose another place";
        let failure = Failure::new(Code::Failed, format!("cannot make the directory {}: {error}", dir.display()));
        anyhow::Error::from(failure.next(next))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_have_units_and_limits() {
        assert_eq!(chunk_size("64K"), Ok(config::DEFAULT_CHUNK_BYTES));
        assert_eq!(chunk_size("1MiB"), Ok(1 << 20));
        assert_eq!(chunk_size("131072"), Ok(131_072));
        for wrong in ["", "K", "32K", "65K", "2M", "4096M", "-64K", "64 K", "99999999999"] {
            assert!(chunk_size(wrong).is_err(), "{wrong:?}");
        }
    }
}
