//! The positions at which two trees differ, in time that follows the difference.

use super::node::{Child, FAN_OUT, child_span};
use super::{NodeSource, Tree};
use crate::error::Result;
use crate::id::{ChunkId, NodeId};

/// Calls `each` with every position at which the trees differ and the chunks there, in ascending order.
///
/// The disks may differ in size; what lies behind the end of the smaller one counts as holes there.
pub fn diff(
    (a, b): (Tree, Tree),
    (source_a, source_b): (&dyn NodeSource, &dyn NodeSource),
    each: &mut dyn FnMut(u64, Option<ChunkId>, Option<ChunkId>) -> Result<()>,
) -> Result<()> {
    let level = a.level().max(b.level());
    let side = |tree: Tree, source| Side { id: tree.root.map(|id| id.0), level: tree.level(), source };
    compare(&side(a, source_a), &side(b, source_b), level, 0, each)
}

/// A subtree of one of the two trees.
struct Side<'s> {
    id: Child,
    /// Level of the node `id`; below the level of comparison it stands in child 0 of nodes that do not exist.
    level: u8,
    source: &'s dyn NodeSource,
}

impl<'s> Side<'s> {
    /// The children at the level of comparison.
    fn children(&self, level: u8) -> Result<Vec<Child>> {
        let Some(id) = self.id else { return Ok(vec![None; FAN_OUT]) };
        if self.level < level {
            let mut children = vec![None; FAN_OUT];
            children[0] = Some(id);
            return Ok(children);
        }
        Ok(self.source.node(&NodeId(id), level)?.children.to_vec())
    }

    fn child(&self, id: Child, level: u8) -> Self {
        Self { id, level: self.level.min(level), source: self.source }
    }
}

fn compare(
    a: &Side<'_>,
    b: &Side<'_>,
    level: u8,
    start: u64,
    each: &mut dyn FnMut(u64, Option<ChunkId>, Option<ChunkId>) -> Result<()>,
) -> Result<()> {
    if a.id == b.id && (a.level == b.level || a.id.is_none()) {
        return Ok(());
    }
    let (children_a, children_b) = (a.children(level)?, b.children(level)?);
    for (slot, (child_a, child_b)) in children_a.into_iter().zip(children_b).enumerate() {
        let position = start + slot as u64 * child_span(level);
        if level > 0 {
            compare(&a.child(child_a, level - 1), &b.child(child_b, level - 1), level - 1, position, each)?;
        } else if child_a != child_b {
            each(position, child_a.map(ChunkId), child_b.map(ChunkId))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Nodes, build};
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn diff_equals_the_model(
            a in prop::collection::btree_map(0_u64..20_000, 1_u8..4, 0..100),
            b in prop::collection::btree_map(0_u64..20_000, 1_u8..4, 0..100),
            shared in prop::collection::btree_map(0_u64..100, 1_u8..4, 0..100),
            grown in prop::bool::ANY,
        ) {
            let nodes = Nodes::default();
            let with = |map: &BTreeMap<u64, u8>| { let mut all = shared.clone(); all.extend(map.clone()); all };
            let (a, b) = (with(&a), with(&b));
            let tree = |map: &BTreeMap<u64, u8>, chunks| build(&nodes, Tree::empty(chunks), &map.iter().map(|(p, c)| (*p, *c)).collect::<Vec<_>>());
            let (tree_a, tree_b) = (tree(&a, 20_000), tree(&b, if grown { 3_000_000 } else { 20_000 }));
            let mut found = Vec::new();
            diff((tree_a, tree_b), (&nodes, &nodes), &mut |position, x, y| {
                found.push((position, x.map(|c| c.0[0]), y.map(|c| c.0[0])));
                Ok(())
            }).unwrap();
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
            let expected: Vec<_> = keys.into_iter()
                .map(|p| (p, a.get(&p).copied(), b.get(&p).copied()))
                .filter(|(_, x, y)| x != y)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
