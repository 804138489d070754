//! `icecore key`: what opens the repository. Writers are in `writer`.

use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use super::repair;
use super::secrets::{self, NewFile};
use super::writer;
use agent::output;
use repo_format::id::SlotId;
use repo_format::key_slot::{DEFAULT_PASSPHRASE, KeySlot, SlotKind, Unlock};
use repo_format::kit;
use repo_format::repository::Repository;
use serde_json::json;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Verbs of `key`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Args)]
struct NewPassphrase {
    /// File whose first line is the new passphrase (or set ICECORE_NEW_PASSPHRASE, or be asked)
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// What to call it in `key list`
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the keys that open the repository
    List,
    /// Add a passphrase
    AddPassphrase(NewPassphrase),
    /// Add a key file; FILE is made when it does not exist
    AddFile {
        /// The key file, of 32 bytes or more
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What to call it in `key list`
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Replace the passphrase that the repository is opened with now
    ChangePassphrase(NewPassphrase),
    /// Remove a key; the last one cannot be removed
    Remove {
        /// First digits of its id
        #[arg(value_name = "SLOT")]
        slot: String,
    },
    /// Write the recovery kit: a page to print that opens the repository without any passphrase
    RecoveryExport {
        /// New file for it; `-` for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Add a new passphrase with the help of a recovery kit
    RecoveryImport {
        /// The kit as text
        #[arg(value_name = "FILE")]
        kit: PathBuf,
        #[command(flatten)]
        new: NewPassphrase,
    },
    /// Make a writer key: a machine that has it can back up, but read and delete nothing
    WriterExport(writer::ExportArgs),
    /// List the writers
    Writers,
    /// Forbid a writer key any new session; what it stored stays
    WriterRevoke(writer::RevokeArgs),
    /// Write again what is damaged of the configuration and of the writers' records
    Repair(repair::Args),
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    match &args.verb {
        Verb::List => list(context),
        Verb::AddPassphrase(new) => {
            let repo = context.open()?;
            repo.keys().master_for("adding a key")?;
            let passphrase = new_passphrase(new, &[NEW_PASSPHRASE], context)?;
            let slot = add(&repo, (DEFAULT_PASSPHRASE, &Unlock::Passphrase(&passphrase)), &new.label, context)?;
            added(slot, "a passphrase", context)
        }
        Verb::AddFile { file, label } => {
            let repo = context.open()?;
            repo.keys().master_for("adding a key")?;
            let (made, key) = secrets::key_file_or_new(file, context.console)?;
            let slot = add(&repo, (SlotKind::KeyFile, &Unlock::KeyFile(&key)), label, context)?;
            added(slot, if made { "a new key file" } else { "a key file" }, context)
        }
        Verb::ChangePassphrase(new) => change_passphrase(new, context),
        Verb::Remove { slot } => remove(slot, context),
        Verb::RecoveryExport { out } => recovery_export(out, context),
        Verb::RecoveryImport { kit, new } => recovery_import(kit, new, context),
        Verb::WriterExport(args) => writer::export(args, context),
        Verb::Writers => writer::list(context),
        Verb::WriterRevoke(args) => writer::revoke(args, context),
        Verb::Repair(args) => repair::run(args, context),
    }
}

const NEW_PASSPHRASE: &str = "ICECORE_NEW_PASSPHRASE";

fn new_passphrase(new: &NewPassphrase, variables: &[&str], context: &Context) -> anyhow::Result<Zeroizing<String>> {
    secrets::new_passphrase(new.new_passphrase_file.as_deref(), variables, context.console)
}

fn add(repo: &Repository, key: (SlotKind, &Unlock<'_>), label: &str, context: &Context) -> anyhow::Result<SlotId> {
    Ok(repo.add_slot(key, label, context.now())?)
}

fn added(slot: SlotId, what: &str, context: &Context) -> anyhow::Result<()> {
    context.console.result(&json!({ "slot": slot }), |_| format!("Added {what} as key {}.", short(&slot)))
}

fn short(slot: &SlotId) -> String {
    slot.to_string()[..8].to_owned()
}

fn list(context: &Context) -> anyhow::Result<()> {
    let slots = context.open()?.slots()?;
    let values: Vec<_> = slots
        .iter()
        .map(|slot| {
            let mut value = json!({ "slot": slot.slot, "label": slot.label, "created_at": slot.created_at });
            if let SlotKind::Passphrase { memory_kib, passes, lanes } = slot.kind {
                value["argon2id"] = json!({ "memory_kib": memory_kib, "passes": passes, "lanes": lanes });
            }
            value["kind"] = json!(kind_text(&slot.kind));
            value
        })
        .collect();
    context.console.result(&values, |_| {
        let row = |slot: &KeySlot| {
            vec![
                short(&slot.slot),
                kind_text(&slot.kind).replace('_', " "),
                output::time(slot.created_at),
                output::name(&slot.label),
            ]
        };
        table(&["KEY", "KIND", "CREATED", "LABEL"], slots.iter().map(row).collect())
    })
}

fn kind_text(kind: &SlotKind) -> &'static str {
    match kind {
        SlotKind::Passphrase { .. } => "passphrase",
        SlotKind::KeyFile => "key_file",
    }
}

/// Adds the new one before the old one goes: a cut between the two leaves both.
fn change_passphrase(new: &NewPassphrase, context: &Context) -> anyhow::Result<()> {
    let mut old = None;
    let repo = context.open_and_tell(&mut |unlock| {
        if let Unlock::Passphrase(text) = unlock {
            old = Some(Zeroizing::new((*text).to_owned()));
        }
    })?;
    let Some(old) = old else {
        let what = "the repository was not opened with a passphrase, so it is not clear which one to replace";
        let next = "open it with the old passphrase, or use `key add-passphrase` and `key remove`";
        return Err(Failure::new(Code::Usage, what).next(next).into());
    };
    let opened = |slot: &KeySlot| slot.open(&repo.config().repository, &Unlock::Passphrase(&old));
    let mut replaced = Vec::new();
    for slot in repo.slots()? {
        if opened(&slot)?.is_some() {
            replaced.push(slot);
        }
    }
    let label = match (new.label.as_str(), replaced.first()) {
        ("", Some(slot)) => slot.label.clone(),
        (label, _) => label.to_owned(),
    };
    let passphrase = new_passphrase(new, &[NEW_PASSPHRASE], context)?;
    let slot = add(&repo, (DEFAULT_PASSPHRASE, &Unlock::Passphrase(&passphrase)), &label, context)?;
    for old in &replaced {
        repo.remove_slot(&old.slot)?;
    }
    let removed: Vec<SlotId> = replaced.iter().map(|slot| slot.slot).collect();
    context.console.result(&json!({ "slot": slot, "removed": removed }), |_| "Changed the passphrase.".into())
}

fn remove(digits: &str, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let digits = digits.to_ascii_lowercase();
    let slots = repo.slots()?;
    let found: Vec<&KeySlot> = slots.iter().filter(|slot| slot.slot.to_string().starts_with(&digits)).collect();
    let next = "`icecore key list` shows the keys";
    let slot = match (digits.is_empty(), found.as_slice()) {
        (false, [slot]) => slot.slot,
        (false, [_, _, ..]) => {
            let what = format!("several keys begin with {digits}");
            return Err(Failure::new(Code::NotFound, what).next("give more digits").into());
        }
        _ => return Err(Failure::new(Code::NotFound, format!("there is no key {digits:?}")).next(next).into()),
    };
    repo.remove_slot(&slot)?;
    context.console.result(&json!({ "removed": slot }), |_| format!("Removed key {}.", short(&slot)))
}

fn recovery_export(out: &std::path::Path, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let master = repo.keys().master_for("a recovery kit")?;
    let text = Zeroizing::new(kit::export(&repo.config().repository, master));
    if out.as_os_str() == "-" {
        return context.console.result(&json!({ "kit": *text }), |_| text.to_string());
    }
    NewFile::create(out)?.keep(text.as_bytes())?;
    context.console.result(&json!({ "path": out }), |_| {
        format!(
            "Wrote the recovery kit to {}. Print it, keep it away from this machine, delete the file.",
            out.display()
        )
    })
}

fn recovery_import(file: &std::path::Path, new: &NewPassphrase, context: &Context) -> anyhow::Result<()> {
    let repo = context.open_with_kit(file)?;
    let new_file = new.new_passphrase_file.as_deref().or(context.key_options().passphrase_file.as_deref());
    let passphrase = secrets::new_passphrase(new_file, &[NEW_PASSPHRASE, "ICECORE_PASSPHRASE"], context.console)?;
    let label = if new.label.is_empty() { "recovered" } else { &new.label };
    let slot = add(&repo, (DEFAULT_PASSPHRASE, &Unlock::Passphrase(&passphrase)), label, context)?;
    context.console.result(&json!({ "slot": slot }), |_| {
        format!("The kit opens the repository. Added the new passphrase as key {}.", short(&slot))
    })
}
