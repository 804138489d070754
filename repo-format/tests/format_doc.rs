//! FORMAT.md against the code: every table of bytes, the limits and the objects. A layout counts as proven only where a structure
//! was really encoded and its fields were found where the table says.

use crate::support::full::{Full, full, keys};
use repo_format::codec::{self, Kind};
use repo_format::entropy::SeededEntropy;
use repo_format::id::{EntryId, PackId, RepositoryId, WriterId};
use repo_format::keys::MasterSecret;
use repo_format::layout::{self, Field, Length, bytes_of, number_of};
use repo_format::pack::{self, FinishedPack, PackBuilder, PackInfo, PackKind};
use repo_format::seal::Counter;
use repo_format::sign::Signer;
use repo_format::tree::node::{FAN_OUT, MAX_LEVEL, NODE_HEADER_BYTES, Node};
use repo_format::{catalog, config, manifest, record};
use std::collections::BTreeMap;

const FORMAT: &str = include_str!("../FORMAT.md");

/// Lines of the block ```` ```table NAME ````.
fn table(name: &str) -> Vec<&'static str> {
    let start = format!("```table {name}\n");
    let (_, rest) = FORMAT.split_once(&start).unwrap_or_else(|| panic!("FORMAT.md has a table {name}"));
    rest.split_once("```").unwrap().0.lines().collect()
}

/// A line of a byte table in the words of the code; the description is what is left.
fn parse(line: &'static str) -> (usize, Length, &'static str) {
    let (offset, rest) = line.split_once(' ').unwrap();
    let (length, text) = match rest.strip_prefix("32 × count ") {
        Some(text) => (Length::Times(32, "count"), text),
        None => {
            let (length, text) = rest.split_once(' ').unwrap();
            let length = match length {
                ".." => Length::Rest,
                number if number.parse::<usize>().is_ok() => Length::Bytes(number.parse().unwrap()),
                name => Length::Of(name),
            };
            (length, text)
        }
    };
    (offset.parse().unwrap(), length, text)
}

const LAYOUTS: [(&str, &[Field], usize); 8] = [
    ("record-header", layout::RECORD_HEADER, record::HEADER_BYTES),
    ("manifest-body", layout::MANIFEST_BODY, manifest::PREFIX_BYTES),
    ("sealed-body", layout::SEALED_BODY, catalog::SALT_BYTES),
    ("pack-header", layout::PACK_HEADER, pack::HEADER_BYTES),
    ("entry-aad", layout::ENTRY_AAD, pack::AAD_BYTES),
    ("footer-row", layout::FOOTER_ROW, pack::ROW_BYTES),
    ("pack-trailer", layout::PACK_TRAILER, pack::TRAILER_BYTES),
    ("node", layout::NODE, NODE_HEADER_BYTES),
];

#[test]
fn every_byte_table_is_the_layout_of_the_code() {
    for (name, fields, _) in LAYOUTS {
        let lines: Vec<_> = table(name).into_iter().map(parse).collect();
        assert_eq!(lines.len(), fields.len(), "{name}");
        for ((offset, length, text), field) in lines.into_iter().zip(fields) {
            assert_eq!((offset, length), (field.offset, field.length), "{name}: {text}");
            assert!(text.starts_with(field.name), "{name}: {text:?} is called {:?}", field.name);
        }
    }
    let tables = FORMAT.matches("```table ").count();
    assert_eq!(tables, LAYOUTS.len() + 1, "a table of FORMAT.md is compared with nothing");
}

#[test]
fn fields_follow_each_other_without_gaps_up_to_the_length_the_code_uses() {
    for (name, fields, total) in LAYOUTS {
        let mut next = 0;
        for field in fields {
            assert_eq!(field.offset, next, "{name}: {}", field.name);
            next += if let Length::Bytes(length) = field.length { length } else { 0 };
        }
        assert_eq!(next, total, "{name}");
    }
}

const REPOSITORY: RepositoryId = RepositoryId([0x11; 16]);
const WRITER: WriterId = WriterId([0x22; 16]);

#[test]
fn records_are_written_as_documented() {
    let signer = Signer::new(WRITER, &[1; 32]);
    let bytes = record::encode(record::LEASE, &REPOSITORY, &signer, b"the body").unwrap();
    let field = |name| bytes_of(layout::RECORD_HEADER, name, &bytes).unwrap();
    let number = |name| number_of(layout::RECORD_HEADER, name, &bytes).unwrap();
    assert_eq!((field("magic"), number("version"), number("reserved")), (b"ICELEAS1".as_slice(), 1, 0));
    assert_eq!(
        (number("body_bytes"), field("repository id"), field("signer")),
        (8, [0x11; 16].as_slice(), [0x22; 16].as_slice())
    );
    assert_eq!(&bytes[48..56], b"the body");
    // Signature over the digest of header and body, then the checksum of everything before it.
    assert_eq!(bytes[56..120], signer.sign(&blake3_of(&bytes[..56])));
    assert_eq!(&bytes[120..], blake3_of(&bytes[..120]).as_bytes());
    assert_eq!(record::TAIL_BYTES, 64 + 32);
}

fn blake3_of(bytes: &[u8]) -> blake3::Hash {
    blake3::hash(bytes)
}

#[test]
fn manifests_are_written_as_documented() {
    let Full { bench, first, second, .. } = full();
    let [one, two] = [first, second].map(|at| bench.store().get(&at.key()).unwrap());
    let length = |bytes: &[u8]| number_of(layout::RECORD_HEADER, "body_bytes", bytes).unwrap();
    let body = |bytes: &[u8]| bytes[48..48 + usize::try_from(length(bytes)).unwrap()].to_vec();
    let field = |bytes: &[u8], name| bytes_of(layout::MANIFEST_BODY, name, &body(bytes)).unwrap().to_vec();
    assert_eq!((field(&one, "name id"), field(&one, "previous")), (first.name.0.to_vec(), vec![0; 32]));
    assert_eq!(field(&two, "previous"), first.manifest.0);
    assert_ne!(field(&one, "salt"), field(&two, "salt"));
    // A receipt follows, and the id is the hash of the manifest's record alone.
    let record_bytes = 48 + body(&one).len() + record::TAIL_BYTES;
    assert!(one[record_bytes..].starts_with(b"ICERCPT1"));
    assert_eq!(blake3_of(&one[..record_bytes]).as_bytes(), &first.manifest.0);
}

/// What only a holder of the master secret can open is opened here by the derivations of the page alone.
#[test]
fn catalogs_and_leaves_are_sealed_as_documented() {
    let Full { bench, .. } = full();
    let repository = bench.repo().config().repository;
    let master = bench.repo().keys().master_for("a test").unwrap();
    for prefix in ["catalogs/", "leaves/"] {
        let key = &keys(&bench, prefix)[0];
        let bytes = bench.store().get(key).unwrap();
        let length = usize::try_from(number_of(layout::RECORD_HEADER, "body_bytes", &bytes).unwrap()).unwrap();
        let body = &bytes[48..48 + length];
        let salt: [u8; 32] = bytes_of(layout::SEALED_BODY, "salt", body).unwrap().try_into().unwrap();
        let aad = [&bytes[..48], &salt].concat();
        let mut sealed = body[32..].to_vec();
        let object_key =
            if prefix == "leaves/" { master.leaf(&repository, &salt) } else { master.catalog(&repository, &salt) };
        let frame = object_key.open(Counter(0), &aad, &mut sealed).unwrap();
        let plain = zstd::bulk::decompress(frame, 1 << 20).unwrap();
        if prefix == "leaves/" {
            // Nothing shared, twelve bytes of path, a regular file of five bytes, a time in zigzag, no nanoseconds, inode 1.
            let mut expected = vec![0, 12];
            expected.extend(b"etc/hostname");
            expected.extend([1, 5, 0x80, 0xc4, 0x9f, 0xd5, 0x0c, 0, 1]);
            // Eight bytes shared with it.
            expected.extend([8, 1, b's', 1, 5, 0x80, 0xc4, 0x9f, 0xd5, 0x0c, 0, 2]);
            assert_eq!(plain, expected);
            assert!(key.ends_with(&master.leaf_id(&plain).to_string()));
        } else {
            let catalog: serde_json::Value = serde_json::from_slice(&plain).unwrap();
            assert!(key.ends_with(catalog["manifest"].as_str().unwrap()), "{catalog}");
        }
    }
}

fn data_pack() -> FinishedPack {
    let public = MasterSecret::from_bytes([7; 32]).private_key().public();
    let entropy = SeededEntropy::new(1);
    let mut pack = PackBuilder::data(REPOSITORY, (WRITER, WRITER), &public, 65536, &entropy).unwrap();
    pack.add(EntryId([0x33; 32]), Kind::Raw, 300, &[5; 300]).unwrap();
    pack.add(EntryId([0x44; 32]), Kind::Zstd, 1000, &[6; 200]).unwrap();
    pack.finish(&Signer::new(WRITER, &[1; 32]))
}

#[test]
fn pack_headers_are_written_as_documented() {
    let pack = data_pack();
    let header = &pack.info.header;
    let field = |name| bytes_of(layout::PACK_HEADER, name, &pack.bytes).unwrap();
    let number = |name| number_of(layout::PACK_HEADER, name, &pack.bytes).unwrap();
    assert_eq!((field("magic"), number("version"), number("chunk_bytes")), (b"ICEDATA1".as_slice(), 1, 65536));
    assert_eq!((field("repository id"), field("writer")), (REPOSITORY.0.as_slice(), WRITER.0.as_slice()));
    assert_eq!((field("signer"), field("salt")), (WRITER.0.as_slice(), header.salt.as_slice()));
    assert_eq!(field("HPKE encapsulated key"), header.wrapped.encapsulated);
    assert_eq!(field("HPKE ciphertext of the pack key"), header.wrapped.ciphertext);
    assert!(pack.bytes[176..256].iter().all(|byte| *byte == 0));
}

#[test]
fn footers_are_written_as_documented() {
    let pack = data_pack();
    let bytes = &pack.bytes;
    let trailer = &bytes[bytes.len() - 128..];
    let table = &bytes[bytes.len() - 128 - 2 * 64..bytes.len() - 128];
    let expected = [([0x33; 32], 256, 316, 300, 0), ([0x44; 32], 572, 216, 1000, 1)];
    for (row, (id, offset, stored, plain, kind)) in table.chunks(64).zip(expected) {
        let number = |name| usize::try_from(number_of(layout::FOOTER_ROW, name, row).unwrap()).unwrap();
        assert_eq!(bytes_of(layout::FOOTER_ROW, "id", row).unwrap(), id);
        assert_eq!((number("offset in the pack"), number("stored_bytes")), (offset, stored));
        assert_eq!((number("plain_bytes"), number("kind")), (plain, kind));
        let sealed = &bytes[offset..offset + stored];
        let hash = bytes_of(layout::FOOTER_ROW, "first half of the BLAKE3-256 of the sealed bytes", row).unwrap();
        assert_eq!(hash, &blake3_of(sealed).as_bytes()[..16]);
    }
    let number = |name| number_of(layout::PACK_TRAILER, name, trailer).unwrap();
    assert_eq!((number("entry_count"), number("table_bytes"), number("pack_bytes")), (2, 128, bytes.len() as u64));
    let signed = [&bytes[..256], table, &trailer[..32]].concat();
    let signature = Signer::new(WRITER, &[1; 32]).sign(&blake3_of(&signed));
    assert_eq!(bytes_of(layout::PACK_TRAILER, "Ed25519 signature", trailer).unwrap(), signature);
    let checked = [&signed, signature.as_slice()].concat();
    assert_eq!(bytes_of(layout::PACK_TRAILER, "BLAKE3-256", trailer).unwrap(), blake3_of(&checked).as_bytes());
    assert_eq!(pack.id.0, *blake3_of(bytes).as_bytes());
}

#[test]
fn a_continued_entry_needs_a_frame_that_it_can_continue() {
    let public = MasterSecret::from_bytes([7; 32]).private_key().public();
    let begin = || PackBuilder::data(REPOSITORY, (WRITER, WRITER), &public, 65536, &SeededEntropy::new(1)).unwrap();
    let id = |number: u32| EntryId([u8::try_from(number).unwrap(); 32]);
    let continued = |pack: &mut PackBuilder, number, bytes| pack.add(id(number), Kind::Continued, bytes, &[6; 200]);
    assert!(continued(&mut begin(), 1, 1000).is_err(), "nothing is before it");
    let mut pack = begin();
    pack.add(id(0), Kind::Raw, 300, &[5; 300]).unwrap();
    assert!(continued(&mut pack, 1, 1000).is_err(), "raw entries have no frame");
    let mut pack = begin();
    pack.add(id(0), Kind::Zstd, 1000, &[6; 200]).unwrap();
    for number in 1..codec::MAX_FRAME_ENTRIES {
        continued(&mut pack, number, 1000).unwrap();
    }
    assert!(continued(&mut pack, 99, 1000).is_err(), "the frame has its most entries");
    let mut pack = begin();
    pack.add(id(0), Kind::Zstd, codec::MAX_FRAME_BYTES, &[6; 200]).unwrap();
    assert!(continued(&mut pack, 1, 1).is_err(), "the frame is as long as can be");

    // The same rules hold for what is read: here a row says that it continues a raw one.
    let mut bytes = data_pack().bytes;
    let kind = bytes.len() - 128 - 64 + 44;
    bytes[kind] = Kind::Continued as u8;
    let id = PackId(*blake3_of(&bytes).as_bytes());
    let Full { bench, .. } = full();
    let signers = bench.repo().signers();
    let error = PackInfo::from_bytes(PackKind::Data, &id, &bytes, &REPOSITORY, signers).err().unwrap();
    assert!(error.to_string().contains("row 1 of its table continues no frame"), "{error}");
}

#[test]
fn the_additional_data_of_entries_is_as_documented() {
    let row = data_pack().info.rows[1].clone();
    let aad = pack::entry_aad(&REPOSITORY, &[0x55; 32], 9, &row);
    let field = |name| bytes_of(layout::ENTRY_AAD, name, &aad).unwrap();
    let number = |name| number_of(layout::ENTRY_AAD, name, &aad).unwrap();
    assert_eq!(
        (field("repository id"), field("salt"), field("id")),
        ([0x11; 16].as_slice(), [0x55; 32].as_slice(), [0x44; 32].as_slice())
    );
    assert_eq!(
        (number("entry number"), number("plain_bytes"), number("stored_bytes"), number("kind")),
        (9, 1000, 216, 1)
    );
}

#[test]
fn nodes_are_written_as_documented() {
    let mut node = Node::empty(3);
    node.children[1] = Some([0xAA; 32]);
    node.children[127] = Some([0xBB; 32]);
    let bytes = node.encode();
    let number = |name| number_of(layout::NODE, name, &bytes).unwrap();
    assert_eq!(bytes_of(layout::NODE, "magic", &bytes).unwrap(), b"NODE");
    assert_eq!((number("version"), number("level"), number("count")), (1, 3, 2));
    let bitmap = bytes_of(layout::NODE, "bitmap", &bytes).unwrap();
    assert_eq!(u128::from_le_bytes(bitmap.try_into().unwrap()), 1 << 1 | 1 << 127);
    assert_eq!(bytes[24..], [[0xAA; 32], [0xBB; 32]].concat());
    assert!(FORMAT.contains(&format!("2 count, 1 to {FAN_OUT}")));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let limits: BTreeMap<&str, &str> = table("limits").into_iter().map(|line| line.split_once(' ').unwrap()).collect();
    let expected = [
        ("chunk_bytes", format!("{} .. {}, a power of two", config::MIN_CHUNK_BYTES, config::MAX_CHUNK_BYTES)),
        ("pack_bytes", pack::MAX_PACK_BYTES.to_string()),
        ("entries", format!("{} in a pack", pack::MAX_ENTRIES)),
        ("frame_entries", codec::MAX_FRAME_ENTRIES.to_string()),
        ("frame_plain_bytes", codec::MAX_FRAME_BYTES.to_string()),
        ("record_body_bytes", record::MAX_BODY_BYTES.to_string()),
        ("disks", format!("{} in a manifest", manifest::MAX_DISKS)),
        ("disk_bytes", manifest::MAX_DISK_BYTES.to_string()),
        ("name_bytes", manifest::MAX_NAME_BYTES.to_string()),
        ("catalog_bytes", catalog::MAX_CATALOG_BYTES.to_string()),
        ("leaf_bytes", catalog::leaf::MAX_LEAF_BYTES.to_string()),
        ("path_bytes", format!("{} in a leaf", catalog::leaf::MAX_PATH_BYTES)),
    ];
    assert_eq!(limits.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(limits.get(name), Some(&value.as_str()), "{name}");
    }
    // The highest level reaches over the largest disk of the smallest chunks.
    assert!(
        128_u128.pow(u32::from(MAX_LEVEL) + 1) * u128::from(config::MIN_CHUNK_BYTES)
            >= u128::from(manifest::MAX_DISK_BYTES)
    );
}

/// Rows of the table of objects: key pattern, magics, who writes it.
fn object_rows() -> Vec<(Vec<&'static str>, Vec<&'static str>, &'static str)> {
    let (_, rest) = FORMAT.split_once("| key | object | written by | deleted by |\n").unwrap();
    let lines = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let row = |line: &'static str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        (quoted(cells[1]), quoted(cells[2]), cells[3])
    };
    lines.map(row).collect()
}

/// Whether a key has the form of a pattern: capital words stand for so many hexadecimal digits.
fn has_form(pattern: &str, key: &str) -> bool {
    let split = |text: &str| text.split(['/', '-']).map(str::to_owned).collect::<Vec<_>>();
    let (pattern, key) = (split(pattern), split(key));
    pattern.len() == key.len()
        && pattern.iter().zip(&key).all(|(form, part)| {
            let digits = match form.as_str() {
                "PACK" | "MANIFEST" => 64,
                "NN" => 2,
                "NAME_ID" | "WRITER" | "LEASE" | "RUN" | "RESCUE" | "SLOT" | "LEAF" => 32,
                "SEQUENCE" => 16,
                "REVISION" | "COUNTER" => 8,
                word => return word == part,
            };
            part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
}

#[test]
fn every_object_in_a_store_is_in_the_table_of_objects_and_the_other_way_round() {
    let Full { bench, .. } = full();
    let rows = object_rows();
    let prefixes = rows.iter().flat_map(|(patterns, ..)| patterns).filter_map(|pattern| pattern.split_once('/'));
    let mut objects: Vec<String> = prefixes.flat_map(|(prefix, _)| keys(&bench, &format!("{prefix}/"))).collect();
    objects.extend(["config".into(), "config-copy".into()]);
    objects.sort_unstable();
    objects.dedup();
    assert_eq!(objects.len(), bench.fs.files().len());
    let mut met = vec![false; rows.len()];
    for key in objects {
        let row = rows.iter().position(|(patterns, ..)| patterns.iter().any(|pattern| has_form(pattern, &key)));
        let row = row.unwrap_or_else(|| panic!("{key} has no row"));
        met[row] = true;
        let bytes = bench.store().get(&key).unwrap();
        let (_, magics, written_by) = &rows[row];
        assert!(magics.iter().any(|magic| bytes.starts_with(magic.as_bytes())), "{key} begins as one of {magics:?}");
        let signer = bytes_of(layout::RECORD_HEADER, "signer", &bytes).unwrap();
        if ["operator", "init"].contains(written_by) {
            assert_eq!(signer, WriterId::OPERATOR.0, "{key} is signed by the operator");
        }
    }
    assert!(met.iter().all(|met| *met), "{met:?}");
}
