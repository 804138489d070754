//! What is done in a repository by its keeper, the agent that has the repository's own key: verifying, checking, forgetting, pruning,
//! copying the server's database, restoring. What is asked for, and what came of it.
//!
//! Points are named by their ids, 64 hexadecimal digits.

use crate::id::AgentId;
use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};

/// Most points that one verification reads, and most that one prune gives up; what is left is next time's.
pub const MAX_POINTS: usize = 200;
/// Most findings, refusals and remarks that a result holds.
pub const MAX_FINDINGS: usize = 50;

/// What a keeper's job does. What the server works out when the job begins is empty until then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeeperWork {
    /// Reads points and compares every chunk with its id.
    Verify(VerifyWork),
    /// Looks through the whole repository.
    Check(CheckWork),
    /// Gives up what the plans' rules do not keep, then frees what nobody needs.
    Prune(PruneWork),
    /// Gives points up by hand, or takes them back.
    Forget(ForgetWork),
    /// Stores a copy of the server's database.
    Copy(CopyWork),
    /// Writes a point back, on the keeper's machine or another agent's.
    Restore(RestoreWork),
}

/// What is to be verified.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VerifyWork {
    /// The points; none: those that were not verified yet, the newest of each series first.
    #[cfg_attr(feature = "openapi", schema(max_items = 200))]
    pub points: Vec<String>,
    /// Read everything, also what was read within the last 30 days.
    pub read_all: bool,
}

/// How a repository is looked through. With neither option only its structure is.
#[derive(Clone, Copy, Default, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CheckWork {
    /// Read every pack whole.
    pub read_data: bool,
    /// Read this part of the packs whole, other ones each time; more than 0, at most 100.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 100))]
    pub sample_percent: Option<f64>,
}

/// How a repository is pruned.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PruneWork {
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the plans' rules do not keep; filled in by the server when the job begins.
    pub give_up: Vec<GiveUp>,
}

/// A point that no rule keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GiveUp {
    /// The point.
    pub point: String,
    /// How many points of its series have to stay whatever happens; never less than one.
    pub minimum: u32,
    /// Why, for people.
    pub reason: String,
}

/// Points that a person gives up or takes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ForgetWork {
    /// The points.
    pub points: Vec<String>,
    /// Take them back instead.
    #[serde(default)]
    pub undo: bool,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// What is copied.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CopyWork {
    /// The file with the newest copy of the server's database; filled in by the server when the job begins.
    pub file: String,
}

/// How what is restored is written.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RestoreFormat {
    /// As the disk is: to a device, or to an image file.
    #[default]
    Raw,
    /// An image file for QEMU and KVM.
    Qcow2,
    /// An image file for VMware.
    Vmdk,
}

/// What becomes of files that exist where files are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExistingFiles {
    /// They stay; those of the point that differ get the ending `.restored-DATE`.
    Beside,
    /// They stay; those of the point are not restored.
    Skip,
    /// Those of the point take their places.
    Overwrite,
}

/// What is written back, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RestoreWork {
    /// The point.
    pub point: String,
    /// Which disk, when the point has several.
    #[serde(default)]
    pub disk: Option<String>,
    /// Only this partition; with `files` the one that holds them.
    #[serde(default)]
    pub partition: Option<u32>,
    /// These files and directories with all below them, `/` for everything; none: the disk or partition as it is.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 1000))]
    pub files: Vec<String>,
    /// How a disk is written.
    #[serde(default)]
    pub format: RestoreFormat,
    /// The agent that writes it; without it the keeper of the repository. To another agent disks, partitions and files are passed, sealed
    /// to it, where the keeper was started to allow that (`--pass-to`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Absolute path on the machine that writes: a device, an image file, or with `files` a directory. It has to lie where that machine's
    /// agent was started to allow restores to (`--restore-to`, for files also `--restore-files`). Left out with `in_place`.
    #[serde(default)]
    pub target: String,
    /// Only with `files`: back to where they were, in the file system of the same id wherever it is mounted on that machine now. The point
    /// has to be that machine's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// Only with `files`, and instead of `overwrite`: what becomes of files that exist. Without either they stay, and the job fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingFiles>,
    /// Read the target and write only what differs.
    #[serde(default)]
    pub delta: bool,
    /// Replace what is there.
    #[serde(default)]
    pub overwrite: bool,
    /// Only say what would be written.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointVerdict {
    /// The point.
    pub point: String,
    /// Since when all of it is proved; nothing when it is not.
    pub proved_since: Option<Time>,
    /// Why it is not: what of it cannot be restored.
    pub flaw: Option<String>,
}

/// A pack that is not what it must be. No backup relies on it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DamagedPack {
    /// Its name.
    pub pack: String,
    /// The writer that stored it so on purpose or by a fault: its bytes are those that came in, and do not hold what they say.
    pub forged_by: Option<String>,
}

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyResult {
    /// Each point that was still there.
    pub points: Vec<PointVerdict>,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub read_bytes: ByteCount,
    /// Chunks that were opened and compared.
    pub chunks_opened: u64,
    /// What was found damaged; at most 50.
    pub damaged: Vec<DamagedPack>,
    /// How long it took.
    pub took_ms: u64,
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckFinding {
    /// Whether it is an error and not only worth knowing.
    pub is_error: bool,
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub next: String,
    /// Points that it touches; at most 50.
    pub points: Vec<String>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckResult {
    /// Errors in all.
    pub errors: u64,
    /// Errors first; at most 50.
    pub findings: Vec<CheckFinding>,
    /// Points found.
    pub points: u64,
    /// Packs found.
    pub packs: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub read_bytes: ByteCount,
    /// What was found damaged; at most 50.
    pub damaged: Vec<DamagedPack>,
    /// How long it took.
    pub took_ms: u64,
}

/// A point that was to be given up and stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptPoint {
    /// The point.
    pub point: String,
    /// Why the keeper does not give it up.
    pub why: String,
}

/// What came of a prune; of a dry run, what would come of it.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PruneResult {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Points that were given up by the plans' rules. They can be taken back until `delete_after`.
    pub given_up: Vec<String>,
    /// From when on prune may delete them.
    pub delete_after: Option<Time>,
    /// What the keeper did not give up although the server said so; at most 50.
    pub kept: Vec<KeptPoint>,
    /// Points whose time for taking them back was over: they are gone.
    pub points_deleted: Vec<String>,
    /// Packs that were deleted.
    pub packs_deleted: u64,
    /// Their bytes.
    pub freed_bytes: ByteCount,
    /// Packs that are dead now and go at a later prune.
    pub packs_condemned: u64,
    /// Their bytes.
    pub condemned_bytes: ByteCount,
    /// Packs whose living part was written anew.
    pub packs_repacked: u64,
    /// Bytes of the new ones.
    pub rewritten_bytes: ByteCount,
    /// Dead bytes in packs that stay.
    pub dead_bytes: ByteCount,
    /// Bytes that points need.
    pub live_bytes: ByteCount,
    /// What was left alone, and why; at most 50.
    pub left: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// What came of giving up or taking back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForgetResult {
    /// The points.
    pub points: Vec<String>,
    /// From when on prune may delete them; nothing when they were taken back.
    pub delete_after: Option<Time>,
}

/// What came of a restore; of a dry run, what would come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RestoreResult {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Where it was written to.
    pub target: String,
    /// Length of what was restored.
    pub target_bytes: ByteCount,
    /// Data that was written.
    pub written_bytes: ByteCount,
    /// Zeroes that were written, by whatever means.
    pub zeroed_bytes: ByteCount,
    /// What was right already.
    pub unchanged_bytes: ByteCount,
    /// Files and directories that were written, where files were restored.
    pub files: Option<u64>,
    /// What became of the files, where files were restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredFiles>,
    /// What a person should know; at most 50.
    pub notes: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// What became of files that were restored; of a dry run, what would become of them.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RestoredFiles {
    /// Files that took the place of others.
    pub replaced: u64,
    /// Files that stand beside others, under another name.
    pub beside: u64,
    /// Files that were there already as they are in the point. A dry run reads no content, and counts them as any other that exists.
    pub unchanged: u64,
    /// Files that were left alone, because something had their name.
    pub skipped: u64,
    /// Files that lack an owner, a mode, a time or an attribute; their content is whole.
    pub incomplete: u64,
}

/// How a repository is looked after without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Care {
    /// Verify points soon after they came in.
    pub verify: bool,
    /// Check the structure this often; 0 never, else an hour to a year.
    #[cfg_attr(feature = "openapi", schema(maximum = 31_536_000, default = 604_800))]
    pub check_every_s: u32,
    /// Read this part of the packs whole at each check.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 100, default = 5.0))]
    pub check_sample_percent: f64,
    /// Give up what plans do not keep, and free space, this often; 0 never, else an hour to a year.
    #[cfg_attr(feature = "openapi", schema(maximum = 31_536_000, default = 86_400))]
    pub prune_every_s: u32,
    /// Store a copy of the server's database once a day.
    pub copy_database: bool,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            verify: true,
            check_every_s: 7 * 86_400,
            check_sample_percent: 5.0,
            prune_every_s: 86_400,
            copy_database: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_travels_by_its_kind_and_care_has_defaults() {
        let work: KeeperWork = serde_json::from_str(r#"{"verify": {}}"#).unwrap();
        assert_eq!(work, KeeperWork::Verify(VerifyWork::default()));
        let care: Care = serde_json::from_str(r#"{"verify": false}"#).unwrap();
        assert_eq!(care, Care { verify: false, ..Care::default() });
        let work: RestoreWork = serde_json::from_str(r#"{"point": "ab", "target": "/to"}"#).unwrap();
        assert!(!work.in_place && !work.overwrite && work.existing.is_none() && work.files.is_empty());
        assert!(serde_json::from_str::<RestoreWork>(r#"{"target": "/to"}"#).is_err(), "a point is needed");
    }
}
