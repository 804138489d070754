//! The files inside a recovery point, as people look at them through the server.
//!
//! The server holds no key. It passes each question on to the keeper of the repository, which asks for questions as it asks for jobs and
//! answers within seconds. Names and paths travel escaped: control characters, backslashes and bytes that are no UTF-8 as `\n`, `\t`,
//! `\\` and `\xNN`.

use crate::id::{LeaseId, QuestionId};
use crate::unit::ByteCount;
use serde::{Deserialize, Serialize};

/// Most entries of a directory in one page.
pub const MAX_FILES: u32 = 500;
/// Most bytes of a file in one piece.
pub const MAX_PIECE_BYTES: u32 = 1 << 20;
/// Longest order of a machine that a disk is passed to, in hexadecimal digits.
pub const MAX_ORDER_DIGITS: usize = 8192;
/// Longest question of a machine about files that it restores, in hexadecimal digits.
pub const MAX_ASK_DIGITS: usize = 131_072;
/// Most files that are found in one page.
pub const MAX_FOUND: u32 = 200;
/// Most characters of a pattern that is searched for.
pub const MAX_PATTERN: usize = 256;
/// Most versions of a file that are told.
pub const MAX_VERSIONS: usize = 500;
/// Longest path, in bytes of its escaped form.
pub const MAX_PATH_BYTES: usize = 4 * 4096;

/// Where a file system lies in a recovery point.
#[derive(Clone, Default, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// The disk; none: the point's only one, or the one that is meant.
    pub disk: Option<String>,
    /// The partition; none: the one that is meant when nobody names one.
    pub partition: Option<u32>,
}

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileQuestion {
    /// The point's disks with their partitions.
    Volumes,
    /// Entries of a directory in the order of their names, behind one of them.
    List {
        /// Name of the disk.
        disk: Option<String>,
        /// Number of the partition.
        partition: Option<u32>,
        /// The directory.
        path: String,
        /// The entry before the first that is wanted.
        behind: Option<String>,
        /// Most entries wanted.
        limit: u32,
    },
    /// One file or directory.
    Look {
        /// Name of the disk.
        disk: Option<String>,
        /// Number of the partition.
        partition: Option<u32>,
        /// The file.
        path: String,
    },
    /// Files by name, through all points of the point's name.
    Search {
        /// Part of a name, or a pattern with `*` and `?`.
        pattern: String,
        /// Only below this directory.
        below: Option<String>,
        /// Where the page begins.
        cursor: Option<String>,
        /// Most files wanted.
        limit: u32,
    },
    /// What one file was through all points of the point's name.
    Versions {
        /// Name of the disk.
        disk: Option<String>,
        /// Number of the partition.
        partition: Option<u32>,
        /// The file.
        path: String,
    },
    /// A directory as one archive. The answer is many pieces, then words: [`FileAnswer::Whole`], or why it is not whole.
    Archive {
        /// Name of the disk.
        disk: Option<String>,
        /// Number of the partition.
        partition: Option<u32>,
        /// The directory.
        path: String,
        /// What it is written in.
        format: ArchiveFormat,
    },
    /// A piece of a file. The answer is its bytes.
    Read {
        /// Name of the disk.
        disk: Option<String>,
        /// Number of the partition.
        partition: Option<u32>,
        /// The file.
        path: String,
        /// Where the piece begins.
        offset_bytes: u64,
        /// Its length; within the file.
        length_bytes: u32,
    },
    /// A part of a disk for a machine that restores it, sealed to that machine. The answer is bytes that the server cannot read.
    Pass(PassDisk),
    /// What a machine asks about files that it restores; both question and answer are sealed.
    PassFiles(PassFiles),
}

/// What a machine asks about the files of its job, which the server adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PassFiles {
    /// The machine's signed order, in hexadecimal digits.
    pub order: String,
    /// The sealed question, in hexadecimal digits.
    pub ask: String,
    /// The disk of the job.
    pub disk: Option<String>,
    /// The partition of the job.
    pub partition: Option<u32>,
    /// The files of the job.
    pub files: Vec<String>,
}

/// Which part of a disk a machine wants passed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PassDisk {
    /// The machine's signed order, in hexadecimal digits: it names the disk, and the key that parts are sealed to.
    #[cfg_attr(feature = "openapi", schema(max_length = 8192))]
    pub order: String,
    /// Where the part begins; without it, what the disk is.
    #[serde(default)]
    pub offset_bytes: Option<u64>,
    /// Of a restore of files: what is asked about them, sealed to the keeper, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 131_072))]
    pub ask: Option<String>,
}

/// A machine asks for a part of the disk that it restores, or about files of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AskPart {
    /// The lease that came with the job.
    pub lease: LeaseId,
    /// What is wanted.
    pub part: PassDisk,
}

impl FileQuestion {
    /// The file system that has to be opened to answer it.
    pub fn volume(&self) -> Option<Volume> {
        match self {
            Self::Volumes | Self::Pass(_) | Self::PassFiles(_) | Self::Search { .. } | Self::Versions { .. } => None,
            Self::List { disk, partition, .. }
            | Self::Look { disk, partition, .. }
            | Self::Archive { disk, partition, .. }
            | Self::Read { disk, partition, .. } => Some(Volume { disk: disk.clone(), partition: *partition }),
        }
    }
}

/// In what a directory is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    /// Keeps owners, modes, times, links, and names of any bytes.
    Tar,
    /// For programs that know nothing else.
    Zip,
}

impl ArchiveFormat {
    /// As it ends names of files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Zip => "zip",
        }
    }
}

/// A question with the point that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskedQuestion {
    /// Names it in the answer.
    pub id: QuestionId,
    /// The recovery point.
    pub point: String,
    /// What is wanted.
    pub question: FileQuestion,
}

/// A keeper asks for a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskQuestion {
    /// How long the answer may wait for one; at most 20 seconds.
    #[cfg_attr(feature = "openapi", schema(maximum = 20))]
    pub wait_s: u32,
    /// Whether one for an archive is wanted, and no other; those take long.
    #[serde(default)]
    pub archives: bool,
}

/// Answer to a keeper that asks for a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GivenQuestion {
    /// One, if there is one. Somebody waits for its answer.
    pub question: Option<AskedQuestion>,
}

/// What a keeper answers; pieces of files come as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileAnswer {
    /// The point's disks.
    Volumes(Vec<PointVolumes>),
    /// Part of a directory.
    List(FilePage),
    /// One file.
    Look(FileEntry),
    /// A page of files that were searched for.
    Found(FoundFiles),
    /// The versions of a file.
    Versions(FileVersions),
    /// An archive has come to its end, and nothing is missing in it.
    Whole,
    /// There is no answer, or no end of an archive.
    Refused(FileRefusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileRefusal {
    /// Whether what was asked for is not there.
    pub is_missing: bool,
    /// What could not be done, and what to do instead.
    pub what: String,
}

/// A disk of a point, with what can be looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointVolumes {
    /// Its name in the point.
    pub disk: String,
    /// Its size.
    pub size_bytes: ByteCount,
    /// Its partitions, or the disk itself where it has none; at most 256.
    pub volumes: Vec<PointVolume>,
}

/// A partition, or a disk without partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointVolume {
    /// Its number; none for the disk itself.
    pub partition: Option<u32>,
    /// The name that the partition table gives it.
    pub name: Option<String>,
    /// Its size.
    pub size_bytes: ByteCount,
    /// What it holds, such as `ext4`, as far as its first bytes say.
    pub holds: Option<String>,
    /// The label of what it holds.
    pub label: Option<String>,
    /// Whether its files can be looked at here.
    pub readable: bool,
    /// Whether it is the one that is meant when nobody names disk and partition; at most one of a point is.
    #[serde(default)]
    pub is_default: bool,
}

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileEntry {
    /// Its name, escaped.
    pub name: String,
    /// `regular`, `directory`, `symlink`, `char_device`, `block_device`, `fifo` or `socket`; none where it is damaged.
    pub kind: Option<String>,
    /// Like `drwxr-xr-x`.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of its content.
    pub size_bytes: ByteCount,
    /// When its content changed last, RFC 3339 in UTC.
    pub modified_at: String,
    /// Where a link leads, escaped.
    pub link_target: Option<String>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// Part of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilePage {
    /// What the file system is, such as `ext4`.
    pub file_system: String,
    /// What a person should know about the state that it is read in; at most 50.
    pub notes: Vec<String>,
    /// Entries of the whole directory.
    pub count: u64,
    /// These of them.
    pub items: Vec<FileEntry>,
    /// Whether more follow.
    pub more: bool,
}

/// Part of a directory, as people get it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedFiles {
    /// What the file system is, such as `ext4`.
    pub file_system: String,
    /// What a person should know about the state that it is read in.
    pub notes: Vec<String>,
    /// Entries of the whole directory.
    pub count: u64,
    /// The entries, in the order of their names.
    pub items: Vec<FileEntry>,
    /// Where the next page begins; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of files that were searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundFiles {
    /// The files, in the order of disk, partition and path. A page may be empty and not the last.
    pub items: Vec<FoundFile>,
    /// Where the next page begins; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Recovery points that were searched.
    pub points: u32,
    /// Recovery points that were not: their files are not listed yet, or not all of them.
    pub points_missing: u32,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundFile {
    /// Its disk.
    pub disk: String,
    /// Its partition; none for a disk without partitions.
    pub partition: Option<u32>,
    /// Its path, escaped.
    pub path: String,
    /// How many versions of it there are, told by kind, size and time.
    pub versions: u32,
    /// In how many recovery points it is.
    pub points: u32,
    /// The newest version.
    pub newest: FileVersion,
}

/// What a file was in some recovery points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileVersion {
    /// `regular`, `directory`, `symlink`, `char_device`, `block_device`, `fifo` or `socket`; none where it is damaged.
    pub kind: Option<String>,
    /// Length of its content.
    pub size_bytes: ByteCount,
    /// When its content changed last, RFC 3339 in UTC.
    pub modified_at: String,
    /// In how many recovery points it is that.
    pub points: u32,
    /// The oldest of them.
    pub first: PointOfFile,
    /// The newest of them.
    pub last: PointOfFile,
}

/// A recovery point that has a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointOfFile {
    /// Its id.
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    pub made_at: String,
}

/// The versions of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileVersions {
    /// The versions, the one of the newest recovery point first; at most 500.
    pub items: Vec<FileVersion>,
    /// Whether older ones were left out.
    pub more: bool,
    /// Recovery points that were searched.
    pub points: u32,
    /// Recovery points that were not: their files are not listed yet, or not all of them.
    pub points_missing: u32,
}

/// What is searched for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct SearchFiles {
    /// Part of a file's name, or a pattern for the whole name (`*.conf`); with a slash it is compared with whole paths. Capital and small
    /// letters are the same. At most 256 characters.
    pub name: String,
    /// Only below this directory, escaped as in the listings.
    pub below: Option<String>,
    /// Most files wanted, 1 to 200.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 200, default = 200))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
}

/// Which file or directory is meant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct FilePlace {
    /// The disk, when the point has several.
    pub disk: Option<String>,
    /// The partition; without it the only one with files, EFI system partitions aside.
    pub partition: Option<u32>,
    /// The path, escaped as in the listings; `/` is the root.
    pub path: String,
}

/// Which directory is wanted as an archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ArchivePlace {
    /// The disk, when the point has several.
    pub disk: Option<String>,
    /// The partition; without it the only one with files, EFI system partitions aside.
    pub partition: Option<u32>,
    /// The directory, escaped as in the listings; `/` is the root.
    pub path: String,
    /// What it is written in.
    #[cfg_attr(feature = "openapi", param(inline))]
    pub format: ArchiveFormat,
}

/// Which part of a directory is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ListFiles {
    /// The disk, when the point has several.
    pub disk: Option<String>,
    /// The partition; without it the only one with files, EFI system partitions aside.
    pub partition: Option<u32>,
    /// The directory, escaped as in the listings; `/` is the root.
    pub path: String,
    /// Most entries wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 500))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
}
