//! The sample disk: a GPT with a small FAT partition and an ext4 one, filled with real files of this machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::{DiskImage, FileSystem, MIB, PartitionPlan};

/// Where real files come from, with the share of the space that each may take in percent. What one lacks the next may use.
const SOURCES: [(&str, u64); 4] = [("/usr/bin", 35), ("/usr/share", 65), ("/usr/lib", 95), ("/usr/libexec", 100)];
const EFI_BYTES: u64 = 40 * MIB;
const FULL_PERCENT: u64 = 65;
const LARGEST_FILE_BYTES: u64 = 32 * MIB;
/// A disk of the default size shall not be all tiny files, whose inodes make the file system slow to build.
const MOST_FILES: u64 = 30_000;

/// Number of the ext4 partition.
pub const FILES_PARTITION: usize = 2;

/// A disk and how many files it holds.
pub struct Sample {
    pub image: DiskImage,
    pub file_count: u64,
}

/// Makes `disk.img` of `size_bytes` in `dir`.
pub fn make(dir: &Path, size_bytes: u64) -> Result<Sample> {
    let staging = dir.join("files");
    let mut collector = Collector { staging: staging.clone(), copied_bytes: 0, file_count: 0 };
    fs::create_dir(&staging)?;
    let capacity_bytes = (size_bytes - EFI_BYTES) / 100 * FULL_PERCENT;
    for (source, percent) in SOURCES {
        collector.collect(Path::new(source), capacity_bytes / 100 * percent)?;
    }
    ensure!(collector.file_count > 100, "found too few readable files below /usr to fill a sample disk");
    let plans = [
        PartitionPlan::sized(FileSystem::Vfat, EFI_BYTES),
        PartitionPlan::rest(FileSystem::Ext4).filled_from(&staging),
    ];
    let image = DiskImage::create(&dir.join("disk.img"), size_bytes, &plans)?;
    fs::remove_dir_all(&staging)?;
    Ok(Sample { image, file_count: collector.file_count })
}

struct Collector {
    staging: PathBuf,
    copied_bytes: u64,
    file_count: u64,
}

impl Collector {
    /// Copies regular files below `source` in the order of their names until `limit_bytes` are reached in all.
    fn collect(&mut self, source: &Path, limit_bytes: u64) -> Result<()> {
        crate::interrupt::check()?;
        let Ok(entries) = fs::read_dir(source) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths {
            if self.copied_bytes >= limit_bytes || self.file_count >= MOST_FILES {
                return Ok(());
            }
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                self.collect(&path, limit_bytes)?;
            } else if metadata.is_file() && metadata.len() <= LARGEST_FILE_BYTES {
                self.copy(&path)?;
            }
        }
        Ok(())
    }

    /// Copies one file; one that cannot be read (not root) is left out.
    fn copy(&mut self, path: &Path) -> Result<()> {
        let Ok(mut source) = fs::File::open(path) else { return Ok(()) };
        let mut content = Vec::new();
        if source.read_to_end(&mut content).is_err() {
            return Ok(());
        }
        let target = self.staging.join(path.strip_prefix("/").unwrap_or(path));
        fs::create_dir_all(target.parent().unwrap_or(&self.staging))?;
        fs::write(&target, &content).with_context(|| format!("cannot write {}", target.display()))?;
        self.copied_bytes += content.len() as u64;
        self.file_count += 1;
        Ok(())
    }
}
