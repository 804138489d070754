//! Facts about the documents that a newcomer reads: their links lead somewhere.

use std::path::Path;

use anyhow::{Context, Result};

const DOCUMENTS: [&str; 15] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/benchmarks.md",
    "docs/hooks.md",
    "docs/live.md",
    "docs/kernel/blkfilter.md",
    "docs/kernel/blksnap.md",
    "docs/lvm.md",
    "docs/restore.md",
    "docs/s3.md",
    "docs/server.md",
    "packaging/hooks/README.md",
    "repo-format/FORMAT.md",
    "web/API.md",
];

#[test]
fn relative_links_lead_to_files_that_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies inside the workspace")?;
    let mut broken = Vec::new();
    for document in DOCUMENTS {
        let path = root.join(document);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
        let directory = path.parent().context("a document lies in a directory")?;
        for target in link_targets(&text).filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            if !directory.join(file).exists() {
                broken.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:?}");
    Ok(())
}

/// What stands in the round brackets of `[text](target)`.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}
