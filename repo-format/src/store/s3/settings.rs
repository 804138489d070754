//! How object storage is reached: endpoint, region, keys and patience, as the usual AWS variables and profiles say them.
//!
//! This crate reads no environment and no file by itself: whoever opens the store gives a look-up for each.

use super::address::S3Address;
use super::profile::Profile;
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use url::{Host, Url};

/// How long one operation is tried before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Longest object that is put by one request; a longer one goes in parts. Every pack of the usual size is below it.
pub const SINGLE_PUT_BYTES: usize = 64 << 20;
/// Region where nothing says another.
const DEFAULT_REGION: &str = "us-east-1";

/// Who we are to the endpoint.
#[derive(Clone)]
pub enum KeySource {
    /// An access key.
    Given {
        /// Its public part.
        key_id: String,
        /// Its secret part.
        secret: String,
        /// Of a session, for keys that last for some hours.
        token: Option<String>,
    },
    /// What the machine, or the container, has by itself: settings of `object_store` by name.
    Machine(Vec<(&'static str, String)>),
}

impl fmt::Debug for KeySource {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { key_id, .. } => write!(f, "Given({key_id})"),
            Self::Machine(_) => f.write_str("Machine"),
        }
    }
}

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bucket and prefix.
    pub address: S3Address,
    /// The endpoint; none for AWS itself.
    pub endpoint: Option<Url>,
    /// Region that requests are signed for.
    pub region: String,
    /// Who we are.
    pub keys: KeySource,
    /// Certificates to trust besides the system's.
    pub ca_bundle_pem: Option<Vec<u8>>,
    /// The bucket is a part of the host's name and not of the path.
    pub virtual_host: bool,
    /// How long one operation is tried.
    pub patience: Duration,
    /// Longest object that is put by one request, and length of a part of a longer one.
    pub single_put_bytes: usize,
    /// Ends every operation.
    pub cancel: Arc<AtomicBool>,
}

/// Where settings come from.
pub struct Surroundings<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file's bytes.
    pub file: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

impl Surroundings<'_> {
    fn any(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| (self.variable)(name).filter(|value| !value.is_empty()))
    }

    fn is_set(&self, name: &str) -> bool {
        self.any(&[name]).is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
    }

    /// The profile that is asked for, or the default one where there is one.
    fn profile(&self) -> Result<Profile> {
        let asked = self.any(&["AWS_PROFILE"]);
        let name = asked.as_deref().unwrap_or("default");
        let home = self.any(&["HOME"]).map(PathBuf::from);
        let place = |variable: &str, file: &str| {
            self.any(&[variable]).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(file)))
        };
        let mut profile = Profile::default();
        let mut is_there = false;
        for path in [place("AWS_CONFIG_FILE", "config"), place("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
            let Some(path) = path else { continue };
            match (self.file)(&path) {
                Ok(bytes) => is_there |= profile.enter(&String::from_utf8_lossy(&bytes), name),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::Refused(format!("{} cannot be read: {error}", path.display()))),
            }
        }
        match asked {
            Some(name) if !is_there => Err(Error::NoSuch(format!(
                "there is no profile {name:?} in ~/.aws/config or ~/.aws/credentials; correct AWS_PROFILE"
            ))),
            _ => Ok(profile),
        }
    }

    fn keys(&self, profile: &Profile) -> Result<KeySource> {
        let given = (self.any(&["AWS_ACCESS_KEY_ID"]), self.any(&["AWS_SECRET_ACCESS_KEY"]));
        let of_profile = |name: &str| profile.get(name).map(str::to_owned);
        let (pair, token) = match given {
            (None, None) => (
                (of_profile("aws_access_key_id"), of_profile("aws_secret_access_key")),
                of_profile("aws_session_token"),
            ),
            pair => (pair, self.any(&["AWS_SESSION_TOKEN"])),
        };
        match pair {
            (Some(key_id), Some(secret)) => Ok(KeySource::Given { key_id, secret, token }),
            (Some(_), None) | (None, Some(_)) => Err(Error::AccessRefused {
                what: "only one half of the object storage's key is given".into(),
                next: "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or both in the profile".into(),
            }),
            (None, None) => {
                let foreign = ["credential_process", "sso_session", "sso_account_id", "source_profile"];
                if let Some(name) = foreign.iter().find(|name| profile.get(name).is_some()) {
                    return Err(Error::AccessRefused {
                        what: format!("the profile gets its key by {name}, which icecore does not do"),
                        next: "run `aws configure export-credentials --format env` and set what it prints".into(),
                    });
                }
                Ok(KeySource::Machine(self.of_machine()))
            }
        }
    }

    fn of_machine(&self) -> Vec<(&'static str, String)> {
        [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_ENDPOINT_URL_STS",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ]
        .into_iter()
        .filter_map(|name| Some((name, self.any(&[name])?)))
        .collect()
    }
}

impl Settings {
    /// The settings for an address.
    pub fn find(address: S3Address, around: &Surroundings<'_>, cancel: Arc<AtomicBool>) -> Result<Self> {
        let profile = around.profile()?;
        let of_profile = |name: &str| profile.get(name).map(str::to_owned);
        let endpoint = around
            .any(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
            .or_else(|| of_profile("endpoint_url"))
            .map(|text| endpoint(&text, around.is_set("ICECORE_S3_ALLOW_HTTP")))
            .transpose()?;
        let region = around.any(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| of_profile("region"));
        let ca_bundle = around.any(&["AWS_CA_BUNDLE"]).or_else(|| of_profile("ca_bundle"));
        let ca_bundle_pem = ca_bundle
            .map(|path| {
                let unread = |error| Error::Refused(format!("the certificates in {path} cannot be read: {error}"));
                (around.file)(Path::new(&path)).map_err(unread)
            })
            .transpose()?;
        // A dot in the bucket's name fits no certificate of AWS; an own endpoint mostly has one name only.
        let virtual_host = match &endpoint {
            Some(_) => around.is_set("ICECORE_S3_VIRTUAL_HOST"),
            None => !address.bucket().contains('.'),
        };
        Ok(Self {
            keys: around.keys(&profile)?,
            address,
            endpoint,
            region: region.unwrap_or_else(|| DEFAULT_REGION.into()),
            ca_bundle_pem,
            virtual_host,
            patience: PATIENCE,
            single_put_bytes: SINGLE_PUT_BYTES,
            cancel,
        })
    }

    /// The host that is asked, for people.
    pub fn endpoint_text(&self) -> String {
        match &self.endpoint {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("AWS {}", self.region),
        }
    }

    /// URL of the bucket, without a slash at its end.
    pub fn bucket_url(&self) -> String {
        let (bucket, region) = (self.address.bucket(), &self.region);
        match (&self.endpoint, self.virtual_host) {
            (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
            (Some(url), false) => format!("{}/{bucket}", url.as_str().trim_end_matches('/')),
            (Some(url), true) => {
                let text = url.as_str().trim_end_matches('/');
                text.replacen("://", &format!("://{bucket}."), 1)
            }
        }
    }
}

/// An endpoint; refuses what would show the data's traffic and the key's signatures to others.
fn endpoint(text: &str, http_allowed: bool) -> Result<Url> {
    let refuse = |why: &str| Err(Error::NoSuch(format!("the endpoint {text:?} cannot be used: {why}")));
    let Ok(url) = text.parse::<Url>() else { return refuse("it is no URL; write https://HOST[:PORT]") };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return refuse("it names no host; write https://HOST[:PORT]"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a secret in an address is seen by everybody; give keys by AWS_ACCESS_KEY_ID or a profile");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback || http_allowed => Ok(url),
        "http" => refuse(
            "http:// shows to everybody on the way which objects are stored when; use https://, or set ICECORE_S3_ALLOW_HTTP=1 on a network \
             you trust (contents are encrypted in any case)",
        ),
        _ => refuse("it is neither https:// nor http://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn find(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Settings> {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        let files: HashMap<&Path, &str> = files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
        let around = Surroundings {
            variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
            file: &|path| {
                files.get(path).map(|text| text.as_bytes().to_vec()).ok_or(std::io::ErrorKind::NotFound.into())
            },
        };
        Settings::find("s3://backups/home".parse().unwrap(), &around, Arc::default())
    }

    const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")];

    #[test]
    fn variables_come_before_profiles_and_the_special_before_the_general() {
        let files = [("/h/.aws/config", "[default]\nregion = r1\nendpoint_url = https://one.example\n")];
        let home = [("HOME", "/h")];
        let settings = find(&[&KEY[..], &home].concat(), &files).unwrap();
        assert_eq!((settings.region.as_str(), settings.bucket_url().as_str()), ("r1", "https://one.example/backups"));
        let more = [
            ("AWS_REGION", "r2"),
            ("AWS_DEFAULT_REGION", "r3"),
            ("AWS_ENDPOINT_URL", "https://two.example/"),
            ("AWS_ENDPOINT_URL_S3", "https://three.example:9000/"),
        ];
        let settings = find(&[&KEY[..], &home, &more].concat(), &files).unwrap();
        assert_eq!(settings.region, "r2");
        assert_eq!(settings.bucket_url(), "https://three.example:9000/backups");
    }

    #[test]
    fn a_profile_has_the_key_where_no_variable_has_it() {
        let files = [(
            "/h/.aws/credentials",
            "[nas]\naws_access_key_id = P\naws_secret_access_key = S\naws_session_token = T\n",
        )];
        let variables = [("HOME", "/h"), ("AWS_PROFILE", "nas")];
        let given = find(&variables, &files).unwrap().keys;
        assert!(matches!(given, KeySource::Given { key_id, token: Some(token), .. } if key_id == "P" && token == "T"));
        let given = find(&[&KEY[..], &variables].concat(), &files).unwrap().keys;
        assert!(matches!(given, KeySource::Given { key_id, token: None, .. } if key_id == "AK"));
        let error = find(&[("HOME", "/h"), ("AWS_PROFILE", "other")], &files).unwrap_err();
        assert!(error.to_string().contains("AWS_PROFILE"), "{error}");
    }

    #[test]
    fn half_a_key_and_keys_that_others_make_are_told() {
        let error = find(&KEY[..1], &[]).unwrap_err();
        assert!(error.to_string().contains("half"), "{error}");
        let files = [("/h/.aws/config", "[default]\ncredential_process = /bin/keys\n")];
        let error = find(&[("HOME", "/h")], &files).unwrap_err();
        assert!(error.to_string().contains("credential_process"), "{error}");
        assert!(matches!(find(&[], &[]).unwrap().keys, KeySource::Machine(_)));
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_who_asked_for_it() {
        let with =
            |url: &str, more: &[(&str, &str)]| find(&[&KEY[..], &[("AWS_ENDPOINT_URL", url)], more].concat(), &[]);
        for url in ["http://127.0.0.1:3900", "http://localhost:3900", "http://[::1]:3900", "https://nas.example"] {
            assert!(with(url, &[]).is_ok(), "{url}");
        }
        assert!(with("http://nas.example", &[]).is_err());
        assert!(with("http://nas.example", &[("ICECORE_S3_ALLOW_HTTP", "1")]).is_ok());
        for url in ["nas.example", "ftp://nas.example", "https://key:secret@nas.example", "https://"] {
            assert!(with(url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn aws_itself_is_asked_by_the_name_of_the_bucket() {
        let settings = find(&[&KEY[..], &[("AWS_REGION", "eu-west-1")]].concat(), &[]).unwrap();
        assert_eq!(settings.bucket_url(), "https://backups.s3.eu-west-1.amazonaws.com");
        let own = [("AWS_ENDPOINT_URL", "https://oss.example"), ("ICECORE_S3_VIRTUAL_HOST", "true")];
        assert_eq!(find(&[&KEY[..], &own].concat(), &[]).unwrap().bucket_url(), "https://backups.oss.example");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", find(&KEY, &[]).unwrap());
        assert!(shown.contains("AK") && !shown.contains("SK"), "{shown}");
    }
}
