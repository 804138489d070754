//! A machine's enrolment: which server and repository it stores into, and what it proves by. One directory, for its owner only.
//!
//! | file | holds |
//! |---|---|
//! | `agent.toml` | `server`, `repository` and `name` of the machine there |
//! | `token` | the machine's secret at the server |
//! | `ca.pem` | the authority that the server proves to be of; missing where the system knows one |
//! | `writer.key` | the writer key, by which the machine seals and signs what it stores; of a keeper missing |
//! | `repository.key` | of a keeper: a key file of the repository that it keeps; missing where it asks for the passphrase at every start |
//!
//! `agent.toml` is written last and removed first: while it is there, the rest is.

use super::Address;
use crate::private_file;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use url::Url;
use zeroize::Zeroizing;

/// Where a machine's enrolment is unless somebody says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/etc/icecore/agent";
/// Environment variable that says otherwise.
pub const DIRECTORY_VARIABLE: &str = "ICECORE_AGENT_DIR";

const DESCRIPTION: &str = "agent.toml";
const TOKEN: &str = "token";
const AUTHORITY: &str = "ca.pem";
const WRITER_KEY: &str = "writer.key";
const REPOSITORY_KEY: &str = "repository.key";

/// What `agent.toml` holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(with = "super::url_text")]
    server: Url,
    repository: String,
    name: String,
    /// Directory of the repository, of a keeper.
    #[serde(default)]
    keeps: Option<PathBuf>,
}

/// By what a machine works in its repository.
#[derive(Clone)]
pub enum Holds {
    /// It stores over the server, by a writer key as a file of its own has it.
    WriterKey(Zeroizing<String>),
    /// It keeps the repository in this directory, by a key file of it or by what it asks for when it starts.
    Repository(PathBuf),
}

/// An enrolment, with its secrets in memory.
pub struct Enrolled {
    /// The repository that the machine stores into.
    pub address: Address,
    /// The machine's name at the server.
    pub name: String,
    /// Its secret there.
    pub token: Zeroizing<String>,
    /// Certificate (PEM) of the authority that the server proves to be of; without it those of the system.
    pub authority: Option<String>,
    /// By what it works.
    pub holds: Holds,
}

impl Enrolled {
    /// The enrolment in a directory; `None` when there is none. One that lacks a part is an error.
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        let Some(text) = private_file::read(&directory.join(DESCRIPTION))? else { return Ok(None) };
        let cannot = || format!("the enrolment in {} cannot be used", directory.display());
        let description = Description::parse(&text).with_context(cannot)?;
        let address = Address::new(description.server, &description.repository).with_context(cannot)?;
        let part = |name: &str| private_file::read(&directory.join(name));
        let needed = |name: &str| part(name)?.with_context(|| format!("{name} is missing")).with_context(cannot);
        let token = Zeroizing::new(needed(TOKEN)?.trim().to_owned());
        let authority = part(AUTHORITY)?.map(|text| text.as_str().to_owned());
        let holds = match description.keeps {
            Some(directory) => Holds::Repository(directory),
            None => Holds::WriterKey(needed(WRITER_KEY)?),
        };
        Ok(Some(Self { address, name: description.name, token, authority, holds }))
    }

    /// Whether a directory has an enrolment, whole or not.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(DESCRIPTION).symlink_metadata().is_ok()
    }

    /// Writes the enrolment, durably. One that is there stays unless `replace` is given.
    pub fn save(&self, directory: &Path, replace: bool) -> Result<()> {
        if !replace && Self::is_in(directory) {
            bail!("{} has an enrolment already, and nothing was changed", directory.display());
        }
        private_file::make_directory(directory)?;
        private_file::remove(&directory.join(DESCRIPTION))?;
        private_file::write(&directory.join(TOKEN), &[self.token.as_bytes(), b"\n"].concat())?;
        match &self.authority {
            Some(pem) => private_file::write(&directory.join(AUTHORITY), pem.as_bytes())?,
            None => drop(private_file::remove(&directory.join(AUTHORITY))?),
        }
        let keeps = match &self.holds {
            Holds::WriterKey(key) => {
                private_file::write(&directory.join(WRITER_KEY), key.as_bytes())?;
                None
            }
            Holds::Repository(kept) => {
                private_file::remove(&directory.join(WRITER_KEY))?;
                Some(kept.clone())
            }
        };
        let description = Description {
            server: self.address.server().clone(),
            repository: self.address.repository().to_owned(),
            name: self.name.clone(),
            keeps,
        };
        private_file::write(&directory.join(DESCRIPTION), description.text().as_bytes())
    }

    /// Writes another secret in the place of the one before.
    pub fn save_token(directory: &Path, token: &str) -> Result<()> {
        private_file::write(&directory.join(TOKEN), format!("{token}\n").as_bytes())
    }

    /// Removes an enrolment; whether there was one. The server still knows the machine.
    pub fn remove(directory: &Path) -> Result<bool> {
        let was_there = private_file::remove(&directory.join(DESCRIPTION))?;
        for name in [TOKEN, AUTHORITY, WRITER_KEY, REPOSITORY_KEY] {
            private_file::remove(&directory.join(name))?;
        }
        Ok(was_there)
    }

    /// The directory of the repository that it keeps, if it does.
    pub fn keeps(&self) -> Option<&Path> {
        match &self.holds {
            Holds::Repository(directory) => Some(directory),
            Holds::WriterKey(_) => None,
        }
    }

    /// The file with the keeper's key of the repository.
    pub fn repository_key_file(directory: &Path) -> PathBuf {
        directory.join(REPOSITORY_KEY)
    }

    /// The file with the writer key.
    pub fn writer_key_file(directory: &Path) -> PathBuf {
        directory.join(WRITER_KEY)
    }
}

/// `key = "value"` lines: as much of TOML as a few strings need, so that no library is needed to read them.
impl Description {
    fn parse(text: &str) -> Result<Self> {
        let mut values = serde_json::Map::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').with_context(|| format!("{DESCRIPTION} has a line without `=`"))?;
            // A basic string of TOML without its rarer escapes is one of JSON.
            let value: String = serde_json::from_str(value.trim())
                .with_context(|| format!("{DESCRIPTION}: {} is no string in double quotes", key.trim()))?;
            values.insert(key.trim().to_owned(), value.into());
        }
        serde_json::from_value(values.into()).with_context(|| format!("{DESCRIPTION} is not as it must be"))
    }

    fn text(&self) -> String {
        let line = |key: &str, value: &str| format!("{key} = {}\n", serde_json::Value::from(value));
        let head = "# Written by `icecore agent enroll`. The secrets are in the files beside this one.\n";
        let keeps = self.keeps.as_ref().map(|directory| line("keeps", &directory.to_string_lossy()));
        [
            head.to_owned(),
            line("server", self.server.as_str()),
            line("repository", &self.repository),
            line("name", &self.name),
            keeps.unwrap_or_default(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled() -> Enrolled {
        Enrolled {
            address: "https://backup.example:8443/main".parse().unwrap(),
            name: "web".into(),
            token: Zeroizing::new("ica_1".into()),
            authority: Some("pem".into()),
            holds: Holds::WriterKey(Zeroizing::new("{}".into())),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("agent");
        assert!(Enrolled::load(&directory).unwrap().is_none());
        enrolled().save(&directory, false).unwrap();
        let loaded = Enrolled::load(&directory).unwrap().unwrap();
        assert_eq!(loaded.address, enrolled().address);
        assert_eq!((loaded.name.as_str(), loaded.token.as_str()), ("web", "ica_1"));
        assert_eq!(loaded.authority.as_deref(), Some("pem"));
        assert!(matches!(&loaded.holds, Holds::WriterKey(key) if key.as_str() == "{}"));
        Enrolled::save_token(&directory, "ica_2").unwrap();
        assert_eq!(Enrolled::load(&directory).unwrap().unwrap().token.as_str(), "ica_2");
    }

    #[test]
    fn a_keeper_has_a_directory_and_no_writer_key() {
        let dir = tempfile::tempdir().unwrap();
        enrolled().save(dir.path(), false).unwrap();
        let keeper = Enrolled { holds: Holds::Repository("/srv/ice \"core\"".into()), ..enrolled() };
        keeper.save(dir.path(), true).unwrap();
        let loaded = Enrolled::load(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.keeps(), Some(Path::new("/srv/ice \"core\"")));
        assert!(!dir.path().join(WRITER_KEY).exists());
    }

    #[test]
    fn an_enrolment_is_not_replaced_by_mistake() {
        let dir = tempfile::tempdir().unwrap();
        enrolled().save(dir.path(), false).unwrap();
        let other = Enrolled { name: "other".into(), authority: None, ..enrolled() };
        assert!(other.save(dir.path(), false).is_err());
        assert_eq!(Enrolled::load(dir.path()).unwrap().unwrap().name, "web");
        other.save(dir.path(), true).unwrap();
        let loaded = Enrolled::load(dir.path()).unwrap().unwrap();
        assert_eq!((loaded.name.as_str(), loaded.authority), ("other", None));
        assert!(Enrolled::remove(dir.path()).unwrap() && !Enrolled::remove(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_enrolment_that_lacks_a_part_says_which() {
        let dir = tempfile::tempdir().unwrap();
        enrolled().save(dir.path(), false).unwrap();
        std::fs::remove_file(dir.path().join(TOKEN)).unwrap();
        assert!(format!("{:#}", Enrolled::load(dir.path()).err().unwrap()).contains("token is missing"));
        for text in ["server", "server = 7", "server = \"https://a/\"", "name = \"a\"\nother = \"b\""] {
            std::fs::write(dir.path().join(DESCRIPTION), text).unwrap();
            assert!(Enrolled::load(dir.path()).is_err(), "{text}");
        }
    }
}
