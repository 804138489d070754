//! The configuration: what the server needs before it can start. A TOML file, and over it environment variables.
//!
//! What can be changed while it runs is in the settings, in the database. `docs/server.md` has the table of all keys; a test
//! compares it with [`KEYS`], and those with the fields.

use anyhow::{Context as _, bail};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

/// Before every variable's name.
const PREFIX: &str = "ICECORE_SERVER_";
/// Read when no file is named, if it is there.
const DEFAULT_FILE: &str = "/etc/icecore/server.toml";

/// Where the certificate comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// From a certificate authority that the server makes for itself.
    Internal,
    /// From files.
    Files,
    /// No TLS; on the loopback only.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people and journald.
    Text,
    /// One JSON object a line.
    Json,
}

/// All keys with their values.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// See [`KEYS`], also for all others.
    pub listen: SocketAddr,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub data_dir: PathBuf,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub public_url: String,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub tls: TlsMode,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub tls_names: Vec<String>,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub tls_certificate_file: PathBuf,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub tls_key_file: PathBuf,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub log_format: LogFormat,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub log_filter: String,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub stop_within_s: NonZeroU64,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub database_readers: NonZeroUsize,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub password_memory_kib: u32,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub password_workers: NonZeroUsize,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub job_lease_s: NonZeroU64,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub head_within_s: NonZeroU64,
    #[expect(missing_docs, reason = "KEYS explains it")]
    pub stalled_after_s: NonZeroU64,
}

/// Every key and what it means.
pub const KEYS: [(&str, &str); 16] = [
    ("listen", "Address and port."),
    ("data_dir", "Directory of the database and the internal certificate authority; made with mode 0700."),
    ("public_url", "Where people reach the server, for links; empty: made of `listen` and the machine's name."),
    (
        "tls",
        "`internal`: a certificate of an authority that the server makes for itself; `files`: your own; `off`: only where `listen` is a loopback address.",
    ),
    (
        "tls_names",
        "Names and addresses in the internal certificate; empty: the machine's name, `localhost`, the loopback addresses and that of `listen`.",
    ),
    ("tls_certificate_file", "PEM file of the certificate and its chain, for `files`. Read anew on SIGHUP."),
    ("tls_key_file", "PEM file of its private key, for `files`."),
    ("log_format", "`text` or `json`, to standard error."),
    ("log_filter", "What is logged: `error`, `warn`, `info`, `debug`, or per part, such as `info,web::db=debug`."),
    ("stop_within_s", "How long requests may go on after SIGTERM."),
    ("database_readers", "Connections that read the database at the same time."),
    ("password_memory_kib", "Memory of one password hash (argon2id, 3 passes)."),
    ("password_workers", "Passwords that are hashed at the same time; each takes `password_memory_kib`."),
    (
        "job_lease_s",
        "An agent that reports nothing of its job for this long has lost it; the job is tried again by its plan's rule.",
    ),
    ("head_within_s", "The head of a request has to come within this; so long a connection may be idle, too."),
    ("stalled_after_s", "Whoever takes no byte of an answer for this long, or sends none of an object, is cut off."),
];

impl Default for Config {
    fn default() -> Self {
        let some = |value| NonZeroUsize::new(value).unwrap_or(NonZeroUsize::MIN);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8480)),
            data_dir: "/var/lib/icecore-server".into(),
            public_url: String::new(),
            tls: TlsMode::Internal,
            tls_names: Vec::new(),
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            log_format: LogFormat::Text,
            log_filter: "info".into(),
            stop_within_s: NonZeroU64::new(30).unwrap_or(NonZeroU64::MIN),
            database_readers: some(4),
            password_memory_kib: 64 << 10,
            password_workers: some(2),
            job_lease_s: NonZeroU64::new(60).unwrap_or(NonZeroU64::MIN),
            head_within_s: NonZeroU64::new(20).unwrap_or(NonZeroU64::MIN),
            stalled_after_s: NonZeroU64::new(60).unwrap_or(NonZeroU64::MIN),
        }
    }
}

impl Config {
    /// Reads the file, or with `None` the usual one where it is there, and the environment.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut sources = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                bail!("there is no configuration file {}", file.display());
            }
            sources = sources.merge(Toml::file_exact(file));
        } else if Path::new(DEFAULT_FILE).is_file() {
            sources = sources.merge(Toml::file_exact(DEFAULT_FILE));
        }
        let environment = Env::prefixed(PREFIX).ignore(&["config"]);
        let config: Self = sources.merge(environment).extract().context(
            "the configuration cannot be used; docs/server.md has all keys, and a variable is ICECORE_SERVER_ and the key in capitals",
        )?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.tls == TlsMode::Off && !self.listen.ip().is_loopback() {
            bail!(
                "tls = \"off\" is for the loopback only, and listen is {}: passwords would cross the network in the clear. \
                 Use tls = \"internal\", or listen on 127.0.0.1 behind a proxy that speaks TLS",
                self.listen
            );
        }
        let files = [&self.tls_certificate_file, &self.tls_key_file];
        if self.tls == TlsMode::Files && files.iter().any(|file| file.as_os_str().is_empty()) {
            bail!("tls = \"files\" needs tls_certificate_file and tls_key_file");
        }
        let url_fits = ["http://", "https://"].iter().any(|scheme| self.public_url.starts_with(scheme));
        if !self.public_url.is_empty() && !url_fits {
            bail!("public_url is {:?}; it begins with https:// (or http://)", self.public_url);
        }
        Ok(())
    }

    /// The database's file.
    pub fn database_file(&self) -> PathBuf {
        self.data_dir.join("server.sqlite")
    }

    /// Where people reach a server that listens at `address`.
    pub fn base_url(&self, address: SocketAddr) -> String {
        if !self.public_url.is_empty() {
            return self.public_url.clone();
        }
        let scheme = if self.tls == TlsMode::Off { "http" } else { "https" };
        match address.ip() {
            ip if ip.is_unspecified() => format!("{scheme}://{}:{}", host_name(), address.port()),
            IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", address.port()),
            IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", address.port()),
        }
    }

    /// Whether browsers reach it over TLS, here or at a proxy in front.
    pub fn is_secure(&self) -> bool {
        self.tls != TlsMode::Off || self.public_url.starts_with("https://")
    }
}

/// The machine's name.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const DOCUMENT: &str = include_str!("../../docs/server.md");

    fn defaults() -> serde_json::Map<String, Value> {
        match serde_json::to_value(Config::default()) {
            Ok(Value::Object(fields)) => fields,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_field_has_its_key_and_every_key_its_field() {
        let mut fields: Vec<_> = defaults().keys().cloned().collect();
        let mut keys = KEYS.map(|(key, _)| key.to_owned()).to_vec();
        fields.sort();
        keys.sort();
        assert_eq!(fields, keys);
    }

    #[test]
    fn the_table_in_the_document_is_that_of_the_code() {
        let defaults = defaults();
        let rows = KEYS.map(|(key, meaning)| format!("| `{key}` | `{}` | {meaning} |\n", defaults[key]));
        let table = format!("| key | default | meaning |\n|---|---|---|\n{}", rows.concat());
        assert!(DOCUMENT.contains(&table), "docs/server.md needs this table:\n{table}");
    }

    #[test]
    fn a_file_sets_keys_and_refuses_unknown_ones() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.toml");
        let load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Config::load(Some(&file)).map_err(|error| format!("{error:#}"))
        };
        let config = load("listen = \"[::1]:1\"\ntls = \"off\"\ntls_names = [\"a\"]\nstop_within_s = 3\n").unwrap();
        assert_eq!((config.listen.port(), config.tls, config.stop_within_s.get()), (1, TlsMode::Off, 3));
        for (text, part) in [
            ("lissten = 1", "lissten"),
            ("listen = \"nowhere\"", "listen"),
            ("tls = \"off\"\nlisten = \"0.0.0.0:80\"", "loopback only"),
            ("tls = \"files\"", "needs tls_certificate_file"),
            ("stop_within_s = 0", "stop_within_s"),
            ("public_url = \"ice.example\"", "public_url"),
            ("[", "server.toml"),
        ] {
            let refused = load(text).expect_err(text);
            assert!(refused.contains(part), "{text}: {refused}");
        }
        assert!(Config::load(Some(&dir.path().join("none"))).is_err());
    }

    #[test]
    fn links_lead_to_where_people_reach_the_server() {
        let url = |listen: &str, public_url: &str, tls| {
            let public_url = public_url.to_owned();
            Config { tls, public_url, ..Config::default() }.base_url(listen.parse().unwrap())
        };
        assert_eq!(url("127.0.0.1:80", "", TlsMode::Off), "http://127.0.0.1:80");
        assert_eq!(url("[::1]:443", "", TlsMode::Internal), "https://[::1]:443");
        assert_eq!(url("0.0.0.0:1", "", TlsMode::Files), format!("https://{}:1", host_name()));
        assert_eq!(url("0.0.0.0:1", "https://ice.example/x", TlsMode::Files), "https://ice.example/x");
    }
}
