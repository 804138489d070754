//! The server's database in other hands: held by another process, and damaged while the server runs.

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, content};
use e2e::http::Request;
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

fn create_user(appliance: &Appliance, name: &str) -> Request {
    Request::new("POST", "/api/v1/users").token(&appliance.admin).json(&json!({"name": name, "role": "viewer"}))
}

#[test]
fn while_another_process_holds_the_database_reads_go_on_and_writes_are_refused_with_words() -> Result<()> {
    let appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let disk = appliance.disk("disk", &content(1, 40))?;
    let other = rusqlite::Connection::open(appliance.server.data_dir().join("server.sqlite"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let refused = appliance.server.send(&create_user(&appliance, "bob"))?;
    // In time: a request that takes longer than it may is told that nobody knows.
    ensure!(refused.status == 503 && refused.code() == "unavailable", "{}", refused.body);
    appliance.get("/api/v1/users")?;
    // A backup waits until the database is free.
    let mut backup = appliance.remote(&web, &["backup", &disk.to_string_lossy(), "--name", "web"])?;
    let child = backup.stdout(std::process::Stdio::piped()).spawn()?;
    other.execute_batch("ROLLBACK")?;
    appliance.server.send(&create_user(&appliance, "bob"))?.expect(201)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    appliance.ensure_restores(&serde_json::from_slice(&output.stdout)?, &content(1, 40))
}

#[test]
fn a_database_that_is_damaged_under_the_running_server_shows_nothing_inside_and_a_copy_puts_it_right() -> Result<()> {
    let mut appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let disk = appliance.disk("disk", &content(2, 40))?;
    let point = appliance.backup(&web, &disk, "web")?;
    let copied = appliance.server.run(&["admin", "copy-database"])?;
    ensure!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let copy = String::from_utf8(copied.stdout)?.trim().to_owned();
    // All of what is still in the log goes into the file, and is overwritten there.
    let database = appliance.server.data_dir().join("server.sqlite");
    rusqlite::Connection::open(&database)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let file = File::options().write(true).open(&database)?;
    let length = file.metadata()?.len();
    file.write_all_at(&vec![0xA5; usize::try_from(length - 100)?], 100)?;
    let mut failed = 0;
    for path in ["/api/v1/users", "/api/v1/agents", "/api/v1/plans", "/api/v1/jobs", "/api/v1/audit", "/ready"] {
        let answer = appliance.server.send(&Request::new("GET", path).token(&appliance.admin))?;
        let inside = ["sqlite", "malformed", "SQL", "server.sqlite", "disk image"];
        ensure!(!inside.iter().any(|word| answer.text.contains(word)), "{path}: {}", answer.text);
        failed += usize::from(answer.status >= 500);
    }
    ensure!(failed > 0, "the damage was never met, so nothing was proved");
    appliance.server.kill()?;
    let start = appliance.server.run(&["serve"])?;
    let said = String::from_utf8_lossy(&start.stderr).into_owned();
    ensure!(!start.status.success() && said.contains("restore-database"), "{said}");
    let restored = appliance.server.run(&["admin", "restore-database", &copy])?;
    ensure!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    appliance.server.start()?;
    let again = appliance.backup(&web, &disk, "web")?;
    appliance.ensure_restores(&point, &content(2, 40))?;
    appliance.ensure_restores(&again, &content(2, 40))?;
    let agents = appliance.get("/api/v1/agents")?;
    agents["items"].as_array().filter(|agents| agents.len() == 1).context("the agent is known again").map(drop)
}
