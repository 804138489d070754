//! An archive judged by a program that people unpack it with. More of that stands in `tests/tests/files.rs`, with a real file system.

use super::{FileId, FileKind, Member, Members, Metadata, write};
use crate::files::Timestamp;
use anyhow::Result;
use std::fs;
use std::io::BufWriter;
use std::process::Command;
use web_api::file::ArchiveFormat;

/// Members from memory; the content of a file is its inode's number, over and over.
struct Made {
    members: std::vec::IntoIter<Member>,
}

impl Members for Made {
    fn next(&mut self) -> Result<Option<Member>> {
        Ok(self.members.next())
    }

    fn read(&mut self, id: FileId, _: u64, length_bytes: u32) -> Result<Vec<u8>> {
        Ok(vec![u8::try_from(id.0 & 0xff)?; length_bytes as usize])
    }
}

fn member(path: &[u8], kind: FileKind, (inode, size_bytes): (u64, u64)) -> Member {
    let time = Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_789 };
    let metadata = Metadata {
        id: FileId(inode),
        kind,
        permissions: 0o640,
        uid: 0,
        gid: 0,
        links: 1,
        size_bytes,
        allocated_bytes: size_bytes,
        accessed: time,
        modified: time,
        changed: time,
        created: None,
        device: None,
    };
    Member { path: path.to_vec(), metadata, link_target: None }
}

#[test]
fn a_file_of_more_than_four_gibibytes_is_whole_in_a_zip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.zip");
    let size_bytes = (1 << 32) + 5;
    let (large, small) =
        (member(b"large", FileKind::Regular, (256, size_bytes)), member(b"small", FileKind::Regular, (1, 3_000_001)));
    let members = vec![member(b"", FileKind::Directory, (2, 0)), large, small];
    let mut made = Made { members: members.into_iter() };
    write(ArchiveFormat::Zip, b"top", &mut made, BufWriter::new(fs::File::create(&path).unwrap())).unwrap();
    let judge = "import zipfile
z = zipfile.ZipFile('a.zip')
assert z.testzip() is None
assert [i.file_size for i in z.infolist()] == [0, (1 << 32) + 5, 3000001], z.infolist()
";
    let told = Command::new("python3").args(["-c", judge]).current_dir(dir.path()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
