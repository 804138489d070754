//! The hooks that are shipped: PostgreSQL's with a real server, the others with stand-ins for their clients that tell what they were asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use e2e::{capture, is_root};
use tempfile::TempDir;

/// A directory with settings, run-time state and programs that stand in for others.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("icecore-hook-")?;
        fs::create_dir(dir.path().join("bin"))?;
        Ok(Self { dir })
    }

    fn stand_in(&self, name: &str, content: &str) -> Result<()> {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{content}\n"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    fn settings(&self, content: &str) -> Result<()> {
        Ok(fs::write(self.dir.path().join("hooks.conf"), content)?)
    }

    fn run(&self, hook: &str, stage: &str) -> Result<Output> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/hooks").join(hook);
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(script);
        command.arg(stage).env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()));
        command.env("HOOKS_CONF", self.dir.path().join("hooks.conf")).env("HOOKS_RUN", self.dir.path().join("run"));
        command.env("SCENE", self.dir.path()).output().context("the hook does not start")
    }

    fn succeed(&self, hook: &str, stage: &str) -> Result<()> {
        let output = self.run(hook, stage)?;
        ensure!(output.status.success(), "{hook} {stage}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn refuse(&self, hook: &str, stage: &str) -> Result<String> {
        let output = self.run(hook, stage)?;
        ensure!(!output.status.success(), "{hook} {stage} succeeded");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// Reads statements and answers the selects; writes down what it was told, and its end.
const CLIENT: &str = r#"while read -r line; do
	echo "$line" >>"$SCENE/log"
	case $line in SELECT*) echo "$line" ;; esac
done
echo "disconnected" >>"$SCENE/log""#;

#[test]
fn the_mysql_hook_holds_its_lock_until_after() -> Result<()> {
    let scene = Scene::new()?;
    scene.stand_in("mariadb", CLIENT)?;
    scene.succeed("50-mysql", "before")?;
    let held = scene.log();
    ensure!(held.contains("FLUSH TABLES WITH READ LOCK") && !held.contains("disconnected"), "{held}");
    scene.succeed("50-mysql", "after")?;
    let over = scene.log();
    ensure!(over.contains("UNLOCK TABLES") && over.contains("disconnected"), "{over}");
    // Nobody is kept waiting by an end without a beginning.
    scene.succeed("50-mysql", "failed")
}

#[test]
fn the_mysql_hook_fails_when_the_lock_was_lost_or_not_had() -> Result<()> {
    let scene = Scene::new()?;
    scene.stand_in("mariadb", CLIENT)?;
    scene.settings("MYSQL_HOLD_S=1\n")?;
    scene.succeed("50-mysql", "before")?;
    while !scene.log().contains("disconnected") {}
    ensure!(scene.refuse("50-mysql", "after")?.contains("the lock was lost"));
    scene.stand_in("mariadb", "echo access denied; exit 1")?;
    ensure!(scene.refuse("50-mysql", "before")?.contains("access denied"));
    scene.succeed("50-mysql", "failed")
}

const VIRSH: &str = r#"shift
echo "$@" >>"$SCENE/log"
case "$1 $2" in
"list --name") printf 'web\nmail\n\n' ;;
"domfsfreeze bad") echo "no agent" >&2; exit 1 ;;
esac"#;

#[test]
fn the_libvirt_hook_freezes_all_guests_and_thaws_them() -> Result<()> {
    let scene = Scene::new()?;
    scene.stand_in("virsh", VIRSH)?;
    scene.succeed("50-libvirt", "before")?;
    ensure!(scene.log().contains("domfsfreeze web\ndomfsfreeze mail\n"), "{}", scene.log());
    scene.succeed("50-libvirt", "after")?;
    ensure!(scene.log().ends_with("domfsthaw web\ndomfsthaw mail\n"), "{}", scene.log());
    Ok(())
}

#[test]
fn the_libvirt_hook_thaws_the_others_when_one_cannot_freeze() -> Result<()> {
    let scene = Scene::new()?;
    scene.stand_in("virsh", VIRSH)?;
    scene.settings("LIBVIRT_DOMAINS=\"web bad\"\n")?;
    ensure!(scene.refuse("50-libvirt", "before")?.contains("qemu-guest-agent"));
    ensure!(scene.log().ends_with("domfsthaw web\n"), "{}", scene.log());
    Ok(())
}

#[test]
fn the_libvirt_hook_tells_when_a_guest_thawed_too_early() -> Result<()> {
    let scene = Scene::new()?;
    scene.stand_in("virsh", VIRSH)?;
    scene.settings("LIBVIRT_DOMAINS=web LIBVIRT_HOLD_S=1\n")?;
    scene.succeed("50-libvirt", "before")?;
    while !scene.log().contains("domfsthaw") {}
    ensure!(scene.refuse("50-libvirt", "after")?.contains("LIBVIRT_HOLD_S"));
    Ok(())
}

/// A PostgreSQL server of its own, stopped when dropped.
struct Postgres {
    programs: PathBuf,
    data: PathBuf,
}

impl Postgres {
    /// None where there is no server to start.
    fn start(scene: &Scene) -> Result<Option<Self>> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let Some(programs) = versions.map(|entry| entry.path().join("bin")).find(|bin| bin.join("pg_ctl").exists())
        else {
            return Ok(None);
        };
        let id = capture(Command::new("id").args(["-u", "postgres"]))?;
        let id: u32 = String::from_utf8(id.stdout)?.trim().parse()?;
        fs::set_permissions(scene.dir.path(), fs::Permissions::from_mode(0o755))?;
        let data = scene.dir.path().join("data");
        fs::create_dir(&data)?;
        chown(&data, Some(id), None)?;
        let server = Self { programs, data };
        server.run("initdb", &["--auth=trust", "--no-sync"])?;
        let options = format!("-c listen_addresses= -c unix_socket_directories={}", server.data.display());
        let log = server.data.join("log");
        server.run("pg_ctl", &["start", "--wait", "--log", &log.to_string_lossy(), "--options", &options])?;
        Ok(Some(server))
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.programs.join(program)).arg("-D").arg(&self.data).args(args);
        // The server would keep pipes open.
        let status = command.current_dir("/").stdout(std::process::Stdio::null()).status()?;
        ensure!(status.success(), "{program} failed");
        Ok(())
    }

    /// Where the newest checkpoint stands in the log of changes.
    fn checkpoint(&self) -> Result<String> {
        let said = capture(Command::new(self.programs.join("pg_controldata")).arg(&self.data))?;
        let said = String::from_utf8(said.stdout)?;
        let line = said.lines().find(|line| line.starts_with("Latest checkpoint location"));
        line.map(str::to_owned).context("no checkpoint")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.run("pg_ctl", &["stop", "--mode=immediate"]) {
            eprintln!("a PostgreSQL server was left behind: {error:#}");
        }
    }
}

#[test]
fn the_postgresql_hook_makes_a_checkpoint_and_fails_without_an_answer() -> Result<()> {
    if !is_root() {
        println!("needs root");
        return Ok(());
    }
    let scene = Scene::new()?;
    let Some(server) = Postgres::start(&scene)? else {
        println!("needs a PostgreSQL server");
        return Ok(());
    };
    scene.settings(&format!("POSTGRESQL_PORTS=5432\nPOSTGRESQL_SOCKETS={}\n", server.data.display()))?;
    let before = server.checkpoint()?;
    scene.succeed("50-postgresql", "before")?;
    ensure!(server.checkpoint()? != before, "no checkpoint was made");
    scene.succeed("50-postgresql", "after")?;
    scene.settings(&format!("POSTGRESQL_PORTS=5433\nPOSTGRESQL_SOCKETS={}\n", server.data.display()))?;
    scene.refuse("50-postgresql", "before").map(drop)
}
