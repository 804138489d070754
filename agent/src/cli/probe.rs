//! `icecore probe`: tries what the object storage does that the repository is in, and records it there.

use super::bucket;
use super::context::Context;
use super::failure::{Code, Failure};
use repo_format::probe::probe;

/// Tries.
pub fn run(context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    match probe(&repo, context.now())? {
        Some(probe) => context.console.result(&probe, |probe| bucket::findings(&probe.findings)),
        None => {
            let what = format!("{} is no object storage; there is nothing to try", repo.store().describe());
            Err(Failure::new(Code::Usage, what).into())
        }
    }
}
