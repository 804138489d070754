//! `icecore-server admin enroll-keeper`: the way of the appliance's own agent to its role, for whoever has a shell on the machine.

use super::admin::{base_url, change, record};
use crate::auth::secret::{Kind, Secret};
use crate::config::Config;
use crate::db::{self, Write, open};
use crate::handlers::enrolments::command;
use crate::tls;
use anyhow::{Context as _, bail};
use repo_format::repository::read_config;
use repo_format::store::dir::DirStore;
use std::path::{Path, PathBuf};
use std::time::Duration;
use web_api::enrolment::{Enrolment, EnrolmentState};
use web_api::id::{EnrolmentId, RepositoryId};
use web_api::keeping::Care;
use web_api::repository::{REPOSITORY_NAMES, Repository, is_repository_name};
use web_api::unit::Time;

/// How long the token works.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// Options of `enroll-keeper`.
#[derive(clap::Args)]
pub struct Args {
    /// The repository, by its name here; a new one gets this name
    repository: String,
    /// Directory of the repository, which the server keeps from now on, if it does not yet
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What to call the keeper
    #[arg(long, value_name = "NAME", default_value = "keeper")]
    name: String,
}

/// Prints the line that makes this machine's agent the keeper of a repository, and nothing else.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    let mut connection = open::writable(&config.database_file())?;
    let authority = tls::authority(config)?;
    let secret = Secret::generate(Kind::Enrolment);
    let repository = change(&mut connection, |write, now| {
        crate::handlers::agents::check_name(&args.name).map_err(super::admin::told)?;
        let repository = match db::repository::named(write, &args.repository)? {
            Some(known) => known,
            None => add(write, args, now)?,
        };
        let enrolment = Enrolment {
            id: EnrolmentId::generate(),
            repository: repository.name.clone(),
            format_id: repository.format_id.clone(),
            name: Some(args.name.clone()),
            keeper: true,
            state: EnrolmentState::Open,
            prefix: secret.prefix().to_owned(),
            created_by: "console".into(),
            created_at: now,
            expires_at: now.after(LASTS),
            public_key: None,
            agent: None,
        };
        db::enrolment::insert(write, &enrolment, repository.id, &secret.hash())?;
        let detail = format!("{} keeper of {}", args.name, repository.name);
        record(write, now, "enrolment.create", &enrolment.id.to_string(), &detail)?;
        Ok(repository)
    })?;
    println!("{}", command(&base_url(config), authority.as_ref(), &secret, Some(&repository.directory)));
    Ok(())
}

fn add(write: &mut Write<'_>, args: &Args, now: Time) -> anyhow::Result<Repository> {
    let Some(directory) = &args.directory else {
        bail!(
            "this server has no repository named {:?}; give --directory to add the one in a directory",
            args.repository
        );
    };
    if !is_repository_name(&args.repository) {
        bail!("{REPOSITORY_NAMES}");
    }
    let directory = absolute(directory)?;
    let found = read_config(&DirStore::open(Path::new(&directory)))
        .with_context(|| format!("there is no repository in {directory}; make one with `icecore init`"))?;
    let repository = Repository {
        id: RepositoryId::generate(),
        name: args.repository.clone(),
        directory,
        format_id: found.repository.to_string(),
        created_at: now,
        care: Care::default(),
        keeper: None,
        revision: 1,
        kit_confirmed_at: None,
        kit_confirmed_by: None,
    };
    db::repository::insert(write, &repository).map_err(|error| match error.is_duplicate() {
        true => {
            anyhow::anyhow!("this server keeps the repository in {} already, under another name", repository.directory)
        }
        false => error.into(),
    })?;
    let detail = format!("{} in {}", repository.name, repository.directory);
    record(write, now, "repository.add", &repository.id.to_string(), &detail)?;
    Ok(repository)
}

fn absolute(directory: &Path) -> anyhow::Result<String> {
    let path = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
    path.to_str().map(str::to_owned).context("the repository's directory has a name that is no text")
}
