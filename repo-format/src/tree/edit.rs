//! Making a tree from another one and a list of changes in ascending order: path copying, with memory for one path.

use super::node::{FAN_OUT, Node, child_span};
use super::{NodeSink, NodeSource, Tree};
use crate::error::{Error, Result};
use crate::id::{ChunkId, NodeId};

/// An editor over a base tree. Only nodes on the way to a change are read or written.
pub struct TreeEditor<'s> {
    base: Tree,
    source: &'s dyn NodeSource,
    /// From the root down; empty until the first change.
    path: Vec<OpenNode>,
    last: Option<u64>,
}

/// A node on the current path.
struct OpenNode {
    node: Node,
    /// First position it covers.
    start: u64,
    changed: bool,
}

impl OpenNode {
    fn slot(&self, position: u64) -> Option<usize> {
        let slot = position.checked_sub(self.start)? / child_span(self.node.level);
        usize::try_from(slot).ok().filter(|slot| *slot < FAN_OUT)
    }
}

impl<'s> TreeEditor<'s> {
    /// Begins with the content of `base`.
    pub fn new(base: Tree, source: &'s dyn NodeSource) -> Self {
        Self { base, source, path: Vec::new(), last: None }
    }

    /// Sets the chunk at a position; null makes it a hole. Positions must ascend. Tells whether the base has another one there.
    pub fn set(&mut self, position: u64, chunk: Option<ChunkId>, sink: &mut dyn NodeSink) -> Result<bool> {
        if position >= self.base.chunks || self.last.is_some_and(|last| last >= position) {
            return Err(Error::Refused(format!("position {position} is behind the disk's end or out of order")));
        }
        self.last = Some(position);
        while self.path.last().is_some_and(|open| open.slot(position).is_none()) {
            self.close_lowest(sink)?;
        }
        self.descend(position)?;
        let leaf = self.path.last_mut().expect("descend leaves a leaf");
        let slot = leaf.slot(position).expect("descend leaves the leaf of the position");
        let child = chunk.map(|id| id.0);
        let differs = leaf.node.children[slot] != child;
        if differs {
            leaf.node.children[slot] = child;
            leaf.changed = true;
        }
        Ok(differs)
    }

    /// Opens nodes down to the leaf of `position`.
    fn descend(&mut self, position: u64) -> Result<()> {
        if self.path.is_empty() {
            let level = self.base.level();
            self.open(self.base.root, level, 0)?;
        }
        loop {
            let open = self.path.last().expect("the root is open");
            let level = open.node.level;
            if level == 0 {
                return Ok(());
            }
            let slot = open.slot(position).expect("open nodes cover the position");
            let start = open.start + slot as u64 * child_span(level);
            self.open(open.node.children[slot].map(NodeId), level - 1, start)?;
        }
    }

    fn open(&mut self, id: Option<NodeId>, level: u8, start: u64) -> Result<()> {
        let node = match id {
            Some(id) => self.source.node(&id, level)?.as_ref().clone(),
            None => Node::empty(level),
        };
        self.path.push(OpenNode { node, start, changed: false });
        Ok(())
    }

    /// Writes the lowest open node if it changed, and enters it into the one above.
    fn close_lowest(&mut self, sink: &mut dyn NodeSink) -> Result<Option<NodeId>> {
        let closed = self.path.pop().expect("only called with an open node");
        let id = match (closed.changed, closed.node.is_empty()) {
            (false, _) => return Ok(None),
            (true, true) => None,
            (true, false) => Some(sink.put(closed.node.level, closed.node.encode())?),
        };
        match self.path.last_mut() {
            Some(above) => {
                let slot = above.slot(closed.start).expect("a child lies in its parent");
                above.changed |= above.node.children[slot] != id.map(|id| id.0);
                above.node.children[slot] = id.map(|id| id.0);
            }
            None => self.base.root = id,
        }
        Ok(id)
    }

    /// Writes what is open and returns the tree.
    pub fn finish(mut self, sink: &mut dyn NodeSink) -> Result<Tree> {
        while !self.path.is_empty() {
            self.close_lowest(sink)?;
        }
        Ok(self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Nodes, build};
    use super::super::{Tree, TreeWalk};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const CHUNKS: u64 = 40_000;

    fn content(nodes: &Nodes, tree: Tree) -> BTreeMap<u64, u8> {
        TreeWalk::new(tree, nodes, 0..tree.chunks).map(|entry| entry.map(|(p, id)| (p, id.0[0])).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn edits_equal_the_model_and_the_same_content_has_the_same_root(
            first in prop::collection::btree_map(0..CHUNKS, 0_u8..4, 0..300),
            second in prop::collection::btree_map(0..CHUNKS, 0_u8..4, 0..300),
        ) {
            let nodes = Nodes::default();
            let list = |map: &BTreeMap<u64, u8>| map.iter().map(|(p, b)| (*p, *b)).collect::<Vec<_>>();
            let base = build(&nodes, Tree::empty(CHUNKS), &list(&first));
            let edited = build(&nodes, base, &list(&second));
            let mut model = first.clone();
            model.extend(second.clone());
            model.retain(|_, byte| *byte != 0);
            prop_assert_eq!(content(&nodes, edited), model.clone());
            prop_assert_eq!(build(&nodes, Tree::empty(CHUNKS), &list(&model)), edited);
        }
    }

    #[test]
    fn positions_must_ascend_and_lie_on_the_disk() {
        let nodes = Nodes::default();
        let mut editor = super::TreeEditor::new(Tree::empty(10), &nodes);
        editor.set(3, None, &mut &nodes).unwrap();
        assert!(editor.set(3, None, &mut &nodes).is_err());
        assert!(editor.set(10, None, &mut &nodes).is_err());
    }

    #[test]
    fn an_edit_reads_and_writes_only_its_path() {
        let nodes = Nodes::default();
        let all: Vec<_> = (0..CHUNKS).map(|p| (p, 1)).collect();
        let base = build(&nodes, Tree::empty(CHUNKS), &all);
        let before = nodes.0.lock().unwrap().len();
        build(&nodes, base, &[(20_000, 9)]);
        assert_eq!(nodes.0.lock().unwrap().len() - before, usize::from(base.level()) + 1);
    }
}
