//! One node of the tree, and its bytes (FORMAT.md, "The tree").

use crate::error::{Error, Result};

/// Children of a node.
pub const FAN_OUT: usize = 128;
/// Bytes before the ids.
pub const NODE_HEADER_BYTES: usize = 24;
/// Highest level: 128^8 chunks are more than the largest disk of the format has.
pub const MAX_LEVEL: u8 = 7;

/// Reference to a chunk (level 0) or a node (above). Null is a hole.
pub type Child = Option<[u8; 32]>;

/// A node: a level and up to 128 children, at least one of them not null when it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// 0 references chunks.
    pub level: u8,
    /// The references.
    pub children: Box<[Child; FAN_OUT]>,
}

impl Node {
    /// A node without children, to be filled.
    pub fn empty(level: u8) -> Self {
        Self { level, children: Box::new([None; FAN_OUT]) }
    }

    /// Whether all children are null; such a node is never stored.
    pub fn is_empty(&self) -> bool {
        self.children.iter().all(Option::is_none)
    }

    /// The bytes that are sealed and whose hash is the id.
    pub fn encode(&self) -> Vec<u8> {
        let count = self.children.iter().flatten().count();
        let mut bytes = Vec::with_capacity(NODE_HEADER_BYTES + 32 * count);
        bytes.extend_from_slice(b"NODE");
        bytes.extend_from_slice(&[1, self.level]);
        bytes.extend_from_slice(&u16::try_from(count).expect("at most 128").to_le_bytes());
        let mut bitmap = [0_u8; FAN_OUT / 8];
        for (i, _) in self.children.iter().enumerate().filter(|(_, child)| child.is_some()) {
            bitmap[i / 8] |= 1 << (i % 8);
        }
        bytes.extend_from_slice(&bitmap);
        self.children.iter().flatten().for_each(|id| bytes.extend_from_slice(id));
        bytes
    }

    /// Decodes a node that must be of `level`; `object` names it in errors.
    pub fn decode(object: &str, level: u8, bytes: &[u8]) -> Result<Self> {
        let damaged = |what| Error::damaged(object, what);
        let header: &[u8; NODE_HEADER_BYTES] =
            bytes.first_chunk().ok_or_else(|| damaged("it is too short for a tree node"))?;
        if &header[..5] != b"NODE\x01" {
            return Err(damaged("it is no tree node of version 1"));
        }
        if header[5] != level {
            return Err(damaged("it is a tree node of another level"));
        }
        let bitmap = u128::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
        let (ids, rest) = bytes[NODE_HEADER_BYTES..].as_chunks::<32>();
        let count = usize::from(u16::from_le_bytes([header[6], header[7]]));
        if count == 0 || count != bitmap.count_ones() as usize || count != ids.len() || !rest.is_empty() {
            return Err(damaged("its count, bitmap and length do not fit each other"));
        }
        let mut node = Self::empty(level);
        let present = (0..FAN_OUT).filter(|i| bitmap >> i & 1 == 1);
        present.zip(ids).for_each(|(i, id)| node.children[i] = Some(*id));
        Ok(node)
    }
}

/// Positions that one child of a node of this level covers.
pub fn child_span(level: u8) -> u64 {
    1 << (7 * u32::from(level))
}

/// Level of the root of a tree over this many chunks.
pub fn root_level(chunks: u64) -> u8 {
    (0..MAX_LEVEL).find(|level| chunks <= child_span(*level) * FAN_OUT as u64).unwrap_or(MAX_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(positions: &[usize]) -> Node {
        let mut node = Node::empty(2);
        positions.iter().for_each(|i| node.children[*i] = Some([u8::try_from(*i).unwrap(); 32]));
        node
    }

    #[test]
    fn nodes_survive_their_bytes() {
        for positions in [vec![0], vec![127], vec![0, 7, 8, 64, 127], (0..128).collect()] {
            let node = node(&positions);
            let bytes = node.encode();
            assert_eq!(bytes.len(), NODE_HEADER_BYTES + 32 * positions.len());
            assert_eq!(Node::decode("n", 2, &bytes).unwrap(), node);
        }
    }

    #[test]
    fn nodes_that_contradict_themselves_are_refused() {
        let good = node(&[1, 5]).encode();
        assert!(Node::decode("n", 1, &good).is_err());
        for at in 0..NODE_HEADER_BYTES {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(Node::decode("n", 2, &bad).is_err(), "byte {at}");
        }
        assert!((0..good.len()).all(|end| Node::decode("n", 2, &good[..end]).is_err()));
        assert!(Node::decode("n", 2, &Node::empty(2).encode()).is_err());
    }

    #[test]
    fn the_root_level_is_the_smallest_that_covers_the_disk() {
        assert_eq!([1, 128, 129, 16384, 16385, 1 << 28, (1 << 28) + 1].map(root_level), [0, 0, 1, 1, 2, 3, 4]);
        assert_eq!(root_level(1 << 44), 6);
    }
}
