//! kill -9 in the middle of migrations: a database of the first version that was released becomes one of today, or stays what it was.

use super::{Random, or_soak};
use anyhow::{Context, Result, ensure};
use e2e::Server;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Rows of each kind: enough for a migration to take a while.
const ROWS: usize = 20_000;
/// Migrations of the database that the server begins with here.
const BEFORE: usize = 5;

#[test]
fn a_migration_that_is_killed_anywhere_is_made_up_for_at_the_next_start() -> Result<()> {
    let rounds = or_soak(3, 100);
    let old = tempfile::tempdir()?;
    let template = old.path().join("server.sqlite");
    make_old(&template)?;
    let mut random = Random(3);
    let mut interrupted = 0;
    for round in 0..rounds {
        let mut server = Server::new()?;
        fs::create_dir(server.data_dir())?;
        let database = server.data_dir().join("server.sqlite");
        fs::copy(&template, &database)?;
        let mut migrating = server.command(["migrate"])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(random.below(250)));
        migrating.kill()?;
        interrupted += usize::from(!migrating.wait()?.success());
        server.start().with_context(|| format!("round {round}"))?;
        server.stop()?;
        ensure_whole(&database).with_context(|| format!("round {round}"))?;
        let kept = database.with_extension(format!("version-{BEFORE}.sqlite"));
        ensure!(count(&rusqlite::Connection::open(&kept)?, "agents")? == ROWS, "round {round}: the way back is whole");
    }
    ensure!(interrupted > 0, "no kill ever hit a migration, so nothing was proved");
    Ok(())
}

fn make_old(path: &Path) -> Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/server");
    let mut files: Vec<_> = fs::read_dir(directory)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    files.sort();
    for file in &files[..BEFORE] {
        connection.execute_batch(&fs::read_to_string(file)?)?;
    }
    connection.pragma_update(None, "user_version", i64::try_from(BEFORE)?)?;
    connection.execute_batch(&format!(
        "BEGIN;
         INSERT INTO repositories VALUES (x'01', 'main', '/nowhere', 'f', 1);
         INSERT INTO users (id, name, role, created_at_ms) VALUES (randomblob(16), 'ada', 'admin', 1);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO agents (id, secret_hash, name, repository_id, writer, prefix, created_at_ms)
             SELECT unhex(printf('%032x', i)), randomblob(32), 'agent-' || i, x'01', 'w', 'p', 1 FROM n;
         INSERT INTO machines (agent_id, instance, version, host, boot_id, heard_at_ms)
             SELECT id, randomblob(16), '1', name, 'b', 1 FROM agents;
         INSERT INTO plans (id, name, agent_id, work, time_rule, keep, retry_count, retry_pause_s, paused, considered_until_ms, created_at_ms)
             SELECT randomblob(16), 'plan-' || name, id, '{{\"sources\":\"all_disks\"}}', '{{}}', '{{}}', 1, 1, 1, 1, 1 FROM agents;
         COMMIT;"
    ))?;
    Ok(())
}

fn ensure_whole(database: &Path) -> Result<()> {
    let connection = rusqlite::Connection::open(database)?;
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(found == "ok", "{found}");
    let mut violations = connection.prepare("PRAGMA foreign_key_check")?;
    ensure!(!violations.exists([])?, "a row refers to nothing");
    for table in ["agents", "machines", "plans"] {
        ensure!(count(&connection, table)? == ROWS, "{table} has lost rows");
    }
    Ok(())
}

fn count(connection: &rusqlite::Connection, table: &str) -> Result<usize> {
    let count: i64 = connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}
