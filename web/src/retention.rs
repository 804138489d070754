//! Which recovery points of a plan stay, by this server's receive time. Pure; nothing is deleted here.
//!
//! `repo_format::retention` knows the rules. Here stands what a stolen agent makes necessary, which can store what it likes, as often as it
//! likes:
//! - Of a plan's runs one point each counts, the one that the run's job ended with. All others are *surplus*: they take no place in any
//!   rule, so no flood of them pushes a good point out.
//! - Nothing is given up while no later point of the series was verified. Garbage that came in by the calendar, one a run, does not
//!   replace what was there before, however long it goes on.
//! - Surplus points stay until a person decides: they may be all that somebody made by hand.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use repo_format::id::ManifestId;
use repo_format::retention::{self, DatedPoint, Decision, Policy, Rules};
use std::collections::HashSet;
use web_api::id::JobId;
use web_api::plan::Keep;

/// A point of the series of a plan, as the server received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub manifest: ManifestId,
    /// Its place in the series.
    pub sequence: u64,
    /// When it came in.
    pub received_at: Timestamp,
    /// The run of the plan whose job ended with it.
    pub run: Option<JobId>,
    /// Whether somebody who can read it found it whole.
    pub is_verified: bool,
}

/// The rules of a plan; nothing where every point stays.
pub fn policy(keep: &Keep) -> repo_format::Result<Option<Policy>> {
    let within = keep.within.as_deref().map(str::parse).transpose()?;
    let Keep { last, hourly, daily, weekly, monthly, quarterly, yearly, minimum, .. } = *keep;
    let rules = Rules { last, hourly, daily, weekly, monthly, quarterly, yearly, within, minimum };
    let is_empty = Rules { minimum: 0, ..rules } == Rules::default();
    Ok((!is_empty).then_some(Policy::Keep(rules)))
}

/// Decides about all points of a series, in any order. The newest comes first in the result.
pub fn decide(keep: &Keep, points: &[Received], now: Timestamp, zone: &TimeZone) -> repo_format::Result<Vec<Decision>> {
    let counted = counted(points);
    let (runs, surplus): (Vec<&Received>, Vec<&Received>) =
        points.iter().partition(|point| counted.contains(&point.manifest));
    let mut decisions = match policy(keep)? {
        Some(policy) => {
            let dated: Vec<DatedPoint> = runs.into_iter().map(dated).collect();
            retention::decide(&policy, &dated, now, zone)?
        }
        None => runs.into_iter().map(|point| kept(point, "the plan keeps everything")).collect(),
    };
    let last_verified = points.iter().filter(|point| point.is_verified).map(|point| point.sequence).max();
    for decision in decisions.iter_mut().filter(|decision| !decision.keep) {
        if last_verified.is_none_or(|verified| verified <= decision.sequence) {
            decision.keep = true;
            decision.reasons.push("no later point of its series was verified yet".into());
        }
    }
    decisions.extend(surplus.into_iter().map(|point| {
        kept(point, "no run of the plan ended with it: it counts in no rule, and only a person gives it up")
    }));
    decisions.sort_unstable_by_key(|decision| std::cmp::Reverse((decision.sequence, decision.manifest)));
    Ok(decisions)
}

/// The one point of each run: the first, should an agent name several.
fn counted(points: &[Received]) -> HashSet<ManifestId> {
    let mut in_order: Vec<&Received> = points.iter().collect();
    in_order.sort_unstable_by_key(|point| (point.sequence, point.manifest));
    let mut runs = HashSet::new();
    in_order
        .into_iter()
        .filter(|point| point.run.is_some_and(|run| runs.insert(run)))
        .map(|point| point.manifest)
        .collect()
}

fn dated(point: &Received) -> DatedPoint {
    DatedPoint { manifest: point.manifest, sequence: point.sequence, received_at: point.received_at }
}

fn kept(point: &Received, reason: &str) -> Decision {
    let DatedPoint { manifest, sequence, received_at } = dated(point);
    Decision { manifest, sequence, received_at, keep: true, reasons: vec![reason.into()] }
}

#[cfg(test)]
mod tests;
