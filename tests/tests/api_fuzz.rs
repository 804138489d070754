//! The OpenAPI document, fuzzed by Schemathesis against the real server: by callers of each role no request ends in a fault of the server,
//! none says anything of its inside, and every answer comes in time.
//!
//! It needs Python 3.11 or newer with the packages of `tests/api-fuzz/requirements.txt`: those of `ICECORE_FUZZ_PYTHON`, or a virtual environment in
//! Icecore's cache directory, which the first run makes. `ICECORE_SOAK=1` makes many more requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::appliance::{Appliance, Machine, content};
use e2e::capture;
use e2e::http::Request;
use serde_json::{Value, json};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api-fuzz");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/openapi.json");

/// Paths that are left out, and why. Whole paths: methods that a path does not have are tried on it too.
const LEFT_OUT: [&str; 4] = [
    // The answer never ends.
    "/api/v1/events",
    // The caller's own secret would be gone, and everything behind it refused at the door.
    "/api/v1/token",
    "/api/v1/token/rotate",
    "/api/v1/agent/rotate",
];

fn cache() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    from("ICECORE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("icecore")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/icecore")))
        .context("one of ICECORE_CACHE, XDG_CACHE_HOME and HOME must be set")
}

/// A Python that has Schemathesis.
fn python() -> Result<PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(|| install().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
}

fn install() -> Result<PathBuf> {
    if let Some(python) = std::env::var_os("ICECORE_FUZZ_PYTHON") {
        return Ok(python.into());
    }
    let requirements = Path::new(DIRECTORY).join("requirements.txt");
    let hash = blake3::hash(&fs::read(&requirements)?).to_hex();
    let venv = cache()?.join(format!("api-fuzz-venv-{}", &hash[..16]));
    if !venv.join("complete").exists() {
        // Made under another name and moved: of two tests that make it at once, one wins and both have it.
        let new = venv.with_extension(std::process::id().to_string());
        fs::create_dir_all(venv.parent().context("a cache has a parent")?)?;
        capture(Command::new("python3").args(["-m", "venv"]).arg(&new)).context("Debian: apt install python3-venv")?;
        let mut pip = Command::new(new.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r"]);
        capture(pip.arg(&requirements))?;
        fs::write(new.join("complete"), "")?;
        if fs::rename(&new, &venv).is_err() {
            fs::remove_dir_all(&new)?;
        }
    }
    Ok(venv.join("bin/python"))
}

/// An appliance with one of everything that has an id.
struct Scene {
    appliance: Appliance,
    machine: Machine,
    document: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let appliance = Appliance::with(&[("LOG_FILTER", "error")])?;
        let machine = appliance.machine("web")?;
        let disk = appliance.disk("disk", &content(1, 4))?;
        appliance.backup(&machine, &disk, "web")?;
        let made = |path: &str, body: Value| -> Result<Value> { Ok(appliance.post(path, &body)?.expect(201)?.body) };
        let plan = made(
            "/api/v1/plans",
            json!({"name": "web", "agent_id": machine.id, "work": {"sources": {"paths": [disk]}}, "when": {"cron": "0 2 * * *"}}),
        )?;
        let plan_path = format!("/api/v1/plans/{}", plan["id"].as_str().context("a plan has an id")?);
        let job = made(&format!("{plan_path}/run"), json!({}))?;
        let user = made("/api/v1/users", json!({"name": "fuzz", "role": "viewer"}))?;
        let enrolment = made("/api/v1/enrolments", json!({"repository": "main"}))?;
        let channel = json!({"name": "ops", "target": {"kind": "webhook", "url": "http://127.0.0.1:9/"}});
        let channel = made("/api/v1/alert-channels", channel)?;
        let points = appliance.get("/api/v1/recovery-points")?;
        let known = |path: &str, parameter: &str| -> Option<Value> {
            Some(match (parameter, path.split('/').nth(3)?) {
                ("repository", _) => json!("main"),
                ("key", _) => json!("config"),
                ("id", "plans") => plan["id"].clone(),
                ("id", "jobs" | "agent") => job["id"].clone(),
                ("id", "users") => user["user"]["id"].clone(),
                ("id", "enrolments") => enrolment["enrolment"]["id"].clone(),
                ("id", "recovery-points") => points["items"][0]["id"].clone(),
                ("id", "alert-channels") => channel["channel"]["id"].clone(),
                // Not revoked every second time: it is needed.
                ("id", "agents") if !path.ends_with("/revoke") => json!(machine.id),
                _ => return None,
            })
        };
        let document = appliance.dir().join("openapi.json");
        fs::write(&document, document_for(known)?.to_string())?;
        Ok(Self { appliance, machine, document })
    }

    fn fuzz(&self, who: &str, (secret, own): (Option<&str>, &str), examples: u32) -> Result<()> {
        let mut command = Command::new(python()?);
        command.args(["-m", "schemathesis.cli", "--no-color", "run"]).arg(&self.document);
        command.arg("--url").arg(format!("http://{}", self.appliance.server.address()?));
        command.args([
            "--checks",
            "not_a_server_error,says_nothing_of_the_inside",
            "--phases",
            "examples,coverage,fuzzing",
        ]);
        command.args(["--mode", "all", "--continue-on-failure", "--request-timeout", "30", "--workers", "2"]);
        command.arg("--generation-deterministic");
        command.args(["--max-examples", &examples.to_string()]);
        if let Some(secret) = secret {
            command.args(["--header", &format!("Authorization: Bearer {secret}")]);
        }
        command.args(["--header", "Icecore-Agent-Protocol: 1"]);
        command.env("PYTHONPATH", DIRECTORY).env("PYTHONDONTWRITEBYTECODE", "1").env("SCHEMATHESIS_HOOKS", "hooks");
        command.env("ICECORE_FUZZ_DATA_DIR", self.appliance.server.data_dir()).current_dir(self.appliance.dir());
        let tally_file = self.appliance.dir().join("tally.json");
        command.env("ICECORE_FUZZ_TALLY", &tally_file);
        let is_known = || -> Result<()> {
            let mut request = Request::new("GET", own).header("icecore-agent-protocol", "1");
            if let Some(secret) = secret {
                request = request.token(secret);
            }
            self.appliance.server.send(&request)?.expect(200)?;
            Ok(())
        };
        is_known().with_context(|| format!("before {who}"))?;
        capture(&mut command).with_context(|| format!("fuzzed by {who}"))?;
        let tally: Value = serde_json::from_str(&fs::read_to_string(tally_file)?)?;
        eprintln!("{who}: answers by their status: {tally}");
        is_known().with_context(|| format!("after {who}"))?;
        let answered = tally["200"].as_u64().unwrap_or_default();
        ensure!(secret.is_none() || answered > 20, "{who} was refused nearly everything: {tally}");
        Ok(())
    }
}

/// The document without what cannot be asked, with no waiting for work, and with ids of what is there beside those that are made up.
fn document_for(known: impl Fn(&str, &str) -> Option<Value>) -> Result<Value> {
    let mut document: Value = serde_json::from_str(&fs::read_to_string(DOCUMENT)?)?;
    for asking in ["AskWork", "AskQuestion"] {
        document["components"]["schemas"][asking]["properties"]["wait_s"]["maximum"] = json!(0);
    }
    let paths = document["paths"].as_object_mut().context("a document has paths")?;
    for path in LEFT_OUT {
        paths.remove(path).with_context(|| format!("the document has no {path}"))?;
    }
    for (path, operations) in paths {
        for operation in operations.as_object_mut().context("a path has operations")?.values_mut() {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                if let Some(id) = known(path, parameter["name"].as_str().context("a parameter has a name")?) {
                    parameter["schema"] = json!({"anyOf": [{"const": id}, parameter["schema"]]});
                }
            }
        }
    }
    Ok(document)
}

#[test]
fn no_request_that_fits_the_document_or_nearly_does_ends_in_a_fault_or_shows_the_inside() -> Result<()> {
    let examples = if std::env::var_os("ICECORE_SOAK").is_some() { 300 } else { 4 };
    let scene = Scene::new()?;
    for (name, role) in [("vera", "viewer"), ("olga", "operator"), ("rita", "restorer"), ("adam", "admin")] {
        scene.appliance.person(name, role)?;
    }
    let all = ["read", "operate", "restore", "agents", "users", "audit", "settings"];
    // Before anything is fuzzed: attempts to log in are among it, and are throttled.
    let mut tokens = Vec::new();
    for (name, rights) in
        [("vera", &all[..1]), ("olga", &all[..2]), ("rita", &["read", "restore"][..]), ("adam", &all[..])]
    {
        tokens.push((name, scene.appliance.token_of(name, rights)?));
    }
    let people = |name: &str| tokens.iter().find(|(known, _)| *known == name).map(|(_, token)| token.as_str());
    scene.fuzz("nobody", (None, "/api/v1/openapi.json"), examples)?;
    scene.fuzz("a machine", (Some(&scene.machine.secret), "/api/v1/agent"), examples)?;
    // The admin comes last and removes others: machines, accounts, plans.
    for name in ["vera", "olga", "rita", "adam"] {
        scene.fuzz(name, (people(name), "/api/v1/token"), examples)?;
    }
    // It lives, and what is stored now is whole.
    let machine = scene.appliance.machine("after")?;
    let disk = scene.appliance.disk("disk", &content(2, 4))?;
    let point = scene.appliance.backup(&machine, &disk, "after")?;
    scene.appliance.ensure_restores(&point, &content(2, 4))?;
    let verified = scene.appliance.post("/api/v1/audit/verify", &json!({}))?.expect(200)?;
    ensure!(verified.body["intact"] == true, "{}", verified.body);
    Ok(())
}
