//! People over the network: `icecore login`, and everything that reads, against the real server; what changes something, and what is refused.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, CHUNK, Machine, content, says};
use e2e::http::Request;
use e2e::run_quietly;
use serde_json::{Value, json};

/// An appliance with one point of a machine, and a person who may restore it.
struct Scene {
    appliance: Appliance,
    web: Machine,
    point: Value,
    bytes: Vec<u8>,
}

impl Scene {
    fn new() -> Result<Self> {
        let appliance = Appliance::new()?;
        appliance.person("rita", "restorer")?;
        let web = appliance.machine("web")?;
        let bytes = content(1, 100);
        let disk = appliance.disk("disk", &bytes)?;
        let point = appliance.backup(&web, &disk, "web")?;
        Ok(Self { appliance, web, point, bytes })
    }

    fn server(&self) -> Result<String> {
        Ok(format!("http://{}", self.appliance.server.address()?))
    }

    fn login(&self, name: &str, more: &[&str]) -> Result<Output> {
        let server = self.server()?;
        let args = [&["login", server.as_str(), "--user", name], more].concat();
        Ok(self.appliance.at_home(name, &args)?.output()?)
    }

    /// A verb of a person who logged in.
    fn verb(&self, name: &str, args: &[&str]) -> Result<Output> {
        let repo = format!("{}/main", self.server()?);
        Ok(self.appliance.at_home(name, args)?.env("ICECORE_REPO", repo).output()?)
    }

    fn result(&self, name: &str, args: &[&str]) -> Result<Value> {
        let output = self.verb(name, args)?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {}: {text}", output.status);
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// How many requests `icecore list` makes.
    fn requests_of_a_list(&self, points: usize) -> Result<u64> {
        let before = self.requests()?;
        let listed = self.result("rita", &["list"])?;
        ensure!(listed.as_array().is_some_and(|listed| listed.len() == points), "{listed}");
        // The question itself is one, too.
        Ok(self.requests()? - before - 1)
    }

    /// Requests that the server has answered.
    fn requests(&self) -> Result<u64> {
        let metrics = self.appliance.server.send(&Request::new("GET", "/metrics").token(&self.appliance.admin))?;
        let of =
            |line: &str| line.strip_prefix("icecore_http_requests_total{")?.rsplit_once(' ')?.1.parse::<u64>().ok();
        Ok(metrics.expect(200)?.text.lines().filter_map(of).sum())
    }

    fn audit(&self, action: &str) -> Result<usize> {
        let request = Request::new("GET", "/api/v1/audit?limit=500").token(&self.appliance.admin);
        let page = self.appliance.server.send(&request)?.expect(200)?;
        let items = page.body["items"].as_array().context("a page has items")?;
        Ok(items.iter().filter(|entry| entry["action"] == action).count())
    }
}

#[test]
fn who_may_restore_does_over_the_server_whatever_reads() -> Result<()> {
    let scene = Scene::new()?;
    let logged_in = scene.login("rita", &[])?;
    says(&logged_in, 0, "")?;
    let answer: Value = serde_json::from_slice(&logged_in.stdout)?;
    ensure!(answer["rights"] == json!(["read", "restore"]) && answer["repositories"] == json!(["main"]), "{answer}");
    let id = scene.point["id"].as_str().context("a point has an id")?;
    let to = scene.appliance.dir().join("restored").to_string_lossy().into_owned();
    scene.result("rita", &["restore", id, "--to", &to])?;
    ensure!(fs::read(&to)? == scene.bytes, "what was restored over the server differs");
    let image = scene.appliance.dir().join("image.qcow2").to_string_lossy().into_owned();
    scene.result("rita", &["export", id, "--to", &image])?;
    ensure!(scene.result("rita", &["list"])?.as_array().is_some_and(|points| points.len() == 1));
    ensure!(scene.result("rita", &["show", id])? == scene.appliance.local(&["show", id])?);
    scene.result("rita", &["diff", id, id])?;
    scene.result("rita", &["ls", id])?;
    let checked = scene.result("rita", &["check", "--read-data"])?;
    ensure!(checked["packs_read"].as_u64() > Some(0), "{checked}");
    let (remote, local) = (scene.result("rita", &["status"])?, scene.appliance.local(&["status"])?);
    for field in ["points", "bytes_unique", "bytes_data_packs", "bytes_tree_packs"] {
        ensure!(remote[field] == local[field], "{field}: {remote}\n{local}");
    }
    scene.result("rita", &["dump", "object", "config"])?;
    ensure!(scene.audit("repository.read")? == 1, "one entry for all of it");
    Ok(())
}

#[test]
fn a_list_asks_the_server_as_often_however_many_points_there_are() -> Result<()> {
    let scene = Scene::new()?;
    says(&scene.login("rita", &[])?, 0, "")?;
    let few = scene.requests_of_a_list(1)?;
    for number in 2..8 {
        let disk = scene.appliance.disk("disk", &content(number, 4))?;
        scene.appliance.backup(&scene.web, &disk, "web")?;
    }
    let many = scene.requests_of_a_list(7)?;
    ensure!(many == few && few < 12, "{few} requests for one point, {many} for seven");
    Ok(())
}

#[test]
fn a_point_is_mounted_over_the_server() -> Result<()> {
    let scene = Scene::new()?;
    says(&scene.login("rita", &[])?, 0, "")?;
    let at = scene.appliance.dir().join("mnt");
    fs::create_dir(&at)?;
    let repo = format!("{}/main", scene.server()?);
    let id = scene.point["id"].as_str().context("a point has an id")?;
    let mut command = scene.appliance.at_home("rita", &["mount", id, &at.to_string_lossy()])?;
    let mut child = command.env("ICECORE_REPO", repo).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let mut stdout = BufReader::new(child.stdout.take().context("it was asked for")?);
    while !said.ends_with("\n}\n") {
        ensure!(stdout.read_line(&mut said)? > 0, "it ended without a mount: {said}");
    }
    let said: Value = serde_json::from_str(&said)?;
    let file = said["files"][0].as_str().context("a mount names its files")?;
    let same = fs::read(at.join(file))? == scene.bytes;
    run_quietly("umount", [&at])?;
    let status = child.wait()?;
    ensure!(same && status.success(), "same bytes: {same}; {status}");
    Ok(())
}

#[test]
fn who_may_not_restore_reads_nothing_and_hears_what_would_help() -> Result<()> {
    let scene = Scene::new()?;
    scene.appliance.person("vera", "viewer")?;
    says(&scene.login("vera", &[])?, 4, "does not include the right restore")?;
    says(&scene.login("vera", &["--rights", "read"])?, 0, "")?;
    says(&scene.verb("vera", &["list"])?, 4, "icecore login --rights restore")?;
    says(&scene.verb("nobody", &["list"])?, 4, "icecore login http")?;
    ensure!(scene.audit("repository.read")? == 0);
    Ok(())
}

#[test]
fn wrong_passwords_and_tokens_that_ended_are_refused() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.server()?;
    let mut wrong = scene.appliance.at_home("rita", &["login", &server, "--user", "rita"])?;
    says(&wrong.env("ICECORE_PASSWORD", "not this one at all").output()?, 4, "is wrong")?;
    says(&scene.login("rita", &["--days", "1"])?, 0, "")?;
    let repo = format!("{server}/main");
    let mut late = scene.appliance.at_home("rita", &["list"])?;
    says(&late.env("ICECORE_REPO", repo).env("ICECORE_NOW", "2031-01-01T00:00:00Z").output()?, 4, "ended at")
}

#[test]
fn a_logout_revokes_the_token() -> Result<()> {
    let scene = Scene::new()?;
    says(&scene.login("rita", &[])?, 0, "")?;
    let home = scene.appliance.dir().join("home-rita/.config/icecore/servers");
    let file = fs::read_dir(&home)?.next().context("a log-in is a file")??.path();
    let login: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let token = login["token"].as_str().context("a log-in has a token")?.to_owned();
    says(&scene.appliance.at_home("rita", &["logout"])?.output()?, 0, "")?;
    ensure!(!file.exists());
    let answer = scene.appliance.server.send(&Request::new("GET", "/api/v1/token").token(&token))?;
    ensure!(answer.status == 401, "{}", answer.body);
    says(&scene.appliance.at_home("rita", &["logout"])?.output()?, 5, "nobody is logged in")
}

#[test]
fn a_given_token_is_kept_as_well() -> Result<()> {
    let scene = Scene::new()?;
    says(&scene.login("rita", &[])?, 0, "")?;
    let home = scene.appliance.dir().join("home-rita/.config/icecore/servers");
    let file = fs::read_dir(&home)?.next().context("a log-in is a file")??.path();
    let login: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let token = login["token"].as_str().context("a log-in has a token")?;
    let server = scene.server()?;
    let mut again = scene.appliance.at_home("script", &["login", &server])?;
    says(&again.env("ICECORE_TOKEN", token).output()?, 0, "")?;
    scene.result("script", &["list"])?;
    let mut wrong = scene.appliance.at_home("script", &["login", &server])?;
    says(&wrong.env("ICECORE_TOKEN", "ict_00").output()?, 4, "no token of this server")
}

#[test]
fn forget_and_undo_need_the_right_to_operate_and_prune_is_the_appliances_work() -> Result<()> {
    let scene = Scene::new()?;
    scene.appliance.person("otto", "admin")?;
    let id = scene.point["id"].as_str().context("a point has an id")?.to_owned();
    says(&scene.login("otto", &[])?, 0, "")?;
    says(&scene.verb("otto", &["forget", &id])?, 4, "--rights restore,operate")?;
    says(&scene.login("otto", &["--rights", "read,restore,operate"])?, 0, "")?;
    scene.result("otto", &["forget", &id])?;
    ensure!(scene.appliance.local(&["list"])?.as_array().is_some_and(Vec::is_empty));
    scene.result("otto", &["undo", &id])?;
    ensure!(scene.appliance.local(&["list"])?.as_array().is_some_and(|points| points.len() == 1));
    ensure!(scene.audit("recovery-point.forget")? == 1 && scene.audit("recovery-point.undo")? == 1);
    says(&scene.verb("otto", &["prune"])?, 6, "appliance's agent prunes")?;
    let slot = scene.verb("otto", &["key", "add-file", "k"])?;
    says(&slot, 4, "on the machine that has the repository")?;
    let disk = scene.appliance.dir().join("disk").to_string_lossy().into_owned();
    says(&scene.verb("otto", &["backup", &disk])?, 4, "not done over a server")?;
    scene.appliance.ensure_restores(&scene.point, &scene.bytes)
}

#[test]
fn a_server_of_its_own_authority_is_trusted_by_its_fingerprint_and_by_nothing_less() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.appliance.server.stop()?;
    scene.appliance.server.set("TLS", "internal");
    scene.appliance.server.set("TLS_NAMES", r#"["localhost", "127.0.0.1"]"#);
    scene.appliance.server.start()?;
    let printed = scene.appliance.server.run(&["admin", "fingerprint"])?;
    let fingerprint = String::from_utf8(printed.stdout)?.trim().to_owned();
    ensure!(fingerprint.starts_with("sha256:"), "{fingerprint}");
    let address = scene.appliance.server.address()?;
    let server = format!("https://127.0.0.1:{}", address.rsplit_once(':').context("an address has a port")?.1);
    let login = |more: &[&str]| -> Result<Output> {
        let args = [&["login", server.as_str(), "--user", "rita"], more].concat();
        Ok(scene.appliance.at_home("rita", &args)?.output()?)
    };
    // Nobody is there to compare it: what to compare is said.
    says(&login(&[])?, 6, &fingerprint)?;
    says(&login(&["--ca-fingerprint", &format!("sha256:{}", "ab".repeat(32))])?, 1, "somebody stands in between")?;
    says(&login(&["--ca-fingerprint", &fingerprint])?, 0, "")?;
    let list = |name: &str| -> Result<Output> {
        let mut command = scene.appliance.at_home(name, &["list"])?;
        Ok(command.env("ICECORE_REPO", format!("{server}/main")).output()?)
    };
    says(&list("rita")?, 0, "")?;
    // The machine does not know the authority, and does not send its secret.
    let mut machine = scene.appliance.remote(&scene.web, &["list"])?;
    machine.env("ICECORE_REPO", format!("{server}/main")).env("ICECORE_PATIENCE", "30");
    says(&machine.output()?, 1, "certificate")?;
    let authority = scene.appliance.server.data_dir().join("ca.pem");
    machine.env("ICECORE_CA_FILE", authority);
    says(&machine.output()?, 0, "")
}

#[test]
fn a_restore_waits_for_a_server_that_restarts_and_says_so() -> Result<()> {
    let mut scene = Scene::new()?;
    let address = scene.appliance.server.address()?;
    scene.appliance.server.set("LISTEN", &address);
    says(&scene.login("rita", &[])?, 0, "")?;
    scene.appliance.server.stop()?;
    let id = scene.point["id"].as_str().context("a point has an id")?.to_owned();
    let to = scene.appliance.dir().join("restored").to_string_lossy().into_owned();
    let mut plain = scene.appliance.home("rita")?;
    plain.env("ICECORE_REPO", format!("http://{address}/main")).env("ICECORE_PATIENCE", "60");
    let mut child = plain.args(["restore", &id, "--to", &to]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("it was asked for")?);
    let mut line = String::new();
    while !line.contains("asked again") {
        line.clear();
        ensure!(stderr.read_line(&mut line)? > 0, "it ended without a word about the server");
    }
    scene.appliance.server.start()?;
    let mut rest = String::new();
    stderr.read_to_string(&mut rest)?;
    ensure!(child.wait()?.success() && rest.contains("answers again"), "{rest}");
    ensure!(fs::read(&to)? == scene.bytes && scene.bytes.len() > CHUNK);
    Ok(())
}
