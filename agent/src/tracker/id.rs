//! Random ids of generations, intervals and snapshots, as they are written and read.

use super::uapi::Uuid;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Lengths of the groups in which an id is written, in hexadecimal digits.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// A random id of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl From<Uuid> for Id {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.bytes)
    }
}

impl From<Id> for Uuid {
    fn from(id: Id) -> Self {
        Self { bytes: id.0 }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut rest = digits.as_str();
        for (at, length) in GROUPS.into_iter().enumerate() {
            let (group, later) = rest.split_at(length);
            write!(f, "{}{group}", if at == 0 { "" } else { "-" })?;
            rest = later;
        }
        Ok(())
    }
}

/// Text that is no id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 32 hexadecimal digits, with or without dashes between them")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != 16 || !rest.is_empty() {
            return Err(NotAnId);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(NotAnId);
        let mut id = [0; 16];
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(id))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id([0xaa, 0x98, 0x6b, 0x45, 0xbf, 7, 0x46, 0xf7, 0xa5, 0x2d, 0x8d, 0x78, 0x29, 0x22, 0x1f, 0x24]);

    #[test]
    fn ids_are_written_in_groups_and_read_with_or_without_them() {
        assert_eq!(ID.to_string(), "aa986b45-bf07-46f7-a52d-8d7829221f24");
        assert_eq!("aa986b45-bf07-46f7-a52d-8d7829221f24".parse(), Ok(ID));
        assert_eq!("AA986B45BF0746F7A52D8D7829221F24".parse(), Ok(ID));
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "aa", "aa986b45-bf07-46f7-a52d-8d7829221f2", "aa986b45-bf07-46f7-a52d-8d7829221f2x", "é"] {
            assert_eq!(text.parse::<Id>(), Err(NotAnId), "{text}");
        }
        assert!("aa986b45-bf07-46f7-a52d-8d7829221f2400".parse::<Id>().is_err());
    }
}
