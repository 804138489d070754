//! `icecore key repair`: the objects that every command reads first are written again; with a recovery kit even a lost configuration. Damaged data is healed by the next backup.

use super::context::Context;
use super::failure::{Code, Failure};
use agent::output;
use anyhow::Context as _;
use repo_format::repair::{Repaired, repair};
use repo_format::writer_key;
use serde_json::json;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Options of `key repair`.
#[derive(clap::Args)]
pub struct Args {
    /// Key file of the writer whose record is damaged; it says that this writer may go on [default: only what needs no file]
    #[arg(value_name = "WRITER_KEY_FILE")]
    writer: Option<PathBuf>,
}

/// Repairs.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let (repo, rebuilt) = context.open_or_rebuild()?;
    repo.keys().master_for("repairing the repository")?;
    let keys = match &args.writer {
        Some(path) => {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.with_context(|| format!("cannot read the writer key file {}", path.display()))?;
            Some(writer_key::from_text(&text)?)
        }
        None => None,
    };
    let mut done = repair(&repo, keys.as_ref(), context.now())?;
    done.written.splice(..0, rebuilt);
    let left: Vec<_> = done.left.iter().map(|object| json!({ "object": object.object, "what": object.what })).collect();
    context
        .console
        .result(&json!({ "written": done.written, "removed": done.removed, "left": left }), |_| text(&done))?;
    match done.left.as_slice() {
        [] => Ok(()),
        left => {
            let lines: Vec<&str> = left.iter().map(|object| object.what.as_str()).collect();
            let next = "give the writer's key file: `icecore key repair WRITER_KEY_FILE`; if that is lost too, `icecore key writer-revoke` \
                        settles a writer of whom an older record is sound, and of any other the points can still be restored";
            Err(Failure::new(Code::Damaged, format!("still damaged:\n{}", lines.join("\n"))).next(next).into())
        }
    }
}

fn text(done: &Repaired) -> String {
    let mut text = String::new();
    for (verb, objects) in [("Wrote", &done.written), ("Removed the damaged", &done.removed)] {
        for object in objects {
            text += &format!("{verb} {}.\n", output::lines(object));
        }
    }
    if text.is_empty() && done.left.is_empty() {
        text = "Nothing of it is damaged.\n".into();
    }
    text
}
