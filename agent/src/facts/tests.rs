//! Facts of disks made by the real tools, of superblocks written by hand where the tool is not everywhere, and of noise.

use super::content::{ContentKind, probe};
use super::test_images::{Image, LoopDevice, is_root, run, run_with_input};
use super::{DiskFacts, Partition, TableKind};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};

const MIB: u64 = 1 << 20;
const UUID: &str = "01234567-89ab-4def-8123-456789abcdef";

fn facts(image: &Image) -> DiskFacts {
    let facts = DiskFacts::read(&image.disk(), 512).unwrap();
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<DiskFacts>(&json).unwrap(), facts, "facts survive JSON");
    facts
}

fn gpt_image() -> Image {
    let image = Image::sparse(96 * MIB);
    let partitions = ["-n", "1:2048:+8M", "-t", "1:ef00", "-c", "1:EFI ünï", "-n", "7:0:+64M", "-A", "7:set:2"];
    let ids = ["-U", "AABBCCDD-0102-4304-8506-0708090A0B0C", "-u", "7:11223344-5566-4788-89AA-BBCCDDEEFF00"];
    run("sgdisk", &[&partitions[..], &ids[..], &[image.str()]].concat());
    run("mkfs.ext4", &["-q", "-F", "-U", UUID, "-L", "root", "-E", &format!("offset={}", 9 * MIB), image.str(), "64M"]);
    image
}

#[test]
fn a_gpt_made_by_sgdisk_is_read_with_its_file_systems() {
    let facts = facts(&gpt_image());
    let table = facts.table.clone().unwrap();
    assert_eq!((table.kind, table.id.as_deref()), (TableKind::Gpt, Some("aabbccdd-0102-4304-8506-0708090a0b0c")));
    let [efi, root] = &facts.partitions[..] else { panic!("two partitions, not {facts:?}") };
    assert_eq!((efi.number, efi.offset_bytes, efi.length_bytes), (1, MIB, 8 * MIB));
    assert_eq!(efi.type_id, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert!(efi.is_efi_system() && facts.partitions[1..].iter().all(|other| !other.is_efi_system()));
    assert_eq!((efi.name.as_deref(), efi.bootable, &efi.content), (Some("EFI ünï"), false, &None));
    assert_eq!(root.guid.as_deref(), Some("11223344-5566-4788-89aa-bbccddeeff00"));
    assert!(root.bootable);
    let content = root.content.clone().unwrap();
    assert_eq!(
        (content.kind, content.uuid.as_deref(), content.label.as_deref()),
        (ContentKind::Ext4, Some(UUID), Some("root"))
    );
    assert_eq!(content.size_bytes, Some(64 * MIB));
    assert_eq!(facts.partition(7), Some(root));
    assert!(facts.notes.is_empty());
}

#[test]
fn a_gpt_whose_first_copy_is_damaged_is_read_from_its_backup() {
    let image = gpt_image();
    let whole = facts(&image);
    image.write(&[0xFF], 512 + 20);
    let rescued = facts(&image);
    assert_eq!(rescued.partitions, whole.partitions);
    assert_eq!(rescued.notes.len(), 1);
    image.write(&[0xFF], 96 * MIB - 512 + 20);
    let lost = facts(&image);
    assert_eq!(lost.table.unwrap().kind, TableKind::Mbr);
    assert!(lost.notes[0].contains("neither copy"), "{:?}", lost.notes);
}

#[test]
fn a_gpt_that_no_protective_mbr_announces_is_a_leftover() {
    let image = gpt_image();
    image.write(&[0; 512], 0);
    assert_eq!(facts(&image).table, None);
}

#[test]
fn a_gpt_of_4096_byte_sectors_is_found_in_an_image_file() {
    let image = gpt_image();
    // Header and entries keep their sector numbers, so moving them is all it takes; the backup then does not match.
    let bytes = std::fs::read(&image.path).unwrap();
    image.write(&bytes[1024..1024 + 16384], 8192);
    image.write(&bytes[512..1024], 4096);
    image.write(&[0; 512], 512);
    let facts = facts(&image);
    assert_eq!(facts.sector_bytes, 4096);
    assert_eq!((facts.partitions[0].offset_bytes, facts.partitions[0].length_bytes), (8 * MIB, 64 * MIB));
    assert!(facts.notes[0].contains("partition 7 does not lie on the disk"));
}

#[test]
fn an_mbr_made_by_sfdisk_is_read_with_its_logical_partitions() {
    let image = Image::sparse(64 * MIB);
    let script = "label: dos\nlabel-id: 0xdeadbeef\nunit: sectors\n\
        /dev/x1 : start=2048, size=8192, type=83, bootable\n/dev/x2 : start=16384, size=32768, type=5\n\
        /dev/x5 : start=18432, size=4096, type=82\n/dev/x6 : start=26624, size=8192, type=8e\n";
    run_with_input("sfdisk", &[image.str()], script);
    let swap = Image::sparse(MIB);
    run("mkswap", &["-U", UUID, swap.str()]);
    image.write(&std::fs::read(&swap.path).unwrap(), 18432 * 512);
    let facts = facts(&image);
    assert_eq!(facts.table.unwrap().id.as_deref(), Some("deadbeef"));
    let shape = |p: &Partition| (p.number, p.offset_bytes / 512, p.length_bytes / 512, p.type_id.clone(), p.extended);
    let found: Vec<_> = facts.partitions.iter().map(shape).collect();
    assert_eq!(found[0], (1, 2048, 8192, "0x83".to_owned(), false));
    assert_eq!((found[1].0, found[1].4), (2, true));
    assert_eq!(found[2], (5, 18432, 4096, "0x82".to_owned(), false));
    assert_eq!(found[3], (6, 26624, 8192, "0x8e".to_owned(), false));
    assert!(facts.partitions[0].bootable);
    assert_eq!(facts.partitions[2].content.as_ref().unwrap().uuid.as_deref(), Some(UUID));
}

#[test]
fn a_cycle_of_logical_partitions_ends() {
    let mut disk = vec![0; 64 << 10];
    let entry = |disk: &mut Vec<u8>, at: usize, kind: u8, first: u8, sectors: u8| {
        disk[at + 4] = kind;
        disk[at + 8] = first;
        disk[at + 12] = sectors;
    };
    entry(&mut disk, 446, 0x05, 8, 100);
    entry(&mut disk, 8 * 512 + 446, 0x83, 1, 1);
    entry(&mut disk, 8 * 512 + 462, 0x05, 0, 1);
    for sector in [0, 8] {
        disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xAA]);
    }
    let facts = DiskFacts::read(&disk, 512).unwrap();
    assert_eq!(facts.partitions.len(), 257);
    assert!(facts.notes[0].contains("only the first"));
}

#[test]
fn a_file_system_on_the_whole_disk_has_no_partitions() {
    let image = Image::sparse(64 * MIB);
    run("mkfs.vfat", &["-n", "STICK", "-i", "1234abcd", image.str()]);
    let facts = facts(&image);
    let content = facts.content.unwrap();
    assert_eq!((facts.table, content.kind), (None, ContentKind::Fat));
    assert_eq!((content.uuid.as_deref(), content.label.as_deref()), (Some("1234-ABCD"), Some("STICK")));
}

fn probed(make: impl Fn(&Image)) -> (ContentKind, Option<String>, Option<String>, Option<u64>) {
    let image = Image::sparse(320 * MIB);
    make(&image);
    let content = probe(&image.disk()).unwrap().unwrap();
    (content.kind, content.uuid, content.label, content.size_bytes)
}

#[test]
fn file_systems_made_by_their_tools_are_recognised() {
    let expected = |kind, size| (kind, Some(UUID.to_owned()), Some("a label".to_owned()), Some(size));
    let ext = |kind: &'static str| {
        move |i: &Image| {
            run("mke2fs", &["-q", "-F", "-t", kind, "-U", UUID, "-L", "a label", i.str()]);
        }
    };
    assert_eq!(probed(ext("ext2")), expected(ContentKind::Ext2, 320 * MIB));
    assert_eq!(probed(ext("ext3")), expected(ContentKind::Ext3, 320 * MIB));
    assert_eq!(probed(ext("ext4")), expected(ContentKind::Ext4, 320 * MIB));
    let xfs = |i: &Image| {
        run("mkfs.xfs", &["-q", "-m", &format!("uuid={UUID}"), "-L", "a label", i.str()]);
    };
    assert_eq!(probed(xfs), expected(ContentKind::Xfs, 320 * MIB));
    let btrfs = |i: &Image| {
        run("mkfs.btrfs", &["-q", "-U", UUID, "-L", "a label", i.str()]);
    };
    assert_eq!(probed(btrfs), expected(ContentKind::Btrfs, 320 * MIB));
    let swap = |i: &Image| {
        run("mkswap", &["-U", UUID, "-L", "a label", i.str()]);
    };
    assert_eq!(probed(swap), expected(ContentKind::Swap, 320 * MIB));
}

fn probe_bytes(parts: &[(usize, &[u8])]) -> Option<super::content::Content> {
    let mut disk = vec![0; 1 << 20];
    parts.iter().for_each(|(at, bytes)| disk[*at..*at + bytes.len()].copy_from_slice(bytes));
    probe(&disk).unwrap()
}

#[test]
fn formats_whose_tools_are_rare_are_recognised_by_their_documented_superblocks() {
    let uuid_text = UUID.as_bytes();
    let luks2 = probe_bytes(&[(0, b"LUKS\xBA\xBE\x00\x02"), (24, b"vault"), (168, uuid_text)]).unwrap();
    assert_eq!(
        (luks2.kind, luks2.uuid.as_deref(), luks2.label.as_deref()),
        (ContentKind::Luks2, Some(UUID), Some("vault"))
    );
    assert_eq!(probe_bytes(&[(0, b"LUKS\xBA\xBE\x00\x01"), (168, uuid_text)]).unwrap().kind, ContentKind::Luks1);

    let md = [0xFC, 0x4E, 0x2B, 0xA9, 1];
    for at in [0, 4096, (1 << 20) - 8192] {
        let found = probe_bytes(&[(at, &md), (at + 32, b"host:0"), (1024 + 0x38, &[0x53, 0xEF])]).unwrap();
        assert_eq!((found.kind, found.label.as_deref()), (ContentKind::MdRaid, Some("host:0")), "superblock at {at}");
    }
    assert_eq!(probe_bytes(&[((1 << 20) - 65536, &md[..4])]).unwrap().kind, ContentKind::MdRaid);

    let ntfs =
        probe_bytes(&[(3, b"NTFS    "), (11, &[0, 2, 8]), (40, &[255, 7]), (72, &[8, 7, 6, 5, 4, 3, 2, 1])]).unwrap();
    assert_eq!((ntfs.kind, ntfs.uuid.as_deref()), (ContentKind::Ntfs, Some("0102030405060708")));
    assert_eq!((ntfs.size_bytes, ntfs.block_bytes), (Some(2047 * 512), Some(4096)));

    let exfat = probe_bytes(&[(3, b"EXFAT   "), (72, &[0, 8]), (100, &[4, 3, 2, 1]), (108, &[9])]).unwrap();
    assert_eq!((exfat.kind, exfat.uuid.as_deref()), (ContentKind::Exfat, Some("0102-0304")));

    let iso = probe_bytes(&[
        (32768, b"\x01CD001\x01"),
        (32768 + 40, b"DEBIAN   "),
        (32768 + 80, &[100]),
        (32768 + 128, &[0, 8]),
    ])
    .unwrap();
    assert_eq!((iso.kind, iso.label.as_deref(), iso.size_bytes), (ContentKind::Iso9660, Some("DEBIAN"), Some(204_800)));
}

#[test]
fn an_lvm_volume_tells_its_group_and_logical_volumes() {
    let text = "vg0 {\nid = \"x\"\nextent_size = 8192\nphysical_volumes {\npv0 {\nid = \"y\"\n}\n}\n\
        logical_volumes {\nroot {\nid = \"z\"\nsegment_count = 2\nsegment1 {\nextent_count = 5\n}\nsegment2 {\nextent_count = 1 # 4 MiB\n}\n}\n\
        home {\nsegment1 {\nextent_count = 3\n}\n}\n}\n}\n# Generated\ncontents = \"x\"\n\0";
    // The text wraps around the end of the area.
    let (area, area_bytes, header) = (4096_usize, 2048_usize, 512_usize);
    let text_at = area_bytes - 100;
    let mut label = b"LABELONE".to_vec();
    label.resize(20, 0);
    label.extend(32_u32.to_le_bytes());
    label.extend(b"LVM2 001gEPpqIjr3ZNxBBOYCybm4pEglHqA3IW4");
    for number in [64 << 20, 1 << 20, 0, 0, 0, area as u64, area_bytes as u64, 0, 0] {
        label.extend(u64::to_le_bytes(number));
    }
    let mut slot = Vec::new();
    for number in [text_at as u64, text.len() as u64] {
        slot.extend(u64::to_le_bytes(number));
    }
    let found = probe_bytes(&[
        (512, &label),
        (area + 4, b" LVM2 x[5A%r0N*>"),
        (area + 40, &slot),
        (area + text_at, &text.as_bytes()[..100]),
        (area + header, &text.as_bytes()[100..]),
    ])
    .unwrap();
    let volume = found.lvm.unwrap();
    assert_eq!(volume.uuid.as_deref(), Some("gEPpqI-jr3Z-NxBB-OYCy-bm4p-EglH-qA3IW4"));
    assert_eq!((volume.volume_group.as_deref(), volume.device_bytes), (Some("vg0"), 64 * MIB));
    let volumes: Vec<_> = volume.logical_volumes.iter().map(|v| (v.name.as_str(), v.size_bytes / MIB)).collect();
    assert_eq!(volumes, [("root", 24), ("home", 12)]);
}

#[test]
fn an_lvm_volume_made_by_lvm2_is_read() {
    // The tools need a block device; the test above covers the format for those who have none.
    if !is_root() {
        return;
    }
    let image = Image::sparse(64 * MIB);
    let device = LoopDevice::new(&image.path);
    let system_dir = format!("LVM_SYSTEM_DIR={}", image.dir.path().display());
    let lvm = |args: &[&str]| {
        let options = [&system_dir, args[0], "--driverloaded", "n", "--devices", &device.path];
        run("env", &[&options[..], &args[1..]].concat())
    };
    lvm(&["pvcreate", &device.path]);
    lvm(&["vgcreate", "icevg", &device.path]);
    lvm(&["lvcreate", "-an", "-Zn", "-Wn", "-n", "root", "-L", "20M", "icevg"]);
    lvm(&["lvcreate", "-an", "-Zn", "-Wn", "-n", "home", "-L", "12M", "icevg"]);
    drop(device);
    let volume = facts(&image).content.unwrap().lvm.unwrap();
    assert_eq!((volume.volume_group.as_deref(), volume.device_bytes), (Some("icevg"), 64 * MIB));
    let volumes: Vec<_> = volume.logical_volumes.iter().map(|v| (v.name.as_str(), v.size_bytes / MIB)).collect();
    assert_eq!(volumes, [("root", 20), ("home", 12)]);
}

#[test]
fn facts_from_a_newer_program_can_be_read() {
    let json = r#"{"sector_bytes":512,"table":{"kind":"quantum","id":null,"new":1},"partitions":[
        {"number":1,"offset_bytes":0,"length_bytes":5,"type_id":"x","content":{"kind":"bcachefs","extra":[]}}]}"#;
    let facts: DiskFacts = serde_json::from_str(json).unwrap();
    assert_eq!(facts.table.unwrap().kind, TableKind::Unknown);
    assert_eq!(facts.partitions[0].content.as_ref().unwrap().kind, ContentKind::Unknown);
}

#[test]
fn the_json_of_facts_is_fixed() {
    let facts = facts(&gpt_image());
    let json = serde_json::to_value(&facts).unwrap();
    let expected = serde_json::json!({
        "number": 1, "offset_bytes": MIB, "length_bytes": 8 * MIB, "name": "EFI ünï",
        "type_id": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "guid": facts.partitions[0].guid,
    });
    assert_eq!(json["partitions"][0], expected);
    assert_eq!(json["table"]["kind"], "gpt");
    let content =
        serde_json::json!({"kind": "ext4", "uuid": UUID, "label": "root", "size_bytes": 64 * MIB, "block_bytes": 1024});
    let found = &json["partitions"][1]["content"];
    assert_eq!((&found["kind"], &found["uuid"]), (&content["kind"], &content["uuid"]));
}

/// Noise with the magics of all formats sprinkled in, so that the readers get past their first check.
fn sprinkle(disk: &mut [u8], magics: &[u8]) {
    const MAGICS: &[(usize, &[u8])] = &[
        (510, &[0x55, 0xAA]),
        (450, &[0xEE]),
        (512, b"EFI PART"),
        (512, b"LABELONE"),
        (536, b"LVM2 001"),
        (0, b"XFSB"),
        (1080, &[0x53, 0xEF]),
        (0, b"LUKS\xBA\xBE\x00\x02"),
        (3, b"NTFS    "),
        (3, b"EXFAT   "),
        (82, b"FAT32   "),
        (4086, b"SWAPSPACE2"),
        (4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]),
        (450, &[0x05]),
    ];
    for which in magics {
        let (at, magic) = MAGICS[usize::from(*which) % MAGICS.len()];
        if let Some(place) = disk.get_mut(at..at + magic.len()) {
            place.copy_from_slice(magic);
        }
    }
}

proptest! {
    #[test]
    fn noise_never_panics(mut bytes in vec(any::<u8>(), 0..9000), magics in vec(any::<u8>(), 0..4), sector in 0..2) {
        sprinkle(&mut bytes, &magics);
        DiskFacts::read(&bytes, if sector == 0 { 512 } else { 4096 }).unwrap();
    }

    #[test]
    fn zeros_with_magics_and_some_noise_never_panic(
        length in 0..80_000_usize,
        noise in vec((0..9000_usize, any::<u8>()), 0..60),
        magics in vec(any::<u8>(), 1..5),
    ) {
        let mut bytes = vec![0; length];
        sprinkle(&mut bytes, &magics);
        for (at, value) in noise {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        DiskFacts::read(&bytes, 512).unwrap();
    }
}
