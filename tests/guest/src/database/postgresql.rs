//! PostgreSQL under pgbench, with checksums on every page.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Database, Running};
use crate::debian::ensure_same;
use crate::tool;

const NAME: &str = "postgresql";
/// Ports of the one under load and of restored ones.
const LIVE: u16 = 5433;
const RESTORED: u16 = 5434;

/// A cluster under load.
pub struct Cluster {
    bin: String,
    load: Option<Running>,
    server: Option<Server>,
}

impl Cluster {
    /// A new one in a directory, written to from now on.
    pub fn start(directory: &str) -> Result<Self> {
        let bin = tool::run("bash", &["-c", "ls -d /usr/lib/postgresql/*/bin"])?.trim().to_owned();
        let data = format!("{directory}/{NAME}");
        // Of a scenario that came before.
        tool::run("rm", &["-rf", &data])?;
        tool::run("install", &["-d", "-o", "postgres", "-g", "postgres", "-m", "700", &data])?;
        as_postgres(&format!("{bin}/initdb --no-sync --data-checksums --auth=trust --pgdata={data} > /dev/null"))?;
        let server = Server::start(&bin, &data, LIVE)?;
        as_postgres(&format!("pgbench -q -i -s 1 -p {LIVE} postgres 2> /dev/null"))?;
        as_postgres(&format!("psql -qp {LIVE} -c 'CREATE EXTENSION amcheck' postgres"))?;
        let load = Some(start_pgbench()?);
        Ok(Self { bin, load, server: Some(server) })
    }
}

impl Database for Cluster {
    fn committed(&self) -> Result<u64> {
        transactions(LIVE)
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.load.take());
        self.server.take().map_or(Ok(()), Server::stop)
    }

    fn judge(&self, root: &Path, committed: RangeInclusive<u64>) -> Result<()> {
        let data = root.join(NAME).to_string_lossy().into_owned();
        let restored = Server::start(&self.bin, &data, RESTORED)?;
        let said = std::fs::read_to_string(log_of(RESTORED))?;
        ensure!(said.contains("automatic recovery in progress"), "without a recovery nothing is proved: {said}");
        let found = transactions(RESTORED)?;
        println!("{found} transactions of {committed:?}");
        as_postgres(&format!("{}/pg_amcheck -p {RESTORED} --heapallindexed postgres", self.bin))?;
        let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches) \
                    AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers) \
                    AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = (SELECT sum(abalance) FROM pgbench_accounts)";
        let balanced = as_postgres(&format!("psql -qAtp {RESTORED} -c '{sums}' postgres"))?;
        restored.stop()?;
        as_postgres(&format!("{}/pg_checksums --check -D {data} > /dev/null", self.bin))?;
        ensure_same("the books of the restored database", &balanced.trim(), &"t")?;
        ensure!(committed.contains(&found), "{found} transactions, but there were {committed:?}");
        Ok(())
    }
}

/// Runs a command as the database's owner.
fn as_postgres(command: &str) -> Result<String> {
    tool::run("runuser", &["-u", "postgres", "--", "bash", "-c", command])
}

/// Not below `runuser`, which would leave it running when it is killed itself.
fn start_pgbench() -> Result<Running> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    // So slow that a backup under emulation gets its share of the processors.
    command
        .args(["pgbench", "-n", "-c", "2", "-R", "30", "-T", "7200", "-p", &LIVE.to_string(), "postgres"])
        .current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running(command.spawn().context("cannot start pgbench")?))
}

fn transactions(port: u16) -> Result<u64> {
    let count = as_postgres(&format!("psql -qAtp {port} -c 'SELECT count(*) FROM pgbench_history' postgres"))?;
    Ok(count.trim().parse()?)
}

fn log_of(port: u16) -> String {
    format!("/tmp/postgresql-{port}.log")
}

/// A server; ended when dropped.
struct Server {
    bin: String,
    data: String,
}

impl Server {
    fn start(bin: &str, data: &str, port: u16) -> Result<Self> {
        let log = log_of(port);
        // Of an earlier point.
        let _ = std::fs::remove_file(&log);
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
