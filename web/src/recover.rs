//! Putting a server back: from a copy of its database, or on an empty machine from a repository and the recovery kit.
//!
//! Runs on the command line while no server does. Only here does this program read a repository with a key.

use crate::config::Config;
use crate::db::copy::{self, Companion, Prepared};
use crate::db::{Write, open};
use crate::http::acting::Author;
use crate::tls;
use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use repo_format::entropy::SystemEntropy;
use repo_format::index::Index;
use repo_format::manifest::Manifest;
use repo_format::pack::EntryDecoder;
use repo_format::reader::{Reader, Wanted};
use repo_format::reconcile::{self, reconcile};
use repo_format::repository::{Access, Repository};
use repo_format::store::dir::DirStore;
use repo_format::tree::TreeWalk;
use repo_format::{Error, kit};
use rusqlite::Connection;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use web_api::audit::Outcome;

/// Name of the recovery points that hold copies of a server's database.
pub const POINT_NAME: &str = "icecore-server";
const FOOTER_THREADS: usize = 4;
/// Chunks that are read together.
const BATCH_CHUNKS: usize = 256;
/// A database that is larger is none of ours.
const MAX_DATABASE_BYTES: u64 = 64 << 30;

/// What came back.
#[derive(Debug)]
pub struct Recovered {
    /// Where what was there before is kept.
    pub kept: Option<PathBuf>,
    /// Files that came with the database.
    pub files: Vec<String>,
    /// When the copy was made, if it is a recovery point.
    pub made_at: Option<Timestamp>,
}

/// Puts a copy in the database's place; what was there is kept beside it.
pub fn from_copy(config: &Config, file: &Path, now: Timestamp) -> anyhow::Result<Recovered> {
    let prepared = copy::prepare(file, &config.database_file())?;
    install(config, prepared, &format!("from {}", file.display()), now)
}

/// Takes the newest copy out of a repository, which the new server then keeps at this place.
pub fn from_repository(config: &Config, (dir, kit_file): (&Path, &Path), now: Timestamp) -> anyhow::Result<Recovered> {
    if config.database_file().exists() {
        bail!(
            "{} is there already; recovery is for an empty machine. To go back to an older state of this server, use `admin restore-database`",
            config.database_file().display()
        );
    }
    let repo = open_repository(dir, kit_file)?;
    let manifest = newest(&repo)?;
    make_private_dir(&config.data_dir)?;
    let file = config.data_dir.join("recovered.partial");
    extract(&repo, &manifest, &file)?;
    let prepared = copy::prepare(&file, &config.database_file())?;
    std::fs::remove_file(&file)?;
    let format_id = repo.config().repository.to_string();
    let place = dir.canonicalize()?;
    let place = place.to_str().context("the repository's directory has a name that is no text")?;
    let moved = set_place(prepared.file(), &format_id, place)?;
    ensure!(moved, "the database that was found knows no repository {format_id}; nothing was installed");
    let made_at = manifest.created_at;
    let recovered = install(config, prepared, &format!("from the repository in {}", dir.display()), now)?;
    Ok(Recovered { made_at: Some(made_at), ..recovered })
}

fn open_repository(dir: &Path, kit_file: &Path) -> anyhow::Result<Repository> {
    let text = std::fs::read_to_string(kit_file).with_context(|| format!("cannot read {}", kit_file.display()))?;
    let (of, master) = kit::import(&text)?;
    let repo = Repository::open(Arc::new(DirStore::open(dir)), Access::Master(master), Arc::new(SystemEntropy))
        .with_context(|| format!("cannot open the repository in {}", dir.display()))?;
    ensure!(of == repo.config().repository, "this recovery kit is of another repository ({of})");
    Ok(repo)
}

/// The newest copy that the holder of the repository's own key stored. A machine that stores into the repository could give a
/// point of its own the same name, with accounts of its own in it.
fn newest(repo: &Repository) -> anyhow::Result<Manifest> {
    let builtin = repo.config().builtin_writer;
    for at in repo.points_of(&repo.keys().ids().name(POINT_NAME))?.into_iter().rev() {
        if repo.is_forgotten(&at.manifest)? {
            continue;
        }
        let (stored, manifest) = repo.open_point(at)?;
        if stored.writer == builtin {
            return Ok(manifest);
        }
    }
    bail!(
        "no copy of a server's database is in this repository: it has no recovery point named {POINT_NAME} that was made with the repository's own key"
    )
}

/// Writes the only disk of a point into a file; every chunk is checked against its id.
fn extract(repo: &Repository, manifest: &Manifest, file: &Path) -> anyhow::Result<()> {
    let index = Index::in_memory()?;
    let options = reconcile::Options { threads: FOOTER_THREADS, progress: &|_| {}, cancel: &AtomicBool::new(false) };
    reconcile(repo.records(), &index, &options)?;
    let disk = manifest.disk(None)?;
    ensure!(disk.size_bytes <= MAX_DATABASE_BYTES, "what is stored as {POINT_NAME} is too large to be a database");
    let _ = std::fs::remove_file(file);
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.set_len(disk.size_bytes)?;
    let reader = Reader::new(repo, &index);
    let tree = disk.tree(manifest.chunk_bytes);
    let mut wanted = Vec::new();
    for entry in TreeWalk::new(tree, &reader, 0..tree.chunks) {
        let (position, chunk) = entry?;
        wanted.push(Wanted { position, chunk, length: disk.chunk_length(manifest.chunk_bytes, position) });
        if wanted.len() == BATCH_CHUNKS {
            write_chunks(&reader, &std::mem::take(&mut wanted), u64::from(manifest.chunk_bytes), &out)?;
        }
    }
    write_chunks(&reader, &wanted, u64::from(manifest.chunk_bytes), &out)?;
    out.sync_all()?;
    Ok(())
}

fn write_chunks(reader: &Reader<'_>, wanted: &[Wanted], chunk_bytes: u64, out: &File) -> anyhow::Result<()> {
    let (mut decoder, mut buffer) = (EntryDecoder::new()?, Vec::new());
    for run in reader.plan(wanted)? {
        reader.read_run(&run, (&mut decoder, &mut buffer), &mut |want, plain| {
            out.write_all_at(plain, want.position * chunk_bytes)
                .map_err(|source| Error::Store { key: "the recovered database".into(), source })
        })?;
    }
    Ok(())
}

/// Where the repository of this id lies from now on; whether the database knows it.
fn set_place(database: &Path, format_id: &str, place: &str) -> anyhow::Result<bool> {
    let connection = open::writable(database)?;
    Ok(crate::db::repository::move_to(&connection, format_id, place)?)
}

/// Notes in the audit log what is done, then does it: an older state of a server is nothing that may happen unseen.
fn install(config: &Config, prepared: Prepared, from: &str, now: Timestamp) -> anyhow::Result<Recovered> {
    note(prepared.file(), from, now)?;
    make_private_dir(&config.data_dir)?;
    let mut files = Vec::new();
    for companion in prepared.companions.clone() {
        if put_companion(&config.data_dir, &companion)? {
            files.push(companion.name);
        }
    }
    let kept = prepared.install(&format!("replaced-{}", now.strftime("%Y%m%dT%H%M%SZ")))?;
    Ok(Recovered { kept, files, made_at: None })
}

fn note(database: &Path, from: &str, now: Timestamp) -> anyhow::Result<()> {
    let mut connection = open::writable(database)?;
    let transaction = connection.transaction()?;
    let author = Author { actor: "console".into(), address: "local".into(), at: now.into() };
    author.record(&Write::within(&transaction), "database.restore", "server", Outcome::Done, from)?;
    transaction.commit()?;
    close(connection)
}

fn close(connection: Connection) -> anyhow::Result<()> {
    connection.close().map_err(|(_, error)| error.into())
}

/// Writes a file that is missing; one that is there is newer or the person's own.
fn put_companion(data_dir: &Path, companion: &Companion) -> anyhow::Result<bool> {
    ensure!(
        tls::AUTHORITY_FILES.contains(&companion.name.as_str()),
        "the copy has a file {:?}, which is none of a server's",
        companion.name
    );
    let path = data_dir.join(&companion.name);
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        file => file.with_context(|| format!("cannot make {}", path.display()))?,
    };
    file.write_all(&companion.bytes)?;
    file.sync_all()?;
    Ok(true)
}

fn make_private_dir(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copies::Copies;
    use crate::db::user;
    use web_api::id::UserId;
    use web_api::role::Role;

    fn config(dir: &Path) -> Config {
        Config { data_dir: dir.to_owned(), ..Config::default() }
    }

    fn add(config: &Config, name: &str) {
        let mut connection = open::writable(&config.database_file()).unwrap();
        let transaction = connection.transaction().unwrap();
        user::insert(
            &Write::within(&transaction),
            UserId::generate(),
            name,
            Role::Viewer,
            Timestamp::UNIX_EPOCH.into(),
        )
        .unwrap();
        transaction.commit().unwrap();
    }

    fn names(config: &Config) -> Vec<String> {
        let connection = open::writable(&config.database_file()).unwrap();
        user::page(&connection, None, 500).unwrap().into_iter().map(|user| user.name).collect()
    }

    #[test]
    fn a_damaged_database_is_replaced_by_its_copy_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        add(&config, "ada");
        let copy = Copies::of(&config).make(Timestamp::UNIX_EPOCH).unwrap();
        add(&config, "bob");
        let bytes = std::fs::read(config.database_file()).unwrap();
        std::fs::write(config.database_file(), &bytes[..bytes.len() / 2]).unwrap();
        let error = open::writable(&config.database_file()).unwrap_err().to_string();
        assert!(error.contains("admin restore-database"), "{error}");
        let recovered = from_copy(&config, &copy.path, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(names(&config), ["ada"]);
        assert_eq!(std::fs::read(recovered.kept.unwrap()).unwrap(), bytes[..bytes.len() / 2]);
        let connection = open::writable(&config.database_file()).unwrap();
        let last = crate::db::audit::last(&connection).unwrap().unwrap();
        assert_eq!(last.record.action, "database.restore");
    }

    #[test]
    fn recovery_refuses_a_machine_that_has_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        add(&config, "ada");
        let nowhere = Path::new("/nonexistent");
        let error = from_repository(&config, (nowhere, nowhere), Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(names(&config), ["ada"]);
    }
}
