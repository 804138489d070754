//! Reading a tree in order over a span of positions.

use super::node::{FAN_OUT, Node, child_span};
use super::{NodeSource, Tree};
use crate::error::Result;
use crate::id::{ChunkId, NodeId};
use std::ops::Range;
use std::sync::Arc;

/// Iterator over the chunks of a span, in ascending order. Holes are left out. After an error it ends.
pub struct TreeWalk<'s> {
    source: &'s dyn NodeSource,
    /// Nodes from the root down, the position where each starts, and the child to look at next.
    stack: Vec<(Arc<Node>, u64, usize)>,
    root: Option<(NodeId, u8)>,
    span: Range<u64>,
}

impl<'s> TreeWalk<'s> {
    /// Walks over the positions in `span`.
    pub fn new(tree: Tree, source: &'s dyn NodeSource, span: Range<u64>) -> Self {
        Self { source, stack: Vec::new(), root: tree.root.map(|id| (id, tree.level())), span }
    }

    fn open(&mut self, id: &NodeId, level: u8, start: u64) -> Result<()> {
        let node = self.source.node(id, level)?;
        let skipped = self.span.start.saturating_sub(start) / child_span(level);
        self.stack.push((node, start, usize::try_from(skipped).unwrap_or(FAN_OUT)));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(u64, ChunkId)>> {
        if let Some((id, level)) = self.root.take() {
            self.open(&id, level, 0)?;
        }
        while let Some((node, start, next)) = self.stack.last_mut() {
            let span = child_span(node.level);
            let Some(slot) = (*next..FAN_OUT).find(|slot| node.children[*slot].is_some()) else {
                self.stack.pop();
                continue;
            };
            *next = slot + 1;
            let position = *start + slot as u64 * span;
            if position >= self.span.end {
                self.stack.pop();
                continue;
            }
            let id = node.children[slot].expect("found above");
            match node.level {
                0 => return Ok(Some((position, ChunkId(id)))),
                level => self.open(&NodeId(id), level - 1, position)?,
            }
        }
        Ok(None)
    }
}

impl Iterator for TreeWalk<'_> {
    type Item = Result<(u64, ChunkId)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stack.clear();
        }
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Nodes, build};
    use super::*;

    #[test]
    fn a_walk_gives_exactly_the_chunks_of_its_span() {
        let nodes = Nodes::default();
        let entries: Vec<(u64, u8)> =
            (0..50_000).step_by(37).map(|p| (p, u8::try_from(p % 250 + 1).unwrap())).collect();
        let tree = build(&nodes, Tree::empty(50_000), &entries);
        for span in [0..50_000, 0..1, 36..38, 128..16_384, 16_383..16_500, 49_999..50_000, 60_000..70_000] {
            let expected: Vec<_> = entries.iter().filter(|(p, _)| span.contains(p)).map(|(p, _)| *p).collect();
            let walked: Vec<_> = TreeWalk::new(tree, &nodes, span.clone()).map(|e| e.unwrap().0).collect();
            assert_eq!(walked, expected, "{span:?}");
        }
    }

    #[test]
    fn a_missing_node_is_one_error_and_the_end() {
        let nodes = Nodes::default();
        let tree = build(&nodes, Tree::empty(50_000), &[(1, 1), (40_000, 2)]);
        nodes.0.lock().unwrap().retain(|id, _| Some(*id) == tree.root);
        let results: Vec<_> = TreeWalk::new(tree, &nodes, 0..50_000).collect();
        assert!(results.len() == 1 && results[0].is_err());
    }
}
