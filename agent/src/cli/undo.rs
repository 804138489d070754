//! `icecore undo`: takes forgotten points back while they are still in the store.

use super::context::Context;
use super::failure::{Code, Failure};
use super::point::{self, PointName};
use repo_format::forget::{Tombstone, tombstones, undo};
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use serde_json::{Value, json};

/// Options of `undo`.
#[derive(clap::Args)]
pub struct Args {
    /// The forgotten points: first digits of their ids, or NAME@SEQUENCE (`icecore list --forgotten` shows them)
    #[arg(value_name = "POINT", required = true)]
    points: Vec<PointName>,
}

/// Takes back.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let stones = tombstones(&repo)?;
    let chosen = args.points.iter().map(|name| find(&repo, &stones, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut values: Vec<Value> = Vec::new();
    for stone in chosen {
        undo(&repo, stone, context.now())?;
        values.push(json!({ "id": stone.manifest, "sequence": stone.sequence }));
    }
    context.console.result(&values, |values| match values.len() {
        1 => "Took back 1 recovery point.".into(),
        count => format!("Took back {count} recovery points."),
    })
}

fn find<'s>(repo: &Repository, stones: &'s [(bool, Tombstone)], name: &PointName) -> anyhow::Result<&'s Tombstone> {
    let fits = |stone: &Tombstone| match name {
        PointName::Id(digits) => stone.manifest.to_string().starts_with(digits.as_str()),
        PointName::Sequence(name, sequence) => {
            stone.sequence == *sequence && stone.name == repo.keys().ids().name(name)
        }
        PointName::Latest | PointName::LatestOf(_) => false,
    };
    if matches!(name, PointName::Latest | PointName::LatestOf(_)) {
        return Err(Failure::new(Code::Usage, "undo needs the id of a point, or NAME@SEQUENCE")
            .next("`icecore list --forgotten` shows them")
            .into());
    }
    let found: Vec<&(bool, Tombstone)> = stones.iter().filter(|(_, stone)| fits(stone)).collect();
    match found.as_slice() {
        [(true, stone)] => Ok(stone),
        [] => Err(Failure::new(Code::NotFound, format!("no forgotten point fits {name}"))
            .next("`icecore list --forgotten` shows what can be taken back")
            .into()),
        [(false, stone)] => {
            let what = format!("recovery point {} cannot be had back: prune has deleted it", stone.manifest);
            Err(Failure::new(Code::NotFound, what).into())
        }
        several => {
            let at =
                |stone: &Tombstone| PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
            let ids: Vec<String> = several.iter().map(|(_, stone)| point::short(&at(stone))).collect();
            Err(Failure::new(Code::NotFound, format!("several forgotten points fit {name}: {}", ids.join(", ")))
                .next("give more digits of the id")
                .into())
        }
    }
}
