//! Catalogs: which files a recovery point has, so that names can be searched without reading file systems.
//!
//! Derived from the points and never needed: a catalog that is missing or damaged is made again. It names [`leaf`]s, parts of the list
//! that points share where nothing changed. Only the holder of the master secret writes and reads them. Who walks through a file system
//! is not known here, nor who searches.

pub mod leaf;

use crate::entropy::random;
use crate::error::{Error, Result};
use crate::id::{LeafId, ManifestId};
use crate::keys::MasterSecret;
use crate::record::{self, HEADER_BYTES, MaySign};
use crate::repository::Repository;
use crate::seal::{Counter, ObjectKey};
use jiff::Timestamp;
use leaf::Facts;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

const CATALOGS: &str = "catalogs/";
const LEAVES: &str = "leaves/";
/// Salt before what is sealed.
pub const SALT_BYTES: usize = 32;
/// Most bytes of a catalog before it is compressed.
pub const MAX_CATALOG_BYTES: usize = 16 << 20;
/// zstd's level for both kinds of object.
const LEVEL: i32 = 3;

/// The files of one recovery point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Catalog {
    /// The point.
    pub manifest: ManifestId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// One for each place where a file system may lie.
    pub volumes: Vec<Volume>,
}

/// A partition, or a disk without partitions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// Name of the disk.
    pub disk: String,
    /// Number of the partition; none for the disk itself.
    pub partition: Option<u32>,
    /// Where it begins on the disk.
    pub offset_bytes: u64,
    /// Its length.
    pub length_bytes: u64,
    /// What it holds, such as `ext4`, as far as the point says.
    pub holds: Option<String>,
    /// Its files.
    pub files: Files,
}

/// The files of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// They stand in these leaves.
    Listed(Listed),
    /// They could not be listed, for this reason.
    NotListed(String),
    /// What the volume holds is no file system that the maker could read.
    NoReader,
}

/// Files that were listed.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// How many.
    pub count: u64,
    /// Of them, those of which nothing but the name could be read.
    pub damaged: u64,
    /// Whether more than can be listed were there, and the last of them are missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// In the order of their paths.
    pub leaves: Vec<LeafPlace>,
}

/// A leaf in its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeafPlace {
    /// The leaf.
    pub leaf: LeafId,
    /// Its first path, as hexadecimal digits where it is no UTF-8 or begins like that.
    #[serde(with = "leaf::path_text")]
    pub first: Vec<u8>,
}

fn catalog_key(manifest: &ManifestId) -> String {
    format!("{CATALOGS}{manifest}")
}

fn leaf_key(leaf: &LeafId) -> String {
    let digits = leaf.to_string();
    format!("{LEAVES}{}/{digits}", &digits[..2])
}

/// Points that have a catalog, good or not.
pub fn all(repo: &Repository) -> Result<HashSet<ManifestId>> {
    let keys = repo.store().keys(CATALOGS)?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix(CATALOGS)?.parse().ok()).collect())
}

/// The catalog of a point; `None` when there is none.
pub fn read(repo: &Repository, manifest: &ManifestId) -> Result<Option<Catalog>> {
    let master = repo.keys().master_for("reading a catalog")?;
    let key = catalog_key(manifest);
    let bytes = match repo.store().get(&key) {
        Err(Error::Missing { .. }) => return Ok(None),
        other => other?,
    };
    open_catalog(repo, master, (&key, &bytes)).map(Some)
}

/// Stores a catalog. Its leaves have to be there: it is what makes them count.
pub fn put(repo: &Repository, catalog: &Catalog) -> Result<()> {
    let master = repo.keys().master_for("storing a catalog")?;
    let plain = serde_json::to_vec(catalog).map_err(|e| Error::Refused(format!("a catalog cannot be written: {e}")))?;
    if plain.len() > MAX_CATALOG_BYTES {
        let allowed = format!("at most {MAX_CATALOG_BYTES}");
        return Err(Error::Limit { what: "a catalog in bytes", value: plain.len() as u64, allowed });
    }
    let key = catalog_key(&catalog.manifest);
    let bytes = seal(repo, master, Sealed::Catalog, &plain)?;
    if open_catalog(repo, master, (&key, &bytes))? != *catalog {
        return Err(Error::SelfCheck("a catalog"));
    }
    repo.store().put(&key, &bytes)
}

/// Stores a leaf, if it is not there, and names it.
pub fn put_leaf(repo: &Repository, plain: &[u8]) -> Result<LeafId> {
    let master = repo.keys().master_for("storing a catalog")?;
    let id = master.leaf_id(plain);
    let key = leaf_key(&id);
    if !repo.store().exists(&key)? {
        let bytes = seal(repo, master, Sealed::Leaf, plain)?;
        if open_leaf(repo, master, (&key, &bytes))? != plain {
            return Err(Error::SelfCheck("a leaf of a catalog"));
        }
        repo.store().put(&key, &bytes)?;
    }
    Ok(id)
}

/// Whether a leaf is in the store.
pub fn has_leaf(repo: &Repository, leaf: &LeafId) -> Result<bool> {
    repo.store().exists(&leaf_key(leaf))
}

/// Visits the files that stand in a leaf, in the order of their paths. What was visited before an error counts for nothing.
pub fn read_leaf(repo: &Repository, leaf: &LeafId, visit: &mut dyn FnMut(&[u8], Facts)) -> Result<()> {
    let master = repo.keys().master_for("reading a catalog")?;
    let key = leaf_key(leaf);
    let plain = open_leaf(repo, master, (&key, &repo.store().get(&key)?))?;
    leaf::each(&plain, visit).map_err(|what| Error::damaged(&key, what))
}

/// Removes a catalog, which is then made again.
pub fn discard(repo: &Repository, manifest: &ManifestId) -> Result<()> {
    repo.store().delete(&catalog_key(manifest))
}

/// Removes a leaf that is damaged. The catalogs that name it have to go, too.
pub fn discard_leaf(repo: &Repository, leaf: &LeafId) -> Result<()> {
    repo.store().delete(&leaf_key(leaf))
}

/// Which of the two kinds of object.
#[derive(Clone, Copy)]
enum Sealed {
    Catalog,
    Leaf,
}

impl Sealed {
    fn magic(self) -> record::Magic {
        match self {
            Self::Catalog => record::CATALOG,
            Self::Leaf => record::LEAF,
        }
    }

    fn key(self, master: &MasterSecret, repo: &Repository, salt: &[u8; SALT_BYTES]) -> ObjectKey {
        match self {
            Self::Catalog => master.catalog(&repo.config().repository, salt),
            Self::Leaf => master.leaf(&repo.config().repository, salt),
        }
    }

    fn most_bytes(self) -> usize {
        match self {
            Self::Catalog => MAX_CATALOG_BYTES,
            Self::Leaf => leaf::MAX_LEAF_BYTES,
        }
    }
}

fn seal(repo: &Repository, master: &MasterSecret, kind: Sealed, plain: &[u8]) -> Result<Vec<u8>> {
    let salt: [u8; SALT_BYTES] = random(repo.entropy());
    let signer = master.operator_signer();
    let mut body = salt.to_vec();
    body.extend(zstd::bulk::compress(plain, LEVEL).map_err(|_| Error::SelfCheck("compressing a catalog"))?);
    let sealed_bytes = body.len() + crate::seal::TAG_BYTES;
    let header = record::header(kind.magic(), &repo.config().repository, signer.id(), sealed_bytes)?;
    kind.key(master, repo, &salt).seal(Counter(0), &[&header[..], &salt].concat(), &mut body, SALT_BYTES);
    record::encode(kind.magic(), &repo.config().repository, &signer, &body)
}

fn open(repo: &Repository, master: &MasterSecret, kind: Sealed, (key, bytes): (&str, &[u8])) -> Result<Vec<u8>> {
    let record = verified(repo, kind, (key, bytes))?;
    let (salt, sealed) =
        record.body.split_first_chunk::<SALT_BYTES>().ok_or_else(|| Error::damaged(key, "it is too short"))?;
    let aad = [&record.header[..HEADER_BYTES], salt].concat();
    let mut sealed = sealed.to_vec();
    let plain = kind.key(master, repo, salt).open(Counter(0), &aad, &mut sealed);
    let plain = plain.ok_or_else(|| Error::damaged(key, "its seal does not fit"))?;
    zstd::bulk::decompress(plain, kind.most_bytes())
        .map_err(|error| Error::damaged(key, format!("it cannot be decompressed: {error}")))
}

fn verified<'b>(repo: &Repository, kind: Sealed, (key, bytes): (&str, &'b [u8])) -> Result<record::Record<'b>> {
    let record = record::decode(key, kind.magic(), bytes)?.alone(key, bytes)?;
    record.verified(key, &repo.config().repository, repo.signers(), MaySign::Operator)
}

fn open_catalog(repo: &Repository, master: &MasterSecret, (key, bytes): (&str, &[u8])) -> Result<Catalog> {
    let plain = open(repo, master, Sealed::Catalog, (key, bytes))?;
    let catalog: Catalog = serde_json::from_slice(&plain)
        .map_err(|error| Error::damaged(key, format!("its contents cannot be read: {error}")))?;
    if catalog_key(&catalog.manifest) != key {
        return Err(Error::damaged(key, "it is the catalog of another point"));
    }
    Ok(catalog)
}

fn open_leaf(repo: &Repository, master: &MasterSecret, (key, bytes): (&str, &[u8])) -> Result<Vec<u8>> {
    let plain = open(repo, master, Sealed::Leaf, (key, bytes))?;
    match leaf_key(&master.leaf_id(&plain)) == key {
        true => Ok(plain),
        false => Err(Error::damaged(key, "its content is not that of its name")),
    }
}

/// Checks one object below `catalogs/` or `leaves/`, as far as the keys at hand go.
pub(crate) fn check_object(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let kind = if key.starts_with(LEAVES) { Sealed::Leaf } else { Sealed::Catalog };
    match (repo.keys().master_for("looking into a catalog"), kind) {
        (Ok(master), Sealed::Catalog) => open_catalog(repo, master, (key, bytes)).map(drop),
        (Ok(master), Sealed::Leaf) => {
            let plain = open_leaf(repo, master, (key, bytes))?;
            leaf::each(&plain, &mut |_, _| {}).map_err(|what| Error::damaged(key, what))
        }
        (Err(_), _) => verified(repo, kind, (key, bytes)).map(drop),
    }
}

/// Deletes catalogs of points that are gone and, with the master secret, what cannot be read and leaves that no catalog names.
///
/// Leaves are listed before catalogs are read: what is stored meanwhile is not among them. A catalog whose leaf goes all the same, because
/// it was stored in between, is found without it and made again.
pub(crate) fn tidy(repo: &Repository, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    let leaves = repo.store().keys(LEAVES)?;
    let catalogs = repo.store().keys(CATALOGS)?;
    if leaves.is_empty() && catalogs.is_empty() {
        return Ok(());
    }
    let points: HashSet<ManifestId> = repo.points()?.into_iter().map(|at| at.manifest).collect();
    let master = repo.keys().master_for("reading a catalog").ok();
    let mut named = HashSet::new();
    for key in catalogs {
        let is_left = key.strip_prefix(CATALOGS).and_then(|id| id.parse().ok()).is_some_and(|id| points.contains(&id));
        let read = master.filter(|_| is_left).map(|master| {
            let bytes = repo.store().get(&key)?;
            open_catalog(repo, master, (&key, &bytes))
        });
        match read {
            Some(Ok(catalog)) => named.extend(leaves_of(&catalog).map(|place| place.leaf)),
            None if is_left => {}
            Some(Err(error)) if !error.is_damage() => return Err(error),
            Some(Err(_)) | None => {
                go_on()?;
                repo.store().delete(&key)?;
            }
        }
    }
    if master.is_none() {
        return Ok(());
    }
    for key in leaves {
        let leaf: Option<LeafId> = key.rsplit_once('/').and_then(|(_, id)| id.parse().ok());
        if leaf.is_none_or(|leaf| !named.contains(&leaf)) {
            go_on()?;
            repo.store().delete(&key)?;
        }
    }
    Ok(())
}

/// All leaves that a catalog names.
pub fn leaves_of(catalog: &Catalog) -> impl Iterator<Item = &LeafPlace> {
    catalog.volumes.iter().flat_map(|volume| match &volume.files {
        Files::Listed(listed) => &listed.leaves[..],
        Files::NotListed(_) | Files::NoReader => &[],
    })
}
