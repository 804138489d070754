//! Makes disk images with a GPT and real file systems, without root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::MIB;
use crate::bytes::copy_sparse;
use crate::command::{capture, run_quietly};

/// The start of the first partition and the alignment of all, as partitioning programs choose it.
const ALIGNMENT_BYTES: u64 = MIB;
const SECTOR_BYTES: u64 = 512;

/// A file system that the harness can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 with the distribution's defaults.
    Ext4,
    /// xfs; at least 300 MiB.
    Xfs,
    /// btrfs; at least 110 MiB.
    Btrfs,
    /// FAT with 32 bits, as an EFI system partition has it.
    Vfat,
    /// A swap area.
    Swap,
    /// No file system; the partition stays a hole.
    None,
}

/// What a partition shall be.
#[derive(Debug, Clone)]
pub struct PartitionPlan {
    file_system: FileSystem,
    size_bytes: Option<u64>,
    content: Option<PathBuf>,
}

impl PartitionPlan {
    /// A partition of `size_bytes`, rounded up to a mebibyte.
    pub fn sized(file_system: FileSystem, size_bytes: u64) -> Self {
        Self { file_system, size_bytes: Some(size_bytes), content: None }
    }

    /// A partition that takes the rest of the disk; only the last one may.
    pub fn rest(file_system: FileSystem) -> Self {
        Self { file_system, size_bytes: None, content: None }
    }

    /// Fills the file system with the files below `directory` (ext4 and FAT only).
    #[must_use]
    pub fn filled_from(mut self, directory: impl Into<PathBuf>) -> Self {
        self.content = Some(directory.into());
        self
    }
}

/// Where a partition lies on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number in the partition table, from 1.
    pub number: u32,
    /// Its first byte.
    pub offset_bytes: u64,
    /// Its length.
    pub length_bytes: u64,
    /// What lies in it.
    pub file_system: FileSystem,
}

/// An image file with a GPT.
#[derive(Debug)]
pub struct DiskImage {
    path: PathBuf,
    partitions: Vec<Partition>,
}

impl DiskImage {
    /// Makes a sparse image of `size_bytes` with the planned partitions; an existing file is replaced.
    pub fn create(path: &Path, size_bytes: u64, plans: &[PartitionPlan]) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        file.set_len(size_bytes)?;
        let partitions = place(size_bytes, plans)?;
        write_partition_table(path, &partitions)?;
        for (plan, partition) in plans.iter().zip(&partitions) {
            make_file_system(path, plan, partition)?;
        }
        Ok(Self { path: path.to_owned(), partitions })
    }

    /// The image file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All partitions in order.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Mounts one partition (by number, from 1) through a loop device; needs root.
    pub fn mount(&self, number: usize, directory: &Path, options: &str) -> Result<crate::Mount> {
        let index = number.checked_sub(1).context("partitions are numbered from 1")?;
        let partition = self.partitions.get(index).with_context(|| format!("the image has no partition {number}"))?;
        crate::Mount::window(&self.path, partition.offset_bytes, partition.length_bytes, directory, options)
    }
}

fn place(size_bytes: u64, plans: &[PartitionPlan]) -> Result<Vec<Partition>> {
    // The backup table takes the last 33 sectors; a whole mebibyte keeps partition ends aligned.
    let end_bytes = size_bytes / ALIGNMENT_BYTES * ALIGNMENT_BYTES - ALIGNMENT_BYTES;
    let mut offset_bytes = ALIGNMENT_BYTES;
    let mut partitions = Vec::new();
    for (number, plan) in (1..).zip(plans) {
        let rest_bytes = end_bytes.saturating_sub(offset_bytes);
        let length_bytes = plan.size_bytes.map_or(rest_bytes, |size| size.next_multiple_of(ALIGNMENT_BYTES));
        ensure!(length_bytes > 0 && length_bytes <= rest_bytes, "partition {number} does not fit on the disk");
        partitions.push(Partition { number, offset_bytes, length_bytes, file_system: plan.file_system });
        offset_bytes += length_bytes;
    }
    Ok(partitions)
}

fn write_partition_table(image: &Path, partitions: &[Partition]) -> Result<()> {
    let mut command = Command::new("sgdisk");
    // Fixed ids make the same plan give the same bytes.
    command.args(["--clear", "--disk-guid", "1CEC04E0-0000-4000-8000-000000000000"]);
    for partition in partitions {
        let number = partition.number;
        let first = partition.offset_bytes / SECTOR_BYTES;
        let last = (partition.offset_bytes + partition.length_bytes) / SECTOR_BYTES - 1;
        command.arg(format!("--new={number}:{first}:{last}"));
        command.arg(format!("--typecode={number}:{}", type_code(partition.file_system)));
        command.arg(format!("--partition-guid={number}:1CEC04E0-0000-4000-8000-{number:012X}"));
    }
    capture(command.arg(image)).map(drop).context("cannot write a partition table (package gdisk)")
}

fn type_code(file_system: FileSystem) -> &'static str {
    match file_system {
        FileSystem::Vfat => "EF00",
        FileSystem::Swap => "8200",
        FileSystem::Ext4 | FileSystem::Xfs | FileSystem::Btrfs | FileSystem::None => "8300",
    }
}

fn make_file_system(image: &Path, plan: &PartitionPlan, partition: &Partition) -> Result<()> {
    if plan.file_system == FileSystem::None {
        return Ok(());
    }
    // Not every mkfs can write at an offset, so the file system is made in a file of its own and copied without its holes.
    let directory = image.parent().unwrap_or(Path::new("."));
    let scratch = tempfile::NamedTempFile::new_in(directory)?;
    scratch.as_file().set_len(partition.length_bytes)?;
    let mut command = mkfs(plan.file_system, partition.number);
    if let Some(content) = &plan.content {
        match plan.file_system {
            FileSystem::Ext4 => drop(command.arg("-d").arg(content)),
            FileSystem::Vfat => {}
            other => bail!("{other:?} cannot be filled from a directory"),
        }
    }
    capture(command.arg(scratch.path()))?;
    if let (FileSystem::Vfat, Some(content)) = (plan.file_system, &plan.content) {
        let entries: Vec<PathBuf> = content.read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let mut fill = Command::new("mcopy");
        capture(fill.arg("-s").arg("-i").arg(scratch.path()).args(entries).arg("::/")).context("(package mtools)")?;
    }
    let target = File::options().write(true).open(image)?;
    copy_sparse(scratch.as_file(), &target, partition.offset_bytes)
}

fn mkfs(file_system: FileSystem, number: u32) -> Command {
    let uuid = format!("1cec04e0-0000-4000-9000-{number:012x}");
    let (program, args): (&str, Vec<&str>) = match file_system {
        FileSystem::Ext4 => ("mkfs.ext4", vec!["-q", "-F", "-U", &uuid]),
        FileSystem::Xfs => ("mkfs.xfs", vec!["-q", "-f", "-m"]),
        FileSystem::Btrfs => ("mkfs.btrfs", vec!["-q", "-f", "-U", &uuid]),
        FileSystem::Vfat => ("mkfs.vfat", vec!["-F", "32", "-i", "1cec04e0"]),
        FileSystem::Swap | FileSystem::None => ("mkswap", vec!["-U", &uuid]),
    };
    let mut command = Command::new(program);
    command.args(args);
    if file_system == FileSystem::Xfs {
        command.arg(format!("uuid={uuid}"));
    }
    command
}

impl DiskImage {
    /// Changes an ext4 partition without root: writes `source` to the absolute `path` inside it with debugfs.
    pub fn put_file(&self, number: usize, source: &Path, path: &str) -> Result<()> {
        self.debugfs(number, &format!("write {} {path}", source.display()))
    }

    /// Changes an ext4 partition without root: deletes the file at the absolute `path` inside it with debugfs.
    pub fn delete_file(&self, number: usize, path: &str) -> Result<()> {
        self.debugfs(number, &format!("rm {path}"))
    }

    fn debugfs(&self, number: usize, request: &str) -> Result<()> {
        let index = number.checked_sub(1).context("partitions are numbered from 1")?;
        let partition = self.partitions.get(index).with_context(|| format!("the image has no partition {number}"))?;
        let device = format!("{}?offset={}", self.path.display(), partition.offset_bytes);
        run_quietly("debugfs", ["-w", "-R", request, &device])
    }
}
