//! Files by name through recovery points, over the server: listed by the keeper, searched by people.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine};
use e2e::http::{Request, Response};
use e2e::{DiskImage, FileSystem, MIB, PartitionPlan};
use serde_json::Value;

/// The keeper looks for new points every few seconds.
const LISTED_WITHIN: Duration = Duration::from_secs(180);
const FILES: usize = 4000;

/// A server with two points of one disk, in which one file changed.
struct Kept {
    appliance: Appliance,
    points: Vec<String>,
    keeper: Machine,
}

impl Kept {
    fn new() -> Result<Self> {
        let appliance = Appliance::with(&[])?;
        let content = appliance.dir().join("content");
        fs::create_dir_all(content.join("etc/nginx"))?;
        fs::create_dir_all(content.join("many"))?;
        fs::write(content.join("etc/hostname"), "iceberg\n")?;
        fs::write(content.join("etc/odd\nname.conf"), "odd")?;
        fs::write(content.join("etc/nginx/NGINX.conf"), "worker_processes 1;\n")?;
        for number in 0..FILES {
            fs::write(content.join(format!("many/a-file-with-a-long-name-{number:05}")), "")?;
        }
        let path = appliance.dir().join("disk.img");
        let plans = [
            PartitionPlan::sized(FileSystem::Vfat, 40 * MIB),
            PartitionPlan::rest(FileSystem::Ext4).filled_from(&content),
        ];
        let image = DiskImage::create(&path, 104 * MIB, &plans)?;
        let machine = appliance.machine("web")?;
        let mut points = vec![id_of(&appliance.backup(&machine, &path, "web")?)?];
        let longer = appliance.dir().join("longer");
        fs::write(&longer, "iceberg.example.org\n")?;
        image.delete_file(2, "/etc/hostname")?;
        image.put_file(2, &longer, "/etc/hostname")?;
        points.push(id_of(&appliance.backup(&machine, &path, "web")?)?);
        let keeper = appliance.keeper("keeper")?;
        Ok(Self { appliance, points, keeper })
    }

    fn keep(&self) -> Result<Agent> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.arg("--show-files");
        Agent::start(command, &self.keeper)
    }

    fn ask(&self, what: &str, query: &str) -> Result<Response> {
        let path = format!("/api/v1/recovery-points/{}/{what}?{query}", self.points[0]);
        self.appliance.server.send(&Request::new("GET", &path).token(&self.appliance.admin))
    }

    /// The answer to a search once both points are listed.
    fn searched(&self, query: &str) -> Result<Value> {
        let until = Instant::now() + LISTED_WITHIN;
        loop {
            let answer = self.ask("search", query)?;
            if answer.status == 200 && answer.body["points"] == 2 {
                return Ok(answer.body);
            }
            ensure!(Instant::now() < until, "nothing is listed: {} {}", answer.status, answer.body);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn id_of(point: &Value) -> Result<String> {
    Ok(point["id"].as_str().context("a point has an id")?.to_owned())
}

fn paths(found: &Value) -> Vec<&str> {
    found["items"].as_array().into_iter().flatten().filter_map(|item| item["path"].as_str()).collect()
}

#[test]
fn files_are_found_by_name_through_all_points_with_their_versions() -> Result<()> {
    let kept = Kept::new()?;
    let _running = kept.keep()?;
    let found = kept.searched("name=HOSTN")?;
    let file = &found["items"][0];
    ensure!(paths(&found) == ["/etc/hostname"] && found["points_missing"] == 0, "{found}");
    ensure!(file["versions"] == 2 && file["points"] == 2 && file["partition"] == 2, "{found}");
    ensure!(file["newest"]["size_bytes"] == 20 && file["newest"]["last"]["id"] == kept.points[1].as_str(), "{found}");
    ensure!(paths(&kept.searched("name=*.conf")?) == ["/etc/nginx/NGINX.conf", "/etc/odd\\nname.conf"]);
    ensure!(paths(&kept.searched("name=*.conf&below=/etc/nginx")?) == ["/etc/nginx/NGINX.conf"]);
    ensure!(paths(&kept.searched("name=nothing-like-that")?).is_empty());

    // Pages follow each other without a gap.
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = kept.searched(&format!("name=A-FILE-*&limit=199{cursor}"))?;
        ensure!(paths(&page).len() <= 199);
        all.extend(paths(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", escaped(next));
    }
    ensure!(all == (0..FILES).map(|number| format!("/many/a-file-with-a-long-name-{number:05}")).collect::<Vec<_>>());

    let versions = kept.ask("versions", "path=/etc/hostname")?.expect(200)?.body;
    let told: Vec<_> = versions["items"].as_array().into_iter().flatten().collect();
    ensure!(told.len() == 2 && told[0]["size_bytes"] == 20 && told[1]["size_bytes"] == 8, "{versions}");
    ensure!(told[1]["last"]["id"] == kept.points[0].as_str() && versions["more"] == false, "{versions}");
    let gone = kept.ask("versions", "path=/etc/nothing&partition=2")?.expect(200)?.body;
    ensure!(gone["items"].as_array().is_some_and(Vec::is_empty), "{gone}");

    for (what, query, status) in [
        ("search", "name=", 422),
        ("search", &format!("name={}", "x".repeat(257)), 422),
        ("search", "name=a&limit=201", 400),
        ("search", "name=a&below=etc", 422),
        ("search", "name=a&cursor=nonsense", 409),
        ("versions", "path=etc", 422),
        ("versions", "path=/etc/hostname&disk=other", 409),
    ] {
        let answer = kept.ask(what, query)?;
        ensure!(answer.status == status, "{what}?{query}: {} {}", answer.status, answer.body);
    }
    // As with every look into a point: who may only read the server's lists may not.
    kept.appliance.person("vera", "viewer")?;
    let viewer = kept.appliance.token_of("vera", &["read"])?;
    for what in ["search?name=hostname", "versions?path=/etc/hostname"] {
        let path = format!("/api/v1/recovery-points/{}/{what}", kept.points[0]);
        let answer = kept.appliance.server.send(&Request::new("GET", &path).token(&viewer))?;
        ensure!(answer.status == 403, "{what}: {} {}", answer.status, answer.body);
    }
    Ok(())
}

/// As a query has it.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
