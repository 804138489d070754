//! What else can be seen of a restored disk that shows a sector without data: tells a hole in the repository from one of the
//! file system that it was restored to, and from a wrong reading. For the words of a failure only; it judges nothing.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::direct::DirectFile;
use crate::icecore::{Point, Repository};
use crate::stamp::SECTOR_BYTES;
use crate::storm::Area;

/// Several ways to look at the area in the restored file, and in a second restore beside it.
pub fn at(repository: &Repository, point: &Point, disk: &str, restored: &Path, area: &Area) -> String {
    let again = restored.with_extension("again");
    let second = repository.restore(point, Some(disk), &again);
    let looks = [
        ("past the cache", past_the_cache(restored, area)),
        ("through the cache", through_the_cache(restored, area)),
        ("with the caches dropped", drop_caches().and_then(|()| past_the_cache(restored, area))),
        ("in a second restore", second.and_then(|()| past_the_cache(&again, area))),
    ];
    let looks = looks.map(|(how, empty)| match empty {
        Ok(empty) => format!("{how} {empty}"),
        Err(error) => format!("{how} unknown ({error:#})"),
    });
    let _ = std::fs::remove_file(again);
    format!("empty sectors of the {} of disk {disk}: {}", area.sectors, looks.join(", "))
}

fn past_the_cache(file: &Path, area: &Area) -> Result<usize> {
    let length = usize::try_from(area.sectors)? * SECTOR_BYTES;
    let read = DirectFile::open_to_read(file)?.read_new(area.first_sector * 512, length)?;
    Ok(empty_sectors(read.bytes()))
}

fn through_the_cache(file: &Path, area: &Area) -> Result<usize> {
    let mut bytes = vec![0; usize::try_from(area.sectors)? * SECTOR_BYTES];
    std::fs::File::open(file)?.read_exact_at(&mut bytes, area.first_sector * 512)?;
    Ok(empty_sectors(&bytes))
}

fn empty_sectors(bytes: &[u8]) -> usize {
    bytes.chunks_exact(SECTOR_BYTES).filter(|sector| sector.iter().all(|byte| *byte == 0)).count()
}

fn drop_caches() -> Result<()> {
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the caches")
}
