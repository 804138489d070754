//! What parent and child say to each other: a byte for the kind, a length, and so many bytes. Neither believes a length that is
//! beyond its limit.

use crate::files::detail::Detail;
use crate::files::{FileId, FileKind, ListEntry, Metadata, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Most bytes of a disk or of a file in one message.
pub const MAX_BYTES: u32 = 1 << 20;
/// Longest text of a question or answer.
const MAX_JSON_BYTES: u32 = 1 << 20;

/// What the parent wants to know. Paths are escaped (see [`escape_name`](crate::files::escape_name)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are what `Confined` is asked for")]
pub enum Question {
    List {
        path: String,
        behind: Option<String>,
        limit: usize,
    },
    Look {
        path: String,
    },
    Read {
        path: String,
        offset_bytes: u64,
        length_bytes: u32,
    },
    /// Begins a walk through a directory; [`Question::Step`] takes it on.
    Walk {
        path: String,
    },
    Step,
    /// The next names of the walk, many at a time.
    Names,
    /// Names of a directory in their order, behind one of them.
    NamesIn {
        path: String,
        behind: Option<String>,
        limit: usize,
    },
    /// All there is to know of entries of a directory, behind one of them.
    Details {
        path: String,
        behind: Option<String>,
        limit: usize,
    },
    /// All there is to know of one file.
    Detail {
        path: String,
    },
    /// Stretches with data of a file, from an offset on.
    Extents {
        id: FileId,
        from_bytes: u64,
    },
    /// A piece of a file that a step came to.
    ReadVisited {
        id: FileId,
        offset_bytes: u64,
        length_bytes: u32,
    },
}

/// What a step of a walk came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visited {
    /// Its path below the directory that is walked through, escaped; empty for that itself.
    pub path: String,
    /// What the file system says of it.
    pub metadata: Metadata,
    /// Where a symbolic link leads, escaped.
    pub link_target: Option<String>,
}

/// A file that a walk came to, in few words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// Its path below the directory that is walked through, escaped; empty for that itself.
    pub path: String,
    /// The file.
    pub id: FileId,
    /// What it is; none where nothing but the name can be read, and when a directory cannot be listed, which is said beside its own line.
    pub kind: Option<FileKind>,
    /// Length of the content.
    pub size_bytes: u64,
    /// Last change of the content.
    pub modified: Timestamp,
}

/// What the child answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are what `Confined` returns")]
pub enum Answer {
    List {
        file_system: String,
        notes: Vec<String>,
        count: u64,
        entries: Vec<ListEntry>,
        more: bool,
    },
    Look(Box<ListEntry>),
    /// The bytes stand behind it.
    Piece,
    /// The walk begins.
    Walking,
    /// Where a step led to; nothing at the end.
    Step(Option<Box<Visited>>),
    /// Names in the order of the walk; none at the end.
    Names(Vec<Named>),
    NamesIn {
        names: Vec<(String, FileId)>,
        more: bool,
    },
    Details {
        details: Vec<Detail>,
        more: bool,
    },
    /// The first of those that are left.
    Extents(Vec<(u64, u64)>),
    Refused {
        is_missing: bool,
        what: String,
    },
}

/// From the parent.
pub enum ToChild {
    /// Something to answer.
    Ask(Question),
    /// What the child wanted of the disk.
    Bytes(Vec<u8>),
    /// That cannot be read.
    Unreadable(String),
}

/// From the child.
pub enum FromChild {
    /// It needs bytes of the disk.
    Wants {
        /// Where they begin.
        offset_bytes: u64,
        /// How many; at most [`MAX_BYTES`].
        length_bytes: u32,
    },
    /// It answers, with the bytes of a piece.
    Answer(Answer, Vec<u8>),
}

const ASK: u8 = b'?';
const BYTES: u8 = b'b';
const UNREADABLE: u8 = b'!';
const WANTS: u8 = b'w';
const ANSWER: u8 = b'a';

impl ToChild {
    /// Sends it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Ask(question) => put(to, ASK, &json(question)?)?,
            Self::Bytes(bytes) => put(to, BYTES, bytes)?,
            Self::Unreadable(why) => put(to, UNREADABLE, why.as_bytes())?,
        }
        to.flush()
    }

    /// Waits for one.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        match kind(from)? {
            ASK => Ok(Self::Ask(parsed(&take(from, MAX_JSON_BYTES)?)?)),
            BYTES => Ok(Self::Bytes(take(from, MAX_BYTES)?)),
            UNREADABLE => Ok(Self::Unreadable(String::from_utf8_lossy(&take(from, MAX_JSON_BYTES)?).into_owned())),
            other => Err(unknown(other)),
        }
    }
}

impl FromChild {
    /// Sends it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Wants { offset_bytes, length_bytes } => {
                let mut body = offset_bytes.to_le_bytes().to_vec();
                body.extend(length_bytes.to_le_bytes());
                put(to, WANTS, &body)?;
            }
            Self::Answer(answer, bytes) => {
                put(to, ANSWER, &json(answer)?)?;
                put(to, BYTES, bytes)?;
            }
        }
        to.flush()
    }

    /// Waits for one.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        match kind(from)? {
            WANTS => {
                let body = take(from, 12)?;
                let (offset, length) = body.split_first_chunk::<8>().ok_or_else(short)?;
                let (length, rest) = length.split_first_chunk::<4>().ok_or_else(short)?;
                if !rest.is_empty() {
                    return Err(short());
                }
                Ok(Self::Wants { offset_bytes: u64::from_le_bytes(*offset), length_bytes: u32::from_le_bytes(*length) })
            }
            ANSWER => {
                let answer = parsed(&take(from, MAX_JSON_BYTES)?)?;
                match kind(from)? {
                    BYTES => Ok(Self::Answer(answer, take(from, MAX_BYTES)?)),
                    other => Err(unknown(other)),
                }
            }
            other => Err(unknown(other)),
        }
    }
}

fn put(to: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    to.write_all(&[kind])?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(body)
}

fn kind(from: &mut impl Read) -> io::Result<u8> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    Ok(kind[0])
}

fn take(from: &mut impl Read, most: u32) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}

fn unknown(kind: u8) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message of the unknown kind {kind}"))
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message has another length than its kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let mut wire = Vec::new();
        let question = Question::List { path: "/etc".into(), behind: Some("a".into()), limit: 5 };
        ToChild::Ask(question.clone()).write(&mut wire).unwrap();
        ToChild::Bytes(vec![1, 2, 3]).write(&mut wire).unwrap();
        let mut from = wire.as_slice();
        assert!(matches!(ToChild::read(&mut from).unwrap(), ToChild::Ask(asked) if asked == question));
        assert!(matches!(ToChild::read(&mut from).unwrap(), ToChild::Bytes(bytes) if bytes == [1, 2, 3]));
        let mut wire = Vec::new();
        FromChild::Wants { offset_bytes: 1 << 40, length_bytes: 7 }.write(&mut wire).unwrap();
        FromChild::Answer(Answer::Piece, vec![9]).write(&mut wire).unwrap();
        let mut from = wire.as_slice();
        let wants = FromChild::read(&mut from).unwrap();
        assert!(matches!(wants, FromChild::Wants { offset_bytes, length_bytes: 7 } if offset_bytes == 1 << 40));
        assert!(matches!(FromChild::read(&mut from).unwrap(), FromChild::Answer(Answer::Piece, bytes) if bytes == [9]));
        assert!(FromChild::read(&mut from).is_err(), "the end is no message");
    }

    #[test]
    fn what_is_too_long_cut_or_unknown_is_refused() {
        let long = [&[BYTES][..], &(MAX_BYTES + 1).to_le_bytes()].concat();
        assert!(ToChild::read(&mut long.as_slice()).is_err());
        for bad in [&b"z\0\0\0\0"[..], b"a\x02\0\0\0{}", b"w\x01\0\0\0x", b"b\x05\0\0\0ab", b"?\x01\0\0\0x"] {
            assert!(FromChild::read(&mut &*bad).is_err() && ToChild::read(&mut &*bad).is_err(), "{bad:?}");
        }
    }
}
