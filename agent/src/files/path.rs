//! Paths inside a file system: bytes between slashes, resolved without following symbolic links.

use super::{FileId, FileKind, FileSystem, FilesError, Result, escape_name};

/// The components of a path; empty ones and `.` are dropped, `..` is kept for the caller to refuse.
pub fn split_path(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect()
}

/// The file at `path`, counted from the root. Symbolic links on the way are an error that says where they lead.
pub fn lookup_path(fs: &dyn FileSystem, path: &[u8]) -> Result<FileId> {
    let mut current = fs.root();
    let parts = split_path(path);
    for (index, part) in parts.iter().enumerate() {
        let so_far = || format!("/{}", escape_name(&parts[..index].join(&b'/')));
        match fs.metadata(current)?.kind {
            FileKind::Directory => {}
            kind => return Err(FilesError::NotADirectory { path: so_far(), hint: link_hint(fs, current, kind)? }),
        }
        let found = fs.read_dir(current)?.into_iter().find(|entry| entry.name == *part);
        current = found.map(|entry| entry.id).ok_or_else(|| FilesError::NotFound { path: escape_name(path) })?;
    }
    Ok(current)
}

fn link_hint(fs: &dyn FileSystem, id: FileId, kind: FileKind) -> Result<String> {
    Ok(match kind {
        FileKind::Symlink => format!(" but a symbolic link to {}", escape_name(&fs.read_link(id)?)),
        _ => String::new(),
    })
}
