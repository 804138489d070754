//! `icecore agent enroll`: this machine becomes an agent of a server by a one-time token.
//!
//! What the machine will prove itself with is written down before the token is used, so that a cut at any point can be gone on from.

use super::super::context::Context;
use super::super::failure::{Code, Failure};
use super::super::login::{Recognise, recognised};
use super::super::{reach, secrets};
use agent::private_file;
use agent::remote::enrolled::{Enrolled, Holds};
use agent::remote::{Address, Connection, Options, Problem, server_url};
use anyhow::Context as _;
use repo_format::Error;
use repo_format::entropy::{SystemEntropy, random};
use repo_format::handover::Waiting;
use repo_format::key_slot::{KEY_FILE_BYTES, KeySlot, SlotKind, Unlock};
use repo_format::repository::Repository;
use repo_format::writer_key;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use web_api::enrolment::{RedeemEnrolment, RedeemedEnrolment};
use zeroize::Zeroizing;

/// How often a machine that waits for its writer key asks for it.
const ASK_EVERY: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What was begun with a token and is not finished.
const BEGUN: &str = "enrolling";

/// Options of `agent enroll`.
#[derive(clap::Args)]
pub struct Args {
    /// The server: `https://SERVER` or `https://SERVER:PORT`
    #[arg(value_name = "SERVER")]
    server: String,
    /// The one-time token (or --token-file FILE, or ICECORE_TOKEN); it is used up at once
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    recognise: Recognise,
    /// What the machine is called, unless the token says it [default: its host name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Directory for the enrolment (or ICECORE_AGENT_DIR) [default: /etc/icecore/agent]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Replace an enrolment that is there
    #[arg(long)]
    replace: bool,
    /// Keep the repository in this directory: verify, check, prune and restore with its own key. The token has to be one for a keeper; the
    /// passphrase, key file or kit is needed once
    #[arg(long, value_name = "DIR", conflicts_with = "wait")]
    keeps: Option<PathBuf>,
    /// With --keeps: leave no key on this machine; the keeper asks for one at every start
    #[arg(long, requires = "keeps")]
    no_key: bool,
    /// How long to wait for the writer key that a person seals for this machine, in seconds; without --writer-key
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    wait: u64,
}

/// Where a machine gets its writer key from.
enum Source {
    /// It needs none: it keeps the repository in this directory.
    Repository(PathBuf, Box<Repository>),
    /// A file that was brought.
    File(Zeroizing<String>),
    /// A person, by way of the server.
    Person(Waiting),
}

/// Enrols.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let directory = args.config_dir.clone().unwrap_or_else(reach::agent_directory);
    if Enrolled::is_in(&directory) && !args.replace {
        let what = format!("this machine is enrolled already, by {}", directory.display());
        return Err(Failure::new(Code::Refused, what).next("give --replace, or another --config-dir").into());
    }
    let server = server_url(&args.server)?;
    let token = token(args, context)?;
    let authority = recognised(&server, &args.recognise, context)?;
    private_file::make_directory(&directory)?;
    let begun = Begun::load_or_begin(&directory, &token)?;
    let source = source(args, begun.waiting, context)?;
    let request = RedeemEnrolment {
        secret: token.as_str().to_owned(),
        agent_secret: begun.secret.as_str().to_owned(),
        name: args.name.clone().map_or_else(host_name, Ok)?,
        keeper: matches!(source, Source::Repository(..)),
        writer: match &source {
            Source::Repository(_, repo) => Some(repo.config().builtin_writer.to_string()),
            Source::File(text) => Some(writer_key::from_text(text)?.writer.to_string()),
            Source::Person(_) => None,
        },
        public_key: match &source {
            Source::Repository(..) | Source::File(_) => None,
            Source::Person(waiting) => Some(waiting.public_key()),
        },
    };
    let options =
        Options { authority: authority.clone(), patience: context.patience(), ..Options::plain(context.cancel()?) };
    let connection = Connection::new(server.clone(), options)?;
    let redeemed = redeem(&connection, &request, &source, args, context)?;
    let agent = redeemed.agent.clone().context("the server enrolled nobody")?;
    let holds = match source {
        Source::Repository(kept, repo) => {
            if !args.no_key {
                give_key(&directory, &repo, &agent.name, context)?;
            }
            Holds::Repository(kept)
        }
        source => Holds::WriterKey(writer_key(&source, &redeemed)?),
    };
    let enrolled = Enrolled {
        address: Address::new(server, &redeemed.repository)?,
        name: agent.name.clone(),
        token: begun.secret,
        authority,
        holds,
    };
    enrolled.save(&directory, args.replace)?;
    private_file::remove(&directory.join(BEGUN))?;
    let value = json!({ "agent": agent.id, "name": agent.name, "repository": enrolled.address.to_string(), "writer": agent.writer,
        "directory": directory });
    context.console.result(&value, |_| {
        let next = match enrolled.keeps() {
            Some(kept) => format!("It keeps the repository in {}.\nNext: icecore agent run", kept.display()),
            None => "Try: icecore backup /dev/DISK".into(),
        };
        format!(
            "Enrolled as {} at {}; what it takes is in {}.\n{next}",
            agent.name,
            enrolled.address,
            directory.display()
        )
    })
}

fn source(args: &Args, waiting: Waiting, context: &Context) -> anyhow::Result<Source> {
    if let Some(directory) = &args.keeps {
        let directory = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
        let repo = context.open_directory(&directory)?;
        repo.keys().master_for("keeping a repository")?;
        return Ok(Source::Repository(directory, Box::new(repo)));
    }
    Ok(match &context.key_options().writer_key {
        Some(file) => Source::File(secrets::writer_key_text(file, context.console)?),
        None => Source::Person(waiting),
    })
}

fn writer_key(source: &Source, redeemed: &RedeemedEnrolment) -> anyhow::Result<Zeroizing<String>> {
    let text = match (source, &redeemed.sealed_writer_key) {
        (Source::File(text), _) => text.clone(),
        (Source::Person(waiting), Some(sealed)) => waiting.open(&redeemed.id.to_string(), sealed)?,
        _ => anyhow::bail!("the server says that this machine is enrolled, and has no writer key for it"),
    };
    writer_key::from_text(&text).context("the writer key that came cannot be used")?;
    Ok(text)
}

/// Makes a key file of the keeper's own, which `icecore key remove` can take away again. The file is there before the repository knows it.
fn give_key(directory: &Path, repo: &Repository, name: &str, context: &Context) -> anyhow::Result<()> {
    let file = Enrolled::repository_key_file(directory);
    if file.exists() {
        // Of an attempt that was cut off.
        let key = secrets::key_file(&file, context.console)?;
        let unlock = Unlock::KeyFile(&key);
        let fits = |slot: &KeySlot| slot.open(&repo.config().repository, &unlock).is_ok_and(|master| master.is_some());
        if repo.slots()?.iter().any(fits) {
            return Ok(());
        }
    }
    let key: Zeroizing<[u8; KEY_FILE_BYTES]> = Zeroizing::new(random(&SystemEntropy));
    private_file::write(&file, &*key)?;
    let label = format!("keeper {name}");
    repo.add_slot((SlotKind::KeyFile, &Unlock::KeyFile(&key)), &label, context.now())?;
    Ok(())
}

fn token(args: &Args, context: &Context) -> anyhow::Result<Zeroizing<String>> {
    let given = match &args.token {
        Some(token) => Some(Zeroizing::new(token.clone())),
        None => context.given_token()?,
    };
    given.ok_or_else(|| {
        Failure::new(Code::Usage, "no enrolment token was given")
            .next("an admin makes one: POST /api/v1/enrolments; give it by --token, --token-file or ICECORE_TOKEN")
            .into()
    })
}

fn host_name() -> anyhow::Result<String> {
    // What a server takes as a name is a part of what a host name may be.
    let short = super::super::backup::host()?.split('.').next().unwrap_or_default().to_ascii_lowercase();
    Ok(short)
}

/// What a machine proves itself with, from the first time it comes with a token.
struct Begun {
    secret: Zeroizing<String>,
    waiting: Waiting,
}

impl Begun {
    /// What was begun with this token, or something new, written down.
    fn load_or_begin(directory: &Path, token: &str) -> anyhow::Result<Self> {
        let path = directory.join(BEGUN);
        let mark = blake3::hash(token.as_bytes()).to_hex();
        if let Some(text) = private_file::read(&path)?
            && let [known, secret, waiting] = text.lines().collect::<Vec<_>>()[..]
            && known == mark.as_str()
        {
            return Ok(Self { secret: Zeroizing::new(secret.to_owned()), waiting: Waiting::parse(waiting)? });
        }
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(random(&SystemEntropy));
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let begun = Self { secret: Zeroizing::new(format!("ica_{digits}")), waiting: Waiting::begin(&SystemEntropy) };
        let text = format!("{mark}\n{}\n{}\n", begun.secret.as_str(), begun.waiting.text().as_str());
        private_file::write(&path, Zeroizing::new(text).as_bytes())?;
        Ok(begun)
    }
}

/// Asks until the machine is an agent.
fn redeem(
    connection: &Connection,
    request: &RedeemEnrolment,
    source: &Source,
    args: &Args,
    context: &Context,
) -> anyhow::Result<RedeemedEnrolment> {
    let until = Instant::now() + Duration::from_secs(args.wait);
    let mut told = false;
    loop {
        let answer: Result<RedeemedEnrolment, Problem> = connection.post(&["enrolments", "redeem"], request);
        let redeemed = answer.map_err(|problem| anyhow::Error::from(Error::from(problem)))?;
        if redeemed.agent.is_some() {
            return Ok(redeemed);
        }
        if let (Source::Person(waiting), false) = (source, told) {
            tell(connection, &redeemed, waiting);
            told = true;
        }
        if Instant::now() >= until {
            let what = "nobody has sealed a writer key for this machine yet";
            let next = "run the same line again with more --wait; the code stays the same";
            return Err(Failure::new(Code::Failed, what).next(next).into());
        }
        pause(context)?;
    }
}

/// Always, also with --json: without it nobody could go on.
fn tell(connection: &Connection, redeemed: &RedeemedEnrolment, waiting: &Waiting) {
    eprintln!(
        "This machine needs a writer key. Where the passphrase is, run\n  icecore --repo {}{} key writer-export --for {}\nand type this code there: {}",
        connection.server(),
        redeemed.repository,
        redeemed.id,
        waiting.code.text().as_str()
    );
}

fn pause(context: &Context) -> anyhow::Result<()> {
    let (cancel, until) = (context.cancel()?, Instant::now() + ASK_EVERY);
    while Instant::now() < until {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
