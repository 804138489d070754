//! `icecore-server admin`: accounts and the audit log, for whoever has a shell on the machine.
//!
//! Works on the database's file, beside a running server or without one. No password is ever an argument: the person sets it by
//! a one-time link.

use crate::audit::Record;
use crate::config::Config;
use crate::db::{self, Write, open, recovery_code, session, user};
use crate::handlers::audit::walk;
use crate::http::ApiError;
use crate::{auth, db::audit, tls};
use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::process::ExitCode;
use web_api::audit::{AuditHead, Outcome};
use web_api::log_in_link::NewLogInLink;
use web_api::role::Role;
use web_api::unit::Time;

/// Exit code of `audit-verify` when the log is not intact.
const NOT_INTACT: u8 = 3;

/// Verbs of `admin`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make an account and print the link by which the person sets a password
    CreateUser {
        /// Name for logging in
        name: String,
        /// viewer, operator, restorer or admin
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
    },
    /// Take a person's password away, end the sessions, and print a link that sets another one
    ResetPassword {
        /// Name of the account
        name: String,
        /// Take the authenticator away too
        #[arg(long)]
        remove_totp: bool,
    },
    /// Print a one-time log-in link: for an account, or for the first one while there is none
    LogInLink {
        /// Name of the account
        name: Option<String>,
    },
    /// Print the fingerprint of the server's own certificate authority, to be compared where somebody connects for the first time
    Fingerprint,
    /// Print the line that makes this machine's agent the keeper of a repository: it verifies, checks, prunes and restores
    EnrollKeeper(super::keeper::Args),
    /// Copies of the database, and putting one back
    #[command(flatten)]
    Copies(super::copies::Command),
    /// Walk along the audit log's chain; exit code 3 when it is not intact
    AuditVerify {
        /// A head that was noted earlier and must still be in the log
        #[arg(long, value_name = "NUMBER:HASH", value_parser = noted)]
        noted: Option<AuditHead>,
    },
}

fn role(name: &str) -> Result<Role, String> {
    Role::named(name).ok_or_else(|| {
        format!("roles are: {}", Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>().join(", "))
    })
}

fn noted(text: &str) -> Result<AuditHead, String> {
    let (number, hash) = text.split_once(':').ok_or("it has the form NUMBER:HASH")?;
    Ok(AuditHead { number: number.parse().map_err(|_| "the number is none")?, hash: hash.to_owned() })
}

/// Runs one verb.
pub fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    if matches!(command, Command::Fingerprint) {
        return fingerprint(config);
    }
    if let Command::Copies(command) = command {
        return super::copies::run(command, config).map(|()| ExitCode::SUCCESS);
    }
    if let Command::EnrollKeeper(args) = command {
        return super::keeper::run(args, config).map(|()| ExitCode::SUCCESS);
    }
    let mut connection = open::writable(&config.database_file())?;
    match command {
        Command::Fingerprint | Command::EnrollKeeper(_) => {}
        Command::CreateUser { name, role } => print_link(&change(&mut connection, |write, now| {
            let user = crate::handlers::users::add(write, name, *role, now).map_err(told)?;
            record(write, now, "user.create", &user.id.to_string(), &format!("{name} as {role}"))?;
            Ok(auth::log_in_link::make(write, Some(user.id), &base_url(config), now)?)
        })?),
        Command::ResetPassword { name, remove_totp } => print_link(&change(&mut connection, |write, now| {
            let id = existing(write, name)?.user.id;
            user::set_password(write, id, None)?;
            session::delete_others(write, id, None)?;
            if *remove_totp {
                user::set_totp(write, id, None)?;
                recovery_code::replace(write, id, &[])?;
            }
            record(write, now, "user.reset_password", &id.to_string(), &format!("{name}, remove_totp {remove_totp}"))?;
            Ok(auth::log_in_link::make(write, Some(id), &base_url(config), now)?)
        })?),
        Command::LogInLink { name } => print_link(&change(&mut connection, |write, now| {
            let user = match name {
                Some(name) => Some(existing(write, name)?.user.id),
                None if user::nobody(write)? => None,
                None => bail!("there are accounts; name the one that the link is for"),
            };
            let link = auth::log_in_link::make(write, user, &base_url(config), now)?;
            let subject = name.as_deref().unwrap_or("the first account");
            record(write, now, "user.log_in_link", subject, &format!("link {}", link.id))?;
            Ok(link)
        })?),
        Command::Copies(_) => {}
        Command::AuditVerify { noted } => return verify(&connection, noted.clone()),
    }
    Ok(ExitCode::SUCCESS)
}

fn fingerprint(config: &Config) -> anyhow::Result<ExitCode> {
    let authority = tls::authority(config)?.context(
        "this server has no certificate authority of its own: `tls` is not \"internal\"; clients trust whom their system trusts",
    )?;
    println!("{}", authority.fingerprint);
    Ok(ExitCode::SUCCESS)
}

fn verify(connection: &Connection, noted: Option<AuditHead>) -> anyhow::Result<ExitCode> {
    let verdict = walk(connection, noted)?;
    if let Some(damage) = verdict.damage {
        println!("the audit log is NOT intact: {damage}");
        println!("the last entry that fits is {}:{}", verdict.head.number, verdict.head.hash);
        println!(
            "next: keep a copy of the database, compare the log with one that was noted or copied earlier, and find out who could write to it"
        );
        return Ok(ExitCode::from(NOT_INTACT));
    }
    println!("the audit log is intact: {} entries", verdict.entries);
    println!("note this elsewhere and give it to --noted next time: {}:{}", verdict.head.number, verdict.head.hash);
    Ok(ExitCode::SUCCESS)
}

/// One transaction; the link of a change that did not come about is never printed.
pub(super) fn change<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Write<'_>, Time) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&mut Write::within(&transaction), Timestamp::now().into())?;
    transaction.commit().context("the change could not be stored")?;
    Ok(result)
}

fn existing(write: &Write<'_>, name: &str) -> anyhow::Result<user::Account> {
    user::find_by_name(write, name)?.with_context(|| format!("there is no account named {name}"))
}

pub(super) fn record(write: &Write<'_>, at: Time, action: &str, subject: &str, detail: &str) -> db::Result<()> {
    let (actor, address) = ("console".into(), "local".into());
    let (action, subject, detail) = (action.into(), subject.into(), detail.into());
    audit::append(write, Record { at, actor, address, action, subject, outcome: Outcome::Done, detail }).map(drop)
}

/// The configuration's address: a server that listens on port 0 is known to nobody else.
pub(super) fn base_url(config: &Config) -> String {
    config.base_url(config.listen)
}

pub(super) fn told(error: ApiError) -> anyhow::Error {
    anyhow!("{error}")
}

fn print_link(link: &NewLogInLink) {
    println!("this link works once, until {}:\n{}", link.expires_at, link.url);
}
