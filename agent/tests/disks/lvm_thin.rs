//! Thin volumes of LVM: the metadata is made by thin_restore, from mappings that the test knows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use agent::read_at::{FileDisk, ReadAt};
use agent::volume_groups::VolumeGroups;

use crate::images::{Workshop, run};
use crate::lvm_made::{DATA, EXTENT, Made, content, group, groups, hidden, linear, put64, refusal, segment, volume};

/// Extents of the pool's metadata: the beginning of the disk.
const METADATA: usize = 8;
/// Of its data, which follow.
const BLOCKS: usize = 40;

/// From blocks of a device to blocks of the pool.
type Mapping = BTreeMap<u64, u64>;

/// The metadata of a pool with these devices, `bytes` large.
pub fn metadata(devices: &[(u32, Mapping)], blocks: usize, bytes: usize) -> Vec<u8> {
    let workshop = Workshop::new();
    let mut xml = format!(
        "<superblock uuid=\"\" time=\"1\" transaction=\"7\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"{blocks}\">\n"
    );
    for (id, mapping) in devices {
        let count = mapping.len();
        writeln!(
            xml,
            "<device dev_id=\"{id}\" mapped_blocks=\"{count}\" transaction=\"0\" creation_time=\"0\" snap_time=\"1\">"
        )
        .unwrap();
        for (origin, data) in mapping {
            writeln!(xml, "<single_mapping origin_block=\"{origin}\" data_block=\"{data}\" time=\"0\"/>").unwrap();
        }
        xml.push_str("</device>\n");
    }
    xml.push_str("</superblock>\n");
    let (input, output) = (workshop.path("pool.xml"), workshop.path("pool.bin"));
    std::fs::write(&input, xml).unwrap();
    std::fs::write(&output, vec![0; bytes]).unwrap();
    run("thin_restore", &["-q", "-i", input.to_str().unwrap(), "-o", output.to_str().unwrap()]);
    std::fs::read(output).unwrap()
}

fn pool(transaction: u64, messages: &str) -> String {
    let rest = format!(
        "metadata = \"meta\"\npool = \"data\"\ntransaction_id = {transaction}\nchunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1\n{messages}"
    );
    volume("pool", &[segment(0, BLOCKS, "thin-pool", &rest)])
        + &hidden("meta", &[linear(0, METADATA, "pv0", 0)])
        + &hidden("data", &[linear(0, BLOCKS, "pv0", METADATA)])
}

fn thin(name: &str, id: u32, extents: usize, rest: &str) -> String {
    let rest = format!("thin_pool = \"pool\"\ntransaction_id = 3\ndevice_id = {id}\n{rest}");
    volume(name, &[segment(0, extents, "thin", &rest)])
}

/// A disk with a pool and these volumes.
pub fn disk(devices: &[(u32, Mapping)], transaction: u64, logical: &str) -> Made {
    let mut disk = Made::new(0, 64).text(&group(1, 1, &(pool(transaction, "") + logical)));
    disk.extents_mut(0, METADATA).copy_from_slice(&metadata(devices, BLOCKS, METADATA * EXTENT));
    disk
}

/// What a device shows by its mapping.
fn expected(disk: &Made, mapping: &Mapping, extents: usize) -> Vec<u8> {
    let block = |number| match mapping.get(&(number as u64)) {
        Some(data) => disk.extents(METADATA + *data as usize, 1).to_vec(),
        None => vec![0; EXTENT],
    };
    (0..extents).flat_map(block).collect()
}

/// Two devices that share blocks, as a volume and its snapshot do.
pub fn two() -> [(u32, Mapping); 2] {
    [(1, Mapping::from([(0, 5), (1, 6), (2, 4), (9, 39), (30, 0)])), (4, Mapping::from([(0, 5), (1, 7), (9, 39)]))]
}

#[test]
fn thin_volumes_and_their_snapshots_show_what_is_mapped_and_zeros() {
    let devices = two();
    let disk =
        disk(&devices, 7, &(thin("v", 1, 31, "") + &thin("s", 4, 12, "origin = \"v\"") + &thin("short", 1, 2, "")));
    let found = groups(&[&disk]);
    assert!(content(&found, "v").unwrap() == expected(&disk, &devices[0].1, 31));
    assert!(content(&found, "s").unwrap() == expected(&disk, &devices[1].1, 12));
    assert!(content(&found, "short").unwrap() == expected(&disk, &devices[0].1, 2));
    assert!(refusal(&found, "pool").contains("it is a pool"));
    assert_eq!(found.groups[0].volumes[1].kind, "thin");
}

#[test]
fn an_external_origin_shows_where_nothing_is_mapped() {
    let devices = two();
    let origin = volume("ro", &[linear(0, 4, "pv0", 50)]);
    let disk = disk(&devices, 7, &(thin("v", 4, 12, "external_origin = \"ro\"") + &origin));
    let mut shown = expected(&disk, &devices[1].1, 12);
    shown[2 * EXTENT..4 * EXTENT].copy_from_slice(disk.extents(52, 2));
    assert!(content(&groups(&[&disk]), "v").unwrap() == shown);
}

#[test]
fn a_pool_of_another_age_or_kind_than_the_group_says_is_refused() {
    let devices = two();
    let one = thin("v", 1, 31, "");
    assert!(refusal(&groups(&[&disk(&devices, 8, &one)]), "v").contains("at transaction 7"));
    assert!(refusal(&groups(&[&disk(&devices, 7, &thin("v", 2, 31, ""))]), "v").contains("no device 2"));
    // The group was changed and the pool was not told before the power went.
    let mut told_later = disk(&devices, 7, "");
    told_later.text_at(
        4096,
        512,
        &group(1, 1, &(pool(8, "message1 {\ncreate = \"n\"\n}") + &one + &thin("n", 9, 3, ""))),
    );
    let found = groups(&[&told_later]);
    assert!(content(&found, "v").unwrap() == expected(&told_later, &devices[0].1, 31));
    assert!(refusal(&found, "n").contains("no device 9"));
    let mut other_chunks = disk(&devices, 7, "");
    let text = group(1, 1, &(pool(7, "") + &one)).replace("chunk_size = 128", "chunk_size = 256");
    other_chunks.text_at(4096, 512, &text);
    assert!(refusal(&groups(&[&other_chunks]), "v").contains("another size"));
}

#[test]
fn no_byte_of_the_metadata_can_be_changed_unnoticed() {
    let devices = two();
    let sound = disk(&devices, 7, &(thin("v", 1, 31, "") + &thin("s", 4, 12, "")));
    let shown = expected(&sound, &devices[0].1, 31);
    let used = sound.extents(0, METADATA).chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|b| *b != 0));
    let mut noticed = 0;
    for block in used.map(|(index, _)| index) {
        for at in [0, 4, 9, 17, 21, 25, 33, 40, 2100, 4095] {
            let mut damaged = sound.clone();
            damaged.bytes[DATA + block * 4096 + at] ^= 1;
            let found = groups(&[&damaged]);
            let volume = found.groups[0].volumes.iter().find(|volume| volume.name == "v").unwrap();
            match volume
                .open()
                .map_err(|error| error.to_string())
                .and_then(|disk| crate::lvm_made::whole(&*disk).map_err(|e| e.to_string()))
            {
                Ok(bytes) => assert!(bytes == shown, "block {block}, byte {at}"),
                Err(said) => {
                    assert!(said.contains("damaged"), "{said}");
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed >= 40, "{noticed}");
}

#[test]
fn a_large_tree_is_walked() {
    const MANY: u64 = 3000;
    let mapping: Mapping = (0..MANY).map(|block| (block * 3, (block * 7) % MANY)).collect();
    let (metadata_extents, data_extents) = (16, MANY as usize);
    let rest = "metadata = \"meta\"\npool = \"data\"\ntransaction_id = 7\nchunk_size = 128\n";
    let logical = volume("pool", &[segment(0, data_extents, "thin-pool", rest)])
        + &hidden("meta", &[linear(0, metadata_extents, "pv0", 0)])
        + &hidden("data", &[linear(0, data_extents, "pv0", metadata_extents)])
        + &thin("v", 1, 3 * MANY as usize, "");
    let text = group(1, 1, &logical).replace("pe_count = 64", "pe_count = 4000");
    let mut head = Made::new(0, metadata_extents).text(&text);
    let bytes = metadata(&[(1, mapping.clone())], data_extents, metadata_extents * EXTENT);
    head.extents_mut(0, metadata_extents).copy_from_slice(&bytes);
    let workshop = Workshop::new();
    let image = workshop.path("sparse.img");
    std::fs::write(&image, &head.bytes).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&image).unwrap();
    let data_at = (DATA + metadata_extents * EXTENT) as u64;
    file.set_len(data_at + (data_extents * EXTENT) as u64).unwrap();
    // Each block of the pool begins with its number.
    for block in 0..MANY {
        std::os::unix::fs::FileExt::write_all_at(&file, &(block + 1).to_le_bytes(), data_at + block * EXTENT as u64)
            .unwrap();
    }
    let disks: Vec<Arc<dyn ReadAt>> = vec![Arc::new(FileDisk::new(file).unwrap())];
    let found = VolumeGroups::read(&disks).unwrap();
    let shown = found.groups[0].volumes.iter().find(|volume| volume.name == "v").unwrap().open().unwrap();
    for block in 0..3 * MANY {
        let mut number = [0; 8];
        shown.read_exact_at(&mut number, block * EXTENT as u64).unwrap();
        assert_eq!(u64::from_le_bytes(number), mapping.get(&block).map_or(0, |data| data + 1), "block {block}");
    }
}

#[test]
fn a_tree_that_leads_in_a_circle_ends() {
    let mut disk = disk(&two(), 7, &thin("v", 1, 31, ""));
    let meta = disk.extents_mut(0, METADATA);
    // The tree of devices becomes a node that is its own child.
    let root = u64::from_le_bytes(meta[320..328].try_into().unwrap());
    let node = &mut meta[root as usize * 4096..][..4096];
    node[4] = 1;
    let room = u32::from_le_bytes(node[20..24].try_into().unwrap()) as usize;
    put64(node, 32, 0);
    put64(node, 32 + room * 8, root);
    let sum = crc32c(&node[4..]) ^ 121_107;
    node[..4].copy_from_slice(&sum.to_le_bytes());
    let said = refusal(&groups(&[&disk]), "v");
    assert!(said.contains("too deep") || said.contains("another place"), "{said}");
}

/// The Castagnoli checksum without its final inversion, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 };
    bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}
