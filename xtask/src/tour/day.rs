//! A day of changes on the sample disk: through a mount where that is possible, with debugfs where it is not.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{DiskImage, MIB};

use super::sample::FILES_PARTITION;

const EDITED_FILES: usize = 30;
const DELETED_FILES: usize = 20;
const APPENDED_FILES: usize = 10;
const NEW_FILES: u32 = 3;
/// Size of each of the new files.
pub const NEW_FILE_BYTES: u64 = 4 * MIB;

/// Lets day number `day` pass on the disk, with new files of this size; `dir` is for scratch files.
pub fn pass(image: &DiskImage, dir: &Path, (day, new_bytes): (u32, u64)) -> Result<()> {
    match e2e::loop_devices_usable() {
        true => through_mount(image, dir, (day, new_bytes)),
        false => through_debugfs(image, dir, (day, new_bytes)),
    }
}

fn through_mount(image: &DiskImage, dir: &Path, (day, new_bytes): (u32, u64)) -> Result<()> {
    let mount_point = dir.join("mnt");
    fs::create_dir_all(&mount_point)?;
    let _mount = image.mount(FILES_PARTITION, &mount_point, "")?;
    let mut files = files_below(&mount_point.join("usr/share"))?;
    // Another stretch of the list each day, so that the days do not touch the same files.
    let start = files.len() / 4 * (day as usize % 4);
    files.rotate_left(start);
    let mut files = files.into_iter().step_by(7);
    for path in files.by_ref().take(EDITED_FILES) {
        let middle = fs::metadata(&path)?.len() / 2;
        OpenOptions::new().write(true).open(&path)?.write_all_at(format!("edited on day {day}").as_bytes(), middle)?;
    }
    for path in files.by_ref().take(DELETED_FILES) {
        fs::remove_file(path)?;
    }
    for path in files.by_ref().take(APPENDED_FILES) {
        let line = format!("day {day}: one more line at the end of the log\n").repeat(500);
        OpenOptions::new().append(true).open(path)?.write_all(line.as_bytes())?;
    }
    for number in 0..NEW_FILES {
        File::create(mount_point.join(new_name(day, number)))?.write_all(&new_content(day, number, new_bytes)?)?;
    }
    Ok(())
}

/// The same idea without root: debugfs replaces, deletes and adds whole files.
fn through_debugfs(image: &DiskImage, dir: &Path, (day, new_bytes): (u32, u64)) -> Result<()> {
    let scratch = dir.join("scratch");
    for number in 0..NEW_FILES {
        fs::write(&scratch, new_content(day, number, new_bytes)?)?;
        image.put_file(FILES_PARTITION, &scratch, &format!("/{}", new_name(day, number)))?;
    }
    if day > 1 {
        image.delete_file(FILES_PARTITION, &format!("/{}", new_name(day - 1, 0)))?;
        fs::write(&scratch, format!("edited on day {day}\n").repeat(10_000))?;
        image.delete_file(FILES_PARTITION, &format!("/{}", new_name(day - 1, 1)))?;
        image.put_file(FILES_PARTITION, &scratch, &format!("/{}", new_name(day - 1, 1)))?;
    }
    fs::remove_file(&scratch)?;
    Ok(())
}

fn new_name(day: u32, number: u32) -> String {
    format!("new-on-day-{day}-{number}")
}

/// New data: half of it text that shrinks, half of it random, which does not.
fn new_content(day: u32, number: u32, bytes: u64) -> Result<Vec<u8>> {
    let mut content: Vec<u8> = (0..)
        .flat_map(|line| format!("{day}.{number}: entry {line} of the new file, {}\n", line * 7919).into_bytes())
        .take(usize::try_from(bytes / 2)?)
        .collect();
    File::open("/dev/urandom")?.take(bytes / 2).read_to_end(&mut content).context("cannot read random bytes")?;
    Ok(content)
}

/// All regular files, sorted by path.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
