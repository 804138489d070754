//! `icecore login` and `icecore logout`: a person's token for a server, kept for later verbs.

use super::context::Context;
use super::failure::{Code, Failure};
use super::secrets;
use agent::output;
use agent::remote::login::Login;
use agent::remote::trust::{self, Trust};
use agent::remote::{Connection, Options, Problem, server_url};
use anyhow::Context as _;
use reqwest::Method;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;
use web_api::authority::Fingerprint;
use web_api::error::ErrorCode;
use web_api::page::Page;
use web_api::repository::Repository;
use web_api::role::Right;
use web_api::session::{CurrentSession, LogIn};
use web_api::token::{CreateToken, CreatedToken, Token};
use web_api::unit::Time;
use zeroize::Zeroizing;

const CSRF_TOKEN: &str = "x-csrf-token";

/// How the server is recognised; `icecore agent enroll` has the same.
#[derive(clap::Args)]
pub struct Recognise {
    /// Fingerprint of the server's own certificate authority, as `icecore-server admin fingerprint` prints it there
    #[arg(long, value_name = "sha256:…")]
    pub ca_fingerprint: Option<Fingerprint>,
}

/// Options of `login`.
#[derive(clap::Args)]
pub struct Args {
    /// The server: `https://SERVER` or `https://SERVER:PORT`
    #[arg(value_name = "SERVER")]
    server: String,
    /// Your account there (or be asked)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File whose first line is your password (or set ICECORE_PASSWORD, or be asked)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What the token may do: read, restore, operate (forget, undo), agents (writer keys)
    #[arg(long, value_name = "RIGHT,…", value_delimiter = ',', default_value = "read,restore", value_parser = right)]
    rights: Vec<Right>,
    /// After how many days the token ends
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=730))]
    days: u64,
    #[command(flatten)]
    recognise: Recognise,
}

/// Options of `logout`.
#[derive(clap::Args)]
pub struct LogoutArgs {
    /// The server; may be left out when there is one log-in only
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// Forget the token here even though the server cannot be told; it works until it ends or is revoked
    #[arg(long)]
    local: bool,
}

fn right(text: &str) -> Result<Right, String> {
    Right::named(text).ok_or_else(|| {
        let names: Vec<&str> = Right::ALL.iter().map(|right| right.name()).collect();
        format!("rights are {}", names.join(", "))
    })
}

/// Logs in.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let server = server_url(&args.server)?;
    let authority = recognised(&server, &args.recognise, context)?;
    let connection = |token| {
        let plain = Options::plain(context.cancel()?);
        Connection::new(server.clone(), Options { token, authority: authority.clone(), ..plain })
    };
    let (user, token, secret) = match context.given_token()? {
        Some(secret) => {
            let token: Token = connection(Some(secret.clone()))?.get(&["token"]).map_err(refused)?;
            (None, token, secret)
        }
        None => by_password(args, &connection(None)?, context)?,
    };
    let login = Login {
        server: server.clone(),
        user,
        token_id: token.id,
        rights: token.rights,
        expires_at: token.expires_at,
        token: secret.as_str().to_owned(),
        authority: authority.clone(),
    };
    let file = context.logins()?.keep(&login)?;
    let names = repositories(&connection(Some(secret))?);
    let value = json!({
        "server": login.server.as_str(), "user": login.user, "token": login.token_id, "rights": login.rights,
        "expires_at": login.expires_at, "file": file, "repositories": names,
    });
    context.console.result(&value, |_| text(&login, &names))
}

fn text(login: &Login, names: &[String]) -> String {
    let rights: Vec<&str> = login.rights.iter().map(|right| right.name()).collect();
    let who = login.user.as_ref().map(|user| format!(" as {}", output::name(user))).unwrap_or_default();
    let example = names.first().map_or("NAME", String::as_str);
    format!(
        "Logged in at {}{who} until {}, with the rights {}.\nTry: icecore --repo {}{} list",
        login.server,
        login.expires_at,
        rights.join(", "),
        login.server,
        output::name(example)
    )
}

/// For the example only; who may not see them sees none.
fn repositories(connection: &Connection) -> Vec<String> {
    let page: Result<Page<Repository>, Problem> = connection.get(&["repositories"]);
    page.map(|page| page.items.into_iter().map(|repository| repository.name).collect()).unwrap_or_default()
}

/// Whom to trust for a server, by option or by a person's word.
pub fn recognised(server: &Url, by: &Recognise, context: &Context) -> anyhow::Result<Option<String>> {
    let mut confirm = |found: &Fingerprint| confirmed(server, found, context);
    let trust = match (context.ca_file()?, &by.ca_fingerprint) {
        (Some(pem), _) => Trust::Authority(pem),
        (None, Some(fingerprint)) => Trust::Fingerprint(fingerprint.clone()),
        (None, None) => Trust::Ask(&mut confirm),
    };
    trust::establish(server, trust, &context.cancel()?)
        .map_err(|error| refused_trust(error).context(format!("cannot be sure of the server {server}")))
}

fn refused_trust(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Problem>() {
        Ok(problem) => refused(problem),
        Err(error) => error,
    }
}

fn confirmed(server: &Url, found: &Fingerprint, context: &Context) -> anyhow::Result<bool> {
    if !secrets::can_ask() || context.console.json() {
        let what = format!("the system does not know the authority of {server}, whose fingerprint is {found}");
        let next = "compare it with what `icecore-server admin fingerprint` prints on the server, and give it as --ca-fingerprint";
        return Err(Failure::new(Code::Refused, what).next(next).into());
    }
    eprintln!("The server {server} has a certificate authority of its own, with the fingerprint\n  {found}");
    eprintln!("`icecore-server admin fingerprint` prints it on the server. Is it the same?");
    Ok(dialoguer::Confirm::new().with_prompt("Trust it").default(false).interact()?)
}

/// A session, a token made in it, and the end of the session.
fn by_password(
    args: &Args,
    connection: &Connection,
    context: &Context,
) -> anyhow::Result<(Option<String>, Token, Zeroizing<String>)> {
    let name = match &args.user {
        Some(name) => name.clone(),
        None => secrets::ask_line("User")?,
    };
    let (cookie, session) = log_in(args, connection, &name, context)?;
    let made = make_token(args, connection, (&cookie, &session), context);
    // A session that cannot be ended ends by itself.
    let end = connection.url(&["session"]);
    let ended = connection.ask(
        &Method::DELETE,
        &end,
        |request| request.header(COOKIE, &cookie).header(CSRF_TOKEN, &session.csrf_token),
        |_| Ok(()),
    );
    if let Err(problem) = ended {
        tracing::debug!(%problem, "a session was not ended");
    }
    let made = made?;
    let secret = made.secret.map(Zeroizing::new).context("the server made a token and did not say it")?;
    Ok((Some(name), made.token, secret))
}

fn log_in(
    args: &Args,
    connection: &Connection,
    name: &str,
    context: &Context,
) -> anyhow::Result<(String, CurrentSession)> {
    let password = secrets::password(args.password_file.as_deref(), context.console)?;
    let mut code = secrets::variable_text("ICECORE_CODE")?;
    loop {
        let body = LogIn {
            name: name.to_owned(),
            password: password.as_str().to_owned(),
            code: code.as_ref().map(|code| code.as_str().to_owned()),
        };
        let take = |response: reqwest::blocking::Response| {
            let cookie = response.headers().get(SET_COOKIE).and_then(|value| value.to_str().ok()?.split(';').next());
            let cookie = cookie.unwrap_or_default().to_owned();
            let session = response.json().map_err(|error| Problem::Unreachable(error.to_string()))?;
            Ok((cookie, session))
        };
        let url = connection.url(&["session"]);
        match connection.ask(&Method::POST, &url, |request| request.json(&body), take) {
            Ok(session) => return Ok(session),
            Err(Problem::Answered(detail)) if detail.code == ErrorCode::CodeNeeded && code.is_none() => {
                code = Some(Zeroizing::new(secrets::ask_line("One-time code")?));
            }
            Err(problem) => return Err(refused(problem)),
        }
    }
}

fn make_token(
    args: &Args,
    connection: &Connection,
    (cookie, session): (&str, &CurrentSession),
    context: &Context,
) -> anyhow::Result<CreatedToken> {
    if let Some(missing) = args.rights.iter().find(|right| !session.rights.contains(right)) {
        let what = format!("your role {} at this server does not include the right {missing}", session.role);
        let next = format!("leave {missing} out of --rights, or ask an admin for another role");
        return Err(Failure::new(Code::Key, what).next(next).into());
    }
    let host = super::backup::host()?;
    let now = Time::from_ms(context.now().as_millisecond());
    let body = CreateToken {
        name: format!("icecore login on {}", output::name(&host)),
        rights: args.rights.clone(),
        expires_at: now.after(Duration::from_secs(args.days * 24 * 3600)),
    };
    let finish = |request: reqwest::blocking::RequestBuilder| {
        request.header(COOKIE, cookie).header(CSRF_TOKEN, &session.csrf_token).json(&body)
    };
    let take = |response: reqwest::blocking::Response| {
        response.json().map_err(|error| Problem::Unreachable(error.to_string()))
    };
    connection.ask(&Method::POST, &connection.url(&["tokens"]), finish, take).map_err(refused)
}

/// With the exit code that goes with it.
fn refused(problem: Problem) -> anyhow::Error {
    repo_format::Error::from(problem).into()
}

/// Logs out.
pub fn logout(args: &LogoutArgs, context: &Context) -> anyhow::Result<()> {
    let logins = context.logins()?;
    let login = chosen(args, &logins.all()?)?;
    let connection = Connection::new(
        login.server.clone(),
        Options {
            token: Some(Zeroizing::new(login.token.clone())),
            authority: login.authority.clone(),
            ..Options::plain(context.cancel()?)
        },
    )?;
    let revoked = match connection.delete(&["token"]) {
        Ok(()) => true,
        // Ended or revoked already.
        Err(Problem::Answered(detail)) if detail.code == ErrorCode::NotLoggedIn => false,
        Err(_) if args.local => false,
        Err(problem) => {
            let what = format!("the token at {} could not be revoked: {problem}", login.server);
            let next = "try again, or forget it here with --local and revoke it by the server's pages";
            return Err(Failure::new(Code::Failed, what).next(next).into());
        }
    };
    logins.forget(&login.server)?;
    context.console.result(&json!({ "server": login.server.as_str(), "revoked": revoked }), |_| match revoked {
        true => format!("Logged out of {}; the token is revoked.", login.server),
        false => format!("Forgot the token for {}.", login.server),
    })
}

fn chosen(args: &LogoutArgs, all: &[Login]) -> anyhow::Result<Login> {
    let servers: Vec<&str> = all.iter().map(|login| login.server.as_str()).collect();
    let wanted = args.server.as_deref().map(server_url).transpose()?;
    let found = match (&wanted, all) {
        (Some(server), _) => all.iter().find(|login| login.server == *server),
        (None, [login]) => Some(login),
        (None, _) => None,
    };
    found.cloned().ok_or_else(|| {
        let (what, next) = match (&wanted, all) {
            (_, []) => ("nobody is logged in anywhere".into(), "`icecore login SERVER` logs in".to_owned()),
            (Some(server), _) => {
                (format!("nobody is logged in at {server}"), format!("give one of {}", servers.join(", ")))
            }
            (None, _) => ("there are several log-ins".into(), format!("name the server: {}", servers.join(", "))),
        };
        Failure::new(Code::NotFound, what).next(next).into()
    })
}
