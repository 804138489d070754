//! kill -9 of the server again and again, at random, while machines store, commit and report and while a prune deletes beside it.

use super::machine::{Acknowledged, Machine, Points, ensure_no_leases, ensure_nothing_was_lost, fleet, opened};
use super::wire::{Times, Wire};
use super::{Random, or_soak};
use anyhow::{Result, ensure};
use e2e::appliance::Appliance;
use jiff::{SignedDuration, Timestamp};
use repo_format::index::Index;
use repo_format::repository::Repository;
use repo_format::{forget, prune, reconcile};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MACHINES: usize = 4;
/// Two packs of some hundred KiB a job, so that a kill hits all parts of it.
const LENGTH: usize = 1 << 20;

#[test]
fn a_server_that_is_killed_at_random_loses_no_point_keeps_no_lease_and_its_jobs_go_on() -> Result<()> {
    let rounds = or_soak(8, 100);
    let mut appliance = Appliance::with(&[("JOB_LEASE_S", "10")])?;
    let (times, points) = (Arc::<Times>::default(), Points::default());
    let fleet = fleet(&appliance, MACHINES, &times)?;
    let person = Wire::new(&appliance.server.address()?, &appliance.admin, &times);
    let owner = opened(&appliance)?;
    let (over, pruned_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut random = Random(7);
    let deleted = std::thread::scope(|scope| -> Result<u64> {
        let working: Vec<_> =
            fleet.iter().map(|machine| scope.spawn(|| work_until(machine, &person, &over, &points))).collect();
        let pruning = scope.spawn(|| prune_until(&owner, &pruned_over, &points));
        let killed = (0..rounds).try_for_each(|_| {
            std::thread::sleep(Duration::from_millis(20 + random.below(400)));
            appliance.server.kill()?;
            appliance.server.start()
        });
        over.store(true, Ordering::Relaxed);
        let worked: Result<Vec<()>> = working.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        pruned_over.store(true, Ordering::Relaxed);
        let deleted = pruning.join().expect("no panic");
        killed.and(worked)?;
        deleted
    })?;
    let restored = ensure_nothing_was_lost(&appliance, &points)?;
    ensure_no_leases(&appliance)?;
    ensure_jobs_are_over(&appliance)?;
    let verified = appliance.post("/api/v1/audit/verify", &json!({}))?.expect(200)?;
    ensure!(verified.body["intact"] == true, "{}", verified.body);
    eprintln!("{rounds} kills: {restored} points restored, {deleted} packs deleted by prune meanwhile");
    ensure!(restored > 0 && deleted > 0, "nothing was stored or nothing pruned, so nothing was proved");
    Ok(())
}

/// Runs the machine's plan again and again, and ends with a job that is done.
fn work_until(machine: &Machine, person: &Wire, over: &AtomicBool, points: &Points) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let run = person.post("run a plan", &format!("/api/v1/plans/{}/run", machine.plan), &json!({}))?;
        // An answer that was lost has made a job.
        ensure!([201, 409].contains(&run.status), "{}: {}", run.status, String::from_utf8_lossy(&run.body));
        machine.work((1, LENGTH), points)?;
    }
    Ok(())
}

/// Forgets every third point and deletes what nobody needs, without any grace. Returns how many packs were deleted.
fn prune_until(owner: &Repository, over: &AtomicBool, points: &Points) -> Result<u64> {
    let index = Index::in_memory()?;
    let (mut deleted, mut forgotten_before) = (0, 0);
    // What the first of the runs after the last session condemns, the second deletes.
    let mut left = 3;
    while left > 0 {
        let is_over = over.load(Ordering::Relaxed);
        left -= i32::from(is_over);
        let forgotten: Vec<Acknowledged> = {
            let mut points = points.lock().expect("no panic while held");
            let count = (points.len() + forgotten_before) / 3 - forgotten_before;
            forgotten_before += count;
            points.drain(..count).collect()
        };
        for point in &forgotten {
            forget::forget(owner, &point.at, "test", Timestamp::now(), SignedDuration::ZERO)?;
        }
        let never = AtomicBool::new(false);
        reconcile::reconcile(
            owner.records(),
            &index,
            &reconcile::Options { threads: 1, progress: &|_| {}, cancel: &never },
        )?;
        let options = prune::Options {
            grace: SignedDuration::ZERO,
            repack_dead_percent: prune::REPACK_DEAD_PERCENT,
            max_repack_bytes: u64::MAX,
            level: 1,
            dry_run: false,
            threads: 1,
            progress: &|_| {},
            clock: &Timestamp::now,
            cancel: &never,
        };
        deleted += prune::prune(owner, &index, &options, Timestamp::now())?.packs_deleted;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(deleted)
}

fn ensure_jobs_are_over(appliance: &Appliance) -> Result<()> {
    for state in ["queued", "running", "failed", "cancelled"] {
        let jobs = appliance.get(&format!("/api/v1/jobs?state={state}"))?;
        ensure!(jobs["items"].as_array().is_some_and(Vec::is_empty), "{jobs}");
    }
    Ok(())
}
