//! Damaged physical volumes: the reader ends, and what it shows is what the sound disk shows.

use std::sync::LazyLock;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use crate::lvm_made::{DATA, EXTENT, Made, group, groups, linear, segment, volume, whole};
use crate::lvm_thin::{disk, two};

/// A disk with a thin volume, and what that shows; made once.
static SOUND: LazyLock<(Made, Vec<u8>)> = LazyLock::new(|| {
    let thin = "thin_pool = \"pool\"\ntransaction_id = 3\ndevice_id = 1\n";
    let sound = disk(&two(), 7, &volume("v", &[segment(0, 31, "thin", thin)]));
    let expected = shown(&sound).expect("the sound disk shows its volume");
    (sound, expected)
});

/// What the volume shows, if anything.
fn shown(disk: &Made) -> Option<Vec<u8>> {
    let found = groups(&[disk]);
    let volume = found.groups.first()?.volumes.iter().find(|volume| volume.name == "v")?;
    whole(&*volume.open().ok()?).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Label, headers, text and the pool's metadata all carry checksums.
    #[test]
    fn flipped_bits_of_metadata_show_the_same_or_nothing(flips in prop::collection::vec((0_usize..3, 0_usize..32_768, 0_u8..8), 1..4)) {
        let (sound, expected) = &*SOUND;
        let mut damaged = sound.clone();
        for (place, at, bit) in flips {
            let start = [0, 4096, DATA][place];
            damaged.bytes[start + at] ^= 1 << bit;
        }
        if let Some(bytes) = shown(&damaged) {
            assert!(bytes == *expected);
        }
    }

    /// A text with right checksums that says anything.
    #[test]
    fn any_text_is_read_to_an_end(
        cut in 0_usize..900,
        changes in prop::collection::vec((0_usize..900, any::<u8>()), 0..12),
        numbers in prop::collection::vec((0_usize..40, any::<u64>()), 0..6),
    ) {
        let stripes = segment(4, 6, "striped", "stripe_count = 2\nstripe_size = 8\nstripes = [\"pv0\", 20, \"pv0\", 30]");
        let text = group(1, 1, &(volume("v", &[linear(0, 4, "pv0", 1), stripes]) + &volume("w", &[linear(0, 2, "v", 3)])));
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        for (index, number) in numbers {
            let count = words.len();
            words[index % count] = number.to_string();
        }
        let mut bytes = words.join(" ").into_bytes();
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        if cut < 300 {
            bytes.truncate(length - cut);
        }
        let disk = SOUND.0.clone().text(&String::from_utf8_lossy(&bytes));
        for volume in groups(&[&disk]).groups.iter().flat_map(|group| &group.volumes) {
            let Ok(shown) = volume.open() else { continue };
            // Whatever it says, it is extents of this disk.
            assert!(shown.size_bytes() <= 1 << 60);
            let mut read = vec![0; EXTENT.min(shown.size_bytes() as usize)];
            let last = shown.size_bytes() - read.len() as u64;
            shown.read_exact_at(&mut read, last).unwrap();
        }
    }
}

#[test]
fn long_texts_and_many_volumes_on_volumes_end() {
    let mut logical = String::new();
    for level in 0..12 {
        let segments: Vec<String> = (0..200).map(|i| linear(i, 1, &format!("v{}", level + 1), i % 2)).collect();
        logical += &volume(&format!("v{level}"), &segments);
    }
    logical += &volume("v12", &[linear(0, 2, "pv0", 1)]);
    // One extent for each level would be read two hundred times over and over if volumes were built more than once.
    let disk = Made::new(0, 64).text(&group(1, 1, &logical));
    let found = groups(&[&disk]);
    assert_eq!(found.groups[0].volumes.len(), 13);
    let shown = whole(&*found.groups[0].volumes[0].open().unwrap()).unwrap();
    assert!(shown[..EXTENT] == *disk.extents(1, 1));
    let deep: String =
        (0..40).map(|level| volume(&format!("v{level}"), &[linear(0, 1, &format!("v{}", level + 1), 0)])).collect();
    let deep = Made::new(0, 64).text(&group(1, 1, &(deep + &volume("v40", &[linear(0, 1, "pv0", 0)]))));
    assert!(crate::lvm_made::refusal(&groups(&[&deep]), "v0").contains("limit"));
}
