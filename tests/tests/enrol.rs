//! Machines become agents by a one-time token, against the real server: with a writer key that was brought, with one that a person seals, and
//! what is refused.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, content, says};
use e2e::capture;
use e2e::http::Request;
use serde_json::{Value, json};

/// An enrolment's id and token.
struct Token {
    id: String,
    secret: String,
    command: String,
}

fn token(appliance: &Appliance, more: &Value) -> Result<Token> {
    let mut body = json!({"repository": "main"});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let made = appliance.post("/api/v1/enrolments", &body)?.expect(201)?.body;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("an enrolment has a token and a line");
    Ok(Token { id: text(&made["enrolment"]["id"])?, secret: text(&made["secret"])?, command: text(&made["command"])? })
}

/// A machine, as the directory of its enrolment.
struct Host<'a> {
    appliance: &'a Appliance,
    directory: PathBuf,
}

impl<'a> Host<'a> {
    fn new(appliance: &'a Appliance, name: &str) -> Self {
        Self { appliance, directory: appliance.dir().join(format!("agent-{name}")) }
    }

    /// `icecore` there, with nothing but the enrolment.
    fn icecore(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.appliance.command()?;
        command.env("ICECORE_AGENT_DIR", &self.directory).env("HOME", &self.directory).env("ICECORE_PATIENCE", "5");
        command.env("ICECORE_INDEX_DIR", self.directory.with_extension("index")).arg("--json").args(args);
        Ok(command)
    }

    fn enroll(&self, token: &str, more: &[&str]) -> Result<Command> {
        let server = format!("http://{}", self.appliance.server.address()?);
        self.icecore(&[&["agent", "enroll", server.as_str(), "--token", token], more].concat())
    }
}

fn writer_key(appliance: &Appliance, label: &str) -> Result<String> {
    let path = appliance.dir().join(format!("{label}.writer")).to_string_lossy().into_owned();
    appliance.local(&["key", "writer-export", "--out", &path, "--label", label])?;
    Ok(path)
}

fn json_of(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_machine_with_a_writer_key_enrols_by_the_line_and_then_needs_nothing_more_to_back_up() -> Result<()> {
    let appliance = Appliance::new()?;
    let token = token(&appliance, &json!({}))?;
    ensure!(token.command.contains("icecore agent enroll http") && token.command.contains(&token.secret));
    let host = Host::new(&appliance, "web");
    let key = writer_key(&appliance, "web")?;
    let enrolled = json_of(&host.enroll(&token.secret, &["--name", "web", "--writer-key", &key])?.output()?)?;
    ensure!(enrolled["name"] == "web", "{enrolled}");
    for name in ["agent.toml", "token", "writer.key"] {
        let mode = fs::metadata(host.directory.join(name))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{name}: {mode:o}");
    }
    ensure!(!host.directory.join("enrolling").exists());
    let bytes = content(1, 60);
    let disk = appliance.disk("disk", &bytes)?.to_string_lossy().into_owned();
    let point = json_of(&host.icecore(&["backup", &disk, "--name", "web"])?.output()?)?;
    ensure!(json_of(&host.icecore(&["list"])?.output()?)?.as_array().is_some_and(|points| points.len() == 1));
    appliance.ensure_restores(&point, &bytes)?;
    // The token was for one machine.
    let second = Host::new(&appliance, "second");
    let refused = second.enroll(&token.secret, &["--name", "second", "--writer-key", &key])?.output()?;
    says(&refused, 4, "does not work, or not any more")?;
    says(&host.enroll(&token.secret, &["--writer-key", &key])?.output()?, 6, "enrolled already")
}

#[test]
fn a_machine_without_a_key_gets_one_that_the_server_cannot_open() -> Result<()> {
    let appliance = Appliance::new()?;
    appliance.person("otto", "admin")?;
    let server = format!("http://{}", appliance.server.address()?);
    let login = ["login", &server, "--user", "otto", "--rights", "read,restore,agents"];
    says(&appliance.at_home("otto", &login)?.output()?, 0, "")?;
    let token = token(&appliance, &json!({"name": "mail"}))?;
    let host = Host::new(&appliance, "mail");
    let mut child = host.enroll(&token.secret, &[])?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("it was asked for")?);
    let mut said = String::new();
    while !said.contains("type this code there: ") {
        ensure!(stderr.read_line(&mut said)? > 0, "it ended: {said}");
    }
    ensure!(said.contains(&format!("key writer-export --for {}", token.id)), "{said}");
    let code = said.trim().rsplit_once(' ').context("the line ends in the code")?.1.to_owned();
    let export = |code: &str| -> Result<Output> {
        let mut command = appliance.at_home("otto", &["key", "writer-export", "--for", &token.id])?;
        Ok(command.env("ICECORE_REPO", format!("{server}/main")).env("ICECORE_ENROLMENT_CODE", code).output()?)
    };
    says(&export("ABCD")?, 6, "the code has 5 groups")?;
    let given = json_of(&export(&code)?)?;
    ensure!(given["name"] == "mail", "{given}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{rest}");
    ensure!(fs::read_to_string(host.directory.join("writer.key"))?.contains("icecore writer key v1"));
    // What the server has of it is sealed.
    let database = fs::read(appliance.server.data_dir().join("server.sqlite"))?;
    let wal = fs::read(appliance.server.data_dir().join("server.sqlite-wal")).unwrap_or_default();
    let has =
        |needle: &str| [&database, &wal].iter().any(|file| file.windows(needle.len()).any(|w| w == needle.as_bytes()));
    ensure!(!has("icecore writer key v1") && has(given["writer"].as_str().context("a writer has an id")?));
    let bytes = content(2, 40);
    let disk = appliance.disk("disk", &bytes)?.to_string_lossy().into_owned();
    let point = json_of(&host.icecore(&["backup", &disk, "--name", "mail"])?.output()?)?;
    appliance.ensure_restores(&point, &bytes)?;
    says(&export(&code)?, 5, "no machine waits")
}

#[test]
fn a_key_that_was_not_sealed_by_who_saw_the_code_is_not_taken() -> Result<()> {
    let appliance = Appliance::new()?;
    let writer = appliance.machine("decoy")?;
    let writer: Value = serde_json::from_slice(&fs::read(&writer.key_file)?)?;
    let token = token(&appliance, &json!({"name": "mail"}))?;
    let host = Host::new(&appliance, "mail");
    let mut child = host.enroll(&token.secret, &[])?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().context("it was asked for")?);
    let mut said = String::new();
    while !said.contains("type this code there: ") {
        ensure!(stderr.read_line(&mut said)? > 0, "it ended: {said}");
    }
    let path = format!("/api/v1/enrolments/{}", token.id);
    let waiting = appliance.server.send(&Request::new("GET", &path).token(&appliance.admin))?.expect(200)?.body;
    ensure!(waiting["state"] == "waiting", "{waiting}");
    let body =
        json!({"writer": writer["writer"], "public_key": waiting["public_key"], "sealed_writer_key": "ab".repeat(400)});
    appliance.post(&format!("{path}/writer-key"), &body)?.expect(200)?;
    let mut rest = String::new();
    stderr.read_to_string(&mut rest)?;
    ensure!(!child.wait()?.success() && rest.contains("not sealed with the code"), "{rest}");
    ensure!(!host.directory.join("agent.toml").exists());
    Ok(())
}

#[test]
fn an_enrolment_that_was_cut_off_is_gone_on_with() -> Result<()> {
    let appliance = Appliance::new()?;
    let token = token(&appliance, &json!({}))?;
    let host = Host::new(&appliance, "web");
    let key = writer_key(&appliance, "web")?;
    says(&host.enroll(&token.secret, &["--name", "web", "--wait", "0"])?.output()?, 1, "run the same line again")?;
    let begun = host.directory.join("enrolling");
    let state = fs::read(&begun)?;
    json_of(&host.enroll(&token.secret, &["--name", "web", "--writer-key", &key])?.output()?)?;
    let secret = fs::read_to_string(host.directory.join("token"))?;
    // As if the machine had lost power before it wrote what it had got.
    json_of(&host.icecore(&["agent", "unenroll"])?.output()?)?;
    fs::write(&begun, state)?;
    json_of(&host.enroll(&token.secret, &["--name", "web", "--writer-key", &key])?.output()?)?;
    ensure!(fs::read_to_string(host.directory.join("token"))? == secret);
    json_of(&host.icecore(&["list"])?.output()?)?;
    Ok(())
}

#[test]
fn tokens_that_ended_or_were_revoked_and_names_that_are_taken_are_refused() -> Result<()> {
    let appliance = Appliance::new()?;
    let host = Host::new(&appliance, "web");
    let key = writer_key(&appliance, "web")?;
    let enroll = |token: &str, name: &str| -> Result<Output> {
        Ok(host.enroll(token, &["--name", name, "--writer-key", &key])?.output()?)
    };
    let revoked = token(&appliance, &json!({}))?;
    let path = format!("/api/v1/enrolments/{}", revoked.id);
    appliance.server.send(&Request::new("DELETE", &path).token(&appliance.admin))?.expect(204)?;
    says(&enroll(&revoked.secret, "web")?, 4, "does not work, or not any more")?;
    says(&enroll("ice_00", "web")?, 4, "does not work, or not any more")?;
    let good = token(&appliance, &json!({}))?;
    says(&enroll(&good.secret, "Not a name")?, 6, "cannot be an agent's name")?;
    appliance.machine("taken")?;
    says(&enroll(&good.secret, "taken")?, 6, "there is an agent named taken")?;
    // None of this used it up.
    json_of(&enroll(&good.secret, "web")?)?;
    appliance.post("/api/v1/enrolments", &json!({"repository": "none"}))?.expect(422)?;
    appliance.post("/api/v1/enrolments", &json!({"repository": "main", "expires_in_s": 0}))?.expect(422)?;
    Ok(())
}

#[test]
fn a_secret_is_rotated_and_the_old_one_works_until_the_new_one_was_used() -> Result<()> {
    let appliance = Appliance::new()?;
    let token = token(&appliance, &json!({}))?;
    let host = Host::new(&appliance, "web");
    let key = writer_key(&appliance, "web")?;
    json_of(&host.enroll(&token.secret, &["--name", "web", "--writer-key", &key])?.output()?)?;
    let secret = || -> Result<String> { Ok(fs::read_to_string(host.directory.join("token"))?.trim().to_owned()) };
    let ask = |secret: &str| -> Result<u16> {
        Ok(appliance.server.send(&Request::new("GET", "/api/v1/agent").token(secret))?.status)
    };
    let old = secret()?;
    // A rotation of which the answer was lost: nothing is lost.
    let lost = appliance.server.send(&Request::new("POST", "/api/v1/agent/rotate").token(&old).json(&json!({})))?;
    ensure!(lost.status == 200 && ask(&old)? == 200);
    json_of(&host.icecore(&["agent", "rotate"])?.output()?)?;
    ensure!(secret()? != old && ask(&secret()?)? == 200 && ask(&old)? == 401);
    let lost = lost.body["secret"].as_str().context("a rotation answers with a secret")?;
    ensure!(ask(lost)? == 401, "only the last new secret counts");
    json_of(&host.icecore(&["list"])?.output()?)?;
    // The same for a person's token.
    let rotated = appliance
        .server
        .send(&Request::new("POST", "/api/v1/token/rotate").token(&appliance.admin).json(&json!({})))?;
    let new = rotated.expect(200)?.body["secret"].as_str().context("a secret")?.to_owned();
    let status = |secret: &str| -> Result<u16> {
        Ok(appliance.server.send(&Request::new("GET", "/api/v1/token").token(secret))?.status)
    };
    ensure!(status(&appliance.admin)? == 200 && status(&new)? == 200 && status(&appliance.admin)? == 401);
    Ok(())
}

#[test]
fn a_machine_is_unenrolled_and_has_nothing_left() -> Result<()> {
    let appliance = Appliance::new()?;
    let token = token(&appliance, &json!({}))?;
    let host = Host::new(&appliance, "web");
    let key = writer_key(&appliance, "web")?;
    json_of(&host.enroll(&token.secret, &["--name", "web", "--writer-key", &key])?.output()?)?;
    let _ = capture(&mut host.icecore(&["agent", "unenroll"])?)?;
    ensure!(fs::read_dir(&host.directory)?.filter_map(Result::ok).all(|entry| entry.path().is_dir()));
    says(&host.icecore(&["list"])?.output()?, 2, "no repository was named")?;
    says(&host.icecore(&["agent", "unenroll"])?.output()?, 5, "not enrolled")
}
