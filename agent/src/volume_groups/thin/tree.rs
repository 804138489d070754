//! B-trees of the kernel's persistent data library: nodes of one block with ascending keys and, per key, a value or the block of a child.
//!
//! A small cache keeps nodes that were checked. Every step down goes through a node whose keys lie between those of its parent around it,
//! and there are few steps, so that damage can neither lead in a circle nor to the bytes of another volume.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{METADATA_BLOCK_BYTES, checksum};
use crate::facts::fields::Fields;
use crate::lengths::in_memory;
use crate::volume_groups::error::{Result, VolumeError};
use crate::volume_groups::stack::Disk;

const NODE_SALT: u32 = 121_107;
const HEADER_BYTES: usize = 32;
const INTERNAL: u32 = 1;
const LEAF: u32 = 2;
/// A child's block number.
const POINTER_BYTES: usize = 8;
/// With 126 keys a node, ten levels hold more than any disk.
const MAX_LEVELS: usize = 10;
const CACHED_NODES: usize = 512;

/// A node whose checksum, place and order of keys are right.
struct Node {
    is_leaf: bool,
    value_bytes: usize,
    keys: Vec<u64>,
    /// The first eight bytes of each value, which is all that is ever asked for.
    values: Vec<u64>,
}

impl Node {
    fn parse(block: &[u8], at: u64) -> Result<Self> {
        let wrong = |what: &str| VolumeError::corrupt(format!("block {at} of the thin pool's metadata {what}"));
        let fields = Fields(block);
        if fields.le32(0) != checksum(block, NODE_SALT) || fields.le64(8) != at {
            return Err(wrong("has a wrong checksum or place"));
        }
        let is_leaf = match fields.le32(4) {
            INTERNAL => false,
            LEAF => true,
            _ => return Err(wrong("is no node of a tree")),
        };
        let length = |offset| in_memory(u64::from(fields.le32(offset)));
        let (entries, room, value_bytes) = (length(16), length(20), length(24));
        let room_bytes = value_bytes.checked_add(8).and_then(|entry| entry.checked_mul(room));
        let fits = room_bytes.is_some_and(|bytes| bytes <= METADATA_BLOCK_BYTES - HEADER_BYTES);
        if !fits || entries > room || value_bytes < POINTER_BYTES || (!is_leaf && value_bytes != POINTER_BYTES) {
            return Err(wrong("is a node of an impossible shape"));
        }
        let keys: Vec<u64> = (0..entries).map(|i| fields.le64(HEADER_BYTES + i * 8)).collect();
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(wrong("has keys out of order"));
        }
        let value = |i| fields.le64(HEADER_BYTES + room * 8 + i * value_bytes);
        Ok(Self { is_leaf, value_bytes, keys, values: (0..entries).map(value).collect() })
    }
}

/// The nodes of a pool's metadata; shared by all threads, the lock guards the cache only and is never held while reading.
pub(super) struct Nodes<'a> {
    metadata: Disk<'a>,
    blocks: u64,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    nodes: HashMap<u64, Arc<Node>>,
    order: VecDeque<u64>,
}

impl<'a> Nodes<'a> {
    /// Nodes lie within the first `blocks` blocks, which lie on the disk.
    pub(super) fn new(metadata: Disk<'a>, blocks: u64) -> Self {
        Self { metadata, blocks, cache: Mutex::default() }
    }

    /// The first eight bytes of the value of `key` in the tree at `root`, whose values have `value_bytes`.
    pub(super) fn find(&self, root: u64, key: u64, value_bytes: usize) -> Result<Option<u64>> {
        let mut at = root;
        // The keys that may be in the node: from the first to before the second.
        let mut range = (0, None);
        for _ in 0..MAX_LEVELS {
            let node = self.node(at)?;
            let is_below = |end: u64| node.keys.last().is_none_or(|last| *last < end);
            if node.keys.first().is_some_and(|first| *first < range.0) || !range.1.is_none_or(is_below) {
                return Err(VolumeError::corrupt(format!(
                    "block {at} of the thin pool's metadata has keys of another place"
                )));
            }
            let after = node.keys.partition_point(|k| *k <= key);
            let Some(index) = after.checked_sub(1) else { return Ok(None) };
            if node.is_leaf {
                if node.value_bytes != value_bytes {
                    return Err(VolumeError::corrupt("a tree of the thin pool holds values of another kind"));
                }
                return Ok((node.keys[index] == key).then_some(node.values[index]));
            }
            range = (node.keys[index], node.keys.get(after).copied().or(range.1));
            at = node.values[index];
        }
        Err(VolumeError::corrupt("a tree of the thin pool is too deep"))
    }

    fn node(&self, at: u64) -> Result<Arc<Node>> {
        if let Some(found) = self.lock().nodes.get(&at) {
            return Ok(Arc::clone(found));
        }
        if at >= self.blocks {
            return Err(VolumeError::corrupt(format!("the thin pool's metadata has no block {at}")));
        }
        let mut block = [0; METADATA_BLOCK_BYTES];
        let read = self.metadata.read_exact_at(&mut block, at * METADATA_BLOCK_BYTES as u64);
        read.map_err(|e| VolumeError::read("the metadata of the thin pool", e))?;
        let node = Arc::new(Node::parse(&block, at)?);
        let mut cache = self.lock();
        if cache.nodes.insert(at, Arc::clone(&node)).is_none() {
            cache.order.push_back(at);
        }
        while cache.order.len() > CACHED_NODES {
            if let Some(oldest) = cache.order.pop_front() {
                cache.nodes.remove(&oldest);
            }
        }
        Ok(node)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A poisoned cache is still a correct cache: nodes are inserted whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
