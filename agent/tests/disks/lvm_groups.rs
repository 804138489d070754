//! Volume groups from made disks: which copy of the metadata counts, what belongs together, and what is refused.

use crate::lvm_made::{
    AREA, AREA_BYTES, EXTENT, Made, SECOND_AREA, content, described, group, groups, hidden, linear, put32, refusal,
    segment, uuid, volume,
};

/// A group over two disks with one volume on each.
fn two_disks() -> (Made, Made) {
    let text = group(3, 2, &(volume("a", &[linear(0, 4, "pv0", 2)]) + &volume("b", &[linear(0, 3, "pv1", 7)])));
    (Made::new(0, 64).text(&text), Made::new(1, 64).text(&text))
}

/// One disk with these volumes.
fn one_disk(logical: &str) -> Made {
    Made::new(0, 64).text(&group(1, 1, logical))
}

#[test]
fn linear_and_striped_volumes_over_disks_are_put_together() {
    let stripes = segment(4, 6, "striped", "stripe_count = 2\nstripe_size = 8\nstripes = [\"pv1\", 20, \"pv0\", 30]");
    let text = group(1, 2, &volume("v", &[linear(0, 3, "pv1", 1), linear(3, 1, "pv0", 9), stripes]));
    let (a, b) = (Made::new(0, 64).text(&text), Made::new(1, 64));
    let mut expected = [b.extents(1, 3), a.extents(9, 1)].concat();
    for (on_b, on_a) in b.extents(20, 3).chunks(4096).zip(a.extents(30, 3).chunks(4096)) {
        expected.extend([on_b, on_a].concat());
    }
    let found = groups(&[&a, &b]);
    assert!(content(&found, "v").unwrap() == expected);
    let group = &found.groups[0];
    assert_eq!((group.name.as_str(), group.uuid.as_str(), group.disks.as_slice()), ("vg", "vguuid", &[0, 1][..]));
    assert_eq!((group.volumes[0].kind.as_str(), group.volumes[0].uuid.as_str()), ("linear+striped", "uuid-v"));
}

#[test]
fn a_text_around_the_end_of_the_ring_and_a_label_in_any_sector_are_found() {
    let text = group(1, 1, &volume("v", &[linear(0, 2, "pv0", 5)]));
    for sector in 0..4 {
        let mut disk = Made::new(0, 64);
        disk.bytes[512..1024].fill(0);
        disk.label(0, sector);
        disk.text_at(AREA, AREA_BYTES - 100, &text);
        assert!(content(&groups(&[&disk]), "v").unwrap() == disk.extents(5, 2), "sector {sector}");
    }
}

#[test]
fn the_newest_sound_copy_counts_wherever_it_is() {
    let text = |sequence, at| group(sequence, 1, &volume("v", &[linear(0, 2, "pv0", at)]));
    let mut disk = Made::new(0, 64).text(&text(5, 10));
    disk.text_at(SECOND_AREA, 512, &text(6, 20));
    assert!(content(&groups(&[&disk]), "v").unwrap() == disk.extents(20, 2));
    // The header says that the copy is to be ignored.
    let mut ignored = disk.clone();
    ignored.bytes[SECOND_AREA + 60] = 1;
    let sum = crate::lvm_made::checksum(&ignored.bytes[SECOND_AREA + 4..SECOND_AREA + 512]);
    put32(&mut ignored.bytes, SECOND_AREA, sum);
    assert!(content(&groups(&[&ignored]), "v").unwrap() == disk.extents(10, 2));
    for damaged_at in [SECOND_AREA + 600, SECOND_AREA + 30, SECOND_AREA + 70] {
        let mut damaged = disk.clone();
        damaged.bytes[damaged_at] ^= 1;
        let found = groups(&[&damaged]);
        assert!(content(&found, "v").unwrap() == disk.extents(10, 2));
        assert!(found.notes[0].contains("wrong checksum"), "{:?}", found.notes);
    }
    let mut differs = disk.clone();
    differs.text_at(SECOND_AREA, 512, &text(5, 20));
    assert!(refusal(&groups(&[&differs]), "v").contains("same age differ"));
}

#[test]
fn a_damaged_label_is_no_physical_volume() {
    let mut disk = one_disk(&volume("v", &[linear(0, 2, "pv0", 5)]));
    disk.bytes[512 + 40] ^= 1;
    let found = groups(&[&disk]);
    assert!(found.groups.is_empty() && found.notes[0].contains("label"), "{:?}", found.notes);
}

#[test]
fn a_missing_disk_is_named_and_hides_no_volume_on_others() {
    let (a, b) = two_disks();
    let found = groups(&[&b]);
    assert!(content(&found, "b").unwrap() == b.extents(7, 3));
    let words = refusal(&found, "a");
    assert_eq!(words, format!("the physical volume {} is not in this recovery point", uuid(0)));
    assert_eq!(found.groups[0].missing, [uuid(0)]);
    assert_eq!(found.groups[0].volumes[0].size_bytes, 4 * EXTENT as u64);
    // A disk whose own copy of the metadata is gone is known by its label.
    let mut without = a.clone();
    without.bytes[AREA..AREA + AREA_BYTES].fill(0);
    assert!(content(&groups(&[&without, &b]), "a").unwrap() == a.extents(2, 4));
}

#[test]
fn disks_that_may_not_be_what_they_say_are_not_read() {
    let (a, b) = two_disks();
    assert!(refusal(&groups(&[&a, &b, &a]), "a").contains("several disks"));
    let other = group(9, 2, &volume("o", &[linear(0, 2, "pv0", 1)])).replace("vguuid", "other");
    let taken = groups(&[&a.clone().text(&other), &b]);
    let volume = &taken.groups.iter().find(|g| g.uuid == "vguuid").unwrap().volumes[0];
    assert!(volume.refusal().unwrap().to_string().contains("belongs to another group"));
    let text = group(4, 2, &(volume_on("a", "pv0") + &volume_on("b", "pv1"))).replacen(
        "flags = []",
        "flags = [\"MISSING\"]",
        1,
    );
    let gone = groups(&[&a, &b.clone().text(&text)]);
    assert!(refusal(&gone, "a").contains("went on without"));
    assert!(content(&gone, "b").is_ok());
}

fn volume_on(name: &str, disk: &str) -> String {
    volume(name, &[linear(0, 2, disk, 1)])
}

#[test]
fn groups_of_one_name_stay_apart() {
    let (a, _) = two_disks();
    let text = group(9, 2, &volume_on("b", "pv1")).replace("vguuid", "other").replace(&uuid(0), &uuid(5));
    let found = groups(&[&a, &Made::new(1, 64).text(&text)]);
    let names: Vec<_> = found.groups.iter().map(|g| (g.name.as_str(), g.uuid.as_str(), g.disks.as_slice())).collect();
    // The second disk is named by both; its own metadata says whose it is.
    assert_eq!(names, [("vg", "vguuid", &[0, 1][..]), ("vg", "other", &[1][..])]);
    assert!(found.groups[1].volumes[0].open().is_ok() && found.groups[0].volumes[1].refusal().is_some());
}

#[test]
fn descriptions_that_contradict_themselves_are_refused_alone() {
    let good = volume("good", &[linear(0, 1, "pv0", 60)]);
    let raid = "device_count = 1\nraids = [\"m\", \"i\"]";
    let cases = [
        (volume("v", &[linear(0, 4, "pv0", 2)]) + &volume("w", &[linear(0, 1, "pv0", 5)]), "shares extents"),
        (volume("v", &[linear(0, 3, "pv0", 62)]), "outside physical volume"),
        (volume("v", &[linear(0, 3, "pv9", 1)]), "does not exist"),
        (volume("v", &[linear(0, 3, "v", 0)]), "consists of itself"),
        (volume("v", &[linear(0, 3, "w", 0)]) + &hidden("w", &[linear(0, 3, "v", 0)]), "consists of itself"),
        (volume("v", &[linear(0, 3, "w", 1)]) + &hidden("w", &[linear(0, 3, "pv0", 0)]), "beyond the end"),
        (volume("v", &[linear(0, 3, "pv0", 1), linear(4, 1, "pv0", 9)]), "do not fit together"),
        (volume("v", &[linear(0, 0, "pv0", 1)]), "do not fit together"),
        (volume("v", &[segment(0, 2, "striped", "stripe_count = 2\nstripes = [\"pv0\", 1]")]), "does not count"),
        (
            volume(
                "v",
                &[segment(0, 3, "striped", "stripe_count = 2\nstripe_size = 8\nstripes = [\"pv0\", 1, \"pv0\", 9]")],
            ),
            "no multiple",
        ),
        (
            volume("v", &[segment(0, 2, "striped", "stripe_count = 2\nstripes = [\"pv0\", 1, \"pv0\", 9]")]),
            "size of stripes",
        ),
        (
            volume("v", &[segment(0, 2, "striped", "stripe_count = 1\nturned = 1\nstripes = [\"pv0\", 1]")]),
            "with turned",
        ),
        (described("v", "\"VISIBLE\", \"UPSIDE_DOWN\"", &[linear(0, 3, "pv0", 1)]), "UPSIDE_DOWN"),
        (volume("v", &[segment(0, 2, "raid5", raid)]), "raid5"),
        (volume("v", &[segment(0, 2, "raid1+RESHAPE", raid)]), "raid1+RESHAPE"),
        (volume("v", &[segment(0, 2, "cache+CACHE_USES_CACHEVOL", "")]), "dm-cache"),
        (volume("v", &[segment(0, 2, "writecache", "")]), "dm-writecache"),
        (volume("v", &[segment(0, 2, "vdo", "")]), "VDO"),
        (volume("v", &[segment(0, 2, "mirror", "")]), "dm-mirror"),
        (volume("v", &[segment(0, 2, "quantum", "")]), "quantum"),
        (volume("v", &[segment(0, 2, "thin", "merge = \"s\"")]), "merge"),
        (
            volume("v", &[segment(0, 2, "thin", "thin_pool = \"good\"\ndevice_id = 1\ntransaction_id = 0")]),
            "no thin pool",
        ),
    ];
    for (logical, words) in cases {
        let disk = one_disk(&(logical.clone() + &good));
        let found = groups(&[&disk]);
        let said = refusal(&found, "v");
        assert!(said.contains(words), "{said}\n{logical}");
        assert!(content(&found, "good").unwrap() == disk.extents(60, 1));
    }
}

#[test]
fn a_group_that_is_not_understood_is_listed_and_refused() {
    let text = group(1, 1, &volume_on("v", "pv0"));
    for (from, to, words) in
        [("\"READ\", \"WRITE\"]", "\"READ\", \"SIDEWAYS\"]", "SIDEWAYS"), ("\"lvm2\"", "\"lvm3\"", "unknown format")]
    {
        let disk = Made::new(0, 64).text(&text.replacen(from, to, 1));
        assert!(refusal(&groups(&[&disk]), "v").contains(words));
    }
    let nothing = Made::new(0, 64).text("vg {");
    let found = groups(&[&nothing]);
    assert!(found.groups.is_empty() && found.notes[0].contains("cannot be used"), "{:?}", found.notes);
}

#[test]
fn zeros_and_lost_segments_are_what_they_are() {
    let disk = one_disk(&volume("v", &[segment(0, 1, "zero", ""), segment(1, 1, "error", ""), linear(2, 1, "pv0", 3)]));
    let found = groups(&[&disk]);
    let volume = found.groups[0].volumes[0].open().unwrap();
    let mut read = vec![1; EXTENT];
    volume.read_exact_at(&mut read, 0).unwrap();
    assert!(read.iter().all(|byte| *byte == 0));
    assert!(volume.read_exact_at(&mut read, EXTENT as u64 - 1).is_err());
    volume.read_exact_at(&mut read, 2 * EXTENT as u64).unwrap();
    assert!(read == disk.extents(3, 1));
}
