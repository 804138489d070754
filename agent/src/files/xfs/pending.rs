//! What the log left to do when the power went, and what a reader makes of it.
//!
//! The kernel finishes it after the replay. Changes of a map are made when the map is read; whose attributes or whose
//! whole content would still have changed is not shown at all.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping::{Mapping, Which};
use crate::files::{FilesError, Result};

/// One change of a map.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Map { mapping: Mapping, is_unwritten: bool },
    Unmap { logical: u64, blocks: u32 },
}

impl Change {
    /// The blocks of the file from the first to behind the last.
    pub(super) fn range(&self) -> (u64, u64) {
        match self {
            Self::Map { mapping, .. } => (mapping.logical, mapping.logical_end()),
            Self::Unmap { logical, blocks } => (*logical, logical.saturating_add(u64::from(*blocks))),
        }
    }
}

/// Per inode what is not as its blocks say.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: BTreeMap<u64, Vec<(Which, Change)>>,
    new_owners: BTreeSet<u64>,
    hidden: BTreeMap<u64, &'static str>,
    hidden_attributes: BTreeSet<u64>,
}

impl Pending {
    pub(super) fn add_change(&mut self, inode: u64, which: Which, change: Change) {
        self.changes.entry(inode).or_default().push((which, change));
    }

    /// The blocks of its extent trees may still carry the number of the inode they were exchanged with.
    pub(super) fn add_new_owner(&mut self, inode: u64) {
        self.new_owners.insert(inode);
    }

    pub(super) fn hide(&mut self, inode: u64, why: &'static str) {
        self.hidden.insert(inode, why);
    }

    pub(super) fn hide_attributes(&mut self, inode: u64) {
        self.hidden_attributes.insert(inode);
    }

    pub(super) fn changes(&self, inode: u64, which: Which) -> impl Iterator<Item = &Change> {
        let of_inode = self.changes.get(&inode).map(Vec::as_slice).unwrap_or_default();
        of_inode.iter().filter(move |(fork, _)| *fork == which).map(|(_, change)| change)
    }

    pub(super) fn has_new_owner(&self, inode: u64) -> bool {
        self.new_owners.contains(&inode)
    }

    pub(super) fn refuse_hidden(&self, inode: u64) -> Result<()> {
        match self.hidden.get(&inode) {
            Some(why) => Err(FilesError::corrupt(format!("inode {inode} {why}"))),
            None => Ok(()),
        }
    }

    pub(super) fn refuse_attributes(&self, inode: u64) -> Result<()> {
        if self.hidden_attributes.contains(&inode) {
            return Err(FilesError::corrupt(format!("the attributes of inode {inode} were being changed")));
        }
        Ok(())
    }

    /// One sentence for each inode that is not shown whole, the first of them.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        const MOST: usize = 20;
        let hidden = self.hidden.iter().map(|(inode, why)| format!("inode {inode} {why}; it is not shown"));
        let attributes = self.hidden_attributes.iter().map(|inode| {
            format!("the log left a change of the attributes of inode {inode} undone; they are not shown")
        });
        hidden.take(MOST).chain(attributes.take(MOST))
    }
}
