//! Extended attributes in the form of OS/2, in which Linux and Linux under Windows keep theirs.

use super::file::File;
use super::record::kind;
use crate::files::fields::Fields;
use crate::files::{DeviceNumber, Result};

/// Windows allows 64 KiB; what others allow stays below this.
const MAX_BYTES: u64 = 256 << 10;
const HEAD_BYTES: usize = 8;

/// One attribute, by its name on the disk.
pub(super) struct Extended {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// All of a file's attributes in the order of the disk.
pub(super) fn read(file: &File<'_, '_>) -> Result<Vec<Extended>> {
    let value = file.small(kind::EXTENDED_ATTRIBUTES, "", MAX_BYTES, "extended attributes of a file")?;
    parse(&value.unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Result<Vec<Extended>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let f = Fields::new(rest, "extended attribute");
        let (next, name_bytes) = (f.length32(0)?, usize::from(f.byte(5)?));
        // A zero byte ends the name and is not counted in its length.
        let value_at = HEAD_BYTES + name_bytes + 1;
        let name = f.slice(HEAD_BYTES, name_bytes)?.to_vec();
        found.push(Extended { name, value: f.slice(value_at, f.length16(6)?)?.to_vec() });
        // The last one may say so, or where another one would be.
        if next == 0 {
            break;
        }
        if next < value_at {
            return Err(crate::files::FilesError::corrupt("an extended attribute overlaps the next"));
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(found)
}

/// What Linux under Windows records of its files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LinuxFacts {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Kind and permissions.
    pub(super) mode: Option<u32>,
    pub(super) device: Option<DeviceNumber>,
}

/// Finds them among the attributes.
pub(super) fn linux_facts(attributes: &[Extended]) -> Result<LinuxFacts> {
    let mut facts = LinuxFacts::default();
    for attribute in attributes {
        let f = Fields::new(&attribute.value, "extended attribute of Linux");
        match attribute.name.as_slice() {
            b"$LXUID" => facts.uid = Some(f.le32(0)?),
            b"$LXGID" => facts.gid = Some(f.le32(0)?),
            b"$LXMOD" => facts.mode = Some(f.le32(0)?),
            b"$LXDEV" => facts.device = Some(DeviceNumber { major: f.le32(0)?, minor: f.le32(4)? }),
            _ => {}
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::{LinuxFacts, linux_facts, parse};
    use crate::files::DeviceNumber;

    fn attribute(name: &str, value: &[u8], is_last: bool) -> Vec<u8> {
        let length = (9 + name.len() + value.len()).next_multiple_of(4);
        let next = if is_last { 0 } else { u32::try_from(length).unwrap() };
        let lengths = [0, u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap(), 0];
        let mut bytes = [&next.to_le_bytes()[..], &lengths, name.as_bytes(), &[0], value].concat();
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn owners_modes_and_devices_are_found() {
        let list = [
            attribute("$LXUID", &[0xE8, 3, 0, 0], false),
            attribute("user.x", b"value", false),
            attribute("$LXMOD", &[0xA4, 0x81, 0, 0], false),
            attribute("$LXDEV", &[1, 0, 0, 0, 3, 0, 0, 0], true),
        ];
        let found = parse(&list.concat()).unwrap();
        assert_eq!((&found[1].name[..], &found[1].value[..]), (&b"user.x"[..], &b"value"[..]));
        let expected = LinuxFacts {
            uid: Some(1000),
            gid: None,
            mode: Some(0o100_644),
            device: Some(DeviceNumber { major: 1, minor: 3 }),
        };
        assert_eq!(linux_facts(&found).unwrap(), expected);
    }

    #[test]
    fn damaged_lists_are_refused() {
        let mut overlapping = attribute("abcdef", b"", false);
        overlapping[0] = 8;
        let whole = attribute("abcdef", b"value", true);
        for odd in [&overlapping[..], &whole[..15], &whole[..5]] {
            assert!(parse(odd).is_err(), "{odd:?}");
        }
        let short = parse(&attribute("$LXUID", &[1], true)).unwrap();
        linux_facts(&short).unwrap_err();
    }
}
