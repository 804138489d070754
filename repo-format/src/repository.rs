//! A repository: its store, configuration, keys and recovery points. Opening and creating; what exists. Writing is `session`.

use crate::config::{self, CONFIG_COPY_KEY, CONFIG_KEY, Config};
use crate::elsewhere::Elsewhere;
use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{ManifestId, NameId, RepositoryId, SlotId, WriterId};
use crate::key_slot::{KeySlot, SlotKind, Unlock};
use crate::keys::{Keys, MasterSecret, WriterKeys};
use crate::manifest::{self, Manifest, PointKey, StoredManifest};
use crate::probe;
use crate::record::{self, Magic, MaySign};
use crate::records::Records;
use crate::sign::{Signer, Signers};
use crate::store::Store;
use crate::writer_key::WriterRecord;
use crate::writers::{self, Unsound, Writers};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;

/// What a process opens a repository with.
pub enum Access<'a> {
    /// A passphrase or key file that opens a key slot.
    Unlock(Unlock<'a>),
    /// The master secret itself, from a recovery kit.
    Master(MasterSecret),
    /// A writer key file.
    Writer(Box<WriterKeys>),
}

/// An open repository. Shared by all threads of a process.
pub struct Repository {
    store: Arc<dyn Store>,
    entropy: Arc<dyn Entropy>,
    config: Config,
    keys: Keys,
    signers: Signers,
    signer: Signer,
    unsound: Vec<Unsound>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// How a new repository is made.
pub struct InitOptions<'a> {
    /// Size of a chunk.
    pub chunk_bytes: u32,
    /// How the first key slot's key is made.
    pub slot_kind: SlotKind,
    /// What opens the first key slot.
    pub unlock: Unlock<'a>,
    /// What a person calls it.
    pub label: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Creates a repository in an empty store. The configuration is written last, then its copy: a cut leaves no half repository that opens.
pub fn init(store: Arc<dyn Store>, options: &InitOptions<'_>, entropy: Arc<dyn Entropy>) -> Result<Repository> {
    if store.exists(CONFIG_KEY)? || store.exists(CONFIG_COPY_KEY)? {
        return Err(Error::RepositoryExists);
    }
    clear_cut_init(&*store)?;
    let master = MasterSecret::generate(&*entropy);
    let repository = RepositoryId(random(&*entropy));
    let config = Config::new((repository, WriterId(random(&*entropy))), &master, options.chunk_bytes, options.now)?;
    let seal = (options.slot_kind.clone(), &options.unlock);
    let slot = KeySlot::seal(&repository, &master, seal, options.label, options.now, &*entropy)?;
    put_slot(&*store, &repository, &master, &slot)?;
    probe::record(&*store, (&repository, &master.operator_signer()), &*entropy, options.now)?;
    let writer = Signer::new(config.builtin_writer, &master.builtin_writer_seed(config.builtin_writer));
    let writer = WriterRecord::new(&writer, "built-in", None, options.now);
    writers::put(&*store, &repository, &master, &writer, 0)?;
    let config = config.encode(&master)?;
    store.put(CONFIG_KEY, &config)?;
    store.put(CONFIG_COPY_KEY, &config)?;
    Repository::open(store, Access::Master(master), entropy)
}

/// Removes what an interrupted init left: keys and writers that no configuration names. With anything more there, it was a
/// repository whose configuration is lost, and nothing of it is touched.
fn clear_cut_init(store: &dyn Store) -> Result<()> {
    for prefix in ["data/", "tree/", "manifests/", "tombstones/", "leases/"] {
        let mut found = None;
        store.list(prefix, &mut |key, _| found = Some(key.to_owned()))?;
        if let Some(key) = found {
            return Err(Error::Refused(format!(
                "there is no config object here, but {key}: a repository that lost its configuration. Nothing was changed; \
                 put the config object back from a copy, or choose an empty place"
            )));
        }
    }
    let cut = [store.keys("keys/")?, store.keys("writers/")?, store.keys(probe::PREFIX)?].concat();
    // Before anything is deleted: what others keep under such names in the same bucket is not ours to delete.
    for key in &cut {
        if !store.get(key)?.starts_with(record::MAGIC_BEGINS) {
            return Err(Error::Refused(format!(
                "there is {key} here, which is no object of a repository. Nothing was changed; choose an empty place"
            )));
        }
    }
    cut.iter().try_for_each(|key| store.delete(key))
}

fn put_slot(store: &dyn Store, repository: &RepositoryId, master: &MasterSecret, slot: &KeySlot) -> Result<()> {
    let bytes = record::encode_json(record::KEY_SLOT, repository, &master.operator_signer(), slot)?;
    store.put(&format!("keys/{}", slot.slot), &bytes)
}

/// Reads the configuration without any key.
pub fn read_config(store: &dyn Store) -> Result<Config> {
    config::read(store, &mut |_| {})
}

impl Repository {
    /// Opens a repository.
    pub fn open(store: Arc<dyn Store>, access: Access<'_>, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let mut unsound = Vec::new();
        let config = config::read(&*store, &mut |error| {
            let (object, what) = (CONFIG_KEY.to_owned(), error.to_string());
            unsound.push(Unsound { object, what, writer: None, is_replaced: true });
        })?;
        Self::open_with((store, config), access, entropy, unsound)
    }

    /// Opens what is described by a configuration that need not be in the store.
    pub(crate) fn open_with(
        (store, config): (Arc<dyn Store>, Config),
        access: Access<'_>,
        entropy: Arc<dyn Entropy>,
        mut unsound: Vec<Unsound>,
    ) -> Result<Self> {
        let mut signers = Signers { operator: config.operator()?, writers: HashMap::new() };
        let keys = match access {
            Access::Unlock(unlock) => operator_keys(unlock_master(&*store, &config, &signers, &unlock)?, &config),
            Access::Master(master) => operator_keys(master, &config),
            Access::Writer(keys) => Keys::Writer(keys),
        };
        check_keys(&keys, &config, &signers)?;
        let writers = writers::read(&*store, &config.repository, &signers)?;
        writers.enter_into(&mut signers, Some(&keys), config.builtin_writer)?;
        unsound.extend(writers.unsound());
        let signer = keys.writer().signer();
        Ok(Self { store, entropy, config, keys, signers, signer, unsound, elsewhere: None })
    }

    /// What was found damaged when the repository was opened, and did not keep it from opening.
    pub fn unsound(&self) -> &[Unsound] {
        &self.unsound
    }

    /// Refuses `work` while a writer's record is damaged that nothing replaces: what that writer needs cannot be known for sure.
    pub fn refuse_unsound_writers(&self, work: &str) -> Result<()> {
        self.unsound.iter().find(|object| !object.is_replaced).map_or(Ok(()), |object| {
            Err(Error::Refused(format!(
                "{}; {work} does not run until it is repaired (`icecore key repair`), since it must know every writer",
                object.what
            )))
        })
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Source of randomness.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// Configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who may sign.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Signs what this process stores as a writer.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Decodes and verifies a JSON record of this repository that fills `bytes`.
    pub fn decode_record<T: DeserializeOwned>(
        &self,
        object: &str,
        magic: Magic,
        bytes: &[u8],
        may: MaySign,
    ) -> Result<T> {
        self.records().decode(object, magic, bytes, may)
    }

    /// The same with an index that knows more than the local one, which then is not reconciled: it learns what is asked for.
    pub fn with_elsewhere(mut self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    /// An index that knows more than the local one.
    pub fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.elsewhere.as_deref()
    }

    /// Its records.
    pub fn records(&self) -> Records<'_> {
        Records { store: &*self.store, repository: &self.config.repository, signers: &self.signers }
    }

    /// Reads, decodes and verifies a JSON record; `None` when it does not exist.
    pub fn read_record<T: DeserializeOwned>(&self, object: &str, magic: Magic, may: MaySign) -> Result<Option<T>> {
        self.records().read(object, magic, may)
    }

    /// All points, by name and order. Objects that are no manifests are an error: they may hide one.
    pub fn points(&self) -> Result<Vec<PointKey>> {
        self.list_points("manifests/")
    }

    /// The points of one name, oldest first.
    pub fn points_of(&self, name: &NameId) -> Result<Vec<PointKey>> {
        self.list_points(&PointKey::prefix(name))
    }

    fn list_points(&self, prefix: &str) -> Result<Vec<PointKey>> {
        let keys = self.store.keys(prefix)?;
        let mut points = Vec::with_capacity(keys.len());
        for key in keys {
            points.push(PointKey::parse(&key).ok_or_else(|| Error::damaged(&key, "it is no recovery point's name"))?);
        }
        points.sort_unstable();
        Ok(points)
    }

    /// Reads a manifest and verifies its signatures.
    pub fn load(&self, at: PointKey) -> Result<StoredManifest> {
        let stored = self.load_unverified(at)?;
        match stored.is_verified {
            true => Ok(stored),
            false => Err(Error::UnknownSigner { object: at.key(), writer: stored.writer }),
        }
    }

    /// The same, but of a writer without a sound record the signatures remain unverified, and the result says so. The caller tells a
    /// person. Order and time of such a point are what the store says; its content is proved when it is opened.
    pub fn load_unverified(&self, at: PointKey) -> Result<StoredManifest> {
        manifest::decode(at, &self.store.get(&at.key())?, &self.config.repository, &self.signers)
    }

    /// The same of many points, in their order. Of a network's store many come in one answer.
    pub fn load_each_unverified(
        &self,
        points: &[PointKey],
        each: &mut dyn FnMut(PointKey, Result<StoredManifest>) -> Result<()>,
    ) -> Result<()> {
        let keys: Vec<String> = points.iter().map(PointKey::key).collect();
        let mut points = points.iter();
        self.store.get_each(&keys, &mut |_, bytes| {
            let Some(at) = points.next().copied() else { return Ok(()) };
            let decode = |bytes: Vec<u8>| manifest::decode(at, &bytes, &self.config.repository, &self.signers);
            each(at, bytes.and_then(decode))
        })
    }

    /// Reads and opens a manifest.
    pub fn open_point(&self, at: PointKey) -> Result<(StoredManifest, Manifest)> {
        let stored = self.load(at)?;
        let manifest = stored.open(&self.keys)?;
        Ok((stored, manifest))
    }

    /// The same for reading what is in it, as [`Repository::load_unverified`] does: nobody but the writer and holders of the master
    /// secret can have sealed what opens.
    pub fn open_point_unverified(&self, at: PointKey) -> Result<(StoredManifest, Manifest)> {
        let stored = self.load_unverified(at)?;
        let manifest = stored.open(&self.keys)?;
        Ok((stored, manifest))
    }

    /// The newest point of a name that is neither forgotten, nor of another writer, nor unverified, opened.
    pub fn latest_of(&self, name: &str) -> Result<Option<(StoredManifest, Manifest)>> {
        for at in self.points_of(&self.keys.ids().name(name))?.into_iter().rev() {
            if self.is_forgotten(&at.manifest)? {
                continue;
            }
            let stored = self.load_unverified(at)?;
            if stored.is_verified && self.keys.map_key(stored.writer).is_some() {
                let manifest = stored.open(&self.keys)?;
                return Ok(Some((stored, manifest)));
            }
        }
        Ok(None)
    }

    /// Highest sequence number that a point of this name ever had, whoever made it and whether or not it was forgotten. Zero without one.
    pub fn newest_sequence(&self, name: &str) -> Result<u64> {
        let name = self.keys.ids().name(name);
        let newest = self.points_of(&name)?.into_iter().next_back().map_or(0, |point| point.sequence);
        Ok(newest.max(crate::forget::highest_buried(self.records(), &name)?))
    }

    /// Whether a tombstone stands on a point.
    pub fn is_forgotten(&self, manifest: &ManifestId) -> Result<bool> {
        self.store.exists(&format!("tombstones/{manifest}"))
    }

    /// All key slots.
    pub fn slots(&self) -> Result<Vec<KeySlot>> {
        read_slots(&*self.store, &self.config.repository, &self.signers)
    }

    /// Adds a key slot for the same master secret.
    pub fn add_slot(&self, (kind, unlock): (SlotKind, &Unlock<'_>), label: &str, now: Timestamp) -> Result<SlotId> {
        let master = self.keys.master_for("adding a key")?;
        let slot = KeySlot::seal(&self.config.repository, master, (kind, unlock), label, now, &*self.entropy)?;
        put_slot(&*self.store, &self.config.repository, master, &slot)?;
        Ok(slot.slot)
    }

    /// Removes a key slot; never the last one.
    pub fn remove_slot(&self, slot: &SlotId) -> Result<()> {
        self.keys.master_for("removing a key")?;
        let slots = self.slots()?;
        if !slots.iter().any(|known| known.slot == *slot) {
            return Err(Error::NoSuch(format!("there is no key slot {slot}; `icecore key list` shows them")));
        }
        if slots.len() == 1 {
            return Err(Error::Refused(
                "this is the last key slot; without it nothing could be read. Add another one first".into(),
            ));
        }
        self.store.delete(&format!("keys/{slot}"))
    }

    pub(crate) fn read_writers(&self) -> Result<Writers> {
        writers::read(&*self.store, &self.config.repository, &self.signers)
    }

    /// All writers of whom there is a sound record, in its newest revision.
    pub fn writers(&self) -> Result<Vec<WriterRecord>> {
        Ok(self.read_writers()?.newest_sound())
    }

    /// Makes a new writer and records it; its keys exist only in what is returned.
    pub fn create_writer(&self, label: &str, trust_group: Option<String>, now: Timestamp) -> Result<WriterKeys> {
        let master = self.keys.master_for("making a writer key")?;
        let keys = crate::writer_key::create(self.config.repository, master, &*self.entropy);
        let record = WriterRecord::new(&keys.signer(), label, trust_group, now);
        writers::put(&*self.store, &self.config.repository, master, &record, 0)?;
        Ok(keys)
    }

    /// Forbids a writer any new session. What it stored stays.
    pub fn revoke_writer(&self, writer: &WriterId, now: Timestamp) -> Result<()> {
        let master = self.keys.master_for("revoking a writer")?;
        let writers = self.read_writers()?;
        let unknown =
            || Error::NoSuch(format!("there is no sound record of writer {writer}; `icecore key writers` shows them"));
        let mut record = writers.of(writer).ok_or_else(unknown)?.clone();
        let revision =
            writers.highest_revision(writer).and_then(|highest| highest.checked_add(1)).ok_or_else(unknown)?;
        if record.writer == self.config.builtin_writer {
            return Err(Error::Refused("the built-in writer cannot be revoked; change the passphrase instead".into()));
        }
        record.revoked_at = record.revoked_at.or(Some(now));
        writers::put(&*self.store, &self.config.repository, master, &record, revision)
    }
}

fn operator_keys(master: MasterSecret, config: &Config) -> Keys {
    Keys::operator(master, config.repository, config.builtin_writer)
}

fn unlock_master(store: &dyn Store, config: &Config, signers: &Signers, unlock: &Unlock<'_>) -> Result<MasterSecret> {
    let mut damage = None;
    for slot in read_slot_objects(store, &config.repository, signers)? {
        match slot.and_then(|slot| slot.open(&config.repository, unlock)) {
            Ok(Some(master)) => return Ok(master),
            Ok(None) => {}
            Err(error) => damage = Some(error),
        }
    }
    Err(damage.unwrap_or(Error::WrongPassphrase))
}

fn check_keys(keys: &Keys, config: &Config, signers: &Signers) -> Result<()> {
    let own = keys.writer();
    if own.repository != config.repository {
        let (found, expected) = (own.repository.to_string(), config.repository.to_string());
        return Err(Error::ForeignRepository { object: "the key file".into(), found, expected });
    }
    if own.operator != signers.operator || own.public.bytes() != config.public()?.bytes() {
        return Err(Error::damaged(
            CONFIG_KEY,
            "its keys are not those of this repository: it was exchanged or the key is another repository's",
        ));
    }
    Ok(())
}

/// Slots one by one, so that a damaged one does not hide the others.
fn read_slot_objects(store: &dyn Store, repository: &RepositoryId, signers: &Signers) -> Result<Vec<Result<KeySlot>>> {
    let read = |object: &String| -> Result<KeySlot> {
        let bytes = store.get(object)?;
        record::decode(object, record::KEY_SLOT, &bytes)?
            .alone(object, &bytes)?
            .verified(object, repository, signers, MaySign::Operator)?
            .json(object)
    };
    Ok(store.keys("keys/")?.iter().map(read).collect())
}

fn read_slots(store: &dyn Store, repository: &RepositoryId, signers: &Signers) -> Result<Vec<KeySlot>> {
    read_slot_objects(store, repository, signers)?.into_iter().collect()
}
