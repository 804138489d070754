//! Over the server: through the keeper, by people.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::http::{Request, Response};
use serde_json::Value;

use super::{Kept, LISTED_WITHIN, many, paths};

impl Kept {
    fn ask(&self, what: &str, query: &str) -> Result<Response> {
        let path = format!("/api/v1/recovery-points/{}/{what}?{query}", self.points[0]);
        self.appliance.server.send(&Request::new("GET", &path).token(&self.appliance.admin))
    }

    /// The answer once both points are listed and whoever answers knows of it: the keeper answers in several places, each of which sees
    /// new lists after a while.
    fn answered(&self, what: &str, query: &str) -> Result<Value> {
        let until = Instant::now() + LISTED_WITHIN;
        loop {
            let answer = self.ask(what, query)?;
            if answer.status == 200 && answer.body["points"] == 2 {
                return Ok(answer.body);
            }
            ensure!(Instant::now() < until, "nothing is listed: {} {}", answer.status, answer.body);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn files_are_found_by_name_through_all_points_with_their_versions() -> Result<()> {
    let kept = Kept::new()?;
    let _running = kept.keep()?;
    let found = kept.answered("search", "name=HOSTN")?;
    let file = &found["items"][0];
    ensure!(paths(&found["items"]) == ["/etc/hostname"] && found["points_missing"] == 0, "{found}");
    ensure!(file["versions"] == 2 && file["points"] == 2 && file["partition"] == 2, "{found}");
    ensure!(file["newest"]["size_bytes"] == 20 && file["newest"]["last"]["id"] == kept.points[1].as_str(), "{found}");
    ensure!(
        paths(&kept.answered("search", "name=*.conf")?["items"]) == ["/etc/nginx/NGINX.conf", "/etc/odd\\nname.conf"]
    );
    ensure!(paths(&kept.answered("search", "name=*.conf&below=/etc/nginx")?["items"]) == ["/etc/nginx/NGINX.conf"]);
    ensure!(paths(&kept.answered("search", "name=nothing-like-that")?["items"]).is_empty());

    // Pages follow each other without a gap.
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = kept.answered("search", &format!("name=A-FILE-*&limit=199{cursor}"))?;
        ensure!(paths(&page["items"]).len() <= 199);
        all.extend(paths(&page["items"]).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", escaped(next));
    }
    ensure!(all == many());

    let versions = kept.answered("versions", "path=/etc/hostname")?;
    let told: Vec<_> = versions["items"].as_array().into_iter().flatten().collect();
    ensure!(told.len() == 2 && told[0]["size_bytes"] == 20 && told[1]["size_bytes"] == 8, "{versions}");
    ensure!(told[1]["last"]["id"] == kept.points[0].as_str() && versions["more"] == false, "{versions}");
    let gone = kept.answered("versions", "path=/etc/nothing&partition=2")?;
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
