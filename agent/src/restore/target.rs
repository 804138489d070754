//! What a restore writes to: a new image file, an existing one, a block device. Refuses what would destroy something by mistake.
//!
//! A new file is written under `NAME.partial` and gets its name when it is complete; a partial file that is found is gone on with.

use super::RestoreRequest;
use crate::facts::DiskFacts;
use crate::read_at::FileDisk;
use crate::source::in_use::in_use;
use crate::source::sys::{DeviceNumber, SysRoot};
use crate::source::{Location, SourceFacts};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use repo_format::aligned::is_aligned;
use repo_format::codec::is_zero;
use repo_format::manifest::Disk;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a target was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Something uses it.
    #[error("{target} is in use: {uses}. Nothing was written. Unmount or stop what uses it, then try again")]
    InUse {
        /// Target.
        target: String,
        /// By what.
        uses: String,
    },
    /// It holds something.
    #[error(
        "{target} is not empty: {holds}. Nothing was written. Add --overwrite to replace it, or --delta to write only what differs"
    )]
    NotEmpty {
        /// Target.
        target: String,
        /// What was found.
        holds: String,
    },
    /// It is too small.
    #[error(
        "{target} has {has_bytes} bytes and {needed_bytes} are needed. Nothing was written. Choose a target of at least that size"
    )]
    TooSmall {
        /// Target.
        target: String,
        /// Its size.
        has_bytes: u64,
        /// Size of what is restored.
        needed_bytes: u64,
    },
    /// It would lose its end.
    #[error(
        "{target} has {has_bytes} bytes and {needed_bytes} are restored: the rest would be cut off. Nothing was written. Add --overwrite if it may be, --size {has_bytes} to keep the length, or choose another target"
    )]
    Longer {
        /// Target.
        target: String,
        /// Its size.
        has_bytes: u64,
        /// Size of what is restored.
        needed_bytes: u64,
    },
    /// Its partition table could not be read there.
    #[error(
        "the partition table counts in sectors of {table_bytes} bytes and {target} has sectors of {sector_bytes}: a system would find no partitions on it. Nothing was written. Choose a disk with the same sectors, or make partitions there and restore them one by one with --partition"
    )]
    OtherSectors {
        /// Target.
        target: String,
        /// The table's unit.
        table_bytes: u32,
        /// The target's.
        sector_bytes: u32,
    },
}

/// What partition tables in image files count in, nearly always.
const IMAGE_SECTOR_BYTES: u32 = 512;

/// What is known of a target before it is opened for writing.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its length, or of a file the length it will have.
    pub bytes: u64,
    /// Its smallest unit; of a file what images count in.
    pub sector_bytes: u32,
}

/// Looks at the target and changes nothing. What it is is judged by [`Target::open`].
pub fn size(request: &RestoreRequest, needed_bytes: u64) -> Result<Size> {
    let wanted = request.image_bytes.unwrap_or(needed_bytes);
    if wanted < needed_bytes {
        let target = request.target.display().to_string();
        return Err(Refusal::TooSmall { target, has_bytes: wanted, needed_bytes }.into());
    }
    let path = &request.target;
    match fs::metadata(path) {
        Ok(meta) if meta.file_type().is_block_device() => {
            if request.image_bytes.is_some() {
                bail!("--size is for image files; {} is a device and has its own", path.display());
            }
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let bytes = crate::read_at::ReadAt::size_bytes(&FileDisk::new(file)?);
            let number = DeviceNumber::from_raw(meta.rdev());
            Ok(Size { bytes, sector_bytes: SysRoot::host().sector_bytes(number).unwrap_or(IMAGE_SECTOR_BYTES) })
        }
        Ok(meta) if meta.is_file() && request.grow.is_some() => {
            Ok(Size { bytes: meta.len().max(wanted), sector_bytes: IMAGE_SECTOR_BYTES })
        }
        _ => Ok(Size { bytes: wanted, sector_bytes: IMAGE_SECTOR_BYTES }),
    }
}

/// Refuses a device that counts in other sectors than the partition table; says where a file system may mind.
pub fn notes_on_sectors(request: &RestoreRequest, disk: &Disk, target: Size) -> Result<Vec<String>> {
    let is_device = fs::metadata(&request.target).is_ok_and(|meta| meta.file_type().is_block_device());
    // Facts of a newer program that this one does not know say nothing here.
    let Some(facts) = serde_json::from_value::<SourceFacts>(disk.facts.clone()).ok().filter(|_| is_device) else {
        return Ok(Vec::new());
    };
    let shown = request.target.display().to_string();
    let has_table = facts.disk.table.is_some() && request.partition.is_none();
    if has_table && facts.disk.sector_bytes != target.sector_bytes {
        let (table_bytes, sector_bytes) = (facts.disk.sector_bytes, target.sector_bytes);
        return Err(Refusal::OtherSectors { target: shown, table_bytes, sector_bytes }.into());
    }
    if !has_table && target.sector_bytes > facts.sector_bytes {
        return Ok(vec![format!(
            "{shown} has sectors of {} bytes, the disk had {}: an ext4 file system with larger blocks works there, an xfs or FAT one may not mount",
            target.sector_bytes, facts.sector_bytes
        )]);
    }
    Ok(Vec::new())
}

/// An open target.
pub struct Target {
    /// `None` in a dry run to a file that does not exist.
    file: Option<File>,
    /// The same file for writes past the page cache.
    direct: Option<File>,
    path: PathBuf,
    /// Final name of a new file.
    rename_to: Option<PathBuf>,
    compare: bool,
    known_zero: bool,
    dry: bool,
}

static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
/// How much of a device is looked at to tell whether it is empty, at its start and its end.
const PROBE_BYTES: u64 = 1 << 20;

impl Target {
    /// Opens and judges the target, which is to hold `content_bytes` and be at least `needed_bytes` long.
    pub fn open(request: &RestoreRequest, content_bytes: u64, needed_bytes: u64) -> Result<Self> {
        Self::open_buffered(request, content_bytes, needed_bytes).map(Self::with_direct)
    }

    fn open_buffered(request: &RestoreRequest, content_bytes: u64, needed_bytes: u64) -> Result<Self> {
        let path = &request.target;
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::new_file(request, content_bytes, needed_bytes)
            }
            Err(error) => Err(error).with_context(|| format!("looking at the target {}", path.display())),
            Ok(meta) if meta.file_type().is_block_device() => Self::device(request, needed_bytes),
            Ok(meta) if meta.is_file() => Self::existing_file(request, meta.len(), needed_bytes),
            Ok(meta) if meta.is_dir() => {
                bail!("{} is a directory; give a file or block device, or restore files with --files", path.display())
            }
            Ok(_) => bail!("{} is neither a file nor a block device", path.display()),
        }
    }

    fn new_file(request: &RestoreRequest, content_bytes: u64, needed_bytes: u64) -> Result<Self> {
        let path = &request.target;
        let mut name = path.file_name().context("the target has no file name")?.to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let new = |file, known_zero: bool| Self {
            file,
            direct: None,
            path: partial.clone(),
            rename_to: Some(path.clone()),
            compare: !known_zero,
            known_zero,
            dry: request.dry_run,
        };
        if request.dry_run {
            return Ok(new(None, true));
        }
        let (file, goes_on) = open_partial(&partial)?;
        // What lies behind the disk must be zero, and an earlier restore may have been of a larger one.
        let resized = file.set_len(content_bytes.min(file.metadata()?.len())).and_then(|()| file.set_len(needed_bytes));
        resized.with_context(|| format!("making {} {needed_bytes} bytes long", partial.display()))?;
        Ok(new(Some(file), !goes_on))
    }

    fn existing_file(request: &RestoreRequest, has_bytes: u64, needed_bytes: u64) -> Result<Self> {
        let path = &request.target;
        refuse_in_use(path)?;
        if has_bytes > 0 && !request.overwrite && !request.delta {
            let holds = format!("a file of {has_bytes} bytes");
            return Err(Refusal::NotEmpty { target: path.display().to_string(), holds }.into());
        }
        let compare = request.delta;
        if has_bytes > needed_bytes && !request.overwrite {
            return Err(Refusal::Longer { target: path.display().to_string(), has_bytes, needed_bytes }.into());
        }
        if request.dry_run {
            let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            return Ok(Self::existing(request, file, false));
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(path).with_context(|| format!("opening {}", path.display()))?;
        let resize = || -> io::Result<()> {
            if !compare {
                // Emptied and grown again, it is zero everywhere.
                file.set_len(0)?;
            }
            file.set_len(needed_bytes)
        };
        resize().with_context(|| format!("making {} {needed_bytes} bytes long", path.display()))?;
        Ok(Self::existing(request, file, !compare))
    }

    fn device(request: &RestoreRequest, needed_bytes: u64) -> Result<Self> {
        let path = &request.target;
        refuse_in_use(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(!request.dry_run);
        if !request.dry_run {
            // Fails when a file system or another device is built on it, and keeps anybody else from doing so.
            options.custom_flags(nix::fcntl::OFlag::O_EXCL.bits());
        }
        let file = options.open(path).with_context(|| format!("opening {}", path.display()))?;
        let disk = FileDisk::new(file.try_clone()?)?;
        let has_bytes = crate::read_at::ReadAt::size_bytes(&disk);
        let target = path.display().to_string();
        if has_bytes < needed_bytes {
            return Err(Refusal::TooSmall { target, has_bytes, needed_bytes }.into());
        }
        if !request.overwrite
            && !request.delta
            && let Some(holds) = what_is_on(&disk)?
        {
            return Err(Refusal::NotEmpty { target, holds }.into());
        }
        Ok(Self::existing(request, file, false))
    }

    /// A target that was there before.
    fn existing(request: &RestoreRequest, file: File, known_zero: bool) -> Self {
        Self {
            file: Some(file),
            direct: None,
            path: request.target.clone(),
            rename_to: None,
            compare: request.delta,
            known_zero,
            dry: request.dry_run,
        }
    }

    /// Whether what is there is read first and only differences are written.
    pub fn compares(&self) -> bool {
        self.compare
    }

    /// Whether it is zero wherever nothing was written.
    pub fn is_zero_already(&self) -> bool {
        self.known_zero
    }

    /// Whether nothing is to be written.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Reads what is there; false when there is nothing yet, or nothing that the medium gives back: then it is written, and a drive puts
    /// another sector in its place.
    pub fn read(&self, buf: &mut [u8], offset_bytes: u64) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        match file.read_exact_at(buf, offset_bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => {
                tracing::warn!(path = %self.path.display(), offset_bytes, "the target cannot be read here; it is written over");
                Ok(false)
            }
            other => other.map(|()| true).with_context(|| format!("reading the target {}", self.path.display())),
        }
    }

    /// Writes data; past the page cache where memory, place and length allow it.
    pub fn write(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.dry) else { return Ok(()) };
        let direct = self.direct.as_ref().filter(|_| is_aligned(data, offset_bytes));
        let written = match direct.map(|direct| direct.write_all_at(data, offset_bytes)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => file.write_all_at(data, offset_bytes),
            Some(written) => written,
            None => file.write_all_at(data, offset_bytes),
        };
        written.with_context(|| format!("writing to the target {} at offset {offset_bytes}", self.path.display()))
    }

    /// Opens the same file once more for direct writes. Without it everything goes through the page cache.
    fn with_direct(mut self) -> Self {
        let same_file = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = nix::fcntl::OFlag::O_DIRECT.bits();
        let open = |file: &File| OpenOptions::new().write(true).custom_flags(direct).open(same_file(file)).ok();
        self.direct = self.file.as_ref().filter(|_| !self.dry).and_then(open);
        self
    }

    /// Makes a part zero: by the device or file system where it can, else by writing.
    pub fn zero(&self, offset_bytes: u64, length_bytes: u64) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.dry) else { return Ok(()) };
        let (offset, length) = (i64::try_from(offset_bytes)?, i64::try_from(length_bytes)?);
        for mode in [FallocateFlags::FALLOC_FL_PUNCH_HOLE, FallocateFlags::FALLOC_FL_ZERO_RANGE] {
            if fallocate(file, mode | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length).is_ok() {
                return Ok(());
            }
        }
        let mut at = offset_bytes;
        let end = offset_bytes + length_bytes;
        while at < end {
            let part = usize::try_from((end - at).min(ZEROES.len() as u64))?;
            let write = file.write_all_at(&ZEROES[..part], at);
            write.with_context(|| format!("writing zeroes to {} at offset {at}", self.path.display()))?;
            at += part as u64;
        }
        Ok(())
    }

    /// Makes everything durable and gives a new file its name.
    pub fn finish(self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_all().with_context(|| format!("making {} durable", self.path.display()))?;
        let Some(name) = &self.rename_to else { return Ok(()) };
        name_new_file(&self.path, name)?;
        let dir = name.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("making {} durable", dir.display()))
    }
}

/// Opens or creates the partial file, alone: never through a link, never one that another restore is writing to.
fn open_partial(partial: &Path) -> Result<(File, bool)> {
    let shown = partial.display();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    let (file, goes_on) = match options.clone().create_new(true).open(partial) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options
                .open(partial)
                .with_context(|| format!("opening {shown}, which an earlier restore may have left"))?;
            let meta = file.metadata()?;
            if !meta.is_file() || meta.nlink() != 1 {
                bail!(
                    "{shown} is in the way and is no file that a restore left behind; move it away or choose another target"
                );
            }
            (file, true)
        }
        Err(error) => return Err(error).with_context(|| format!("creating {shown}")),
    };
    if file.try_lock().is_err() {
        bail!("another restore is writing to {shown}; wait for it, or choose another target");
    }
    Ok((file, goes_on))
}

/// Gives the complete file its name, unless somebody else took the name meanwhile.
fn name_new_file(partial: &Path, name: &Path) -> Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let context = || format!("naming {}; the complete disk is in {}", name.display(), partial.display());
    match renameat2(AT_FDCWD, partial, AT_FDCWD, name, RenameFlags::RENAME_NOREPLACE) {
        // A file system without that operation.
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) if !name.exists() => {
            fs::rename(partial, name).with_context(context)
        }
        other => other.with_context(context),
    }
}

fn refuse_in_use(path: &Path) -> Result<()> {
    let location = Location::of(path).with_context(|| format!("looking at {}", path.display()))?;
    let uses =
        in_use(&SysRoot::host(), &location).with_context(|| format!("looking whether {} is in use", path.display()))?;
    if uses.is_empty() {
        return Ok(());
    }
    let uses = uses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(Refusal::InUse { target: path.display().to_string(), uses }.into())
}

/// What a device holds, in words; `None` when its start and end are zero.
fn what_is_on(disk: &FileDisk) -> Result<Option<String>> {
    use crate::read_at::ReadAt;
    let facts = DiskFacts::read(disk, 512).context("looking what is on the target")?;
    if facts.table.is_some() {
        return Ok(Some(format!("a partition table with {} partitions", facts.partitions.len())));
    }
    if let Some(content) = facts.content {
        return Ok(Some(format!("{:?}", content.kind).to_lowercase()));
    }
    let probe = PROBE_BYTES.min(disk.size_bytes());
    let mut bytes = vec![0; usize::try_from(probe)?];
    for offset in [0, disk.size_bytes() - probe] {
        disk.read_exact_at(&mut bytes, offset)?;
        if !is_zero(&bytes) {
            return Ok(Some("data that is not zero".into()));
        }
    }
    Ok(None)
}
