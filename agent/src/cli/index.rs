//! `icecore index`: the local index, which is only a cache.

use super::context::Context;
use super::failure::{Code, Failure};
use agent::open;
use repo_format::index::Index;
use serde_json::json;
use std::time::Instant;

/// Verbs of `index`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make the index again from the packs; an interrupted one goes on where it was
    Rebuild {
        /// Throw the old index away first, instead of keeping what is right in it
        #[arg(long)]
        from_nothing: bool,
    },
    /// Print where the index lies
    Path,
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    match args.verb {
        Verb::Rebuild { from_nothing } => rebuild(from_nothing, context),
        Verb::Path => {
            let place = context.index_place()?;
            context.console.result(&json!({ "path": place }), |_| {
                place.as_ref().map_or_else(|| "(in memory)".into(), |dir| dir.display().to_string())
            })
        }
    }
}

fn rebuild(from_nothing: bool, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let Some(dir) = context.index_place()? else {
        let what = "there is no place for an index";
        return Err(Failure::new(Code::Usage, what).next("give --index-dir or set HOME").into());
    };
    if from_nothing {
        Index::delete(&dir, &repo.config().repository)?;
    }
    let began = Instant::now();
    let index = open::index(Some(&dir), &repo)?;
    let done = open::bring_up_to_date(&repo, &index, &*context.progress(), &*context.cancel()?)?;
    let damaged: Vec<_> =
        done.damaged.iter().map(|(object, error)| json!({ "object": object, "error": error.to_string() })).collect();
    let (packs, entries) = (index.packs()?.len(), index.entry_count()?);
    let result = json!({
        "path": index.path(), "packs": packs, "entries": entries, "packs_added": done.added,
        "packs_removed": done.removed, "damaged": damaged,
        "duration_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    context.console.result(&result, |_| {
        format!("The index holds {entries} entries of {packs} packs ({} added, {} removed).", done.added, done.removed)
    })?;
    match done.damaged.first() {
        None => Ok(()),
        Some((object, error)) => {
            let what = format!("{} packs cannot be used; the first is {object}: {error}", done.damaged.len());
            let next = "`icecore check --read-data` says which points are affected";
            Err(Failure::new(Code::Damaged, what).next(next).into())
        }
    }
}
