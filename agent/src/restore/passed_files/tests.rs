//! Passed files against a keeper that a test plays: what is asked, and what becomes of answers that cannot be true.

use super::*;
use crate::files::Timestamp;
use crate::restore::passed_files::talk::PIECE_BYTES;

const SMALL: &[u8] = b"small";

fn metadata(id: u64, kind: FileKind, size_bytes: u64) -> Metadata {
    Metadata {
        id: FileId(id),
        kind,
        permissions: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size_bytes,
        allocated_bytes: 0,
        accessed: Timestamp::default(),
        modified: Timestamp { seconds: 7, nanoseconds: u32::MAX },
        changed: Timestamp::default(),
        created: None,
        device: None,
    }
}

fn file(name: &str, id: u64, size_bytes: u64, extents: Option<Vec<(u64, u64)>>) -> Detail {
    let kind = if size_bytes == 0 { FileKind::Directory } else { FileKind::Regular };
    let (attributes, left_out) = (vec![("user.note".into(), "a\\x00b".into())], Vec::new());
    let metadata = metadata(id, kind, size_bytes);
    let found = Ok(Found { metadata, link_target: None, attributes, left_out, extents });
    Detail { name: name.into(), id: FileId(id), found }
}

fn words(words: Words) -> anyhow::Result<Answer> {
    Ok(Answer { words, bytes: Vec::new() })
}

/// `/home` with a small and a large file; what lies beside it is asked for by nobody.
fn keeper(ask: &Ask) -> anyhow::Result<Answer> {
    match ask {
        Ask::About => words(Words::About(About { point: "p".into(), writer: None, content: None, notes: Vec::new() })),
        Ask::Detail { path } if path == "/" => words(Words::Detail(Box::new(file("", 2, 0, None)))),
        Ask::Detail { path } if path == "/home" => words(Words::Detail(Box::new(file("", 3, 0, None)))),
        Ask::Detail { .. } => words(Words::Refused { is_missing: true, what: "no such file".into() }),
        Ask::Names { path, behind } if path == "/home" => {
            let all = [("large".to_owned(), FileId(5)), ("small".to_owned(), FileId(4))];
            let rest = all.iter().filter(|(name, _)| behind.as_ref().is_none_or(|behind| name > behind));
            let names: Vec<_> = rest.take(1).cloned().collect();
            words(Words::Names { more: names.first().is_some_and(|(name, _)| name == "large"), names })
        }
        Ask::Details { path, behind: None, with_content: true } if path == "/home" => {
            let large = u64::from(PIECE_BYTES) + 10;
            let details = vec![file("large", 5, large, None), file("small", 4, 5, Some(vec![(0, 5)]))];
            Ok(Answer { words: Words::Details { details, contents: vec![None, Some(5)] }, bytes: SMALL.to_vec() })
        }
        Ask::Extents { from_bytes: 0, .. } => words(Words::Extents(vec![(0, 10), (20, 5)])),
        Ask::Extents { .. } => words(Words::Extents(Vec::new())),
        Ask::Read { length_bytes, offset_bytes, .. } => {
            let bytes = vec![u8::from(*offset_bytes > 0); *length_bytes as usize];
            Ok(Answer { words: Words::Piece, bytes })
        }
        other => panic!("nobody should ask {other:?}"),
    }
}

fn wanted() -> Vec<Vec<u8>> {
    vec![b"/home".to_vec()]
}

#[test]
fn what_was_ordered_reads_like_a_file_system_and_nothing_else_is_asked_for() {
    let fs = PassedFiles::open(&keeper, &wanted(), true).unwrap();
    let root = fs.read_dir(fs.root()).unwrap();
    assert_eq!((root.len(), root[0].name.as_slice()), (1, &b"home"[..]));
    let home = fs.read_dir(root[0].id).unwrap();
    assert_eq!(home.iter().map(|entry| entry.id.0).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(fs.metadata(home[0].id).unwrap().modified.nanoseconds, 999_999_999, "no file has such a time");
    assert_eq!(fs.extended_attributes(home[1].id).unwrap()[0].value, b"a\0b");
    let small = fs.open_file(home[1].id).unwrap();
    let mut bytes = vec![0; 3];
    small.read_exact_at(&mut bytes, 1).unwrap();
    assert_eq!(bytes, SMALL[1..4]);
    assert!(small.read_exact_at(&mut bytes, 3).is_err(), "behind its end");
    let large = fs.open_file(home[0].id).unwrap();
    assert_eq!(large.data_extents().map(detail::pair).collect::<Vec<_>>(), [(0, 10), (20, 5)]);
    let mut bytes = vec![9; usize::try_from(large.size_bytes()).unwrap()];
    large.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((bytes[0], bytes[PIECE_BYTES as usize]), (0, 1));
    let nothing = PassedFiles::open(&keeper, &[b"/gone".to_vec()], true).unwrap();
    assert!(nothing.read_dir(nothing.root()).unwrap().is_empty());
}

#[test]
fn answers_that_cannot_be_true_are_errors() {
    type Change = fn(&mut Answer);
    let changes: [Change; 5] = [
        |answer| answer.bytes.truncate(2),
        |answer| match &mut answer.words {
            Words::Details { contents, .. } => contents[1] = Some(4),
            other => panic!("{other:?}"),
        },
        |answer| match &mut answer.words {
            Words::Details { details, .. } => details[1] = file("small", 4, 5, Some(vec![(0, 3), (2, 3)])),
            other => panic!("{other:?}"),
        },
        |answer| match &mut answer.words {
            Words::Details { details, .. } => details[1] = file("small", 4, 5, Some(vec![(3, u64::MAX)])),
            other => panic!("{other:?}"),
        },
        |answer| answer.words = Words::Piece,
    ];
    for (number, change) in changes.iter().enumerate() {
        let converse = |ask: &Ask| {
            let mut answer = keeper(ask)?;
            if matches!(ask, Ask::Details { .. }) {
                change(&mut answer);
            }
            Ok(answer)
        };
        let fs = PassedFiles::open(&converse, &wanted(), true).unwrap();
        let home = fs.read_dir(fs.root()).unwrap()[0].id;
        fs.read_dir(home).unwrap();
        // The first of them brings the page with both.
        let opened = fs.metadata(FileId(5)).and_then(|_| fs.open_file(FileId(4)).map(drop));
        assert!(opened.is_err(), "{number}");
    }
}

#[test]
fn a_keeper_that_is_gone_ends_the_restore_and_a_file_that_is_damaged_does_not() {
    let gone = |ask: &Ask| match ask {
        Ask::Names { .. } => Err(anyhow::anyhow!("the line broke")),
        other => keeper(other),
    };
    let damaged = |ask: &Ask| match ask {
        Ask::Names { .. } => words(Words::Refused { is_missing: false, what: "it is damaged".into() }),
        other => keeper(other),
    };
    let error = |converse: &Converse<'_>| {
        let fs = PassedFiles::open(converse, &wanted(), true).unwrap();
        let home = fs.read_dir(fs.root()).unwrap()[0].id;
        fs.read_dir(home).unwrap_err()
    };
    assert!(matches!(error(&gone), FilesError::Passage { what } if what.contains("broke")));
    assert!(matches!(error(&damaged), FilesError::Told { what } if what.contains("damaged")));
}
