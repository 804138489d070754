//! Proof that one point has all it needs, from the store itself: what a commit asks when its lease was lost, and what a backup asks of the
//! point it wants to build upon when damage is known.

use crate::error::{Error, Result};
use crate::id::{EntryId, PackId};
use crate::manifest::PointKey;
use crate::pack::PackKind;
use crate::pack_cache::CachedPack;
use crate::reader::Reader;
use crate::tree::{Tree, TreeWalk};
use std::collections::HashSet;
use std::sync::Arc;

/// Proves that a point's tree can be read and that every chunk it references lies in a pack that exists.
pub fn prove_point(reader: &Reader<'_>, at: PointKey) -> Result<()> {
    // Nothing that was read before the doubt arose counts.
    let reader = &Reader::new(reader.repository(), reader.index());
    let (_, manifest) = reader.repository().open_point(at)?;
    for disk in &manifest.disks {
        let tree = disk.tree(manifest.chunk_bytes);
        for entry in TreeWalk::new(tree, reader, 0..tree.chunks) {
            let (_, chunk) = entry?;
            let id: EntryId = chunk.into();
            let mut found = false;
            for place in reader.index().places(&id.key())? {
                if let Some((pack, _)) = reader.confirm(&id, PackKind::Data, place)? {
                    found |= reader.repository().store().exists(&PackKind::Data.key(&pack.id))?;
                }
            }
            if !found {
                return Err(Error::Missing { key: format!("chunk {chunk}") });
            }
        }
    }
    Ok(())
}

/// Chunks that an index elsewhere is asked about at once.
const BATCH_CHUNKS: usize = 1024;

/// Proves that a tree can be read and that every chunk it references lies in a pack that exists and is none of `damaged`.
pub fn prove_tree(reader: &Reader<'_>, tree: Tree, damaged: &HashSet<PackId>) -> Result<()> {
    let mut walk = TreeWalk::new(tree, reader, 0..tree.chunks);
    // Where the last one lies: neighbours on the disk are mostly neighbours in a pack, and then its footer answers.
    let mut last: Option<(Arc<CachedPack>, u32)> = None;
    loop {
        let batch = walk.by_ref().take(BATCH_CHUNKS).map(|entry| Ok(EntryId::from(entry?.1)));
        let batch = batch.collect::<Result<Vec<EntryId>>>()?;
        if batch.is_empty() {
            return Ok(());
        }
        reader.learn(PackKind::Data, &batch)?;
        for id in &batch {
            last = match last {
                Some((cached, entry)) if follows(&cached, entry, id) => Some((cached, entry + 1)),
                _ => Some(sound_place(reader, id, damaged)?),
            };
        }
    }
}

fn follows(cached: &CachedPack, entry: u32, id: &EntryId) -> bool {
    cached.info().rows.get(entry as usize + 1).is_some_and(|row| row.id == *id)
}

/// A confirmed place of a chunk that no damage is known of.
fn sound_place(reader: &Reader<'_>, id: &EntryId, damaged: &HashSet<PackId>) -> Result<(Arc<CachedPack>, u32)> {
    let mut found_damaged = None;
    for place in reader.index().places(&id.key())? {
        match reader.confirm(id, PackKind::Data, place)? {
            Some((pack, _)) if damaged.contains(&pack.id) => found_damaged = Some(pack.id),
            Some((_, cached)) => return Ok((cached, place.entry)),
            None => {}
        }
    }
    Err(match found_damaged {
        Some(pack) => Error::damaged(PackKind::Data.key(&pack), format!("chunk {id} lies in no other pack")),
        None => Error::Missing { key: format!("chunk {id}") },
    })
}
