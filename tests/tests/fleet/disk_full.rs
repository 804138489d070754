//! No room for the server's database, and none for the repository: clear words, nothing lost, and it goes on when there is room again.

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, noise};
use e2e::http::Request;
use e2e::{Server, is_root, run_quietly, tool_exists};
use serde_json::json;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A small file system in memory; it is unmounted when this is dropped.
struct Small {
    directory: TempDir,
}

impl Small {
    /// `None` where nothing may be mounted; a test says so and passes there.
    fn mount(mib: u64) -> Result<Option<Self>> {
        if !is_root() || !tool_exists("mount") {
            eprintln!("not root: no small file system can be mounted here, so this is not tested");
            return Ok(None);
        }
        let directory = TempDir::with_prefix("icecore-small-")?;
        let size = format!("size={mib}m");
        run_quietly("mount", ["-t", "tmpfs", "-o", &size, "tmpfs", &directory.path().to_string_lossy()])?;
        Ok(Some(Self { directory }))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn grow(&self, mib: u64) -> Result<()> {
        let options = format!("remount,size={mib}m");
        run_quietly("mount", ["-o", &options, &self.path().to_string_lossy()])
    }

    /// Takes all room that is left, with a file that can be removed.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("filler");
        let mut file = File::create(&path)?;
        for piece in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![7; piece]).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = run_quietly("umount", ["--lazy", &self.path().to_string_lossy()]) {
            eprintln!("left behind: {}: {error:#}", self.path().display());
        }
    }
}

#[test]
fn without_room_for_its_database_the_server_says_so_reads_on_and_recovers() -> Result<()> {
    let Some(small) = Small::mount(4)? else { return Ok(()) };
    let mut server = Server::new()?;
    server.set("DATA_DIR", &small.path().join("data").to_string_lossy());
    server.start()?;
    let body = json!({"secret": server.link()?, "name": "ada", "password": "correct horse battery"});
    let admin = server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
    let cookie = admin.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let csrf = admin.body["csrf_token"].as_str().context("a log-in answers with a CSRF token")?.to_owned();
    let ask =
        |method: &str, path: &str| Request::new(method, path).header("cookie", &cookie).header("x-csrf-token", &csrf);
    let create = |number: usize| {
        server.send(&ask("POST", "/api/v1/users").json(&json!({"name": format!("u{number}"), "role": "viewer"})))
    };
    let filler = small.fill()?;
    // The log of the database may have some room of its own left.
    let mut made = 0;
    let refused = loop {
        let answer = create(made)?;
        if answer.status != 201 {
            break answer;
        }
        made += 1;
        ensure!(made < 5000, "a full disk is never noticed");
    };
    ensure!(refused.status == 503 && refused.code() == "unavailable", "{}", refused.body);
    ensure!(refused.body.to_string().contains("no room"), "it says what is missing: {}", refused.body);
    ensure!(!refused.header("retry-after").is_empty() && !refused.text.contains("sqlite"), "{}", refused.text);
    let ready = server.send(&Request::new("GET", "/ready"))?;
    ensure!(ready.status == 503 && ready.text.contains("no room"), "readiness says so: {}", ready.text);
    server.send(&Request::new("GET", "/health"))?.expect(200)?;
    server.send(&ask("GET", "/api/v1/users?limit=1"))?.expect(200)?;

    fs::remove_file(filler)?;
    create(made)?.expect(201)?;
    server.send(&Request::new("GET", "/ready"))?.expect(200)?;
    let verified = server.send(&ask("POST", "/api/v1/audit/verify").json(&json!({})))?.expect(200)?;
    ensure!(verified.body["intact"] == true, "{}", verified.body);
    drop(small.fill()?);
    // A start on a full disk neither destroys anything nor takes long to say what is wrong.
    server.kill()?;
    if server.start().is_ok() {
        server.kill()?;
    }
    fs::remove_file(small.path().join("filler"))?;
    server.start()?;
    let mut names = 0;
    let mut cursor = String::new();
    while cursor != "end" {
        let page = server.send(&ask("GET", &format!("/api/v1/users?limit=500{cursor}")))?.expect(200)?.body;
        names += page["items"].as_array().map_or(0, Vec::len);
        cursor = page["next_cursor"].as_str().map_or("end".into(), |next| format!("&cursor={next}"));
    }
    ensure!(names >= made + 2, "{names} accounts, and {made} and two more were acknowledged");
    server.kill()
}

#[test]
fn without_room_in_the_repository_a_backup_fails_with_the_reason_and_succeeds_when_there_is_some() -> Result<()> {
    let Some(small) = Small::mount(32)? else { return Ok(()) };
    let appliance = Appliance::new_in(small.path(), &[])?;
    let web = appliance.machine("web")?;
    let outside = TempDir::new()?;
    let (little, much) = (noise(1, 2 << 20), noise(2, 48 << 20));
    let disk = outside.path().join("disk");
    fs::write(&disk, &little)?;
    let first = appliance.backup(&web, &disk, "web")?;
    fs::write(&disk, &much)?;
    let mut backup = appliance.remote(&web, &["backup", &disk.to_string_lossy(), "--name", "web"])?;
    let refused = backup.env("ICECORE_PATIENCE", "2").output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("no room"), "{}: {said}", refused.status);
    let temporary = fs::read_dir(appliance.repository().join("tmp")).map(Iterator::count).unwrap_or_default();
    ensure!(temporary == 0, "{temporary} files are left of what had no room");
    appliance.server.send(&Request::new("GET", "/ready"))?.expect(200)?;

    small.grow(256)?;
    let second = appliance.backup(&web, &disk, "web")?;
    appliance.ensure_restores(&first, &little)?;
    appliance.ensure_restores(&second, &much)?;
    let checked = appliance.local(&["check", "--read-data"])?;
    ensure!(checked["errors"].as_array().is_none_or(Vec::is_empty), "{checked}");
    Ok(())
}

#[test]
fn a_backup_that_waits_for_room_goes_on_when_somebody_makes_some() -> Result<()> {
    let Some(small) = Small::mount(32)? else { return Ok(()) };
    let appliance = Appliance::new_in(small.path(), &[])?;
    let web = appliance.machine("web")?;
    let outside = TempDir::new()?;
    let (disk, bytes) = (outside.path().join("disk"), noise(3, 40 << 20));
    fs::write(&disk, &bytes)?;
    let mut backup = appliance.remote(&web, &["backup", &disk.to_string_lossy(), "--name", "web"])?;
    let child = backup.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
    // Until it has met the end of the room.
    let full = |path: &Path| -> Result<bool> {
        let free = nix::sys::statvfs::statvfs(path)?;
        Ok(free.blocks_available() * free.fragment_size() < 4 << 20)
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(240);
    while !full(small.path())? {
        ensure!(std::time::Instant::now() < until, "the room never ended");
        std::thread::yield_now();
    }
    small.grow(256)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    appliance.ensure_restores(&serde_json::from_slice(&output.stdout)?, &bytes)
}
