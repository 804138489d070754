//! The tree: a positional Merkle radix tree from disk position to chunk. This file says what a tree is and where its nodes come from.

mod diff;
mod edit;
pub mod node;
mod walk;

pub use diff::diff;
pub use edit::TreeEditor;
pub use walk::TreeWalk;

use crate::error::Result;
use crate::id::NodeId;
use node::{Node, root_level};
use std::sync::Arc;

/// A tree over a disk of a known number of chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Chunks of the disk, the last one perhaps short.
    pub chunks: u64,
    /// Its root; null when the whole disk is zero.
    pub root: Option<NodeId>,
}

impl Tree {
    /// The tree of a disk that is all zero.
    pub fn empty(chunks: u64) -> Self {
        Self { chunks, root: None }
    }

    /// Level of its root.
    pub fn level(&self) -> u8 {
        root_level(self.chunks)
    }
}

/// Where nodes are read from.
pub trait NodeSource: Sync {
    /// The node, checked against its id; an error when it is missing, damaged or of another level.
    fn node(&self, id: &NodeId, level: u8) -> Result<Arc<Node>>;
}

/// Where changed nodes go. The sink decides whether a node is stored already.
pub trait NodeSink {
    /// Takes an encoded node and returns its id.
    fn put(&mut self, level: u8, encoded: Vec<u8>) -> Result<NodeId>;
}

/// Nodes in memory, for tests and for comparisons that store nothing.
#[cfg(test)]
pub(crate) mod memory {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Mutex;

    #[derive(Default)]
    pub struct Nodes(pub Mutex<HashMap<NodeId, Vec<u8>>>);

    impl NodeSource for Nodes {
        fn node(&self, id: &NodeId, level: u8) -> Result<Arc<Node>> {
            let nodes = self.0.lock().unwrap();
            let missing = || crate::Error::Missing { key: id.to_string() };
            Ok(Arc::new(Node::decode("n", level, nodes.get(id).ok_or_else(missing)?)?))
        }
    }

    impl NodeSink for &Nodes {
        fn put(&mut self, _: u8, encoded: Vec<u8>) -> Result<NodeId> {
            let id = NodeId(*blake3::hash(&encoded).as_bytes());
            self.0.lock().unwrap().insert(id, encoded);
            Ok(id)
        }
    }

    /// Builds a tree from `(position, byte)` pairs on top of `base`.
    pub fn build(nodes: &Nodes, base: Tree, entries: &[(u64, u8)]) -> Tree {
        let mut editor = TreeEditor::new(base, nodes);
        for (position, byte) in entries {
            let chunk = (*byte != 0).then_some(crate::id::ChunkId([*byte; 32]));
            editor.set(*position, chunk, &mut &*nodes).unwrap();
        }
        editor.finish(&mut &*nodes).unwrap()
    }
}
