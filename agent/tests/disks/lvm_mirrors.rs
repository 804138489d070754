//! Mirrors and classic snapshots of LVM on made disks: which half is read, and what a snapshot shows.

use crate::lvm_made::{
    DATA, EXTENT, Made, content, described, group, groups, hidden, linear, put32, put64, refusal, segment, volume,
};

const CHUNK: usize = 4096;

/// A superblock as the kernel writes it for one half of a mirror of two.
#[derive(Clone, Copy)]
struct Half {
    position: u32,
    events: u64,
    failed: u64,
    recovered: u64,
}

const SOUND: [Half; 2] = [Half { position: 0, ..HALF }, Half { position: 1, ..HALF }];
const HALF: Half = Half { position: 0, events: 20, failed: 0, recovered: u64::MAX };

impl Half {
    fn write(self, to: &mut [u8]) {
        to[..512].fill(0);
        to[..4].copy_from_slice(b"DmRd");
        for (at, value) in [(4, 1), (8, 2), (12, self.position), (48, 1), (72, 1)] {
            put32(to, at, value);
        }
        for (at, value) in [(16, self.events), (24, self.failed), (32, self.recovered), (40, 0), (64, u64::MAX)] {
            put64(to, at, value);
        }
    }
}

/// A mirror of two disks; metadata in extent 0, data in extents 1 to 4 of each.
fn mirror(superblocks: [Option<Half>; 2], flags: [&str; 2]) -> [Made; 2] {
    let raids = "device_count = 2\nregion_size = 4096\nraids = [\n\"m0\", \"i0\",\n\"m1\", \"i1\"\n]";
    let mut logical = volume("v", &[segment(0, 4, "raid1", raids)]);
    for (index, flags) in flags.into_iter().enumerate() {
        logical += &hidden(&format!("m{index}"), &[linear(0, 1, &format!("pv{index}"), 0)]);
        let flags = format!("\"READ\", \"WRITE\"{flags}");
        logical += &described(&format!("i{index}"), &flags, &[linear(0, 4, &format!("pv{index}"), 1)]);
    }
    let text = group(1, 2, &logical);
    let mut disks = [Made::new(0, 64).text(&text), Made::new(1, 64).text(&text)];
    for (disk, superblock) in disks.iter_mut().zip(superblocks) {
        disk.extents_mut(0, 1).fill(0);
        if let Some(superblock) = superblock {
            superblock.write(disk.extents_mut(0, 1));
        }
    }
    disks
}

/// Which half is read.
fn chosen(superblocks: [Option<Half>; 2], flags: [&str; 2]) -> Result<usize, String> {
    let disks = mirror(superblocks, flags);
    let bytes = content(&groups(&[&disks[0], &disks[1]]), "v").map_err(|error| error.to_string())?;
    Ok(disks.iter().position(|disk| disk.extents(1, 4) == bytes).expect("one half"))
}

#[test]
fn the_half_that_is_known_to_be_current_is_read() {
    let [a, b] = SOUND;
    let (late, rebuilt) = (", \"WRITEMOSTLY\"", ", \"REBUILD\"");
    assert_eq!(chosen([Some(a), Some(b)], ["", ""]), Ok(0));
    // A power cut between the writes of two superblocks.
    assert_eq!(chosen([Some(Half { events: 19, ..a }), Some(b)], ["", ""]), Ok(0));
    assert_eq!(chosen([Some(Half { events: 18, ..a }), Some(b)], ["", ""]), Ok(1), "long out of the mirror");
    assert_eq!(chosen([Some(Half { events: 15, ..a }), Some(Half { failed: 1, ..b })], ["", ""]), Ok(1));
    assert_eq!(chosen([Some(a), Some(Half { failed: 1, ..b })], ["", ""]), Ok(1), "called failed");
    assert_eq!(chosen([Some(Half { recovered: 46_464, ..a }), Some(b)], ["", ""]), Ok(1), "still being filled");
    assert_eq!(chosen([None, Some(b)], ["", ""]), Ok(1), "never used");
    assert_eq!(chosen([Some(a), Some(b)], [rebuilt, ""]), Ok(1));
    assert_eq!(chosen([Some(a), Some(b)], [late, ""]), Ok(1));
    assert_eq!(chosen([Some(a), Some(Half { events: 10, ..b })], ["", ""]), Ok(0));
    assert_eq!(chosen([Some(Half { failed: 2, ..a }), Some(Half { events: 10, ..b })], [late, ""]), Ok(0), "alone");
}

#[test]
fn no_half_is_read_that_may_be_old() {
    let [a, b] = SOUND;
    let late = ", \"WRITEMOSTLY\"";
    let unknown = "known to be current";
    let cases = [
        ([None, None], ["", ""], "superblock"),
        ([Some(Half { recovered: 5, ..a }), Some(Half { recovered: 5, ..b })], ["", ""], unknown),
        ([Some(Half { failed: 2, ..a }), Some(Half { failed: 1, ..b })], ["", ""], unknown),
        ([Some(a), Some(Half { recovered: 5, ..b })], [late, ""], unknown),
        ([Some(Half { position: 1, ..a }), Some(Half { position: 0, ..b })], ["", ""], unknown),
    ];
    for (superblocks, flags, words) in cases {
        let said = chosen(superblocks, flags).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    for (at, value) in [(8, 3), (48, 5), (60, 1), (72, 5), (84, 1), (96, 8), (144, 1)] {
        let mut disks = mirror([Some(a), Some(b)], ["", ""]);
        for disk in &mut disks {
            put32(disk.extents_mut(0, 1), at, value);
        }
        refusal(&groups(&[&disks[0], &disks[1]]), "v");
    }
}

#[test]
fn half_a_mirror_is_read_only_when_it_knows_that_the_other_failed() {
    let [a, b] = SOUND;
    let disks = mirror([Some(a), Some(b)], ["", ""]);
    assert!(refusal(&groups(&[&disks[0]]), "v").contains("is not in this recovery point"));
    assert!(refusal(&groups(&[&disks[1]]), "v").contains("is not in this recovery point"));
    let [_, knows] = mirror([Some(a), Some(Half { failed: 1, ..b })], ["", ""]);
    assert!(content(&groups(&[&knows]), "v").unwrap() == knows.extents(1, 4));
    // The disk that failed is back, but LVM has not taken it in again.
    let text = knows.said().replacen("flags = []", "flags = [\"MISSING\"]", 1).replace("seqno = 1", "seqno = 2");
    let knows = knows.text(&(text + "\0"));
    let found = groups(&[&disks[0], &knows]);
    assert!(content(&found, "v").unwrap() == knows.extents(1, 4));
    assert_eq!(found.groups[0].missing.len(), 1);
}

/// A volume of 8 extents with a snapshot whose store, in extents 10 to 13, says this.
fn snapshot(valid: u32, pairs: &[(u64, u64)]) -> Made {
    let chunk_sectors = CHUNK / 512;
    let rest = format!("chunk_size = {chunk_sectors}\norigin = \"origin\"\ncow_store = \"snap\"");
    let logical = volume("origin", &[linear(0, 8, "pv0", 0)])
        + &hidden("snap", &[linear(0, 4, "pv0", 10)])
        + &volume("snapshot0", &[segment(0, 8, "snapshot", &rest)]);
    let mut disk = Made::new(0, 64).text(&group(1, 1, &logical));
    let store = disk.extents_mut(10, 4);
    store[..4].copy_from_slice(b"SnAp");
    for (at, value) in [(4, valid), (8, 1), (12, chunk_sectors as u32)] {
        put32(store, at, value);
    }
    let per_table = CHUNK / 16;
    // Two tables: one behind the header, one behind the chunks of the first.
    for table in [1, per_table + 2] {
        if let Some(chunk) = store.chunks_mut(CHUNK).nth(table) {
            chunk.fill(0);
        }
    }
    for (index, (old, new)) in pairs.iter().enumerate() {
        put64(store, CHUNK + index * 16, *old);
        put64(store, CHUNK + index * 16 + 8, *new);
    }
    disk
}

#[test]
fn a_snapshot_shows_its_own_chunks_over_those_of_the_origin() {
    let pairs = [(5, 2), (127, 4), (0, 3), (6, 5)];
    let disk = snapshot(1, &pairs);
    let mut expected = disk.extents(0, 8).to_vec();
    assert!(content(&groups(&[&disk]), "origin").unwrap() == expected);
    for (old, new) in pairs {
        let from = DATA + 10 * EXTENT + new as usize * CHUNK;
        expected[old as usize * CHUNK..][..CHUNK].copy_from_slice(&disk.bytes[from..from + CHUNK]);
    }
    let found = groups(&[&disk]);
    assert!(content(&found, "snap").unwrap() == expected);
    let listed: Vec<_> = found.groups[0].volumes.iter().map(|v| (v.name.as_str(), v.kind.as_str())).collect();
    assert_eq!(listed, [("origin", "linear"), ("snap", "snapshot")]);
}

#[test]
fn a_snapshot_that_fell_over_or_contradicts_itself_is_not_shown() {
    assert!(refusal(&groups(&[&snapshot(0, &[])]), "snap").contains("overflowed"));
    let read = |disk: Made| {
        let found = groups(&[&disk]);
        let snap = found.groups[0].volumes[1].open().unwrap();
        snap.read_exact_at(&mut [0; 512], 0).err().map(|error| error.to_string())
    };
    assert_eq!(read(snapshot(1, &[(0, 2)])), None);
    for pairs in [&[(0, 2), (0, 3)][..], &[(0, 64)], &[(0, 1)], &[(128, 2)], &[(0, u64::MAX)], &[(0, 2), (1, 2)]] {
        assert!(read(snapshot(1, pairs)).is_some_and(|said| said.contains("table")), "{pairs:?}");
    }
}

#[test]
fn nothing_of_a_merge_that_was_not_finished_is_shown() {
    let disk = snapshot(1, &[(0, 2)]);
    let merging = disk.clone().text(&(disk.said().replace("cow_store", "merging_store") + "\0"));
    let found = groups(&[&merging]);
    assert!(refusal(&found, "origin").contains("merged") && refusal(&found, "snap").contains("merged"));
    // A store is no volume to build on.
    let on_store = disk.clone().text(&(disk.said().replace("\"pv0\", 0", "\"snap\", 0") + "\0"));
    assert!(refusal(&groups(&[&on_store]), "origin").contains("part of a snapshot"));
}
