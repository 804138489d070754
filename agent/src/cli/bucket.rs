//! Repositories in object storage: how they are reached, and what is told of them.
//!
//! Endpoint, region and keys come from the usual AWS variables and profiles; docs/s3.md lists them.

use super::context::Context;
use agent::output;
use repo_format::probe::{Findings, ObjectLock};
use repo_format::store::requests::Requests;
use repo_format::store::s3::{S3Address, Settings, Surroundings};

impl Context {
    /// How to reach a bucket.
    pub(super) fn bucket(&self, address: &S3Address) -> anyhow::Result<Settings> {
        let around = Surroundings { variable: &|name| std::env::var(name).ok(), file: &|path| std::fs::read(path) };
        let settings = Settings::find(address.clone(), &around, self.cancel()?)?;
        Ok(Settings { patience: self.patience(), ..settings })
    }
}

/// What a store was seen to do, one line a finding.
pub fn findings(findings: &Findings) -> String {
    let late = [
        (findings.read_after_write, "an object cannot be read just after it was put"),
        (findings.overwrite_visible, "an object that is put again is read as it was"),
        (findings.list_after_write, "listings do not show what was just put"),
        (findings.delete_then_list, "listings show what was just deleted"),
    ];
    let late: Vec<&str> = late.into_iter().filter(|(seen, _)| !seen).map(|(_, what)| what).collect();
    let prune = match late.as_slice() {
        [] => "Reads and listings show what was put: prune may run.".to_owned(),
        late => format!("Prune will not run here: {}. Backups and restores are safe.", late.join("; ")),
    };
    let (won, all) = (findings.racing_creates_won, findings.racing_creates);
    let race = match won {
        0 => "It does not offer to put an object only if there is none (nothing here relies on that).".to_owned(),
        1 => format!("Of {all} who each put an object only if there was none, 1 was told that it did."),
        _ => format!(
            "Of {all} who each put an object only if there was none, {won} were told that they did (nothing here relies on that)."
        ),
    };
    let lock = match findings.object_lock {
        ObjectLock::Proven => "Object lock: proven; a locked object was not deleted.",
        ObjectLock::NotOffered => "Object lock: not offered for this bucket.",
        ObjectLock::NotHonoured => "Object lock: not honoured; an object that was said to be locked was deleted.",
        ObjectLock::Unclear => "Object lock: not proved, since this key may not delete versions.",
    };
    format!("{prune}\n{race}\n{lock}\n")
}

/// Requests in one line.
pub fn requests(requests: &Requests) -> String {
    let retries = match requests.retries {
        0 => String::new(),
        count => format!(", {count} tried again"),
    };
    format!(
        "{} requests ({} puts, {} reads, {} listings, {} deletions{retries}), {} sent, {} received",
        requests.total(),
        requests.puts,
        requests.gets,
        requests.lists,
        requests.deletes,
        output::bytes(requests.bytes_sent),
        output::bytes(requests.bytes_received)
    )
}

/// Tells at the end of a verb what it asked of a store where requests cost something.
pub fn tell_requests(context: &Context) {
    if let Some(asked) = context.used_store().and_then(|store| store.requests()) {
        context.console.aside(&format!("object storage: {}", requests(&asked)));
    }
}
