//! Who may import whom: the crates' edges as cargo sees them, against the picture in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// Every crate of the workspace with the crates of the workspace that it may use. Development dependencies count too.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("repo-format", &[]),
    ("agent", &["repo-format", "web-api"]),
    ("web-api", &["repo-format"]),
    ("web", &["repo-format", "web-api"]),
    ("kmod-logic", &[]),
    ("e2e", &["repo-format", "web-api"]),
    ("bench", &["e2e"]),
    ("guest", &["kmod-logic"]),
    ("xtask", &["e2e"]),
];

/// What `repo-format` must not pull in, directly: it knows no HTTP, no command line, no log output. The store in object storage, which does,
/// is a feature that it can be built without; its tests may use what they like.
const FOREIGN_TO_REPO_FORMAT: [&str; 7] =
    ["axum", "clap", "hyper", "indicatif", "reqwest", "tokio", "tracing-subscriber"];

#[test]
fn crates_import_only_what_their_layer_allows() -> Result<()> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let packages = packages(|_| true)?;
    for (name, dependencies) in &packages {
        let may_use = allowed.get(name.as_str()).with_context(|| format!("{name} is not in the picture; add it"))?;
        for dependency in dependencies.iter().filter(|dependency| packages.contains_key(*dependency)) {
            assert!(may_use.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
    Ok(())
}

#[test]
fn the_picture_names_only_crates_that_exist() -> Result<()> {
    let packages = packages(|_| true)?;
    for (name, may_use) in ALLOWED {
        for name in may_use.iter().chain([&name]) {
            assert!(packages.contains_key(*name), "{name} is gone; remove it from the picture");
        }
    }
    Ok(())
}

#[test]
fn repo_format_knows_no_network_and_no_command_line() -> Result<()> {
    let packages = packages(|dependency| dependency["kind"].is_null() && dependency["optional"] == false)?;
    let dependencies = packages.get("repo-format").context("repo-format is gone")?;
    let foreign: Vec<_> = FOREIGN_TO_REPO_FORMAT.iter().filter(|name| dependencies.contains(**name)).collect();
    assert!(foreign.is_empty(), "repo-format uses {foreign:?}");
    Ok(())
}

/// The workspace's packages with the names of those of their direct dependencies that count.
fn packages(counts: impl Fn(&Value) -> bool) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies inside the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = e2e::capture(Command::new(cargo).args(args).current_dir(workspace))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let name_of = |value: &Value| value["name"].as_str().map(str::to_owned).context("something without a name");
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages
        .iter()
        .map(|package| {
            let dependencies =
                package["dependencies"].as_array().context("a package without a list of dependencies")?;
            let counted = dependencies.iter().filter(|dependency| counts(dependency));
            Ok((name_of(package)?, counted.map(name_of).collect::<Result<_>>()?))
        })
        .collect()
}
