//! Forget jobs: what a person gives up or takes back.

use super::At;
use crate::progress::{Counts, Progress as _, Unit};
use anyhow::Result;
use repo_format::Error;
use repo_format::forget::{UNDO_TIME, forget, tombstones, undo};
use web_api::keeping::{ForgetResult, ForgetWork};

pub(super) fn run(at: &At<'_>, work: &ForgetWork) -> Result<ForgetResult> {
    let stage = if work.undo { "take back" } else { "give up" };
    at.report.begin_counted(stage, Unit::Points, Some(work.points.len() as u64));
    match work.undo {
        false => give_up(at, work)?,
        true => take_back(at, work)?,
    }
    at.report.end();
    let delete_after = (!work.undo).then(|| (at.now() + UNDO_TIME).into());
    Ok(ForgetResult { points: work.points.clone(), delete_after })
}

fn give_up(at: &At<'_>, work: &ForgetWork) -> Result<()> {
    // All are found before one is given up.
    let points = work.points.iter().map(|id| at.point(id)).collect::<Result<Vec<_>>>()?;
    for point in points {
        forget(&at.repo, &point, &work.reason, at.now(), UNDO_TIME)?;
        at.report.advance(Counts { done: 1, ..Counts::default() });
    }
    Ok(())
}

/// What was not given up, or was taken back already, is there, which is all that was wanted.
fn take_back(at: &At<'_>, work: &ForgetWork) -> Result<()> {
    let stones = tombstones(&at.repo)?;
    for id in &work.points {
        match stones.iter().find(|(_, stone)| stone.manifest.to_string() == *id) {
            Some((_, stone)) => undo(&at.repo, stone, at.now())?,
            None if at.point(id).is_ok() => {}
            None => return Err(Error::NoSuch(format!("recovery point {id} was deleted by prune")).into()),
        }
        at.report.advance(Counts { done: 1, ..Counts::default() });
    }
    Ok(())
}
