//! The day the server's database or its whole machine is lost: daily copies put back, and a server rebuilt from a repository and its
//! recovery kit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::http::Request;
use e2e::{Icecore, Server};
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(server: &Server, args: &[&str]) -> Result<String> {
    let output = server.run(args)?;
    ensure!(output.status.success(), "{args:?}: {}", text(&output));
    Ok(text(&output))
}

fn refused(server: &Server, args: &[&str], part: &str) -> Result<()> {
    let output = server.run(args)?;
    ensure!(!output.status.success() && text(&output).contains(part), "{args:?}: {}", text(&output));
    Ok(())
}

fn redeem(server: &Server) -> Result<()> {
    let body = json!({"secret": server.link()?, "name": "ada", "password": PASSWORD});
    server.send(&Request::new("POST", "/api/v1/log-in-links/redeem").json(&body))?.expect(201)?;
    Ok(())
}

/// A token of the account's that may add a repository.
fn token(server: &Server) -> Result<String> {
    let body = json!({"name": "ada", "password": PASSWORD});
    let answer = server.send(&Request::new("POST", "/api/v1/session").json(&body))?.expect(201)?;
    let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let csrf = answer.body["csrf_token"].as_str().context("a log-in answers with a CSRF token")?.to_owned();
    let body = json!({"name": "test", "rights": ["read", "agents"], "expires_at": "2027-11-01T00:00:00Z"});
    let request = Request::new("POST", "/api/v1/tokens").header("cookie", &cookie).header("x-csrf-token", &csrf);
    let made = server.send(&request.json(&body))?.expect(201)?;
    Ok(made.body["secret"].as_str().context("a token's secret is shown once")?.to_owned())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

/// Copies the database and stores the copy as the appliance's agent does.
fn store_copy(server: &Server, icecore: &Icecore) -> Result<PathBuf> {
    let made = PathBuf::from(run(server, &["admin", "copy-database"])?.trim());
    let newest = server.data_dir().join("copies/server.sqlite");
    ensure!(fs::read(&made)? == fs::read(&newest)?, "the newest copy always has the same name");
    icecore.json(["backup", path(&newest)?, "--name", "icecore-server"])?;
    Ok(made)
}

#[test]
fn a_server_is_rebuilt_on_an_empty_machine_from_a_repository_and_the_kit() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let kit = icecore.dir().join("kit.txt");
    icecore.json(["key", "recovery-export", "--out", path(&kit)?])?;
    let mut lost = Server::started()?;
    redeem(&lost)?;
    let secret = token(&lost)?;
    let body = json!({"name": "main", "directory": icecore.repository()});
    lost.send(&Request::new("POST", "/api/v1/repositories").token(&secret).json(&body))?.expect(201)?;
    fs::write(lost.data_dir().join("ca.pem"), "the authority that agents trust")?;
    fs::write(lost.data_dir().join("ca.key"), "and its key")?;
    store_copy(&lost, &icecore)?;
    lost.kill()?;
    drop(lost);

    // The repository's disk stands in another machine now, under another path.
    let moved = icecore.dir().join("moved");
    fs::rename(icecore.repository(), &moved)?;
    let mut server = Server::new()?;
    let recover = ["admin", "recover", "--repo", path(&moved)?, "--kit", path(&kit)?];
    let said = run(&server, &recover)?;
    ensure!(said.contains("ca.key, ca.pem") && said.contains("the database is the one of"), "{said}");
    ensure!(fs::read_to_string(server.data_dir().join("ca.key"))? == "and its key");
    refused(&server, &recover, "is there already")?;
    server.start()?;
    ensure!(server.link().is_err(), "there are accounts, so no link is printed");
    let repositories = server.send(&Request::new("GET", "/api/v1/repositories").token(&secret))?.expect(200)?;
    ensure!(repositories.body["items"][0]["directory"] == path(&moved)?, "{}", repositories.body);
    token(&server)?;
    Ok(())
}

#[test]
fn recovery_takes_no_copy_that_a_machine_made_and_no_kit_of_another_repository() -> Result<()> {
    let (icecore, other) = (Icecore::with_repository()?, Icecore::with_repository()?);
    let (kit, wrong) = (icecore.dir().join("kit.txt"), other.dir().join("kit.txt"));
    icecore.json(["key", "recovery-export", "--out", path(&kit)?])?;
    other.json(["key", "recovery-export", "--out", path(&wrong)?])?;
    let server = Server::new()?;
    let recover = |kit: &Path| {
        ["admin", "recover", "--repo", "REPO", "--kit", "KIT"].map(|word| match word {
            "REPO" => icecore.repository().display().to_string(),
            "KIT" => kit.display().to_string(),
            word => word.to_owned(),
        })
    };
    let refuses = |kit: &Path, part: &str| {
        let args = recover(kit);
        refused(&server, &args.each_ref().map(String::as_str), part)
    };
    refuses(&wrong, "another repository")?;
    refuses(&kit, "no recovery point named icecore-server")?;
    // A machine with a writer key stores a database of its own making under that name.
    let forger = Server::started()?;
    redeem(&forger)?;
    let forged = PathBuf::from(run(&forger, &["admin", "copy-database"])?.trim());
    let key = icecore.dir().join("machine.key");
    icecore.json(["key", "writer-export", "--out", path(&key)?])?;
    icecore.json(["backup", path(&forged)?, "--name", "icecore-server", "--writer-key", path(&key)?])?;
    refuses(&kit, "no recovery point named icecore-server")?;
    ensure!(!server.data_dir().join("server.sqlite").exists(), "nothing was installed");
    Ok(())
}

#[test]
fn a_damaged_database_stops_the_start_and_a_copy_puts_it_right() -> Result<()> {
    let mut server = Server::started()?;
    redeem(&server)?;
    let copy = PathBuf::from(run(&server, &["admin", "copy-database"])?.trim());
    refused(&server, &["admin", "restore-database", path(&copy)?], "another icecore-server runs")?;
    server.stop()?;
    let database = server.data_dir().join("server.sqlite");
    let damaged = vec![0xA5; 40_000];
    fs::write(&database, &damaged)?;
    refused(&server, &["serve"], "admin restore-database")?;
    ensure!(fs::read(&database)? == damaged, "a start does not touch what it cannot read");
    ensure!(run(&server, &["admin", "copies"])?.contains(path(&copy)?));
    let said = run(&server, &["admin", "restore-database", path(&copy)?])?;
    ensure!(said.contains("what was there before is kept"), "{said}");
    server.start()?;
    token(&server)?;
    refused(&server, &["admin", "restore-database", "/nonexistent"], "another icecore-server runs")?;
    Ok(())
}

#[test]
fn the_running_server_makes_a_copy_by_itself() -> Result<()> {
    let server = Server::started()?;
    let copies = server.data_dir().join("copies/server.sqlite");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !copies.exists() {
        ensure!(Instant::now() < deadline, "the server made no copy of its database");
        std::thread::yield_now();
    }
    Ok(())
}
