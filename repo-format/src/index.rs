//! The index: entry id → (pack, number), in SQLite. A cache that can be deleted at any time.
//!
//! Nothing that guards data trusts it: who uses a place confirms it in the pack's footer.

use crate::error::{Error, Result};
use crate::id::{EntryKey, PackId, RepositoryId, WriterId};
use crate::pack::{PackInfo, PackKind};
use rusqlite::{Connection, OptionalExtension, params};
use rusqlite_migration::{M, Migrations};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Number of a pack within one index file.
pub type PackNumber = i64;

/// Where an entry lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Pack, by its number in this index.
    pub pack: PackNumber,
    /// Entry's number in the pack.
    pub entry: u32,
}

/// What the index knows of a pack.
#[derive(Clone, Debug)]
pub struct IndexedPack {
    /// Its number here.
    pub number: PackNumber,
    /// Its name.
    pub id: PackId,
    /// What it holds.
    pub kind: PackKind,
    /// Who stored it.
    pub writer: WriterId,
    /// Who signed it.
    pub signer: WriterId,
    /// Its length.
    pub pack_bytes: u64,
    /// Number of its entries.
    pub entry_count: u32,
}

/// The index of one repository, in one file. Several processes may use the file at once.
pub struct Index {
    connection: Mutex<Connection>,
    path: PathBuf,
}

const CACHE_KIB: i64 = 24 << 10;
const BUSY: Duration = Duration::from_secs(120);

impl Index {
    /// Opens or creates the index in `dir`. A file that SQLite cannot use is replaced: it is only a cache.
    pub fn open(dir: &Path, repository: &RepositoryId) -> Result<Self> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Error::Index { path: dir.display().to_string(), what: e.to_string() })?;
        let path = dir.join(format!("{repository}.sqlite"));
        match Self::open_file(&path) {
            Ok(index) => Ok(index),
            Err(Error::Index { .. }) if path.exists() => {
                Self::remove_file(&path)?;
                Self::open_file(&path)
            }
            Err(error) => Err(error),
        }
    }

    /// An index in memory: for stores of which nothing may be kept, and for tests.
    pub fn in_memory() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(at(&path))?;
        Self::prepare(connection, path)
    }

    /// Deletes an index file; it is rebuilt when it is opened again.
    pub fn delete(dir: &Path, repository: &RepositoryId) -> Result<()> {
        let path = dir.join(format!("{repository}.sqlite"));
        if path.exists() { Self::remove_file(&path) } else { Ok(()) }
    }

    fn remove_file(path: &Path) -> Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Index { path: path.display().to_string(), what: e.to_string() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open_file(path: &Path) -> Result<Self> {
        let connection = Connection::open(path).map_err(at(path))?;
        Self::prepare(connection, path.to_owned())
    }

    fn prepare(mut connection: Connection, path: PathBuf) -> Result<Self> {
        let set = |connection: &Connection| -> rusqlite::Result<()> {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // What a power cut takes from a cache is found again in the packs.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            connection.set_prepared_statement_cache_capacity(32);
            Ok(())
        };
        set(&connection).map_err(at(&path))?;
        Migrations::new(vec![M::up(include_str!("../../migrations/index/0001_initial.sql"))])
            .to_latest(&mut connection)
            .map_err(|e| Error::Index { path: path.display().to_string(), what: e.to_string() })?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("no panic while held")
    }

    fn run<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&mut self.connection()).map_err(at(&self.path))
    }

    /// All places of an entry.
    pub fn places(&self, key: &EntryKey) -> Result<Vec<Place>> {
        self.run(|connection| {
            let mut query = connection.prepare_cached("SELECT pack, entry FROM entries WHERE id = ?1")?;
            let rows = query.query_map([key.0], |row| Ok(Place { pack: row.get(0)?, entry: row.get(1)? }))?;
            rows.collect()
        })
    }

    /// All packs.
    pub fn packs(&self) -> Result<Vec<IndexedPack>> {
        self.run(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT pack, id, kind, writer, signer, pack_bytes, entry_count FROM packs ORDER BY pack",
            )?;
            query.query_map([], indexed_pack)?.collect()
        })
    }

    /// One pack by its number.
    pub fn pack(&self, number: PackNumber) -> Result<Option<IndexedPack>> {
        self.run(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT pack, id, kind, writer, signer, pack_bytes, entry_count FROM packs WHERE pack = ?1",
            )?;
            query.query_row([number], indexed_pack).optional()
        })
    }

    /// Enters packs that are durable, in one transaction. A pack that is there already is left as it is.
    pub fn insert(&self, packs: &[(PackId, &PackInfo)]) -> Result<()> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let mut entries = Vec::new();
            for (id, info) in packs {
                let mut insert = transaction.prepare_cached(
                    "INSERT OR IGNORE INTO packs (id, kind, writer, signer, pack_bytes, entry_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                let header = &info.header;
                let new = insert.execute(params![
                    id.0,
                    kind_number(header.kind),
                    header.writer.0,
                    header.signer.0,
                    i64::try_from(info.pack_bytes).expect("bounded by MAX_PACK_BYTES"),
                    u32::try_from(info.rows.len()).expect("bounded by MAX_ENTRIES"),
                ])?;
                if new == 1 {
                    let pack = transaction.last_insert_rowid();
                    entries.extend((0_u32..).zip(&info.rows).map(|(entry, row)| (row.id.key(), pack, entry)));
                }
            }
            entries.sort_unstable();
            let mut insert =
                transaction.prepare_cached("INSERT OR IGNORE INTO entries (id, pack, entry) VALUES (?1, ?2, ?3)")?;
            for (key, pack, entry) in entries {
                insert.execute(params![key.0, pack, entry])?;
            }
            drop(insert);
            transaction.commit()
        })
    }

    /// Forgets packs that are gone from the store or about to go.
    pub fn remove(&self, packs: &[PackNumber]) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction.execute_batch(
                "CREATE TEMP TABLE IF NOT EXISTS gone (pack INTEGER PRIMARY KEY) STRICT; DELETE FROM gone;",
            )?;
            for pack in packs {
                transaction.execute("INSERT OR IGNORE INTO gone VALUES (?1)", [pack])?;
            }
            transaction.execute("DELETE FROM entries WHERE pack IN gone", [])?;
            transaction.execute("DELETE FROM packs WHERE pack IN gone", [])?;
            transaction.commit()
        })
    }

    /// Number of entries.
    pub fn entry_count(&self) -> Result<u64> {
        let count = self.run(|connection| {
            connection.query_row("SELECT coalesce(sum(entry_count), 0) FROM packs", [], |row| row.get::<_, i64>(0))
        })?;
        Ok(count.unsigned_abs())
    }

    /// Calls `each` with the key of every entry.
    pub fn each_key(&self, each: &mut dyn FnMut(EntryKey)) -> Result<()> {
        self.run(|connection| {
            let mut query = connection.prepare("SELECT id FROM entries")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                each(EntryKey(row.get(0)?));
            }
            Ok(())
        })
    }
}

fn at(path: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
    move |e| Error::Index { path: path.display().to_string(), what: e.to_string() }
}

fn kind_number(kind: PackKind) -> i64 {
    match kind {
        PackKind::Data => 0,
        PackKind::Tree => 1,
    }
}

fn indexed_pack(row: &rusqlite::Row<'_>) -> rusqlite::Result<IndexedPack> {
    Ok(IndexedPack {
        number: row.get(0)?,
        id: PackId(row.get(1)?),
        kind: if row.get::<_, i64>(2)? == 0 { PackKind::Data } else { PackKind::Tree },
        writer: WriterId(row.get(3)?),
        signer: WriterId(row.get(4)?),
        pack_bytes: row.get::<_, i64>(5)?.unsigned_abs(),
        entry_count: row.get(6)?,
    })
}
