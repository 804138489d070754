//! Reading the trees: blocks with their second copies and a small cache, and a cursor over the items of one tree.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Volume;
use super::node::{Key, Node, Pointer};
use super::superblock::RootBlock;
use crate::files::{FilesError, Result};

const CACHE_BYTES: usize = 16 << 20;
/// Identities of trees and objects below this are reserved, as are as many at the very top.
pub(super) const FIRST_FREE_OBJECT: u64 = 256;
const LAST_FREE_OBJECT: u64 = 0_u64.wrapping_sub(256);
/// The tree of the top-level subvolume.
pub(super) const TOP_LEVEL: u64 = 5;

/// Whether a tree of that number holds files.
pub(super) fn is_file_tree(tree: u64) -> bool {
    tree == TOP_LEVEL || (FIRST_FREE_OBJECT..=LAST_FREE_OBJECT).contains(&tree)
}

/// Tree blocks read most recently. The lock guards the cache only and is never held while reading.
#[derive(Default)]
pub(super) struct NodeCache {
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    nodes: HashMap<u64, Arc<Node>>,
    order: VecDeque<u64>,
}

impl NodeCache {
    fn lock(&self) -> MutexGuard<'_, Cached> {
        // A poisoned cache is still a correct cache: entries are inserted whole.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, logical: u64, node: &Arc<Node>, node_bytes: u32) {
        let mut cached = self.lock();
        if cached.nodes.insert(logical, Arc::clone(node)).is_none() {
            cached.order.push_back(logical);
        }
        // The keys of a block take about as much memory again.
        while cached.order.len() * 2 * node_bytes as usize > CACHE_BYTES {
            if let Some(oldest) = cached.order.pop_front() {
                cached.nodes.remove(&oldest);
            }
        }
    }
}

/// A tree by its number and root block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    pub(super) number: u64,
    pub(super) root: RootBlock,
}

impl Volume<'_> {
    /// The block that `pointer` means, from whichever copy is right.
    fn node(&self, tree: u64, pointer: &Pointer) -> Result<Arc<Node>> {
        let cached = self.nodes.lock().nodes.get(&pointer.logical).map(Arc::clone);
        let node = match cached {
            Some(node) => node,
            None => self.read_node(pointer)?,
        };
        node.confirm(pointer)?;
        let is_owner_right = if is_file_tree(tree) { is_file_tree(node.owner()) } else { node.owner() == tree };
        if !is_owner_right {
            return Err(FilesError::corrupt(format!(
                "the tree block at {} belongs to tree {} and not to {tree}",
                pointer.logical,
                node.owner()
            )));
        }
        Ok(node)
    }

    fn read_node(&self, pointer: &Pointer) -> Result<Arc<Node>> {
        let node_bytes = self.superblock.node_bytes;
        if !pointer.logical.is_multiple_of(u64::from(self.superblock.sector_bytes)) {
            return Err(FilesError::corrupt(format!("a tree block at {} is not aligned", pointer.logical)));
        }
        let mut failure = None;
        for offset_bytes in self.chunks.locate(pointer.logical, u64::from(node_bytes))? {
            let mut bytes = vec![0; node_bytes as usize];
            let read = self.read_device(offset_bytes, &mut bytes);
            let node = read.and_then(|()| Node::parse(&self.superblock, pointer.logical, bytes));
            match node.and_then(|node| node.confirm(pointer).map(|()| node)) {
                Ok(node) => {
                    let node = Arc::new(node);
                    self.nodes.insert(pointer.logical, &node, node_bytes);
                    return Ok(node);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| FilesError::corrupt("a chunk has no copies")))
    }

    /// The last item of `tree` whose key is not greater than `key`, or the first one of all.
    pub(super) fn floor(&self, tree: &Tree, key: Key) -> Result<Cursor<'_>> {
        let root = Pointer {
            logical: tree.root.logical,
            generation: tree.root.generation,
            level: tree.root.level,
            first_key: None,
        };
        let mut cursor = Cursor { volume: self, tree: tree.number, inner: Vec::new(), leaf: None };
        cursor.descend(root, Some(key))?;
        Ok(cursor)
    }

    /// The first item of `tree` whose key is not smaller than `key`.
    pub(super) fn ceiling(&self, tree: &Tree, key: Key) -> Result<Cursor<'_>> {
        let mut cursor = self.floor(tree, key)?;
        if cursor.key().is_some_and(|found| found < key) {
            cursor.advance()?;
        }
        Ok(cursor)
    }

    /// The item with exactly this key.
    pub(super) fn item(&self, tree: &Tree, key: Key) -> Result<Option<Vec<u8>>> {
        let cursor = self.floor(tree, key)?;
        Ok(if cursor.key() == Some(key) { Some(cursor.item().to_vec()) } else { None })
    }
}

/// A place in a tree, moving forward over its items.
pub(super) struct Cursor<'v> {
    volume: &'v Volume<'v>,
    tree: u64,
    /// Inner blocks from the root down, with the child that was taken.
    inner: Vec<(Arc<Node>, usize)>,
    /// The leaf and the item in it; nothing after the end.
    leaf: Option<(Arc<Node>, usize)>,
}

impl Cursor<'_> {
    /// The key here; nothing after the last item.
    pub(super) fn key(&self) -> Option<Key> {
        self.leaf.as_ref().and_then(|(leaf, index)| leaf.key(*index))
    }

    /// The item here; empty after the last one.
    pub(super) fn item(&self) -> &[u8] {
        self.leaf.as_ref().map_or(&[], |(leaf, index)| leaf.item(*index))
    }

    /// Moves to the next item. Keys only ever grow, so that a damaged tree cannot lead in circles.
    pub(super) fn advance(&mut self) -> Result<()> {
        let Some((leaf, index)) = &mut self.leaf else { return Ok(()) };
        let Some(last) = leaf.key(*index) else {
            self.leaf = None;
            return Ok(());
        };
        *index += 1;
        if *index < leaf.len() {
            return Ok(());
        }
        self.leaf = None;
        while let Some((node, taken)) = self.inner.last_mut() {
            *taken += 1;
            let child = node.child(*taken)?;
            match child {
                Some(pointer) if pointer.first_key.is_some_and(|key| key > last) => {
                    return self.descend(pointer, None);
                }
                Some(_) => return Err(FilesError::corrupt(format!("tree {} has keys out of order", self.tree))),
                None => drop(self.inner.pop()),
            }
        }
        Ok(())
    }

    /// Goes down from a block to the item at or before `key`, or to the first one.
    fn descend(&mut self, from: Pointer, key: Option<Key>) -> Result<()> {
        let mut pointer = from;
        loop {
            let node = self.volume.node(self.tree, &pointer)?;
            let index = key.and_then(|key| node.floor(key)).unwrap_or(0);
            if node.level() == 0 {
                self.leaf = Some((node, index));
                return Ok(());
            }
            let child = node.child(index)?;
            pointer = child.ok_or_else(|| FilesError::corrupt("an inner tree block is empty"))?;
            self.inner.push((node, index));
        }
    }
}
