//! The master secret and all that is derived from it; who holds which key.
//!
//! The contexts of the derivations are part of the format (FORMAT.md, "Keys"). Storing keys is `key_slot`, `writer_key` and `kit`.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{ChunkId, LeafId, NameId, NodeId, RepositoryId, WriterId};
use crate::seal::{ObjectKey, PrivateKey, PublicKey};
use crate::sign::{Signer, VerifyKey};
use zeroize::Zeroizing;

/// 32 secret bytes, wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

fn derive(context: &str, material: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(part);
    }
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// The root of all keys of a repository.
#[derive(Clone)]
pub struct MasterSecret(Secret);

impl MasterSecret {
    /// A new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(random(entropy)))
    }

    /// The one with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for sealing into a key slot and for the kit.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Key that opens data packs.
    pub fn private_key(&self) -> PrivateKey {
        PrivateKey::new(&derive("icecore v1 private key", &[self.0.as_slice()]))
    }

    /// Signs for the operator.
    pub fn operator_signer(&self) -> Signer {
        Signer::new(WriterId::OPERATOR, &derive("icecore v1 operator signing key", &[self.0.as_slice()]))
    }

    /// Key from which ids are keyed.
    pub fn id_key(&self) -> Secret {
        derive("icecore v1 id key", &[self.0.as_slice()])
    }

    /// Key of one writer's tree packs and manifests.
    pub fn map_key(&self, writer: WriterId) -> MapKey {
        MapKey(derive("icecore v1 map key", &[self.0.as_slice(), &writer.0]))
    }

    /// Id of a leaf's plaintext. Who only makes points cannot make it, so nobody else can test for names.
    pub fn leaf_id(&self, plain: &[u8]) -> LeafId {
        let hash = blake3::keyed_hash(&derive("icecore v1 leaf id", &[self.0.as_slice()]), plain);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        LeafId(id)
    }

    /// Key of one catalog.
    pub fn catalog(&self, repository: &RepositoryId, salt: &[u8; 32]) -> ObjectKey {
        ObjectKey::new(&derive("icecore v1 catalog", &[self.0.as_slice(), &repository.0, salt]))
    }

    /// Key of one leaf.
    pub fn leaf(&self, repository: &RepositoryId, salt: &[u8; 32]) -> ObjectKey {
        ObjectKey::new(&derive("icecore v1 leaf", &[self.0.as_slice(), &repository.0, salt]))
    }

    /// Signing seed of the built-in writer; exported writers have random ones that stay in their file.
    pub fn builtin_writer_seed(&self, writer: WriterId) -> Secret {
        derive("icecore v1 writer signing key", &[self.0.as_slice(), &writer.0])
    }
}

/// Opens and seals tree packs and manifests of one writer.
#[derive(Clone)]
pub struct MapKey(pub(crate) Secret);

impl MapKey {
    /// Key of one tree pack.
    pub fn tree_pack(&self, repository: &RepositoryId, salt: &[u8; 32]) -> ObjectKey {
        ObjectKey::new(&derive("icecore v1 tree pack", &[self.0.as_slice(), &repository.0, salt]))
    }

    /// Key of one manifest.
    pub fn manifest(&self, repository: &RepositoryId, salt: &[u8; 32]) -> ObjectKey {
        ObjectKey::new(&derive("icecore v1 manifest", &[self.0.as_slice(), &repository.0, salt]))
    }
}

/// Makes ids. Shared by all who write to a repository; useless without data to guess.
#[derive(Clone)]
pub struct IdKeys {
    root: Secret,
    chunk: Secret,
    node: Secret,
    name: Secret,
}

impl IdKeys {
    /// The keys below an id key.
    pub fn new(root: Secret) -> Self {
        let below = |context| derive(context, &[root.as_slice()]);
        Self {
            chunk: below("icecore v1 chunk id"),
            node: below("icecore v1 node id"),
            name: below("icecore v1 name id"),
            root,
        }
    }

    pub(crate) fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// Id of a chunk's plaintext.
    pub fn chunk(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk, plain).as_bytes())
    }

    /// Id of an encoded node.
    pub fn node(&self, encoded: &[u8]) -> NodeId {
        NodeId(*blake3::keyed_hash(&self.node, encoded).as_bytes())
    }

    /// Id of a name of points.
    pub fn name(&self, name: &str) -> NameId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::keyed_hash(&self.name, name.as_bytes()).as_bytes()[..16]);
        NameId(id)
    }
}

/// What one writer holds: enough to back up, not enough to read a chunk.
#[derive(Clone)]
pub struct WriterKeys {
    /// Repository it writes to.
    pub repository: RepositoryId,
    /// Its name.
    pub writer: WriterId,
    /// Makes ids.
    pub ids: IdKeys,
    /// Seals and opens its own trees and manifests.
    pub map: MapKey,
    /// Seals its data packs.
    pub public: PublicKey,
    /// Whose signatures on the repository's records it believes.
    pub operator: VerifyKey,
    pub(crate) seed: Secret,
}

impl WriterKeys {
    /// Signs what this writer stores.
    pub fn signer(&self) -> Signer {
        Signer::new(self.writer, &self.seed)
    }
}

/// The keys a process works with.
pub enum Keys {
    /// Holder of the master secret.
    Operator(Box<OperatorKeys>),
    /// Holder of one writer's key file.
    Writer(Box<WriterKeys>),
}

/// Everything, from the master secret.
pub struct OperatorKeys {
    master: MasterSecret,
    private: PrivateKey,
    /// The built-in writer: what a backup with the passphrase writes as.
    builtin: WriterKeys,
}

impl Keys {
    /// From the master secret; `builtin` is the built-in writer named in the repository's config.
    pub fn operator(master: MasterSecret, repository: RepositoryId, builtin: WriterId) -> Self {
        let private = master.private_key();
        let builtin = WriterKeys {
            repository,
            writer: builtin,
            ids: IdKeys::new(master.id_key()),
            map: master.map_key(builtin),
            public: private.public(),
            operator: master.operator_signer().verify_key(),
            seed: master.builtin_writer_seed(builtin),
        };
        Self::Operator(Box::new(OperatorKeys { master, private, builtin }))
    }

    /// Keys to write with: the file's, or the built-in writer's.
    pub fn writer(&self) -> &WriterKeys {
        match self {
            Self::Operator(keys) => &keys.builtin,
            Self::Writer(keys) => keys,
        }
    }

    /// Makes ids.
    pub fn ids(&self) -> &IdKeys {
        &self.writer().ids
    }

    /// Key to another's trees and manifests, if it can be had.
    pub fn map_key(&self, writer: WriterId) -> Option<MapKey> {
        match self {
            Self::Operator(keys) => Some(keys.master.map_key(writer)),
            Self::Writer(keys) if keys.writer == writer => Some(keys.map.clone()),
            Self::Writer(_) => None,
        }
    }

    /// Key that opens data packs, if it is there.
    pub fn private(&self) -> Option<&PrivateKey> {
        match self {
            Self::Operator(keys) => Some(&keys.private),
            Self::Writer(_) => None,
        }
    }

    /// The private key, or an error that says for what it is needed.
    pub fn private_for(&self, what: &str) -> Result<&PrivateKey> {
        self.private().ok_or_else(|| {
            Error::KeyNeeded(format!(
                "{what} needs the repository's passphrase, key file or recovery kit; a writer key cannot read data"
            ))
        })
    }

    /// The master secret, or an error that says for what it is needed.
    pub fn master_for(&self, what: &str) -> Result<&MasterSecret> {
        match self {
            Self::Operator(keys) => Ok(&keys.master),
            Self::Writer(_) => {
                Err(Error::KeyNeeded(format!("{what} needs the repository's passphrase, key file or recovery kit")))
            }
        }
    }

    /// Signs as the operator where possible, else as the writer.
    pub fn highest_signer(&self) -> Signer {
        match self {
            Self::Operator(keys) => keys.master.operator_signer(),
            Self::Writer(keys) => keys.signer(),
        }
    }
}
