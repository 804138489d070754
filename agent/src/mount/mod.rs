//! Shows the disks of a recovery point as image files through FUSE, so that the kernel can loop-mount any of them.
//!
//! Each disk is `NAME.img` and each of its partitions `NAME.p1.img`: two views of the same bytes. Read-only unless a
//! throw-away overlay is asked for (`overlay`), which journals need to replay; nothing written ever reaches the
//! recovery point. Signals are the caller's: it holds an [`Unmounter`] for them.

mod fuse;
mod image_files;
mod overlay;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use nix::errno::Errno;

use self::fuse::ImageFileSystem;
use self::image_files::ImageFiles;
use crate::read_at::ReadAt;

/// Requests are served side by side, so that one slow read holds up nobody.
const THREADS: usize = 4;
/// A mount that is busy for longer than half a second is really in use.
const BUSY_RETRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// A part of a disk that gets a file of its own.
#[derive(Debug, Clone, Copy)]
pub struct MountedPartition {
    /// Its number in the partition table.
    pub number: u32,
    /// Where it starts on the disk.
    pub offset_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
}

/// A disk to show.
pub struct MountedDisk {
    /// The file name before `.img`; characters that no file name can have are replaced.
    pub name: String,
    /// Its partitions.
    pub partitions: Vec<MountedPartition>,
    /// Its bytes.
    pub disk: Arc<dyn ReadAt>,
}

/// How to mount.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// Accept writes into a temporary file that vanishes with the mount.
    pub overlay: bool,
    /// Where that file lies; the system's temporary directory unless given.
    pub overlay_dir: Option<PathBuf>,
    /// Let other users in (FUSE refuses even root otherwise).
    pub allow_other: bool,
}

/// Failure of mounting or unmounting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A partition does not lie inside its disk.
    #[error("partition {partition} of {disk} does not lie inside the disk")]
    BadPartition {
        /// Name of the disk.
        disk: String,
        /// Number of the partition.
        partition: u32,
    },
    /// FUSE is not there.
    #[error("/dev/fuse does not exist; load it with `modprobe fuse`, and in a container pass the device in")]
    NoFuse,
    /// The file for the overlay.
    #[error("cannot make the temporary file for writes in {dir}: {source}")]
    Overlay {
        /// Where it was to be.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The mount itself.
    #[error("cannot mount on {dir}: {source} (an empty directory and root, or the fuse3 package, are needed)")]
    Mount {
        /// Where.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Something still uses the files.
    #[error("{dir} is in use; unmount what was mounted from its images (`losetup -a` shows them), then try again")]
    Busy {
        /// The mount point.
        dir: PathBuf,
    },
    /// Unmounting.
    #[error("cannot unmount {dir}: {source}")]
    Unmount {
        /// The mount point.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A running mount. Dropping it unmounts if nothing uses it any more.
pub struct MountHandle {
    session: BackgroundSession,
    unmounter: Unmounter,
    file_names: Vec<String>,
}

/// Ends a mount from any thread, such as the one that handles signals.
#[derive(Debug, Clone)]
pub struct Unmounter {
    dir: PathBuf,
}

/// Mounts `disks` on the directory `dir` and serves them from threads of its own.
pub fn mount(disks: Vec<MountedDisk>, dir: &Path, options: &MountOptions) -> Result<MountHandle, MountError> {
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoFuse);
    }
    let failed = |source| MountError::Mount { dir: dir.to_owned(), source };
    let dir = dir.canonicalize().map_err(failed)?;
    let files = ImageFiles::new(disks, options)?;
    let file_names = files.names().map(str::to_owned).collect();
    let session = fuser::spawn_mount(ImageFileSystem::new(files), &dir, &config(options)).map_err(failed)?;
    Ok(MountHandle { session, unmounter: Unmounter { dir }, file_names })
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("icecore".to_owned()),
        MountOption::Subtype("icecore".to_owned()),
        if options.overlay { MountOption::RW } else { MountOption::RO },
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    config
}

impl MountHandle {
    /// Names of the image files, disks before their partitions.
    pub fn file_names(&self) -> &[String] {
        &self.file_names
    }

    /// For ending this mount from elsewhere.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Blocks until the mount has ended, be it by an [`Unmounter`] or by `umount`.
    pub fn wait(self) -> Result<(), MountError> {
        let dir = self.unmounter.dir;
        self.session.join().map_err(|source| MountError::Unmount { dir, source })
    }

    /// Unmounts; when it is busy the mount goes on, and this can be tried again. `wait` returns afterwards.
    pub fn unmount(&self) -> Result<(), MountError> {
        self.unmounter.unmount()
    }
}

impl Unmounter {
    /// Unmounts; [`MountError::Busy`] while files are open or loop-mounted. `MountHandle::wait` returns afterwards.
    pub fn unmount(&self) -> Result<(), MountError> {
        match self.unmount_patiently() {
            Ok(()) => Ok(()),
            Err(Errno::EBUSY) => Err(MountError::Busy { dir: self.dir.clone() }),
            Err(Errno::EPERM) => self.unmount_as_user(),
            Err(errno) => Err(MountError::Unmount { dir: self.dir.clone(), source: errno.into() }),
        }
    }

    /// The kernel lets go of a closed file or loop device a little later than `close` and `umount` return.
    fn unmount_patiently(&self) -> nix::Result<()> {
        for _ in 0..BUSY_RETRIES {
            match nix::mount::umount(&self.dir) {
                Err(Errno::EBUSY) => std::thread::sleep(BUSY_PAUSE),
                result => return result,
            }
        }
        nix::mount::umount(&self.dir)
    }

    /// Users may unmount what they mounted only through the set-user-id helper.
    fn unmount_as_user(&self) -> Result<(), MountError> {
        match Command::new("fusermount3").arg("-u").arg("--").arg(&self.dir).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(MountError::Busy { dir: self.dir.clone() }),
            Err(source) => Err(MountError::Unmount { dir: self.dir.clone(), source }),
        }
    }
}
