//! Many machines at once: nothing is lost, answers come, and the server's memory stays small.

use super::machine::{Machine, Points, ensure_no_leases, ensure_nothing_was_lost, fleet};
use super::or_soak;
use super::wire::{Times, Wire};
use anyhow::{Context, Result, ensure};
use e2e::appliance::Appliance;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most that the server may take, whatever the load.
const MEMORY_BYTES: u64 = 512 << 20;

/// What a person's browser asks meanwhile.
const SCREENS: [&str; 5] = [
    "/api/v1/jobs?limit=100",
    "/api/v1/plans?limit=200",
    "/api/v1/agents?limit=200",
    "/api/v1/health",
    "/api/v1/alerts",
];

#[test]
fn many_machines_at_once_lose_nothing_and_the_server_stays_small() -> Result<()> {
    let (machines, jobs, length) = or_soak((20, 2, 1 << 20), (200, 3, 2 << 20));
    // These machines report when they begin and when they end; how long that takes is the machine's own business.
    let appliance = Appliance::with(&[("JOB_LEASE_S", "900")])?;
    let (times, points) = (Arc::<Times>::default(), Points::default());
    let fleet = fleet(&appliance, machines, &times)?;
    let began = Instant::now();
    work(&appliance, &fleet, (jobs, length), (&times, &points))?;
    let took = began.elapsed();
    let memory_bytes = peak_memory_bytes(appliance.server.pid()?)?;
    let restored = ensure_nothing_was_lost(&appliance, &points)?;
    ensure_no_leases(&appliance)?;
    ensure!(restored >= machines * jobs, "{restored} points of {} jobs", machines * jobs);
    let states = appliance.get("/api/v1/jobs?limit=500")?;
    let states = states["items"].as_array().context("a list has items")?;
    ensure!(states.iter().all(|job| job["state"] == "succeeded" && job["attempt"] == 1), "{states:?}");
    eprintln!(
        "{machines} machines, {} backups of {} MiB in {:.1} s; all {restored} points restored; the server took {} MiB at most\n{}",
        machines * jobs,
        length >> 20,
        took.as_secs_f64(),
        memory_bytes >> 20,
        times.table()
    );
    ensure!(memory_bytes <= MEMORY_BYTES, "the server took {memory_bytes} bytes");
    Ok(())
}

/// All machines work at once while a person looks on; each plan is run again as soon as its job is done.
fn work(
    appliance: &Appliance,
    fleet: &[Machine],
    (jobs, length): (usize, usize),
    (times, points): (&Arc<Times>, &Points),
) -> Result<()> {
    let over = AtomicBool::new(false);
    let person = Wire::new(&appliance.server.address()?, &appliance.admin, times);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                for screen in SCREENS {
                    let answer = person.get("a person's page", screen)?;
                    ensure!(answer.status == 200, "{screen}: {}", answer.status);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        let working: Vec<_> = fleet
            .iter()
            .map(|machine| {
                scope.spawn(|| -> Result<()> {
                    for _ in 0..jobs {
                        appliance.post(&format!("/api/v1/plans/{}/run", machine.plan), &json!({}))?.expect(201)?;
                        machine.work((1, length), points)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let ended: Vec<Result<()>> = working.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().chain([looking.join().expect("no panic")]).collect()
    })
}

/// The most memory that a process ever had.
fn peak_memory_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel counts memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}
