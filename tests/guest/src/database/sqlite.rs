//! SQLite in WAL mode: transfers between accounts, each an entry and a new balance.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Database, Running, System};
use crate::debian::ensure_same;
use crate::random::Random;

const NAME: &str = "ledger.db";
const ACCOUNTS: u64 = 200;
/// Between two transfers, so that a backup under emulation gets its share of the processors.
const PAUSE: Duration = Duration::from_millis(15);

/// The database and its writer.
pub struct Ledger {
    system: System,
    file: String,
    writer: Option<Running>,
}

impl Ledger {
    /// A new one in a directory, written to from now on.
    pub fn start(system: &System, directory: &Path) -> Result<Self> {
        for part in ["", "-wal", "-shm"] {
            // Of a scenario that came before.
            let _ = std::fs::remove_file(directory.join(format!("{NAME}{part}")));
        }
        let file = system.inside(&directory.join(NAME))?.to_string_lossy().into_owned();
        ask(
            system,
            &file,
            &format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
                 CREATE TABLE entry (number INTEGER PRIMARY KEY, account INTEGER, amount INTEGER);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
                 INSERT INTO account SELECT i, 0 FROM n;"
            ),
        )?;
        let writer = Some(start_transfers(system, &file)?);
        Ok(Self { system: system.clone(), file, writer })
    }
}

impl Database for Ledger {
    fn committed(&self) -> Result<u64> {
        count_entries(&self.system, &self.file)
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.writer.take());
        Ok(())
    }

    fn judge(&self, root: &Path, committed: RangeInclusive<u64>) -> Result<()> {
        let file = root.join(NAME);
        let log_bytes = std::fs::metadata(file.with_extension("db-wal")).map_or(0, |meta| meta.len());
        ensure!(log_bytes > 0, "without a write-ahead log nothing is proved");
        let (system, file) = (&self.system, self.system.inside(&file)?);
        let file = file.to_string_lossy();
        ensure_same("the database's own check", &ask(system, &file, "PRAGMA integrity_check")?.as_str(), &"ok")?;
        let sums = "SELECT (SELECT sum(balance) FROM account) - (SELECT sum(amount) FROM entry)";
        ensure_same("balances against entries", &ask(system, &file, sums)?.as_str(), &"0")?;
        let entries = count_entries(system, &file)?;
        println!("{entries} entries of {committed:?}, {log_bytes} bytes of log");
        ensure!(committed.contains(&entries), "{entries} entries, but there were {committed:?}");
        Ok(())
    }
}

fn ask(system: &System, file: &str, sql: &str) -> Result<String> {
    Ok(system.run("sqlite3", &["-cmd", ".timeout 20000", file, sql])?.trim().to_owned())
}

fn count_entries(system: &System, file: &str) -> Result<u64> {
    Ok(ask(system, file, "SELECT count(*) FROM entry")?.parse()?)
}

/// Transfers without end over one connection: closing the last one would empty the write-ahead log every time.
fn start_transfers(system: &System, file: &str) -> Result<Running> {
    let mut command = system.command("sqlite3")?;
    // Without `-bail` what follows a BEGIN that failed would be done all the same, each statement for itself.
    command.args(["-bail", "-cmd", ".timeout 20000", file]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut sqlite = command.spawn().context("cannot start sqlite3")?;
    let mut input = sqlite.stdin.take().context("sqlite3 has no input")?;
    std::thread::spawn(move || {
        let mut random = Random::new(17);
        let mut say = |sql: &str| input.write_all(sql.as_bytes());
        // Ends when sqlite3 does.
        let mut written = say("PRAGMA synchronous = FULL;\n");
        while written.is_ok() {
            let (account, amount) = (1 + random.below(ACCOUNTS), 1 + random.below(1000));
            written = say(&format!(
                "BEGIN IMMEDIATE; INSERT INTO entry (account, amount) VALUES ({account}, {amount}); \
                 UPDATE account SET balance = balance + {amount} WHERE id = {account}; COMMIT;\n"
            ));
            std::thread::park_timeout(PAUSE);
        }
    });
    Ok(Running(sqlite))
}
