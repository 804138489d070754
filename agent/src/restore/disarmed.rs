//! Files of another machine's point as a job may write them: without what would give somebody rights on this machine.
//!
//! Who took over the server and one machine could otherwise have a set-user-id program of theirs restored onto every other one.

use crate::files::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result,
};

const SET_ID_BITS: u32 = 0o6000;
const CAPABILITIES: &[u8] = b"security.capability";

/// A file system whose files give no rights.
pub struct Disarmed<'f>(pub &'f dyn FileSystem);

fn is_armed(metadata: &Metadata) -> bool {
    metadata.kind == FileKind::Regular && metadata.permissions & SET_ID_BITS != 0
}

impl FileSystem for Disarmed<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn root(&self) -> FileId {
        self.0.root()
    }

    fn notes(&self) -> &[String] {
        self.0.notes()
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        let metadata = self.0.metadata(id)?;
        match metadata.kind {
            FileKind::CharDevice | FileKind::BlockDevice => Err(FilesError::Told {
                what: "a device file of another machine is not restored by a job; `icecore restore --files` does"
                    .into(),
            }),
            _ if is_armed(&metadata) => Ok(Metadata { permissions: metadata.permissions & !SET_ID_BITS, ..metadata }),
            _ => Ok(metadata),
        }
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        self.0.read_dir(id)
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        self.0.read_link(id)
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
        let mut attributes = self.0.extended_attributes(id)?;
        attributes.retain(|attribute| attribute.name != CAPABILITIES);
        Ok(attributes)
    }

    fn left_out(&self, id: FileId) -> Result<Vec<String>> {
        let mut left_out = self.0.left_out(id)?;
        if is_armed(&self.0.metadata(id)?) {
            left_out.push("its set-user-id and set-group-id bits are another machine's and were left out".into());
        }
        if self.0.extended_attributes(id)?.iter().any(|attribute| attribute.name == CAPABILITIES) {
            left_out.push("its capabilities are another machine's and were left out".into());
        }
        Ok(left_out)
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        self.0.open_file(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Timestamp;

    /// Files 1 to 4: a program that is another's, a device, a program with capabilities, and one like most.
    struct Armed;

    impl FileSystem for Armed {
        fn name(&self) -> &'static str {
            "armed"
        }

        fn root(&self) -> FileId {
            FileId(0)
        }

        fn notes(&self) -> &[String] {
            &[]
        }

        fn metadata(&self, id: FileId) -> Result<Metadata> {
            Ok(Metadata {
                id,
                kind: if id.0 == 2 { FileKind::CharDevice } else { FileKind::Regular },
                permissions: if id.0 == 1 { 0o6755 } else { 0o755 },
                uid: 0,
                gid: 0,
                links: 1,
                size_bytes: 0,
                allocated_bytes: 0,
                accessed: Timestamp::default(),
                modified: Timestamp::default(),
                changed: Timestamp::default(),
                created: None,
                device: None,
            })
        }

        fn read_dir(&self, _: FileId) -> Result<Vec<DirEntry>> {
            Ok(Vec::new())
        }

        fn read_link(&self, _: FileId) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
            let attribute = |name: &[u8]| ExtendedAttribute { name: name.to_vec(), value: b"x".to_vec() };
            let capabilities = (id.0 == 3).then(|| attribute(CAPABILITIES));
            Ok([attribute(b"user.note")].into_iter().chain(capabilities).collect())
        }

        fn open_file(&self, _: FileId) -> Result<Box<dyn FileContent + '_>> {
            Err(FilesError::Told { what: "nobody opens it".into() })
        }
    }

    #[test]
    fn what_gives_rights_is_left_out_and_said_and_all_else_stays() {
        let fs = Disarmed(&Armed);
        let permissions = |id: u64| fs.metadata(FileId(id)).unwrap().permissions;
        assert_eq!((permissions(1), permissions(3), permissions(4)), (0o755, 0o755, 0o755));
        assert!(fs.metadata(FileId(2)).unwrap_err().to_string().contains("device file"));
        let said = |id: u64| fs.left_out(FileId(id)).unwrap();
        assert!(said(1).len() == 1 && said(1)[0].contains("set-user-id"), "{:?}", said(1));
        assert!(said(3).len() == 1 && said(3)[0].contains("capabilities"), "{:?}", said(3));
        assert!(said(4).is_empty());
        assert_eq!(fs.extended_attributes(FileId(3)).unwrap().len(), 1);
    }
}
