//! Copy jobs: the newest copy of the server's database becomes a recovery point that `icecore-server admin recover` finds.
//!
//! It is stored with the repository's own key. A machine's writer key would not do: recovery believes nothing that a machine could have
//! stored. The server names the file; what it is, is looked at here, so that a server cannot have other files of this machine stored.

use crate::daemon::work::{Backups, FullRead};
use crate::progress::Report;
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use web_api::job::BackupResult;
use web_api::keeping::CopyWork;
use web_api::plan::{BackupWork, HookRules, ProviderName, Sources};

/// Name of the recovery points; `icecore-server` looks for it.
const POINT_NAME: &str = "icecore-server";
/// Name of the file, in whatever directory.
const FILE_NAME: &str = "server.sqlite";
/// What every SQLite database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

pub(super) fn run(
    backups: &Backups<'_>,
    work: &CopyWork,
    report: &Report,
    cancel: &Arc<AtomicBool>,
) -> Result<BackupResult> {
    check(Path::new(&work.file))?;
    let work = BackupWork {
        sources: Sources::Paths(vec![work.file.clone()]),
        point_name: Some(POINT_NAME.into()),
        provider: Some(ProviderName::Direct),
        used_blocks_only: false,
        exclude_partitions: Vec::new(),
        allow_live: false,
        hooks: HookRules { run: false, ..HookRules::default() },
        limit_bytes_per_s: None,
        level: None,
        full_read_every_days: None,
    };
    backups.back_up((&work, POINT_NAME.into(), FullRead::default()), report, cancel)
}

fn check(file: &Path) -> Result<()> {
    let cannot = || format!("cannot copy the server's database from {}", file.display());
    ensure!(
        file.is_absolute() && file.file_name().is_some_and(|name| name == FILE_NAME),
        "{}: it is no copy of one",
        cannot()
    );
    let metadata = file.symlink_metadata().with_context(cannot)?;
    ensure!(metadata.is_file(), "{}: it is no file", cannot());
    let mut magic = [0; MAGIC.len()];
    File::open(file).and_then(|mut file| file.read_exact(&mut magic)).with_context(cannot)?;
    ensure!(&magic == MAGIC, "{}: it is no database", cannot());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_database_of_that_name_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        std::fs::write(&file, [MAGIC.as_slice(), &[0; 100]].concat()).unwrap();
        check(&file).unwrap();
        let other = dir.path().join("shadow");
        std::fs::copy(&file, &other).unwrap();
        std::fs::create_dir(dir.path().join("link")).unwrap();
        let link = dir.path().join("link").join(FILE_NAME);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::create_dir(dir.path().join("text")).unwrap();
        let text = dir.path().join("text").join(FILE_NAME);
        std::fs::write(&text, "root:x:0:0").unwrap();
        for path in [&other, &link, &text, Path::new(FILE_NAME), Path::new("/nonexistent/server.sqlite")] {
            assert!(check(path).is_err(), "{}", path.display());
        }
    }
}
