//! Where a repository is: in a directory, in object storage, or behind a server.

use anyhow::{Context, Result, ensure};
use repo_format::store::s3::S3Address;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::{Host, Url};
use web_api::repository::{REPOSITORY_NAMES, is_repository_name};

/// A repository's place, as `--repo` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// In object storage.
    Bucket(S3Address),
    /// Behind a server.
    Server(Address),
}

impl Place {
    /// The directory, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(dir) => Some(dir),
            Self::Bucket(_) | Self::Server(_) => None,
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("https" | "http", _)) => text.parse().map(Self::Server),
            Some(("s3", _)) => Ok(Self::Bucket(text.parse()?)),
            Some((scheme, _)) => {
                anyhow::bail!(
                    "{scheme}:// is no place for a repository; give a directory, s3://BUCKET/PREFIX or https://SERVER/REPOSITORY"
                )
            }
            None => Ok(Self::Directory(text.into())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => dir.display().fmt(f),
            Self::Bucket(address) => address.fmt(f),
            Self::Server(address) => address.fmt(f),
        }
    }
}

/// A repository of a server: `https://HOST[:PORT][/BELOW]/REPOSITORY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server, ending in `/`.
    server: Url,
    repository: String,
}

impl Address {
    /// A repository of a server.
    pub fn new(server: Url, repository: &str) -> Result<Self> {
        ensure!(is_repository_name(repository), "{WANTED}. {REPOSITORY_NAMES}");
        Ok(Self { server: checked(server)?, repository: repository.to_owned() })
    }

    /// URL of the server.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// The repository's name there.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// A URL below the server's API; the segments are encoded.
    pub fn api_url(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    /// A URL below this repository's part of the API; the segments are encoded.
    pub fn url(&self, segments: &[&str]) -> Url {
        self.api_url(&[&["repositories", &self.repository], segments].concat())
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut server = checked(text.parse().with_context(|| format!("{text:?} is no URL"))?)?;
        let path = server.path().trim_end_matches('/').to_owned();
        let (below, repository) = path.rsplit_once('/').context(WANTED)?;
        server.set_path(&format!("{below}/"));
        Self::new(server, repository)
    }
}

const WANTED: &str = "the repository's name is missing; write https://SERVER/REPOSITORY";

/// The URL of a server itself, as `https://HOST[:PORT][/BELOW]`; it ends in `/` then.
pub fn server_url(text: &str) -> Result<Url> {
    let mut server = checked(text.parse().with_context(|| format!("{text:?} is no URL; write https://SERVER"))?)?;
    let below = server.path().trim_end_matches('/').to_owned();
    server.set_path(&format!("{below}/"));
    Ok(server)
}

/// Refuses what would show secrets to others.
fn checked(server: Url) -> Result<Url> {
    ensure!(
        server.username().is_empty() && server.password().is_none(),
        "a secret in a URL is seen by everybody; give the token by --token-file or ICECORE_TOKEN"
    );
    ensure!(
        server.query().is_none() && server.fragment().is_none(),
        "{server} has parts after `?` or `#`; leave them out"
    );
    ensure!(
        server.scheme() == "https" || (server.scheme() == "http" && is_loopback(&server)),
        "{server} would send secrets in the open; use https:// (http:// is for this machine itself)"
    );
    Ok(server)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_and_a_name_are_told_apart_wherever_the_server_is() {
        let plain = address("https://backup.example:8443/main/");
        assert_eq!((plain.server().as_str(), plain.repository()), ("https://backup.example:8443/", "main"));
        let below = address("https://example.org/backup/main");
        assert_eq!(
            below.url(&["objects", "a/b"]).as_str(),
            "https://example.org/backup/api/v1/repositories/main/objects/a%2Fb"
        );
        assert_eq!(below.to_string(), "https://example.org/backup/main");
    }

    #[test]
    fn what_would_send_secrets_in_the_open_is_refused_except_to_this_machine() {
        assert!("http://backup.example/main".parse::<Address>().is_err());
        for near in ["http://127.0.0.1:80/main", "http://[::1]/main", "http://localhost:8080/main"] {
            near.parse::<Address>().unwrap();
        }
        let error = "https://user:secret@backup.example/main".parse::<Address>().unwrap_err();
        assert!(error.to_string().contains("--token-file"));
    }

    #[test]
    fn addresses_without_a_sound_name_say_what_is_missing() {
        for text in
            ["https://backup.example", "https://backup.example/", "https://backup.example/Main", "https://b/a%20b"]
        {
            assert!(text.parse::<Address>().unwrap_err().to_string().contains("https://SERVER/REPOSITORY"), "{text}");
        }
        assert!("https://b/main?x=1".parse::<Address>().is_err());
    }

    #[test]
    fn what_is_no_url_is_a_directory_and_other_schemes_are_refused() {
        assert_eq!("/srv/https".parse::<Place>().unwrap(), Place::Directory("/srv/https".into()));
        assert!(matches!("https://b/main".parse::<Place>().unwrap(), Place::Server(_)));
        assert!(matches!("s3://bucket/home".parse::<Place>().unwrap(), Place::Bucket(_)));
        assert!("s3://b".parse::<Place>().unwrap_err().to_string().contains("s3://BUCKET/PREFIX"));
        assert!("ftp://b/main".parse::<Place>().unwrap_err().to_string().contains("ftp:// is no place"));
    }
}
