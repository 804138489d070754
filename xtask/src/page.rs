//! `cargo xtask page`: builds the web page into `web/ui/dist/site`, from where the build of the server takes it.
//!
//! Only when something of it changed: what it was made of is noted beside it. A server that is compiled without the page works and
//! says how to get it.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::node::{self, Node};
use crate::{setup, workspace};

/// Options of `cargo xtask page`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    setup: setup::Consent,
}

/// What the page is made of, below `web`.
const SOURCES: [&str; 8] = [
    "openapi.json",
    "ui/src",
    "ui/build",
    "ui/index.html",
    "ui/package.json",
    "ui/package-lock.json",
    "ui/tsconfig.json",
    "ui/vite.config.ts",
];
/// Made of `openapi.json` by the build itself.
const GENERATED: &str = "schema.d.ts";

/// Installs what is missing and builds.
pub fn run(options: &Options) -> Result<()> {
    setup::install(setup::Purpose::Page, options.setup)?;
    build()?;
    println!("The page is in {}; the next build of the server takes it in.", site().display());
    Ok(())
}

/// Where the page's source is.
pub fn directory() -> PathBuf {
    workspace::root().join("web/ui")
}

fn site() -> PathBuf {
    directory().join("dist/site")
}

/// Builds the page where something of it changed.
pub fn build() -> Result<()> {
    let made_of = hash_of_sources()?;
    let note = directory().join("dist/made-of");
    let is_current =
        fs::read_to_string(&note).is_ok_and(|noted| noted == made_of) && site().join("index.html").is_file();
    if is_current {
        return Ok(());
    }
    let node = Node::find()?;
    eprintln!("Building the web page (half a minute)");
    node.install_packages(&directory())?;
    let mut npm = node.command("npm");
    npm.args(["run", "--silent", "build"]).current_dir(directory());
    node::run(&mut npm, "the web page does not build")?;
    fs::write(&note, made_of).with_context(|| format!("cannot write {}", note.display()))
}

/// The same where possible: without Node.js and a network the server is built without its page.
pub fn build_or_go_on() {
    if let Err(error) = build() {
        eprintln!("note: going on without the web page: {error:#}");
    }
}

fn hash_of_sources() -> Result<String> {
    let web = workspace::root().join("web");
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&web.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(file.as_os_str().as_encoded_bytes());
        hasher.write(&fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
            collect(&entry?.path(), files)?;
        }
    } else if !path.ends_with(GENERATED) {
        files.push(path.to_owned());
    }
    Ok(())
}
