//! The options of hooks, shared by the verbs that take them.

use super::failure::{Code, Failure};
use agent::hooks::{DEFAULT_TIMEOUT, HookDirectory, HookPolicy, HookReport, HookSettings};
use std::path::PathBuf;
use std::time::Duration;

/// Options about hooks.
#[derive(clap::Args)]
#[command(next_help_heading = "Hooks")]
pub struct HookArgs {
    /// Shell command that runs before the snapshot, or before reading when there is none
    #[arg(long, value_name = "COMMAND")]
    hook_before: Option<String>,
    /// Shell command that runs as soon as the applications may go on, also when the snapshot failed
    #[arg(long, value_name = "COMMAND")]
    hook_after: Option<String>,
    /// Directory of scripts that run with `before` and then `after` or `failed` [default: /etc/icecore/hooks.d, round snapshots]
    #[arg(long, value_name = "DIR", conflicts_with = "no_hook_dir")]
    hook_dir: Option<PathBuf>,
    /// Run no scripts of a directory
    #[arg(long)]
    no_hook_dir: bool,
    /// How long each hook may run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    hook_timeout: u64,
    /// When a hook fails: `fail` makes no backup, `warn` makes one without the applications' consent
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    hook_policy: Policy,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Policy {
    Fail,
    Warn,
}

impl HookArgs {
    /// As the library wants them.
    pub fn settings(&self) -> HookSettings {
        let directory = match (&self.hook_dir, self.no_hook_dir) {
            (_, true) => HookDirectory::None,
            (Some(path), _) => HookDirectory::Named(path.clone()),
            (None, _) => HookDirectory::Default,
        };
        let policy = match self.hook_policy {
            Policy::Fail => HookPolicy::Fail,
            Policy::Warn => HookPolicy::Warn,
        };
        HookSettings {
            before: self.hook_before.clone(),
            after: self.hook_after.clone(),
            directory,
            timeout: Duration::from_secs(self.hook_timeout),
            policy,
        }
    }

    /// The point is stored and true, but somebody must look after the applications.
    pub fn judge(&self, report: &HookReport) -> Option<Failure> {
        let failed: Vec<&str> = report.failed_to_go_on().filter_map(|run| run.problem.as_deref()).collect();
        if failed.is_empty() || matches!(self.hook_policy, Policy::Warn) {
            return None;
        }
        let what = format!("the recovery point is stored, but {}", failed.join("; "));
        Some(Failure::new(Code::Failed, what).next("look whether the applications work again; then mend the hook"))
    }
}
