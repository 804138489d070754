//! Transactions out of records: operations of several of them lie mixed in the log, and each may be cut into pieces.

use std::collections::HashMap;

use super::records::Record;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const OPERATION_BYTES: usize = 12;
const CLIENTS: [u8; 2] = [0x69, 0xAA];
const FLAG_START: u8 = 0x1;
const FLAG_COMMIT: u8 = 0x2;
/// More of this region follows in the next record.
const FLAG_CONTINUES: u8 = 0x4;
/// The rest of a region.
const FLAG_REST: u8 = 0x8;
const FLAG_END: u8 = 0x10;
const FLAG_UNMOUNT: u8 = 0x20;
const HEADER_MAGIC: u32 = 0x5452_414E;
const HEADER_BYTES: usize = 16;
/// The kernel's limit for one item.
const MAX_REGIONS: u16 = 257;
/// For what is not yet committed; the kernel commits long before.
const MAX_BYTES: usize = 96 << 20;
/// What a region or a transaction takes besides its bytes.
const OVERHEAD_BYTES: usize = 128;

/// One change of one thing: a description and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) regions: Vec<Vec<u8>>,
    total: usize,
}

/// All items that become valid together.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Of the record where it began.
    pub(super) lsn: u64,
    pub(super) items: Vec<Item>,
    header: Vec<u8>,
    bytes: usize,
}

/// Transactions that are not yet committed.
#[derive(Default)]
pub(super) struct Gatherer {
    open: HashMap<u32, Transaction>,
    bytes: usize,
}

impl Item {
    /// What the item is of.
    pub(super) fn kind(&self) -> Result<u16> {
        Fields::new(self.description(), "log item").le16(0)
    }

    pub(super) fn description(&self) -> &[u8] {
        self.regions.first().map(Vec::as_slice).unwrap_or_default()
    }
}

impl Gatherer {
    /// Takes the operations of one record; hands over what it commits.
    pub(super) fn take(&mut self, record: &Record, commit: &mut dyn FnMut(Transaction) -> Result<()>) -> Result<()> {
        let f = Fields::new(&record.data, "log record");
        let mut at = 0;
        for _ in 0..record.header.operations {
            if at >= record.data.len() {
                break;
            }
            let (id, length) = (f.be32(at)?, f.be32(at + 4)? as usize);
            let (client, flags) = (f.byte(at + 8)?, f.byte(at + 9)?);
            if !CLIENTS.contains(&client) {
                return Err(damaged("an operation of nobody"));
            }
            let data = f.slice(at + OPERATION_BYTES, length)?;
            at += OPERATION_BYTES + length;
            if !self.open.contains_key(&id) {
                // Operations without a start belong to what was committed before the tail.
                if flags & FLAG_START != 0 {
                    self.start(id, record.header.lsn)?;
                }
                continue;
            }
            self.operation(id, flags, data, commit)?;
        }
        Ok(())
    }

    fn start(&mut self, id: u32, lsn: u64) -> Result<()> {
        let transaction = Transaction { lsn, items: Vec::new(), header: Vec::new(), bytes: OVERHEAD_BYTES };
        self.account(OVERHEAD_BYTES)?;
        self.open.insert(id, transaction);
        Ok(())
    }

    fn account(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(FilesError::Limit { what: "length of a transaction in the log", limit: MAX_BYTES as u64 });
        }
        Ok(())
    }

    fn operation(
        &mut self,
        id: u32,
        flags: u8,
        data: &[u8],
        commit: &mut dyn FnMut(Transaction) -> Result<()>,
    ) -> Result<()> {
        let mut flags = flags & !FLAG_END;
        if flags & FLAG_REST != 0 {
            flags &= !FLAG_CONTINUES;
        }
        match flags {
            0 | FLAG_CONTINUES | FLAG_REST => {
                let bytes = data.len() + OVERHEAD_BYTES;
                self.account(bytes)?;
                let transaction = self.open.get_mut(&id).ok_or_else(|| damaged("an operation of nothing"))?;
                transaction.bytes += bytes;
                if flags == FLAG_REST { transaction.append(data) } else { transaction.add(data) }
            }
            FLAG_COMMIT | FLAG_UNMOUNT => {
                let transaction = self.open.remove(&id).ok_or_else(|| damaged("an end of nothing"))?;
                self.bytes -= transaction.bytes;
                if flags == FLAG_COMMIT { commit(transaction) } else { Ok(()) }
            }
            _ => Err(damaged("an operation with unknown flags")),
        }
    }
}

impl Transaction {
    /// Begins a region; the first one is the header of the transaction, which may itself come in pieces.
    fn add(&mut self, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.header.len() < HEADER_BYTES {
            return self.extend_header(data);
        }
        let is_full = self.items.last().is_none_or(|item| item.regions.len() >= item.total);
        if is_full {
            let total = Fields::new(data, "log item").le16(2)?;
            if total == 0 || total > MAX_REGIONS {
                return Err(damaged("an item with an impossible number of parts"));
            }
            self.items.push(Item { regions: Vec::new(), total: usize::from(total) });
        }
        if let Some(item) = self.items.last_mut() {
            item.regions.push(data.to_vec());
        }
        Ok(())
    }

    fn append(&mut self, data: &[u8]) -> Result<()> {
        if self.header.len() < HEADER_BYTES {
            return self.extend_header(data);
        }
        let region = self.items.last_mut().and_then(|item| item.regions.last_mut());
        region.ok_or_else(|| damaged("the rest of nothing"))?.extend_from_slice(data);
        Ok(())
    }

    fn extend_header(&mut self, data: &[u8]) -> Result<()> {
        self.header.extend_from_slice(data);
        let f = Fields::new(&self.header, "log transaction");
        if self.header.len() > HEADER_BYTES || self.header.len() >= 4 && f.le32(0)? != HEADER_MAGIC {
            return Err(damaged("a transaction without its header"));
        }
        Ok(())
    }

    /// Whether all parts of all items are there.
    pub(super) fn check_whole(&self) -> Result<()> {
        match self.items.iter().all(|item| item.regions.len() == item.total) {
            true => Ok(()),
            false => Err(damaged("an item without all of its parts")),
        }
    }
}

/// The log contradicts itself.
pub(super) fn damaged(what: &str) -> FilesError {
    FilesError::corrupt(format!("the log has {what}"))
}
