//! The file table: its own place on the volume, and any record of it by number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::attribute_list::{self, Entry};
use super::boot::Geometry;
use super::record::{Attribute, Form, Record, Reference, kind};
use super::runs::RunList;
use super::volume::Clusters;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

/// Records that are next to each other are mostly wanted together.
const WINDOW_BYTES: u64 = 32 << 10;
const CACHE_BYTES: u64 = 8 << 20;
/// The table, its mirror, the log and the volume: what the mirror holds.
const MIRRORED_RECORDS: u64 = 4;
const TABLE: u64 = 0;

/// Reads records; shared by all threads, the lock guards the cache only and is never held while reading.
pub(super) struct Mft<'a> {
    pub(super) clusters: Clusters<'a>,
    runs: RunList,
    initialized_bytes: u64,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    windows: HashMap<u64, Arc<[u8]>>,
    order: VecDeque<u64>,
}

impl<'a> Mft<'a> {
    /// Finds the table by its own first record, or by that record's copy in the mirror; the notes say which.
    pub(super) fn open(clusters: Clusters<'a>) -> Result<(Self, Vec<String>)> {
        let mut mft = Self { clusters, runs: RunList::default(), initialized_bytes: 0, cache: Mutex::default() };
        let Geometry { mft_cluster, mirror_cluster, .. } = mft.clusters.geometry;
        let Err(error) = mft.locate(mft_cluster) else { return Ok((mft, Vec::new())) };
        mft.cache = Mutex::default();
        mft.locate(mirror_cluster).map_err(|_| error)?;
        Ok((mft, vec!["the first file record is damaged; its copy in the mirror was used".to_owned()]))
    }

    /// Takes over the run list out of the copy of record 0 at `cluster`.
    fn locate(&mut self, cluster: u64) -> Result<()> {
        let mut bytes = vec![0; in_memory(self.clusters.geometry.record_bytes)];
        self.clusters.read(cluster, 0, &mut bytes)?;
        let record = Record::parse(bytes, TABLE)?;
        let no_data = || FilesError::corrupt("the file table has no data");
        self.runs = RunList::default();
        let data = record.attribute(kind::DATA, "")?.ok_or_else(no_data)?;
        let Form::Mapped(head) = data.form else { return Err(no_data()) };
        if head.first_cluster != 0 {
            return Err(no_data());
        }
        self.initialized_bytes = head.initialized_bytes;
        self.append(&data)?;
        if let Some(list) = record.attribute(kind::ATTRIBUTE_LIST, "")? {
            // Later parts of the table's run list are in records that the earlier parts lead to.
            for entry in attribute_list::read(&self.clusters, &list)? {
                if entry.kind == kind::DATA && entry.name.is_empty() && entry.first_cluster != 0 {
                    self.append_part(&record, &entry)?;
                }
            }
        }
        let mapped_bytes = self.runs.end().saturating_mul(self.clusters.geometry.cluster_bytes);
        if self.initialized_bytes > mapped_bytes {
            return Err(FilesError::corrupt("the file table is longer than its run list"));
        }
        Ok(())
    }

    fn append_part(&mut self, base: &Record, entry: &Entry) -> Result<()> {
        if entry.record.number == TABLE {
            let part = entry.find_in(base)?;
            return self.append(&part);
        }
        let record = self.extension(base.reference, entry.record)?;
        let part = entry.find_in(&record)?;
        self.append(&part)
    }

    fn append(&mut self, part: &Attribute<'_>) -> Result<()> {
        match part.form {
            Form::Mapped(mapped) if mapped.first_cluster == self.runs.end() => {
                self.runs.append(mapped.pairs, mapped.end_cluster, self.clusters.geometry.clusters)
            }
            _ => Err(FilesError::corrupt("the run list of the file table has a gap")),
        }
    }

    /// Record `number`, in use. Of the first few the mirror serves where the table is damaged.
    pub(super) fn record(&self, number: u64) -> Result<Record> {
        let read = self.record_bytes(number).and_then(|bytes| Record::parse(bytes, number));
        match read {
            Err(error) if number < MIRRORED_RECORDS => self.mirrored(number).map_err(|_| error),
            read => read,
        }
    }

    /// Whether the table's own copy of one of the first records is damaged.
    pub(super) fn is_damaged(&self, number: u64) -> bool {
        self.record_bytes(number).and_then(|bytes| Record::parse(bytes, number)).is_err()
    }

    /// A record that continues `base`.
    pub(super) fn extension(&self, base: Reference, reference: Reference) -> Result<Record> {
        let record = self.record(reference.number)?;
        if record.reference != reference || record.base != base {
            return Err(FilesError::corrupt(format!(
                "file record {} does not continue record {}",
                reference.number, base.number
            )));
        }
        Ok(record)
    }

    fn mirrored(&self, number: u64) -> Result<Record> {
        let Geometry { record_bytes, mirror_cluster, .. } = self.clusters.geometry;
        let mut bytes = vec![0; in_memory(record_bytes)];
        self.clusters.read(mirror_cluster, number * record_bytes, &mut bytes)?;
        Record::parse(bytes, number)
    }

    fn record_bytes(&self, number: u64) -> Result<Vec<u8>> {
        let record_bytes = self.clusters.geometry.record_bytes;
        let beyond = || FilesError::corrupt(format!("file record {number} lies outside the file table"));
        let at = number.checked_mul(record_bytes).ok_or_else(beyond)?;
        let end = at.checked_add(record_bytes).filter(|end| *end <= self.initialized_bytes).ok_or_else(beyond)?;
        let window_bytes = WINDOW_BYTES.max(record_bytes);
        match self.window(at / window_bytes) {
            Ok(window) => {
                let within = in_memory(at % window_bytes);
                let found = window.get(within..within + in_memory(end - at));
                found.map(<[u8]>::to_vec).ok_or_else(beyond)
            }
            // A bad sector must not hide the records around it.
            Err(_) => {
                let mut bytes = vec![0; in_memory(record_bytes)];
                self.clusters.read_mapped(&self.runs, &mut bytes, at)?;
                Ok(bytes)
            }
        }
    }

    fn window(&self, index: u64) -> Result<Arc<[u8]>> {
        if let Some(found) = self.lock().windows.get(&index) {
            return Ok(Arc::clone(found));
        }
        let window_bytes = WINDOW_BYTES.max(self.clusters.geometry.record_bytes);
        let at = index * window_bytes;
        // While the table is being located, its run list may end before the table does.
        let mapped_bytes = self.runs.end().saturating_mul(self.clusters.geometry.cluster_bytes);
        let end = self.initialized_bytes.min(mapped_bytes).min(at.saturating_add(window_bytes));
        let mut bytes = vec![0; in_memory(end.saturating_sub(at))];
        self.clusters.read_mapped(&self.runs, &mut bytes, at)?;
        let bytes: Arc<[u8]> = bytes.into();
        let mut cache = self.lock();
        // A short window may become longer when more of the table is known.
        let is_whole = bytes.len() as u64 == window_bytes || end == self.initialized_bytes;
        if is_whole && cache.windows.insert(index, Arc::clone(&bytes)).is_none() {
            cache.order.push_back(index);
        }
        while cache.order.len() as u64 * window_bytes > CACHE_BYTES {
            if let Some(oldest) = cache.order.pop_front() {
                cache.windows.remove(&oldest);
            }
        }
        Ok(bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A poisoned cache is still a correct cache: entries are inserted whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
