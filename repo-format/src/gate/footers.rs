//! What the rules need of the footers of data packs, remembered: a footer is read and verified once and not for every read of its pack.

use super::Denied;
use crate::error::Result;
use crate::id::{PackId, WriterId};
use crate::pack::{self, PackKind};
use crate::records::Records;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Packs of which it is remembered: some MiB.
const MAX_REMEMBERED: usize = 32 << 10;

/// Whose a pack is, and where what may be read of it begins. A pack has the bytes of its name, so this stays true for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footer {
    pub(super) writer: WriterId,
    pub(super) signer: WriterId,
    /// The last bytes of the pack, which a reader asks for before it knows how long the footer is, begin here.
    pub(super) from: u64,
}

/// Shared by all threads; never held while something is read.
#[derive(Default)]
pub(super) struct Footers(Mutex<HashMap<PackId, Footer>>);

impl Footers {
    /// Of a data pack; read where it is not remembered.
    pub(super) fn of(&self, records: Records<'_>, pack: &PackId) -> Result<Footer, Denied> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pack).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let info = pack::load(records.store, PackKind::Data, pack, records.repository, records.signers)?;
        let footer = Footer { writer: info.header.writer, signer: info.header.signer, from: info.footer_guess_from() };
        // What could not be verified for want of a writer's record is looked at again: the record may come back.
        if info.is_verified {
            let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(*pack, footer);
        }
        Ok(footer)
    }
}
