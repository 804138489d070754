//! Proof that one point has all it needs, from the store itself; what a commit asks when its lease was lost.

use crate::error::{Error, Result};
use crate::id::EntryId;
use crate::manifest::PointKey;
use crate::pack::PackKind;
use crate::reader::Reader;
use crate::tree::TreeWalk;

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
