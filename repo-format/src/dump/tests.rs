//! Facts about dumps that need no repository: nothing panics, nothing secret shows.

use super::*;
use crate::entropy::SeededEntropy;
use crate::id::RepositoryId;
use crate::keys::MasterSecret;
use proptest::prelude::*;

#[test]
fn a_writer_key_file_is_shown_without_its_secrets() {
    let keys =
        crate::writer_key::create(RepositoryId([1; 16]), &MasterSecret::from_bytes([2; 32]), &SeededEntropy::new(3));
    let file = crate::writer_key::to_text(&keys);
    let shown = bytes("", file.as_bytes(), None);
    assert_eq!((shown["kind"].as_str(), shown["problems"].as_array().unwrap().len()), (Some("writer key file"), 0));
    let (shown, file): (String, Map<String, Value>) = (shown.to_string(), serde_json::from_str(&file).unwrap());
    for name in WRITER_KEY_SECRETS {
        assert!(!shown.contains(file[name].as_str().unwrap()), "{name}");
    }
}

#[test]
fn a_text_has_no_control_characters_of_its_source() {
    let shown = text(&json!({ "label": "a\u{1b}[2Jb", "list": [{ "x": "\r" }], "none": [] }));
    assert!(!shown.contains('\u{1b}') && !shown.contains('\r'), "{shown:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_a_dump_panic(
        start in prop::sample::select(vec![
            &b"ICECONF1"[..], b"ICEKEYS1", b"ICEMANI1", b"ICERCPT1", b"ICEDATA1", b"ICETREE1", b"ICEFOOT1", b"{", b"",
        ]),
        key in prop::sample::select(vec!["", "config", "keys/x", "manifests/a/b", "data/00/x", "other"]),
        rest in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        text(&bytes(key, &[start, &rest].concat(), None));
    }
}
