//! PostgreSQL under pgbench, with checksums on every page.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::{Database, Running, System};
use crate::debian::ensure_same;
use crate::pace;

const NAME: &str = "postgresql";
/// Ports of the one under load and of restored ones.
const LIVE: u16 = 5433;
const RESTORED: u16 = 5434;

/// A cluster under load.
pub struct Cluster {
    programs: Programs,
    load: Option<Running>,
    server: Option<Server>,
}

impl Cluster {
    /// A new one in a directory, written to from now on.
    pub fn start(system: &System, directory: &Path) -> Result<Self> {
        let bin = system.run("bash", &["-c", "ls -d /usr/lib/postgresql/*/bin"])?.trim().to_owned();
        let programs = Programs { system: system.clone(), bin };
        let data = system.inside(&directory.join(NAME))?.to_string_lossy().into_owned();
        // Of a scenario that came before.
        system.run("rm", &["-rf", &data])?;
        system.run("install", &["-d", "-o", "postgres", "-g", "postgres", "-m", "700", &data])?;
        programs.run("initdb", &format!("--no-sync --data-checksums --auth=trust --pgdata={data} > /dev/null"))?;
        let server = Server::start(&programs, &data, LIVE)?;
        programs.run("pgbench", &format!("-q -i -s 1 {} 2> /dev/null", at(LIVE)))?;
        programs.run("psql", &format!("-q -c 'CREATE EXTENSION amcheck' {}", at(LIVE)))?;
        let load = Some(programs.start_pgbench()?);
        Ok(Self { programs, load, server: Some(server) })
    }
}

impl Database for Cluster {
    fn committed(&self) -> Result<u64> {
        self.programs.transactions(LIVE)
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.load.take());
        self.server.take().map_or(Ok(()), Server::stop)
    }

    fn judge(&self, root: &Path, committed: RangeInclusive<u64>) -> Result<()> {
        let programs = &self.programs;
        let data = programs.system.inside(&root.join(NAME))?.to_string_lossy().into_owned();
        let restored = Server::start(programs, &data, RESTORED)?;
        let said = std::fs::read_to_string(programs.system.outside(&log_of(RESTORED)))?;
        ensure!(said.contains("automatic recovery in progress"), "without a recovery nothing is proved: {said}");
        let found = programs.transactions(RESTORED)?;
        println!("{found} transactions of {committed:?}");
        programs.run("pg_amcheck", &format!("--heapallindexed {}", at(RESTORED)))?;
        let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches) \
                    AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers) \
                    AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = (SELECT sum(abalance) FROM pgbench_accounts)";
        let balanced = programs.run("psql", &format!("-qAt -c '{sums}' {}", at(RESTORED)))?;
        restored.stop()?;
        programs.run("pg_checksums", &format!("--check -D {data} > /dev/null"))?;
        ensure_same("the books of the restored database", &balanced.trim(), &"t")?;
        ensure!(committed.contains(&found), "{found} transactions, but there were {committed:?}");
        Ok(())
    }
}

/// PostgreSQL's programs, run as the database's owner.
#[derive(Clone)]
struct Programs {
    system: System,
    /// The directory in which all of them are.
    bin: String,
}

/// Becomes the owner and then the program, so that whoever kills it meets the program.
const AS_OWNER: [&str; 3] = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];

impl Programs {
    /// Runs one with arguments as a shell takes them.
    fn run(&self, program: &str, args: &str) -> Result<String> {
        let command = format!("{}/{program} {args}", self.bin);
        self.system.run("setpriv", &[&AS_OWNER[..], &["bash", "-c", &command]].concat())
    }

    fn start_pgbench(&self) -> Result<Running> {
        let mut command = self.system.command("setpriv")?;
        command.args(AS_OWNER).arg(format!("{}/pgbench", self.bin));
        // So slow that a backup under emulation gets its share of the processors.
        command.args(["-n", "-c", "2", "-R", "30", "-T", "7200"]).args(at(LIVE).split(' '));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Running(command.spawn().context("cannot start pgbench")?))
    }

    fn transactions(&self, port: u16) -> Result<u64> {
        let count = self.run("psql", &format!("-qAt -c 'SELECT count(*) FROM pgbench_history' {}", at(port)))?;
        Ok(count.trim().parse()?)
    }
}

/// Where sockets are. Networks are not needed, and not every machine has one.
const SOCKETS: &str = "/tmp";

/// The server at this port, as arguments.
fn at(port: u16) -> String {
    format!("-h {SOCKETS} -p {port} postgres")
}

fn log_of(port: u16) -> String {
    format!("/tmp/postgresql-{port}.log")
}

/// A server; ended when dropped.
struct Server {
    programs: Programs,
    data: String,
}

impl Server {
    fn start(programs: &Programs, data: &str, port: u16) -> Result<Self> {
        let log = log_of(port);
        let log_outside = programs.system.outside(&log);
        // Of an earlier point.
        let _ = std::fs::remove_file(&log_outside);
        let options = format!("-p {port} -k {SOCKETS} -c listen_addresses=");
        let limit_s = 120 * pace::patience();
        let start = format!("start -w -t {limit_s} -D {data} -l {log} -o '{options}' > /dev/null");
        programs.run("pg_ctl", &start).with_context(|| std::fs::read_to_string(&log_outside).unwrap_or_default())?;
        Ok(Self { programs: programs.clone(), data: data.to_owned() })
    }

    fn stop(self) -> Result<()> {
        self.programs.run("pg_ctl", &format!("stop -w -m fast -D {} > /dev/null", self.data)).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A scenario that failed; in the other case it is down already.
        let _ = self.programs.run("pg_ctl", &format!("stop -w -m immediate -D {} > /dev/null 2>&1", self.data));
    }
}
