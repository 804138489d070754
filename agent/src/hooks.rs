//! Programs that run round the instant of a backup, so that applications can bring their files into order: `before` it, and `after`
//! it or, when it did not come about, as `failed`. Both of the latter say the same: go on.
//!
//! Owns which programs run, in which order, and what follows when one fails. A program's process is [`process`]'s, which files of a
//! directory count is [`directory`]'s. When the instant is belongs to the backup.
//!
//! Order: `before` runs the directory's scripts by name and then the command; afterwards the command and then the scripts in the
//! opposite order, so that what was stopped first goes on last. Whoever was told `before`, even without success, is told the end
//! exactly once: [`Held`] does that when it is dropped, too.

mod captured;
mod directory;
mod process;
#[cfg(test)]
mod tests;

use crate::progress::Progress;
use anyhow::Result;
use process::{End, Ran};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Where scripts are looked for unless somebody says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/etc/icecore/hooks.d";
/// How long a hook may run unless somebody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Which hooks there are and how they are treated.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// Shell command before the instant.
    pub before: Option<String>,
    /// Shell command after it, whether it came about or not.
    pub after: Option<String>,
    /// Directory of scripts.
    pub directory: HookDirectory,
    /// How long each may run.
    pub timeout: Duration,
    /// What a failure means.
    pub policy: HookPolicy,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            before: None,
            after: None,
            directory: HookDirectory::Default,
            timeout: DEFAULT_TIMEOUT,
            policy: HookPolicy::Fail,
        }
    }
}

impl HookSettings {
    /// No hooks at all.
    pub fn none() -> Self {
        Self { directory: HookDirectory::None, ..Self::default() }
    }
}

/// Which directory of scripts is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookDirectory {
    /// [`DEFAULT_DIRECTORY`] if it is there, for root and round a snapshot only: without a snapshot its applications would stand still for as
    /// long as the whole backup reads.
    Default,
    /// This one, which must exist.
    Named(PathBuf),
    /// None.
    None,
}

/// What the failure of a hook means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPolicy {
    /// Before the instant: no backup. After it: the backup is completed and the job failed.
    Fail,
    /// A warning; the point counts as crash-consistent.
    Warn,
}

/// When a hook runs; its first argument and `ICECORE_STAGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Write out, stop writing.
    Before,
    /// The instant is over, go on.
    After,
    /// There was no instant, go on.
    Failed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Failed => "failed",
        }
    }
}

/// What hooks are told about the backup.
#[derive(Clone, Debug)]
pub struct HookSubject {
    /// Name of the points.
    pub point_name: String,
    /// Name of this machine.
    pub host: String,
    /// The disks, as they were named.
    pub disks: Vec<PathBuf>,
}

/// What the instant is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instant {
    /// A snapshot: the applications wait for moments.
    Snapshot,
    /// Everything between the first and the last byte that is read.
    WholeRead,
}

/// One run of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookRun {
    /// Path of the script, or the option that named the command.
    pub hook: String,
    /// When.
    pub stage: Stage,
    /// How long.
    pub duration_ms: u64,
    /// Why it failed, in words; none when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All runs of one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HookReport {
    /// In the order of time.
    pub runs: Vec<HookRun>,
}

impl HookReport {
    /// Whether there was no hook.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether applications were told and all said that they are ready.
    pub fn told_applications(&self) -> bool {
        let mut before = self.runs.iter().filter(|run| run.stage == Stage::Before).peekable();
        before.peek().is_some() && before.all(|run| run.problem.is_none())
    }

    /// The hooks that failed after the instant: their applications may still be waiting.
    pub fn failed_to_go_on(&self) -> impl Iterator<Item = &HookRun> {
        self.runs.iter().filter(|run| run.stage != Stage::Before && run.problem.is_some())
    }
}

/// A hook failed before the instant, so there is no backup.
#[derive(Debug, thiserror::Error)]
#[error(
    "{problem}; so the applications were not ready and nothing was backed up. Mend the hook, or add --hook-policy warn to back up all the same, without the applications' consent"
)]
pub struct HookFailed {
    problem: String,
}

/// The hooks of one backup.
pub struct Hooks<'a> {
    settings: &'a HookSettings,
    subject: HookSubject,
    directory: Option<&'a Path>,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
}

/// A program to run.
enum Hook {
    Script(PathBuf),
    Command { option: &'static str, text: String },
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(path) => write!(f, "{}", path.display()),
            Self::Command { option, .. } => f.write_str(option),
        }
    }
}

impl<'a> Hooks<'a> {
    /// What the settings mean for this backup; runs nothing.
    pub fn new(
        settings: &'a HookSettings,
        subject: HookSubject,
        instant: Instant,
        (progress, cancel): (&'a dyn Progress, &'a AtomicBool),
    ) -> Self {
        let directory = match &settings.directory {
            HookDirectory::None => None,
            HookDirectory::Named(path) => Some(path.as_path()),
            HookDirectory::Default => Some(Path::new(DEFAULT_DIRECTORY)).filter(|path| {
                instant == Instant::Snapshot && nix::unistd::geteuid().is_root() && path.symlink_metadata().is_ok()
            }),
        };
        Self { settings, subject, directory, progress, cancel }
    }

    /// Runs what comes before the instant. What it returns must be kept until the instant is over.
    ///
    /// When a hook fails and the policy does not let that pass, those that ran are told `failed` and the error says why.
    pub fn before(&self) -> Result<Held<'_>> {
        let mut held = Held { hooks: self, scripts: Vec::new(), report: HookReport::default(), is_over: false };
        let (scripts, refused) = match self.directory {
            Some(directory) => directory::scripts(directory)?,
            None => (Vec::new(), Vec::new()),
        };
        for (script, why) in refused {
            let problem = format!("the hook {} was not run: {why}", script.display());
            held.note(&Hook::Script(script), Stage::Before, Duration::ZERO, Some(problem));
            held.judge()?;
        }
        for script in scripts {
            // Told the end whatever comes of it: half of its work may be done.
            held.scripts.push(script.clone());
            held.run(&Hook::Script(script), Stage::Before)?;
        }
        if let Some(text) = &self.settings.before {
            held.run(&Hook::Command { option: "--hook-before", text: text.clone() }, Stage::Before)?;
        }
        Ok(held)
    }

    fn command(&self, hook: &Hook, stage: Stage) -> Command {
        let mut command = match hook {
            Hook::Script(path) => {
                let mut command = Command::new(path);
                command.arg(stage.name());
                command
            }
            Hook::Command { text, .. } => {
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(text);
                command
            }
        };
        // Passphrases and keys may stand there.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ICECORE_")) {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let disks: Vec<_> = self.subject.disks.iter().map(|disk| disk.to_string_lossy()).collect();
        command
            .current_dir("/")
            .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"))
            .env("ICECORE_STAGE", stage.name())
            .env("ICECORE_POINT_NAME", &self.subject.point_name)
            .env("ICECORE_HOST", &self.subject.host)
            .env("ICECORE_DISKS", disks.join("\n"))
            .env("ICECORE_HOOK_TIMEOUT_S", self.settings.timeout.as_secs().to_string());
        command
    }
}

/// The time between `before` and the end. Dropped without [`Held::after`], it tells all hooks `failed`.
#[must_use = "the applications wait until this is dropped"]
pub struct Held<'h> {
    hooks: &'h Hooks<'h>,
    /// Those that were told `before`, in that order.
    scripts: Vec<PathBuf>,
    report: HookReport,
    is_over: bool,
}

impl Held<'_> {
    /// Whether applications were told and all said that they are ready: the instant may be called application-consistent.
    pub fn told_applications(&self) -> bool {
        self.report.told_applications()
    }

    /// Tells the hooks that it is over, and whether there was an instant. Failures are warned of at once and stand in the report.
    pub fn after(mut self, succeeded: bool) -> HookReport {
        self.end(if succeeded { Stage::After } else { Stage::Failed });
        std::mem::take(&mut self.report)
    }

    fn end(&mut self, stage: Stage) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if let Some(text) = &self.hooks.settings.after {
            self.finish(&Hook::Command { option: "--hook-after", text: text.clone() }, stage);
        }
        while let Some(script) = self.scripts.pop() {
            self.finish(&Hook::Script(script), stage);
        }
    }

    /// Runs a hook of the end. A request to stop does not keep applications waiting.
    fn finish(&mut self, hook: &Hook, stage: Stage) {
        let ran = process::run(self.hooks.command(hook, stage), self.hooks.settings.timeout, None);
        let (duration, problem) = self.told(hook, stage, ran);
        if let Some(problem) = &problem {
            tracing::warn!("{problem}; its application may still be waiting");
        }
        self.note(hook, stage, duration, problem);
    }

    /// Runs a hook of the beginning.
    fn run(&mut self, hook: &Hook, stage: Stage) -> Result<()> {
        self.hooks.progress.message(&format!("hook {hook}"));
        let ran = process::run(self.hooks.command(hook, stage), self.hooks.settings.timeout, Some(self.hooks.cancel));
        let is_cancelled = ran.as_ref().is_ok_and(|ran| matches!(ran.end, End::Cancelled));
        let (duration, problem) = self.told(hook, stage, ran);
        self.note(hook, stage, duration, problem);
        if is_cancelled {
            return Err(repo_format::Error::Interrupted.into());
        }
        self.judge()
    }

    fn note(&mut self, hook: &Hook, stage: Stage, duration: Duration, problem: Option<String>) {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.report.runs.push(HookRun { hook: hook.to_string(), stage, duration_ms, problem });
    }

    /// What the policy says to the last run.
    fn judge(&self) -> Result<()> {
        let Some(problem) = self.report.runs.last().and_then(|run| run.problem.clone()) else { return Ok(()) };
        match self.hooks.settings.policy {
            HookPolicy::Fail => Err(HookFailed { problem }.into()),
            HookPolicy::Warn => {
                tracing::warn!("{problem}; the backup goes on without this application's consent");
                Ok(())
            }
        }
    }

    /// Logs a run; returns how long it took, and in words why it failed.
    fn told(&self, hook: &Hook, stage: Stage, ran: std::io::Result<Ran>) -> (Duration, Option<String>) {
        let (stage, timeout_s) = (stage.name(), self.hooks.settings.timeout.as_secs());
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => {
                return (
                    Duration::ZERO,
                    Some(format!(
                        "the hook {hook} ({stage}) could not be started: {error}; is the program that its first line names there?"
                    )),
                );
            }
        };
        let said = ran.output.text();
        let output_bytes = ran.output.total_bytes();
        tracing::info!(%hook, stage, duration_ms = ran.duration.as_millis(), output_bytes, output = %said, "a hook ended");
        let why = match ran.end {
            End::Exited(status) if status.success() => return (ran.duration, None),
            End::Exited(status) => match status.code() {
                Some(127) => "failed: exit status 127, so a program that it calls was not found".to_owned(),
                Some(code) => format!("failed: exit status {code}"),
                None => format!("failed: {status}"),
            },
            End::TimedOut { is_gone: true } => {
                format!("did not end within {timeout_s} s (--hook-timeout) and was killed")
            }
            End::TimedOut { is_gone: false } => format!(
                "did not end within {timeout_s} s (--hook-timeout) and cannot be killed: it waits for the kernel, perhaps for a file system that it froze"
            ),
            End::Cancelled => "was stopped".to_owned(),
        };
        let said = if said.is_empty() { String::new() } else { format!(". It said: {said}") };
        (ran.duration, Some(format!("the hook {hook} ({stage}) {why}{said}")))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.end(Stage::Failed);
    }
}
