//! How a repository behind a server is reached: by whom, and whom to believe to be the server.
//!
//! | what | in this order |
//! |---|---|
//! | repository | `--repo`, `ICECORE_REPO`, this machine's enrolment |
//! | token | `--token-file`, `ICECORE_TOKEN`, the enrolment if it named the repository, the log-in at the server, the enrolment for that repository |
//! | authority | `--ca-file`, `ICECORE_CA_FILE`, that of the log-in or enrolment, those that the system knows |
//! | key | options, environment, the enrolment's writer key if the enrolment named the repository or gave the token, a question |

use super::context::Context;
use super::failure::{Code, Failure};
use super::secrets;
use agent::daemon::Server;
use agent::remote::enrolled::{DEFAULT_DIRECTORY, DIRECTORY_VARIABLE, Enrolled};
use agent::remote::login::{Login, Logins};
use agent::remote::{Address, Connection, Options, Place, Renew, Tell};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// This machine's enrolment, with the place that it names.
pub struct Enrolment {
    /// Where the machine stores.
    pub place: Place,
    /// Everything else.
    pub enrolled: Enrolled,
}

/// The directory of this machine's enrolment.
pub fn agent_directory() -> PathBuf {
    secrets::variable_path(DIRECTORY_VARIABLE).unwrap_or_else(|| DEFAULT_DIRECTORY.into())
}

/// A token, and the authority that is known with it.
type Known = (Zeroizing<String>, Option<String>);

impl Context {
    /// This machine's enrolment. Who may not read it has none.
    pub fn enrolment(&self) -> anyhow::Result<Option<&Enrolment>> {
        if self.enrolment.get().is_none() {
            let found = match Enrolled::load(&agent_directory()) {
                Err(error) if is_not_ours(&error) => None,
                other => other?,
            };
            let with_place = |enrolled: Enrolled| {
                let place = match enrolled.keeps() {
                    Some(directory) => Place::Directory(directory.to_owned()),
                    None => Place::Server(enrolled.address.clone()),
                };
                Enrolment { place, enrolled }
            };
            // Set by nobody else: a verb opens its repository once.
            let _ = self.enrolment.set(found.map(with_place));
        }
        Ok(self.enrolment.get().and_then(Option::as_ref))
    }

    /// Whether the repository is the enrolment's because nobody named one, or the machine comes with its own secret.
    pub fn enrolment_counts(&self) -> bool {
        match (self.named_place(), self.enrolment()) {
            (None, Ok(Some(_))) => true,
            (Some(Place::Server(address)), Ok(Some(enrolment))) => {
                enrolment.enrolled.address == *address
                    && enrolment.enrolled.keeps().is_none()
                    && !self.token_is_given()
                    && !self.login_at(address).is_ok_and(|login| login.is_some())
            }
            _ => false,
        }
    }

    /// The log-ins of this user.
    pub fn logins(&self) -> anyhow::Result<Logins> {
        let below = |variable: &str, rest: &str| secrets::variable_path(variable).map(|base| base.join(rest));
        let directory =
            below("XDG_CONFIG_HOME", "icecore/servers").or_else(|| below("HOME", ".config/icecore/servers"));
        directory.map(Logins::at).ok_or_else(|| {
            Failure::new(Code::Usage, "there is no place for log-ins").next("set HOME or XDG_CONFIG_HOME").into()
        })
    }

    fn login_at(&self, address: &Address) -> anyhow::Result<Option<Login>> {
        match self.logins() {
            Ok(logins) => logins.find(address.server()),
            // Without a home there are no log-ins, and a machine's job needs none.
            Err(_) => Ok(None),
        }
    }

    /// How to connect to the server of a repository.
    pub(super) fn reach(&self, address: &Address) -> anyhow::Result<Options> {
        let (token, known) = self.known(address)?;
        let authority = self.ca_file()?.or(known);
        let patience = self.patience();
        Ok(Options { token: Some(token), authority, patience, cancel: self.cancel()?, tell: self.tell() })
    }

    /// Where a service works for, as whom, and whom it believes to be that.
    pub fn server(&self, address: &Address) -> anyhow::Result<Server> {
        let (token, known) = self.known(address)?;
        let (authority, renew) = (self.ca_file()?.or(known), self.renew(address));
        Ok(Server { address: address.clone(), token, authority, renew })
    }

    /// How a token that was replaced meanwhile is found: where it was found at first.
    pub(super) fn renew(&self, address: &Address) -> Option<Renew> {
        if let Some(file) = self.token_file() {
            let (file, console) = (file.to_owned(), self.console);
            return Some(Arc::new(move || secrets::token_file(&file, console).ok()));
        }
        let address = address.clone();
        let of_enrolment = move || {
            let enrolled = Enrolled::load(&agent_directory()).ok().flatten()?;
            (enrolled.address == address).then_some(enrolled.token)
        };
        // A token of the environment or of a log-in stays what it is.
        (!self.token_is_given() && self.enrolment_counts()).then(|| Arc::new(of_enrolment) as Renew)
    }

    /// The same for this machine as the keeper of a repository.
    pub fn keepers_server(&self, enrolled: &Enrolled) -> anyhow::Result<Server> {
        let of_enrolment = || Enrolled::load(&agent_directory()).ok().flatten().map(|enrolled| enrolled.token);
        Ok(Server {
            address: enrolled.address.clone(),
            token: enrolled.token.clone(),
            authority: self.ca_file()?.or_else(|| enrolled.authority.clone()),
            renew: Some(Arc::new(of_enrolment)),
        })
    }

    /// A connection to the repository's server itself, for what is no object.
    pub fn connection(&self, work: &str) -> anyhow::Result<Connection> {
        match self.place()? {
            Place::Server(address) => Connection::new(address.server().clone(), self.reach(address)?),
            Place::Directory(_) | Place::Bucket(_) => {
                Err(Failure::new(Code::Usage, format!("{work} goes by a server"))
                    .next("give --repo https://SERVER/NAME")
                    .into())
            }
        }
    }

    fn known(&self, address: &Address) -> anyhow::Result<Known> {
        let login = self.login_at(address)?;
        let enrolled = match self.enrolment() {
            // A keeper's secret opens no way to objects: it works beside them.
            Ok(found) => found
                .map(|enrolment| &enrolment.enrolled)
                .filter(|enrolled| enrolled.address == *address && enrolled.keeps().is_none()),
            // What is broken there is no reason to fail where a token was given.
            Err(error) if login.is_none() && !self.token_is_given() => return Err(error),
            Err(_) => None,
        };
        let of_login = |login: &Login| (Zeroizing::new(login.token.clone()), login.authority.clone());
        let of_machine = |enrolled: &Enrolled| (enrolled.token.clone(), enrolled.authority.clone());
        if let Some(token) = self.given_token()? {
            let authority = login.as_ref().and_then(|login| login.authority.clone());
            return Ok((token, authority.or_else(|| enrolled.and_then(|enrolled| enrolled.authority.clone()))));
        }
        match (self.named_place(), enrolled, &login) {
            (None, Some(enrolled), _) | (Some(_), Some(enrolled), None) => Ok(of_machine(enrolled)),
            (_, _, Some(login)) => self.unless_ended(login).map(|()| of_login(login)),
            (_, None, None) => {
                Err(Failure::new(Code::Key, "the server wants to know who asks, and no token was given")
                    .next(format!(
                        "`icecore login {}`, or give --token-file FILE or set ICECORE_TOKEN",
                        address.server()
                    ))
                    .into())
            }
        }
    }

    fn unless_ended(&self, login: &Login) -> anyhow::Result<()> {
        if login.expires_at.ms() > self.now().as_millisecond() {
            return Ok(());
        }
        let what = format!("the log-in at {} ended at {}", login.server, login.expires_at);
        Err(Failure::new(Code::Key, what).next(format!("`icecore login {}`", login.server)).into())
    }

    /// Says once that a server is waited for, and once that it answers.
    fn tell(&self) -> Tell {
        let console = self.console;
        Arc::new(move |line: &str| console.aside(line))
    }
}

fn is_not_ours(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
