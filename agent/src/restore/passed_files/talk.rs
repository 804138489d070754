//! What a machine asks about files that are passed to it, and what the keeper answers. All of it travels sealed
//! ([`repo_format::passage`]): the words as JSON, the bytes of files behind them.

use crate::facts::content::Content;
use crate::files::FileId;
use crate::files::detail::Detail;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// Most bytes of a file in one answer.
pub const PIECE_BYTES: u32 = 512 << 10;

/// A question. Paths and names are escaped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// What the files lie on.
    About,
    /// Names of a directory in their order, behind one of them.
    Names {
        /// The directory.
        path: String,
        /// The name before the first that is wanted.
        behind: Option<String>,
    },
    /// All there is to know of entries of a directory, behind one of them.
    Details {
        /// The directory.
        path: String,
        /// The name before the first that is wanted.
        behind: Option<String>,
        /// Whether small files come with their content.
        with_content: bool,
    },
    /// All there is to know of one file, or of a directory on the way to one.
    Detail {
        /// The file.
        path: String,
    },
    /// Stretches with data of a file.
    Extents {
        /// The file.
        path: String,
        /// Its number.
        id: FileId,
        /// Those that begin here or behind.
        from_bytes: u64,
    },
    /// A piece of a file, within it.
    Read {
        /// The file.
        path: String,
        /// Its number.
        id: FileId,
        /// Where the piece begins.
        offset_bytes: u64,
        /// Its length, at most [`PIECE_BYTES`].
        length_bytes: u32,
    },
}

/// What the files lie on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// Key of the point's object.
    pub point: String,
    /// Who made the point, as its signature says; none where that is not proved.
    pub writer: Option<String>,
    /// What the volume holds, as the point recorded it.
    pub content: Option<Content>,
    /// What a person should know of the state of the file system.
    pub notes: Vec<String>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Words {
    /// What the files lie on.
    About(About),
    /// Names, and whether more follow.
    Names {
        /// Each with the number of its file.
        names: Vec<(String, FileId)>,
        /// Whether more follow.
        more: bool,
    },
    /// Entries; of some the whole content stands behind the words, in this order.
    Details {
        /// The entries.
        details: Vec<Detail>,
        /// Length of the content that is here, for each.
        contents: Vec<Option<u32>>,
    },
    /// One file.
    Detail(Box<Detail>),
    /// The first stretches of those that are left; none at the end.
    Extents(Vec<(u64, u64)>),
    /// The bytes stand behind it.
    Piece,
    /// There is no answer.
    Refused {
        /// Whether what was asked for is not there.
        is_missing: bool,
        /// Why.
        what: String,
    },
}

/// Words with the bytes behind them.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What is said.
    pub words: Words,
    /// Content of files.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// As it is sealed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let words = serde_json::to_vec(&self.words)?;
        let length = u32::try_from(words.len())?;
        Ok([&length.to_le_bytes(), words.as_slice(), &self.bytes].concat())
    }

    /// What was sealed.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>().context("an answer without a length")?;
        let length = u32::from_le_bytes(*length) as usize;
        ensure!(length <= rest.len(), "an answer that is shorter than it says");
        let (words, bytes) = rest.split_at(length);
        Ok(Self { words: serde_json::from_slice(words)?, bytes: bytes.to_vec() })
    }
}
