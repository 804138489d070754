//! `icecore key writer-…`: keys of machines that may only add recovery points.

use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use super::secrets::NewFile;
use agent::output;
use repo_format::writer_key::{self, WriterRecord};
use serde_json::json;
use std::path::PathBuf;

/// Options of `key writer-export`.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// New file for the key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to call the writer, such as the machine's name
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// Writers of one group reuse each other's chunks without verification first; for machines that trust each other
    #[arg(long, value_name = "GROUP")]
    trust_group: Option<String>,
}

/// Options of `key writer-revoke`.
#[derive(clap::Args)]
pub struct RevokeArgs {
    /// First digits of the writer's id
    #[arg(value_name = "WRITER")]
    writer: String,
}

/// Makes a writer. The file is made first: a writer whose key could not be written would only be litter.
pub fn export(args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    repo.keys().master_for("making a writer key")?;
    let file = NewFile::create(&args.out)?;
    let keys = repo.create_writer(&args.label, args.trust_group.clone(), context.now())?;
    file.keep(writer_key::to_text(&keys).as_bytes())?;
    context.console.result(&json!({ "writer": keys.writer, "path": args.out }), |_| {
        format!(
            "Wrote the key of writer {} to {}. Move it to the machine; there:\n  \
             icecore --writer-key {} backup SOURCE",
            keys.writer,
            args.out.display(),
            args.out.display()
        )
    })
}

/// Lists the writers.
pub fn list(context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let writers = repo.writers()?;
    let builtin = repo.config().builtin_writer;
    let values: Vec<_> = writers
        .iter()
        .map(|writer| {
            json!({
                "writer": writer.writer, "label": writer.label, "trust_group": writer.trust_group,
                "created_at": writer.created_at, "revoked_at": writer.revoked_at, "built_in": writer.writer == builtin,
            })
        })
        .collect();
    context.console.result(&values, |_| {
        let row = |writer: &WriterRecord| {
            vec![
                writer.writer.to_string(),
                output::name(&writer.label),
                writer.trust_group.as_deref().map(output::name).unwrap_or_default(),
                output::time(writer.created_at),
                writer.revoked_at.map(output::time).unwrap_or_default(),
            ]
        };
        table(&["WRITER", "LABEL", "GROUP", "CREATED", "REVOKED"], writers.iter().map(row).collect())
    })
}

/// Revokes a writer.
pub fn revoke(args: &RevokeArgs, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let digits = args.writer.to_ascii_lowercase();
    let mut found = repo.writers()?;
    found.retain(|writer| writer.writer.to_string().starts_with(&digits));
    let writer = match (digits.is_empty(), found.as_slice()) {
        (false, [writer]) => writer.writer,
        (false, [_, _, ..]) => {
            let what = format!("several writers begin with {digits}");
            return Err(Failure::new(Code::NotFound, what).next("give more digits").into());
        }
        _ => {
            return Err(Failure::new(Code::NotFound, format!("there is no writer {digits:?}"))
                .next("`icecore key writers` shows the writers")
                .into());
        }
    };
    repo.revoke_writer(&writer, context.now())?;
    context.console.result(&json!({ "revoked": writer }), |_| {
        format!("Writer {writer} may begin no new session. What it stored stays; `icecore forget` removes points.")
    })
}
