//! `icecore dump`: every structure of the format, for people who look for a fault. Never a secret, never content.

use super::context::Context;
use super::point::{self, PointName};
use anyhow::Context as _;
use repo_format::dump;
use repo_format::id::{ChunkId, NodeId};
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use serde_json::Value;
use std::path::PathBuf;

/// What to show.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// An object of the store by its key, such as `config`; with keys if they are given, without if not
    Object {
        /// Key in the store
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// A file that is or was an object or a writer key; needs no repository
    File {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// The manifest of a recovery point
    Point {
        /// The point
        #[arg(value_name = "POINT")]
        point: PointName,
    },
    /// A chunk: where it lies and whether it can be read
    Chunk {
        /// 64 digits
        #[arg(value_name = "ID")]
        id: ChunkId,
    },
    /// A node of a tree: where it lies and what it references
    Node {
        /// 64 digits
        #[arg(value_name = "ID")]
        id: NodeId,
    },
    /// The local index: its packs and counts
    Index,
}

/// Longest file that is read whole: a pack of the largest size and something.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Shows.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let shown = match &args.what {
        What::Object { key } => {
            let repo = with_keys_if_given(context)?;
            dump::object(&*context.opened()?.store, key, repo.as_ref())?
        }
        What::File { file } => file_dump(file)?,
        What::Point { point } => {
            let repo = context.open()?;
            let at = point::find(&repo, point)?;
            dump::object(repo.store(), &at.key(), Some(&repo))?
        }
        What::Chunk { id } => with_reader(context, |reader| dump::chunk(reader, id))?,
        What::Node { id } => with_reader(context, |reader| dump::node(reader, id))?,
        What::Index => {
            let repo = context.open()?;
            dump::index(&context.whole_index(&repo)?)?
        }
    };
    context.console.result(&shown, dump::text)
}

fn with_keys_if_given(context: &Context) -> anyhow::Result<Option<Repository>> {
    if !context.key_is_given() {
        return Ok(None);
    }
    // A repository so damaged that it does not open is what this verb is for.
    match context.open() {
        Ok(repo) => Ok(Some(repo)),
        Err(error) => {
            context.console.warn(&format!("{error:#}\nShowing what can be shown without keys"));
            Ok(None)
        }
    }
}

fn file_dump(file: &PathBuf) -> anyhow::Result<Value> {
    let cannot = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).with_context(cannot)?.len();
    anyhow::ensure!(length <= MAX_FILE_BYTES, "{} is longer than any object of the format", file.display());
    Ok(dump::bytes("", &std::fs::read(file).with_context(cannot)?, None))
}

fn with_reader(
    context: &Context,
    show: impl FnOnce(&Reader<'_>) -> repo_format::Result<Value>,
) -> anyhow::Result<Value> {
    let repo = context.open()?;
    let index = context.index(&repo)?;
    Ok(show(&Reader::new(&repo, &index))?)
}
