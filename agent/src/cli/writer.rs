//! `icecore key writer-…`: keys of machines that may only add recovery points.

use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use super::secrets::{self, NewFile};
use agent::output;
use agent::remote::Problem;
use repo_format::writer_key::{self, WriterRecord};
use repo_format::{Error, handover};
use serde_json::json;
use std::path::{Path, PathBuf};
use web_api::enrolment::{Enrolment, EnrolmentState, GiveWriterKey};
use web_api::id::EnrolmentId;

/// Options of `key writer-export`.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// New file for the key
    #[arg(long, value_name = "FILE", required_unless_present = "enrolment", conflicts_with = "enrolment")]
    out: Option<PathBuf>,
    /// Seal the key to a machine that waits for it (`icecore agent enroll` says this line), by the code that it shows
    /// (asked for, or in ICECORE_ENROLMENT_CODE)
    #[arg(id = "enrolment", long = "for", value_name = "ENROLMENT")]
    enrolment: Option<EnrolmentId>,
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
    match (&args.out, &args.enrolment) {
        (Some(out), None) => to_file(out, args, context),
        (None, Some(enrolment)) => hand_over(enrolment, args, context),
        // Refused when the arguments were parsed.
        _ => Err(Failure::new(Code::Usage, "give --out FILE or --for ENROLMENT").into()),
    }
}

/// Seals a new writer key to a machine that waits for it. The server passes it on and cannot open it.
fn hand_over(id: &EnrolmentId, args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    let connection = context.connection("handing a writer key over")?;
    let path = ["enrolments", &id.to_string()];
    let enrolment: Enrolment = connection.get(&path).map_err(Error::from)?;
    let Some(public_key) = enrolment.public_key.filter(|_| enrolment.state == EnrolmentState::Waiting) else {
        let what = format!("no machine waits for a writer key by enrolment {id}");
        return Err(Failure::new(Code::NotFound, what)
            .next("`icecore agent enroll` on the machine says the right line")
            .into());
    };
    let repo = context.open()?;
    repo.keys().master_for("making a writer key")?;
    if enrolment.format_id != repo.config().repository.to_string() {
        let what = format!("the machine stores into {}, not into this repository", enrolment.repository);
        return Err(Failure::new(Code::Usage, what).next(format!("give --repo with {}", enrolment.repository)).into());
    }
    let code = handover::Code::parse(&secrets::enrolment_code()?)?;
    let name = enrolment.name.unwrap_or_default();
    let label = if args.label.is_empty() { &name } else { &args.label };
    let keys = repo.create_writer(label, args.trust_group.clone(), context.now())?;
    let sealed = handover::seal(&public_key, (&id.to_string(), &code), &writer_key::to_text(&keys), repo.entropy())?;
    let body = GiveWriterKey { writer: keys.writer.to_string(), public_key, sealed_writer_key: sealed };
    let given: Result<Enrolment, Problem> = connection.post(&["enrolments", &id.to_string(), "writer-key"], &body);
    if let Err(problem) = given {
        // Nobody has this key: the writer would only be litter.
        let _ = repo.revoke_writer(&keys.writer, context.now());
        return Err(Error::from(problem).into());
    }
    context.console.result(&json!({ "writer": keys.writer, "enrolment": id, "name": name }), |_| {
        format!("Sealed the key of writer {} for {}. The machine fetches it now.", keys.writer, output::name(&name))
    })
}

fn to_file(out: &Path, args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    repo.keys().master_for("making a writer key")?;
    let file = NewFile::create(out)?;
    let keys = repo.create_writer(&args.label, args.trust_group.clone(), context.now())?;
    file.keep(writer_key::to_text(&keys).as_bytes())?;
    context.console.result(&json!({ "writer": keys.writer, "path": out }), |_| {
        format!(
            "Wrote the key of writer {} to {}. Move it to the machine; there:\n  \
             icecore --writer-key {} backup SOURCE",
            keys.writer,
            out.display(),
            out.display()
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
