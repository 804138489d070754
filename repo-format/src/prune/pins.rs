//! What leases pin: marked like points, but a pin that cannot be read does not stop prune for as long as somebody renews it.

use super::Run;
use super::mark::{Around, Mark};
use crate::error::{Error, Result};
use crate::lease::{LeaseBody, PinnedRoot, Purpose};
use crate::reader::Reader;

/// What marking the pins came to.
#[derive(Default)]
pub(super) struct Pins {
    /// For people: what could not be marked, and what to do.
    pub(super) left: Vec<String>,
    /// Something exists that cannot be read: what it needs is not known, so nothing may be called dead.
    pub(super) is_unsure: bool,
}

/// What of one pinned tree could not be marked.
#[derive(Default)]
struct Unread {
    /// Parts that lie in no pack: nobody can read them, so there is nothing to keep for them.
    missing: u64,
    /// Packs appeared while the tree was marked: it may be whole after all.
    is_late: bool,
    /// The first part that is there and cannot be read.
    damaged: Option<Error>,
}

impl Run<'_> {
    /// Marks the pins of all leases. Called after every point is marked.
    pub(super) fn mark_pins(&self, reader: &Reader<'_>, mark: &mut Mark, leases: &[LeaseBody]) -> Result<Pins> {
        let mut pins = Pins::default();
        for lease in leases {
            for pin in &lease.pinned {
                let mut unread = self.mark_pin(reader, mark, pin)?;
                if unread.missing > 0 {
                    // It may have been stored since the index was brought up to date; the next run sees it from the start.
                    unread.is_late = self.reconcile()?.added > 0;
                }
                pins.take(lease, unread);
            }
        }
        Ok(pins)
    }

    fn mark_pin(&self, reader: &Reader<'_>, mark: &mut Mark, pin: &PinnedRoot) -> Result<Unread> {
        let mut unread = Unread::default();
        let mut unreadable = |error: Error| {
            match error {
                Error::Missing { .. } => unread.missing += 1,
                error => drop(unread.damaged.get_or_insert(error)),
            }
            Ok(())
        };
        let go_on = || self.go_on();
        mark.pinned(reader, pin, &mut Around { go_on: &go_on, unreadable: &mut unreadable })?;
        Ok(unread)
    }
}

impl Pins {
    fn take(&mut self, lease: &LeaseBody, unread: Unread) {
        let purpose = match lease.purpose {
            Purpose::Backup => "backup",
            Purpose::Read => "restore, mount or check",
            Purpose::Prune => "prune",
        };
        let of = format!("the {purpose} of writer {} since {} (lease {})", lease.writer, lease.started_at, lease.lease);
        if unread.is_late {
            self.is_unsure = true;
            self.left.push(format!("everything: {of} relies on what was stored just now; run prune again"));
        } else if unread.missing > 0 {
            self.left.push(format!(
                "{of} relies on a tree of which {} parts are in no pack; what there is of it was kept. If nothing of that writer runs, delete \
                 the objects leases/{}-…",
                unread.missing, lease.lease
            ));
        }
        if let Some(error) = unread.damaged {
            self.is_unsure = true;
            self.left.push(format!(
                "everything: {of} relies on a tree that cannot be read ({error}), so nothing can be called dead until it ends or lapses at {}. \
                 See `icecore check`; if nothing of that writer runs, delete the objects leases/{}-…, and if it comes again, \
                 `icecore key writer-revoke`",
                lease.expires_at, lease.lease
            ));
        }
    }
}
