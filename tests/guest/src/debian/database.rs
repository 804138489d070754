//! Databases that are written to while their disk is backed up: every recovery point starts and passes its own checks.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{LoopDevice, ensure_same};
use crate::registry::Scenario;
use crate::tool;
use crate::vm::setup::{self, LIVE, REPOSITORY};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("debian/sqlite", "a SQLite database in WAL mode is whole in every recovery point", || sqlite(3))
        .with_module()
        .in_debian()
        .only_soak()
        .within_s(400),
    Scenario::new(
        "debian/postgresql",
        "PostgreSQL under pgbench starts from every recovery point, nothing amiss",
        || postgresql(2),
    )
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(900),
    Scenario::new("debian/postgresql_long", "the same over many recovery points", || postgresql(12))
        .with_module()
        .in_debian()
        .only_soak()
        .within_s(3600),
];

/// A workload that ends with this.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot start {program}"))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn back_up(name: &str) -> Result<Value> {
    let live = crate::disk::node_of("live")?;
    setup::icecore(&["backup", &live.to_string_lossy(), "--name", name])
}

/// Restores a point, mounts its partition, which replays the journal, and looks.
fn look_into<T>(point: &Value, look: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let id = point["id"].as_str().context("a backup without an id")?;
    let target = Path::new(REPOSITORY).join("restored.img");
    setup::icecore(&["restore", id, "--to", &target.to_string_lossy()])?;
    let device = LoopDevice::of(&target)?;
    tool::run("mount", &[&format!("{}p1", device.0), "/mnt"])?;
    let seen = look(Path::new("/mnt"));
    tool::run("umount", &["/mnt"])?;
    drop(device);
    std::fs::remove_file(&target)?;
    seen
}

fn sqlite(rounds: usize) -> Result<()> {
    let file = Path::new(LIVE).join("ledger.db").to_string_lossy().into_owned();
    let ask = |file: &str, sql: &str| tool::run("sqlite3", &[file, sql]);
    ask(
        &file,
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         CREATE TABLE entry (number INTEGER PRIMARY KEY, account INTEGER, amount INTEGER);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO account SELECT i, 0 FROM n;",
    )?;
    let transfer = format!(
        "while :; do a=$((RANDOM % 200 + 1)); sqlite3 -cmd '.timeout 20000' {file} \"PRAGMA synchronous = FULL; BEGIN IMMEDIATE; \
         INSERT INTO entry (account, amount) VALUES ($a, $a); UPDATE account SET balance = balance + $a WHERE id = $a; COMMIT;\"; done"
    );
    let count = || -> Result<u64> {
        Ok(tool::run("sqlite3", &["-cmd", ".timeout 20000", &file, "SELECT count(*) FROM entry"])?.trim().parse()?)
    };
    let _writer = Running::start("bash", &["-c", &transfer])?;
    let mut points = Vec::new();
    for _ in 0..rounds {
        let goal = count()? + 10;
        crate::vm::wait_until("the ledger stands still", || Ok(count()? >= goal))?;
        let before = count()?;
        points.push((back_up("sqlite")?, before, count()?));
    }
    for (point, before, after) in points {
        let (check, entries, balanced) = look_into(&point, |root| {
            let file = root.join("ledger.db").to_string_lossy().into_owned();
            let check = ask(&file, "PRAGMA integrity_check")?.trim().to_owned();
            let entries: u64 = ask(&file, "SELECT count(*) FROM entry")?.trim().parse()?;
            let sums = ask(&file, "SELECT (SELECT sum(balance) FROM account) - (SELECT sum(amount) FROM entry)")?;
            Ok((check, entries, sums.trim().to_owned()))
        })?;
        ensure_same("the database's own check", &check, &"ok".to_owned())?;
        ensure_same("balances against entries", &balanced, &"0".to_owned())?;
        ensure!((before..=after).contains(&entries), "{entries} entries, but there were {before} to {after}");
    }
    Ok(())
}

/// Runs a command as the database's owner.
fn as_postgres(command: &str) -> Result<String> {
    tool::run("runuser", &["-u", "postgres", "--", "bash", "-c", command])
}

fn postgresql(rounds: usize) -> Result<()> {
    let bin = tool::run("bash", &["-c", "ls -d /usr/lib/postgresql/*/bin"])?.trim().to_owned();
    let data = format!("{LIVE}/postgresql");
    tool::run("install", &["-d", "-o", "postgres", "-g", "postgres", "-m", "700", &data])?;
    as_postgres(&format!("{bin}/initdb --no-sync --auth=trust --pgdata={data} > /dev/null"))?;
    let server = Server::start(&bin, &data, 5433)?;
    as_postgres("pgbench -q -i -s 1 -p 5433 postgres 2> /dev/null")?;
    as_postgres("psql -qp 5433 -c 'CREATE EXTENSION amcheck' postgres")?;
    let mut points = Vec::new();
    {
        let _load = Running::start(
            "runuser",
            &["-u", "postgres", "--", "pgbench", "-n", "-c", "2", "-T", "3000", "-p", "5433", "postgres"],
        )?;
        for round in 0..rounds {
            let goal = 20 * (u64::try_from(round)? + 1);
            crate::vm::wait_until("pgbench stands still", || Ok(transactions(5433)? >= goal))?;
            let before = transactions(5433)?;
            points.push((back_up("postgresql")?, before));
        }
    }
    let last = transactions(5433)?;
    server.stop()?;
    for (point, before) in points {
        let found = look_into(&point, |root| {
            let data = root.join("postgresql").to_string_lossy().into_owned();
            let restored = Server::start(&bin, &data, 5434)?;
            let found = transactions(5434)?;
            as_postgres("pg_amcheck -p 5434 --heapallindexed --all")?;
            let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches) \
                        AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers) \
                        AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = (SELECT sum(abalance) FROM pgbench_accounts)";
            let balanced = as_postgres(&format!("psql -qAtp 5434 -c '{sums}' postgres"))?;
            restored.stop()?;
            ensure_same("the books of the restored database", &balanced.trim(), &"t")?;
            Ok(found)
        })?;
        ensure!((before..=last).contains(&found), "{found} transactions, but there were {before} to {last}");
    }
    Ok(())
}

fn transactions(port: u16) -> Result<u64> {
    let count = as_postgres(&format!("psql -qAtp {port} -c 'SELECT count(*) FROM pgbench_history' postgres"))?;
    Ok(count.trim().parse()?)
}

/// A PostgreSQL server; ended when dropped.
struct Server {
    bin: String,
    data: String,
}

impl Server {
    fn start(bin: &str, data: &str, port: u16) -> Result<Self> {
        let log = format!("/tmp/postgresql-{port}.log");
        as_postgres(&format!(
            "{bin}/pg_ctl start -w -t 120 -D {data} -l {log} -o '-p {port} -k /var/run/postgresql' > /dev/null"
        ))
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { bin: bin.to_owned(), data: data.to_owned() })
    }

    fn stop(self) -> Result<()> {
        as_postgres(&format!("{}/pg_ctl stop -w -m fast -D {} > /dev/null", self.bin, self.data)).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A scenario that failed; in the other case it is down already.
        let _ = as_postgres(&format!("{}/pg_ctl stop -w -m immediate -D {} > /dev/null 2>&1", self.bin, self.data));
    }
}
