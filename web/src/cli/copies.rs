//! `icecore-server admin copies|copy-database|restore-database|recover`: for the day the database is damaged or its machine is lost.

use crate::config::Config;
use crate::copies::Copies;
use crate::recover::{self, Recovered};
use crate::serve;
use jiff::Timestamp;
use std::path::PathBuf;

/// Verbs about copies of the database.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the copies of the database that are in the data directory
    Copies,
    /// Copy the database now, whether the server runs or not; it does so daily by itself
    CopyDatabase,
    /// Put a copy in the database's place; what was there is kept beside it. The server must be stopped
    RestoreDatabase {
        /// The copy
        file: PathBuf,
    },
    /// On an empty machine: take the server's database out of a repository, by its recovery kit
    Recover {
        /// Directory of the repository, where the server is to keep it from now on
        #[arg(long, value_name = "DIR")]
        repo: PathBuf,
        /// The recovery kit, as it was printed
        #[arg(long, value_name = "FILE")]
        kit: PathBuf,
    },
}

/// Runs one verb.
pub fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    let copies = Copies::of(config);
    match command {
        Command::Copies => list(&copies),
        Command::CopyDatabase => {
            println!("{}", copies.make(Timestamp::now())?.path.display());
            Ok(())
        }
        Command::RestoreDatabase { file } => {
            let _no_server = serve::lock(config)?;
            told(&recover::from_copy(config, file, Timestamp::now())?);
            println!(
                "what happened since that copy is forgotten: look at accounts, tokens and agents that were removed or revoked since"
            );
            Ok(())
        }
        Command::Recover { repo, kit } => {
            let _no_server = serve::lock(config)?;
            told(&recover::from_repository(config, (repo, kit), Timestamp::now())?);
            println!("next: start the server, log in as before, and revoke what was revoked after that copy was made");
            Ok(())
        }
    }
}

fn list(copies: &Copies) -> anyhow::Result<()> {
    let found = copies.list()?;
    for copy in &found {
        println!("{}  {}", copy.made_at.strftime("%Y-%m-%d %H:%M:%S UTC"), copy.path.display());
    }
    if found.is_empty() {
        println!("there is no copy yet; the server makes one a day, `admin copy-database` makes one now");
    }
    Ok(())
}

fn told(recovered: &Recovered) {
    if let Some(made_at) = recovered.made_at {
        println!("the database is the one of {}", made_at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    }
    if let Some(kept) = &recovered.kept {
        println!("what was there before is kept as {}", kept.display());
    }
    if !recovered.files.is_empty() {
        println!("put back beside it: {}", recovered.files.join(", "));
    }
}
