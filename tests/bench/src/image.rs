//! The disks that are measured: one like a small server's, its next day, and a vast sparse one.
//!
//! Images are made once and kept in the cache under the name of their recipe. What is in them follows from the recipe and
//! the program files of this machine; positions and new contents follow from seeds.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::{DiskImage, Extent, FileSystem, GIB, MIB, PartitionPlan};

use crate::content;
use crate::random::Random;

/// Raised whenever the images would come out differently.
const RECIPE_VERSION: u32 = 1;
const EFI_BYTES: u64 = 40 * MIB;
/// The unit of changes by block, and the default chunk.
pub const BLOCK_BYTES: u64 = 64 << 10;
const HUGE_BYTES: u64 = 16 << 40;
const HUGE_STRETCHES: u64 = 64;
const DATABASE_WRITES: u64 = 5_000;

/// A disk before and after, and the true list of what differs.
pub struct Change {
    /// The disk as the first backup sees it.
    pub before: PathBuf,
    /// The disk as the second backup sees it.
    pub after: PathBuf,
    /// The differing extents, as `icecore backup --changed-extents` reads them.
    pub list: PathBuf,
    /// Only the changed blocks, one after the other: what an incremental backup must at least read and store.
    pub changed_only: PathBuf,
}

/// All images of one size.
pub struct Images {
    /// A day on the realistic disk.
    pub day: Change,
    /// The realistic disk with scattered blocks changed.
    pub blocks: Change,
    /// The huge sparse disk with as many blocks changed.
    pub huge: Change,
    /// Bytes of the huge disk; a little less than 16 TiB where the file system cannot hold more.
    pub huge_bytes: u64,
}

/// How large everything is.
#[derive(Clone, Copy)]
pub struct Recipe {
    /// Size of the realistic disk.
    pub disk_bytes: u64,
}

impl Recipe {
    /// `part` in 6 GiB, scaled to this disk.
    fn scaled(self, part: u64) -> u64 {
        part * (self.disk_bytes / MIB) / (6 * 1024)
    }

    /// Data on the huge disk.
    pub fn huge_data_bytes(self) -> u64 {
        self.scaled(2 * GIB) / (HUGE_STRETCHES * MIB) * (HUGE_STRETCHES * MIB)
    }

    /// Blocks changed on the realistic and on the huge disk: 100 MiB at full size.
    pub fn changed_blocks(self) -> u64 {
        self.scaled(1600)
    }
}

fn dir_of(cache: &Path, recipe: Recipe) -> PathBuf {
    cache.join(format!("images-v{RECIPE_VERSION}-{}MiB", recipe.disk_bytes / MIB))
}

/// Whether all images are in `cache`, judged by the one that is made last.
pub fn are_made(cache: &Path, recipe: Recipe) -> bool {
    dir_of(cache, recipe).join("huge-changed-only.img").exists()
}

/// Returns the images, making those that are not in `cache` yet.
pub fn provide(cache: &Path, recipe: Recipe) -> Result<Images> {
    let dir = dir_of(cache, recipe);
    fs::create_dir_all(&dir)?;
    let disk = dir.join("disk.img");
    once(&disk, |path| make_disk(path, recipe))?;
    let day = change(&dir, "day", &disk, |after| pass_day(after, recipe))?;
    let blocks = change(&dir, "blocks", &disk, |after| change_blocks(after, recipe.changed_blocks()))?;
    let huge_disk = dir.join("huge.img");
    once(&huge_disk, |path| make_huge(path, &disk, recipe))?;
    let huge = change(&dir, "huge", &huge_disk, |after| change_blocks(after, recipe.changed_blocks()))?;
    let huge_bytes = fs::metadata(&huge_disk)?.len();
    Ok(Images { day, blocks, huge, huge_bytes })
}

/// Makes `path` unless it is there; an interrupted making leaves nothing under that name.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    eprintln!("making {}", path.display());
    let unfinished = path.with_extension("unfinished");
    make(&unfinished)?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot name {}", path.display()))
}

fn change(dir: &Path, name: &str, before: &Path, alter: impl FnOnce(&Path) -> Result<()>) -> Result<Change> {
    let after = dir.join(format!("{name}-after.img"));
    let list = dir.join(format!("{name}-changes.txt"));
    let changed_only = dir.join(format!("{name}-changed-only.img"));
    once(&after, |path| {
        e2e::copy_image(before, path)?;
        alter(path)
    })?;
    once(&list, |path| e2e::write_extents(path, &e2e::changed_extents(before, &after, 4096)?))?;
    once(&changed_only, |path| copy_extents(&after, path, &e2e::changed_extents(before, &after, BLOCK_BYTES)?))?;
    Ok(Change { before: before.to_owned(), after, list, changed_only })
}

fn copy_extents(source: &Path, target: &Path, extents: &[Extent]) -> Result<()> {
    let (source, target) = (File::open(source)?, File::create(target)?);
    let mut position = 0;
    for extent in extents {
        let mut buffer = vec![0; usize::try_from(extent.length_bytes)?];
        source.read_exact_at(&mut buffer, extent.offset_bytes)?;
        target.write_all_at(&buffer, position)?;
        position += extent.length_bytes;
    }
    Ok(())
}

/// The partitions are the same in every version of the realistic disk.
fn plans() -> [PartitionPlan; 2] {
    [PartitionPlan::sized(FileSystem::Vfat, EFI_BYTES), PartitionPlan::rest(FileSystem::Ext4)]
}

fn with_files<T>(image: &Path, recipe: Recipe, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let mount_point = tempfile::tempdir()?;
    let offset_bytes = MIB + EFI_BYTES;
    let length_bytes = recipe.disk_bytes - offset_bytes - MIB;
    let _mount = e2e::Mount::window(image, offset_bytes, length_bytes, mount_point.path(), "")?;
    work(mount_point.path())
}

fn make_disk(path: &Path, recipe: Recipe) -> Result<()> {
    DiskImage::create(path, recipe.disk_bytes, &plans())?;
    with_files(path, recipe, |root| {
        let programs = ["/usr/lib", "/usr/bin", "/usr/sbin", "/usr/local", "/opt"].map(PathBuf::from);
        let texts = ["/usr/share", "/usr/include"].map(PathBuf::from);
        let toolchain = content::toolchain_dirs();
        content::collect(root, &[&programs[..], &toolchain].concat(), recipe.scaled(1800 * MIB))?;
        content::collect(root, &[&texts[..], &content::source_dirs()].concat(), recipe.scaled(600 * MIB))?;
        content::database(&root.join("database.db"), recipe.scaled(1100 * MIB))?;
        content::incompressible(&root.join("media"), recipe.scaled(750 * MIB))
    })
}

fn pass_day(path: &Path, recipe: Recipe) -> Result<()> {
    let mut random = Random::seeded(1);
    with_files(path, recipe, |root| {
        let database = File::options().read(true).write(true).open(root.join("database.db"))?;
        let pages = database.metadata()?.len() / 4096;
        for _ in 0..recipe.scaled(DATABASE_WRITES) {
            update_page(&database, random.below(pages) * 4096, &mut random)?;
        }
        content::replace_files(root, recipe.scaled(150 * MIB))?;
        content::add_files(root, recipe.scaled(60 * MIB))
    })
}

/// Rewrites a page of 4 KiB in which a few rows changed.
fn update_page(database: &File, offset_bytes: u64, random: &mut Random) -> Result<()> {
    let mut page = [0; 4096];
    database.read_exact_at(&mut page, offset_bytes)?;
    for _ in 0..4 {
        let start = usize::try_from(random.below(4096 - 48))?;
        random.fill(&mut page[start..start + 48]);
    }
    database.write_all_at(&page, offset_bytes)?;
    Ok(())
}

fn make_huge(path: &Path, disk: &Path, recipe: Recipe) -> Result<()> {
    let size_bytes = largest_size(path)?;
    DiskImage::create(path, size_bytes, &[PartitionPlan::rest(FileSystem::None)])?;
    let (source, target) = (File::open(disk)?, File::options().write(true).open(path)?);
    let stretch_bytes = recipe.huge_data_bytes() / HUGE_STRETCHES;
    let mut buffer = vec![0; usize::try_from(MIB)?];
    let mut read_from = MIB + EFI_BYTES;
    for stretch in 0..HUGE_STRETCHES {
        let start = MIB + size_bytes / HUGE_STRETCHES / MIB * MIB * stretch;
        let mut written = 0;
        while written < stretch_bytes {
            ensure!(read_from + MIB <= recipe.disk_bytes, "the realistic disk holds too little data for the huge one");
            source.read_exact_at(&mut buffer, read_from)?;
            read_from += MIB;
            // Only windows full of data, so that the huge disk has exactly as much data as its recipe says.
            if buffer.chunks(4096).all(|page| page.iter().any(|byte| *byte != 0)) {
                target.write_all_at(&buffer, start + written)?;
                written += MIB;
            }
        }
    }
    Ok(())
}

/// 16 TiB where the file system allows it; ext4 stops one block earlier.
fn largest_size(path: &Path) -> Result<u64> {
    let file = File::create(path)?;
    if file.set_len(HUGE_BYTES).is_ok() {
        return Ok(HUGE_BYTES);
    }
    let size_bytes = HUGE_BYTES - MIB;
    file.set_len(size_bytes).context("the cache's file system cannot hold a sparse file of 16 TiB")?;
    Ok(size_bytes)
}

/// Gives `count` blocks, scattered over those that hold data, new content that compresses like the old.
fn change_blocks(path: &Path, count: u64) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut candidates = content::blocks_of_data(&file, BLOCK_BYTES)?;
    ensure!(candidates.len() as u64 >= count, "{} holds too little data", path.display());
    let mut random = Random::seeded(2);
    let mut block = vec![0; usize::try_from(BLOCK_BYTES)?];
    for _ in 0..count {
        let index = usize::try_from(random.below(candidates.len() as u64))?;
        let offset_bytes = candidates.swap_remove(index);
        file.read_exact_at(&mut block, offset_bytes)?;
        content::shift(&mut block, 3);
        file.write_all_at(&block, offset_bytes)?;
    }
    Ok(())
}
