//! Log-ins that `icecore login` keeps: for each server a person's token, and the authority that was found to be the server's.
//!
//! One file a server, below the user's configuration, readable for the user alone. Where that directory is, is the caller's to say.

use crate::private_file;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use url::Url;
use web_api::id::TokenId;
use web_api::role::Right;
use web_api::unit::Time;
use zeroize::Zeroize;

/// A log-in at one server.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// URL of the server, ending in `/`.
    #[serde(with = "super::url_text")]
    pub server: Url,
    /// Whose the token is, where that is known.
    pub user: Option<String>,
    /// The token's id.
    pub token_id: TokenId,
    /// What it is limited to.
    pub rights: Vec<Right>,
    /// When it stops working.
    pub expires_at: Time,
    /// The token itself.
    pub token: String,
    /// Certificate (PEM) of the authority that the server proved to be of; without it those of the system.
    pub authority: Option<String>,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// The log-ins of one user.
pub struct Logins {
    directory: PathBuf,
}

impl Logins {
    /// Those in a directory, which need not be there.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// One file for each server, with a name that a person recognises.
    fn file(&self, server: &Url) -> PathBuf {
        let readable = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let host: String = server.host_str().unwrap_or_default().chars().map(readable).collect();
        let port = server.port_or_known_default().unwrap_or_default();
        // What the readable part leaves out: the scheme, and a path where the server is below one.
        let hash = blake3::hash(server.as_str().as_bytes()).to_hex();
        self.directory.join(format!("{host}_{port}_{}.json", &hash[..8]))
    }

    /// The log-in at a server.
    pub fn find(&self, server: &Url) -> Result<Option<Login>> {
        let path = self.file(server);
        let Some(text) = private_file::read(&path)? else { return Ok(None) };
        let login: Login = serde_json::from_str(&text).with_context(|| {
            format!("{} holds no log-in; remove it and run `icecore login {server}`", path.display())
        })?;
        Ok(Some(login).filter(|login| login.server == *server))
    }

    /// All of them, in no order.
    pub fn all(&self) -> Result<Vec<Login>> {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Ok(found) };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(text) = private_file::read(&path)?
                && let Ok(login) = serde_json::from_str(&text)
            {
                found.push(login);
            }
        }
        Ok(found)
    }

    /// Keeps a log-in in the place of an earlier one at the same server. Returns its file.
    pub fn keep(&self, login: &Login) -> Result<PathBuf> {
        private_file::make_directory(&self.directory)?;
        let path = self.file(&login.server);
        let text = zeroize::Zeroizing::new(serde_json::to_vec_pretty(login)?);
        private_file::write(&path, &text)?;
        Ok(path)
    }

    /// Forgets a log-in; whether there was one. The token is revoked by asking the server.
    pub fn forget(&self, server: &Url) -> Result<bool> {
        private_file::remove(&self.file(server))
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(server: &str) -> Login {
        Login {
            server: server.parse().unwrap(),
            user: Some("ada".into()),
            token_id: TokenId::generate(),
            rights: vec![Right::Read, Right::Restore],
            expires_at: Time::from_ms(1_790_000_000_000),
            token: "ict_1".into(),
            authority: None,
        }
    }

    #[test]
    fn a_login_is_found_for_its_own_server_only() {
        let dir = tempfile::tempdir().unwrap();
        let logins = Logins::at(dir.path().join("icecore/servers"));
        let servers =
            ["https://b.example/", "https://b.example:8443/", "https://b.example/below/", "http://localhost:80/"];
        assert!(logins.all().unwrap().is_empty());
        for server in servers {
            assert!(logins.find(&server.parse().unwrap()).unwrap().is_none());
            logins.keep(&login(server)).unwrap();
        }
        assert_eq!(logins.all().unwrap().len(), servers.len());
        for server in servers {
            let url = server.parse().unwrap();
            assert_eq!(logins.find(&url).unwrap().unwrap().server, url);
            assert!(logins.forget(&url).unwrap() && !logins.forget(&url).unwrap());
        }
    }

    #[test]
    fn a_damaged_login_says_how_to_get_another() {
        let dir = tempfile::tempdir().unwrap();
        let logins = Logins::at(dir.path().into());
        let path = logins.keep(&login("https://b.example/")).unwrap();
        std::fs::write(path, "{").unwrap();
        let error = logins.find(&"https://b.example/".parse().unwrap()).err().unwrap();
        assert!(format!("{error:#}").contains("icecore login"), "{error:#}");
    }
}
