//! `icecore search`: files by name, through all recovery points.

use super::catalogs::{self, Options, Searched};
use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use agent::catalog::pattern::Pattern;
use agent::catalog::search::{Found, Page, Wanted};
use agent::output;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// Options of `search`.
#[derive(clap::Args)]
pub struct Args {
    /// Part of a file's name, or a pattern for the whole name (`*.conf`); with a slash it is compared with whole paths. Capital and
    /// small letters are the same
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Only below this directory
    #[arg(long, value_name = "PATH")]
    below: Option<OsString>,
    /// Most files that are listed
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    options: Options,
}

/// Searches.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let pattern = Pattern::new(&args.pattern).map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
    let below = args.below.clone().map(|path| catalogs::inner(&path.into_vec())).unwrap_or_default();
    let searched = catalogs::open(&args.options, context)?;
    let page = searched.page(&Wanted::Names(&pattern, &below), args.limit as usize, None)?;
    let found = json!({
        "files": page.found.iter().map(|found| as_json(found, &searched)).collect::<Vec<Value>>(),
        "more": page.next.is_some(),
        "points_searched": searched.shelf.points.len(),
        "points_not_searched": catalogs::unsearched(&searched),
    });
    context.console.result(&found, |_| text(&page, &searched))?;
    if page.next.is_some() {
        context
            .console
            .note(&format!("There are more than {}; --below, --name or --limit change what is listed.", args.limit));
    }
    searched.told(&page, context.console);
    Ok(())
}

fn points(found: &Found) -> usize {
    found.versions.iter().map(|version| version.points.len()).sum()
}

fn as_json(found: &Found, searched: &Searched) -> Value {
    let newest = found.versions.first();
    json!({
        "name": found.volume.name,
        "disk": found.volume.disk,
        "partition": found.volume.partition,
        "path": catalogs::path_of(found),
        "kind": newest.and_then(catalogs::kind),
        "size_bytes": newest.map(|version| version.facts.size_bytes),
        "modified_at": newest.map(catalogs::modified),
        "versions": found.versions.len(),
        "points": points(found),
        "newest_point": newest.and_then(|version| version.points.last()).map(|number| searched.id(*number)),
    })
}

fn text(page: &Page, searched: &Searched) -> String {
    let row = |found: &Found| {
        let newest = found.versions.first()?;
        let point = searched.id(*newest.points.last()?);
        Some(vec![
            catalogs::modified(newest),
            output::bytes(newest.facts.size_bytes),
            found.versions.len().to_string(),
            points(found).to_string(),
            point.get(..8).unwrap_or_default().to_owned(),
            catalogs::place_of(&found.volume),
            catalogs::path_of(found),
        ])
    };
    if page.found.is_empty() {
        return String::new();
    }
    let columns = ["MODIFIED", ">SIZE", ">VERSIONS", ">POINTS", "NEWEST", "OF", "PATH"];
    table(&columns, page.found.iter().filter_map(row).collect())
}
