//! `icecore --repo http://…` against the real server: a machine that can only add, cuts and restarts in the middle, and what is refused.

use std::fs;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, CHUNK, content, says};
use e2e::capture;
use e2e::http::Request;
use serde_json::{Value, json};

#[test]
fn a_machine_backs_up_over_the_server_and_the_owner_restores() -> Result<()> {
    let appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let mut bytes = content(1, 100);
    let disk = appliance.disk("disk", &bytes)?;
    let first = appliance.backup(&web, &disk, "web")?;
    ensure!(first["kind"] == "full", "{first}");
    bytes[3 * CHUNK..4 * CHUNK].fill(7);
    fs::write(&disk, &bytes)?;
    // What the machine knew is gone; the server knows what is stored.
    fs::remove_dir_all(web.key_file.with_extension("index"))?;
    let second = appliance.backup(&web, &disk, "web")?;
    let stored = |point: &Value| point["bytes_stored"].as_u64().context("a point says what it stored");
    ensure!(stored(&second)? * 5 < stored(&first)?, "{first}\n{second}");
    appliance.ensure_restores(&second, &bytes)?;
    appliance.ensure_restores(&first, &content(1, 100))?;
    let listed = capture(&mut appliance.remote(&web, &["list"])?)?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    ensure!(listed.as_array().is_some_and(|points| points.len() == 2), "{listed}");
    let checked = appliance.local(&["check", "--read-data"])?;
    ensure!(checked["errors"].as_array().is_none_or(Vec::is_empty), "{checked}");
    Ok(())
}

#[test]
fn machines_see_nothing_of_each_other_and_neither_reads_nor_deletes() -> Result<()> {
    let appliance = Appliance::new()?;
    let (web, mail) = (appliance.machine("web")?, appliance.machine("mail")?);
    let disk = appliance.disk("disk", &content(1, 30))?;
    let point = appliance.backup(&web, &disk, "web")?;
    let seen = capture(&mut appliance.remote(&mail, &["list"])?)?;
    ensure!(serde_json::from_slice::<Value>(&seen.stdout)? == json!([]));
    let to = appliance.dir().join("out").to_string_lossy().into_owned();
    for machine in [&web, &mail] {
        ensure!(!appliance.remote(machine, &["restore", "latest", "--to", &to])?.output()?.status.success());
        ensure!(!appliance.remote(machine, &["forget", "web@1"])?.output()?.status.success());
        ensure!(!appliance.remote(machine, &["prune"])?.output()?.status.success());
    }
    let taken = appliance.remote(&mail, &["backup", &disk.to_string_lossy(), "--name", "web"])?.output()?;
    says(&taken, 4, "choose another name")?;
    appliance.ensure_restores(&point, &content(1, 30))
}

#[test]
fn what_does_not_belong_to_a_machine_is_refused_with_what_lifts_it() -> Result<()> {
    let appliance = Appliance::new()?;
    let web = appliance.machine("web")?;
    let disk = appliance.disk("disk", &content(1, 5))?.to_string_lossy().into_owned();
    let backup = ["backup", disk.as_str(), "--name", "web"];
    let with = |variable: &str, value: &str| -> Result<Output> {
        let mut command = appliance.remote(&web, &backup)?;
        Ok(command.env("ICECORE_PATIENCE", "1").env(variable, value).output()?)
    };
    says(&with("ICECORE_TOKEN", "")?, 4, "--token-file")?;
    says(&with("ICECORE_TOKEN", "ica_00")?, 4, "no agent's secret")?;
    says(&with("ICECORE_TOKEN", &appliance.admin)?, 4, "with a writer key")?;
    let address = appliance.server.address()?;
    let at = |path: &str| format!("http://{address}/{path}");
    says(&with("ICECORE_REPO", &at("other"))?, 5, "no Icecore repository")?;
    says(&with("ICECORE_REPO", &at(""))?, 2, "https://SERVER/REPOSITORY")?;
    says(&with("ICECORE_REPO", "http://192.0.2.1/main")?, 2, "use https://")?;
    says(&with("ICECORE_REPO", "http://127.0.0.1:1/main")?, 1, "cannot be reached")?;
    appliance
        .server
        .send(
            &Request::new("POST", &format!("/api/v1/agents/{}/revoke", web.id))
                .token(&appliance.admin)
                .json(&json!({})),
        )?
        .expect(204)?;
    says(&with("ICECORE_QUIET", "")?, 4, "was revoked")?;
    // Set up anew it is called as before.
    let body = json!({"name": "web", "repository": "main", "writer": web.writer});
    let again = appliance.post("/api/v1/agents", &body)?.expect(201)?.body;
    let secret = again["secret"].as_str().context("an agent has a secret")?;
    says(&with("ICECORE_TOKEN", secret)?, 0, "")?;
    ensure!(appliance.post("/api/v1/agents", &body)?.code() == "conflict", "two at a time have different names");
    Ok(())
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_no_backup_and_none_fails() -> Result<()> {
    const ROUNDS: usize = 6;
    let mut appliance = Appliance::new()?;
    // A free port may be another one at the next start.
    let address = appliance.server.address()?;
    appliance.server.set("LISTEN", &address);
    let web = appliance.machine("web")?;
    let mut points = Vec::new();
    for round in 0..ROUNDS {
        let bytes = content(round + 10, 600);
        let disk = appliance.disk(&format!("disk-{round}"), &bytes)?;
        let child = appliance
            .remote(&web, &["backup", &disk.to_string_lossy(), "--name", &format!("web-{round}")])?
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        // At another place each round: during the first requests, the packs, the manifest, or after the end.
        std::thread::sleep(Duration::from_millis(30 + 90 * u64::try_from(round)?));
        appliance.server.kill()?;
        appliance.server.start()?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        points.push((serde_json::from_slice::<Value>(&output.stdout)?, bytes));
    }
    for (point, bytes) in &points {
        appliance.ensure_restores(point, bytes)?;
    }
    let leases = fs::read_dir(appliance.repository().join("leases"))?.count();
    ensure!(leases == 0, "{leases} leases are left");
    Ok(())
}
