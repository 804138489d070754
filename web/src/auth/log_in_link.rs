//! One-time log-in links: made by an admin, by the command line, or at the first start.

use super::secret::{Kind, Secret};
use crate::db::{self, Write, log_in_link, settings};
use std::time::Duration;
use web_api::id::{LogInLinkId, UserId};
use web_api::log_in_link::NewLogInLink;
use web_api::unit::Time;

/// Makes a link for an account, or with `None` for the first one. Earlier links of the same purpose end.
pub fn make(write: &Write<'_>, user_id: Option<UserId>, base_url: &str, now: Time) -> db::Result<NewLogInLink> {
    let lifetime = Duration::from_secs(settings::get(write)?.log_in_link_lifetime_s);
    let secret = Secret::generate(Kind::LogInLink);
    let link = log_in_link::StoredLink {
        id: LogInLinkId::generate(),
        user_id,
        created_at: now,
        expires_at: now.after(lifetime),
    };
    log_in_link::delete_of(write, user_id)?;
    log_in_link::insert(write, &link, &secret.hash())?;
    Ok(NewLogInLink {
        id: link.id,
        url: url(base_url, user_id.is_none(), &secret),
        secret: secret.expose().to_owned(),
        expires_at: link.expires_at,
    })
}

/// The secret stands behind the `#`: browsers send that part to nobody, so it is in no log of any server. The path tells the page
/// whether to ask for a name.
fn url(base_url: &str, is_first: bool, secret: &Secret) -> String {
    let path = if is_first { "first/log-in" } else { "log-in" };
    format!("{}/{path}#{}", base_url.trim_end_matches('/'), secret.expose())
}
