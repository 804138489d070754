//! `icecore-server migrate`: the database's version, before the server is started.

use crate::config::Config;
use crate::db::open;

/// Options of `migrate`.
#[derive(clap::Args)]
pub struct Args {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Checks the file and migrates it.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    let path = config.database_file();
    if args.dry_run && !path.exists() {
        println!("{} does not exist; it would be made with version {}", path.display(), open::VERSION);
        return Ok(());
    }
    let mut connection = open::unmigrated(&path)?;
    let found = open::version(&connection)?;
    if found == open::VERSION {
        println!("{} is sound and has version {found}; nothing to do", path.display());
    } else if args.dry_run {
        println!("{} is sound and has version {found}; it would become {}", path.display(), open::VERSION);
    } else {
        open::migrate(&mut connection, &path)?;
        println!("{} had version {found} and has version {} now", path.display(), open::VERSION);
    }
    Ok(())
}
