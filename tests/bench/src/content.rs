//! What is put on the disks: real files of this machine, a database, data that does not compress, and newer versions.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::MIB;

use crate::random::Random;

const LARGEST_FILE_BYTES: u64 = 200 * MIB;
/// Bytes of the database file for each row, its indexes included.
const ROW_BYTES: u64 = 245;

/// The Rust toolchain's directory: more real programs, on every machine that can build this.
pub fn toolchain_dirs() -> Vec<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    output.iter().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())).collect()
}

/// Cargo's unpacked sources: real text, on every machine that has built this.
pub fn source_dirs() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    home.map(|home| home.join("registry/src")).into_iter().collect()
}

/// Copies regular files below `sources`, in the order of their names, into `root` until `limit_bytes`.
pub fn collect(root: &Path, sources: &[PathBuf], limit_bytes: u64) -> Result<()> {
    let mut copied_bytes = 0;
    for source in sources {
        collect_below(root, source, limit_bytes, &mut copied_bytes)?;
    }
    if copied_bytes < limit_bytes {
        eprintln!("note: only {} of {} MiB of real files found", copied_bytes / MIB, limit_bytes / MIB);
    }
    Ok(())
}

fn collect_below(root: &Path, source: &Path, limit_bytes: u64, copied_bytes: &mut u64) -> Result<()> {
    for path in sorted_entries(source) {
        if *copied_bytes >= limit_bytes {
            return Ok(());
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            collect_below(root, &path, limit_bytes, copied_bytes)?;
        } else if metadata.is_file() && metadata.len() <= LARGEST_FILE_BYTES {
            let target = root.join(path.strip_prefix("/").unwrap_or(&path));
            fs::create_dir_all(target.parent().context("every target lies in the root")?)?;
            *copied_bytes += fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn sorted_entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    paths
}

/// Makes an SQLite database of about `size_bytes`.
pub fn database(path: &Path, size_bytes: u64) -> Result<()> {
    let rows = (size_bytes / ROW_BYTES).to_string();
    let sql = include_str!("database.sql").replace("ROWS", &rows);
    let mut sqlite = Command::new("sqlite3")
        .arg("-batch")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start sqlite3")?;
    sqlite.stdin.take().context("sqlite3 has a standard input")?.write_all(sql.as_bytes())?;
    ensure!(sqlite.wait()?.success(), "sqlite3 could not make the database");
    Ok(())
}

/// Fills `directory` with files of random bytes, as photographs and archives are.
pub fn incompressible(directory: &Path, size_bytes: u64) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut random = Random::seeded(3);
    let mut buffer = vec![0; usize::try_from(MIB)?];
    let mut written = 0;
    for number in 0.. {
        let mut file = File::create(directory.join(format!("{number:05}.jpg")))?;
        for _ in 0..1 + random.below(12) {
            if written >= size_bytes {
                return Ok(());
            }
            random.fill(&mut buffer);
            file.write_all(&buffer)?;
            written += MIB;
        }
    }
    Ok(())
}

/// Replaces every seventh program file by a newer version until `limit_bytes`: new bytes that compress like the old.
pub fn replace_files(root: &Path, limit_bytes: u64) -> Result<()> {
    let mut replaced_bytes = 0;
    for path in files_below(&root.join("usr"))?.iter().step_by(7) {
        if replaced_bytes >= limit_bytes {
            break;
        }
        let mut bytes = read(path)?;
        shift(&mut bytes, 1);
        replaced_bytes += bytes.len() as u64;
        let newer = path.with_extension("dpkg-new");
        fs::write(&newer, bytes)?;
        fs::rename(newer, path)?;
    }
    ensure!(replaced_bytes >= limit_bytes, "the disk holds too few files to replace");
    Ok(())
}

/// Adds new files until `limit_bytes`.
pub fn add_files(root: &Path, limit_bytes: u64) -> Result<()> {
    let directory = root.join("new");
    fs::create_dir_all(&directory)?;
    let mut added_bytes = 0;
    for (number, path) in files_below(&root.join("usr"))?.iter().skip(3).step_by(11).enumerate() {
        if added_bytes >= limit_bytes {
            break;
        }
        let mut bytes = read(path)?;
        shift(&mut bytes, 2);
        added_bytes += bytes.len() as u64;
        fs::write(directory.join(number.to_string()), bytes)?;
    }
    Ok(())
}

/// Makes other bytes of the same statistics: what repeated still repeats, and nothing is equal to the original.
pub fn shift(bytes: &mut [u8], by: u8) {
    for byte in bytes {
        *byte = byte.wrapping_add(by);
    }
}

/// The offsets of all blocks of `file` that hold anything but zeroes; holes are not read.
pub fn blocks_of_data(file: &File, block_bytes: u64) -> Result<Vec<u64>> {
    let mut block = vec![0; usize::try_from(block_bytes)?];
    let mut offsets = Vec::new();
    let size_bytes = file.metadata()?.len();
    let mut position = 0;
    while let Some(data) = e2e::next_data(file, position)? {
        let start = data / block_bytes * block_bytes;
        if start + block_bytes > size_bytes {
            break;
        }
        file.read_exact_at(&mut block, start)?;
        if block.iter().any(|byte| *byte != 0) {
            offsets.push(start);
        }
        position = start + block_bytes;
    }
    Ok(offsets)
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in sorted_entries(directory) {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            files.extend(files_below(&path)?);
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}
