//! The internal certificate authority: made once, kept in the data directory; its certificate is what clients trust.
//!
//! The server's own certificate is made anew at every start and every day. Only the authority's key is kept, with mode 0600.

use super::Identity;
use crate::config::{Config, host_name};
use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use web_api::unit::Time;

/// File of the authority's certificate, to be given to clients.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// File of the authority's key.
pub const KEY_FILE: &str = "ca.key";
const SERVER_DAYS: i64 = 90;

/// A fresh certificate of the server, with the authority made if need be.
pub fn identity(config: &Config, now: Time) -> anyhow::Result<Identity> {
    let authority_key = authority(&config.data_dir)?;
    let authority_params = authority_params();
    let issuer = Issuer::from_params(&authority_params, authority_key);
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = server_params(config, now)?.signed_by(&key, &issuer).context("cannot sign the certificate")?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok(Identity { chain: vec![certificate.der().clone()], key })
}

/// The authority's key; made together with its certificate when it is missing.
fn authority(data_dir: &Path) -> anyhow::Result<KeyPair> {
    let key_file = data_dir.join(KEY_FILE);
    let certificate_file = data_dir.join(CERTIFICATE_FILE);
    if key_file.exists() {
        let text = std::fs::read_to_string(&key_file).with_context(|| format!("cannot read {}", key_file.display()))?;
        let key = KeyPair::from_pem(&text).with_context(|| format!("{} holds no key", key_file.display()))?;
        if !certificate_file.exists() {
            write_certificate(&certificate_file, &key)?;
        }
        return Ok(key);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let key = KeyPair::generate().context("cannot make a key")?;
    // The key first: a certificate without its key would be handed out and be good for nothing.
    store(&key_file, &key.serialize_pem(), 0o600)?;
    write_certificate(&certificate_file, &key)?;
    Ok(key)
}

fn write_certificate(file: &Path, key: &KeyPair) -> anyhow::Result<()> {
    let certificate = authority_params().self_signed(key).context("cannot make the authority's certificate")?;
    store(file, &certificate.pem(), 0o644)
}

/// Always the same but for the key, so the authority needs not be parsed to sign with it again.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Icecore internal CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2054, 1, 1);
    params
}

fn server_params(config: &Config, now: Time) -> anyhow::Result<CertificateParams> {
    let names = names(config);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("localhost", String::as_str));
    for name in &names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into().with_context(|| format!("tls_names has {name:?}"))?),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // A day early: clients' clocks differ.
    params.not_before = day(now, -1)?;
    params.not_after = day(now, SERVER_DAYS)?;
    Ok(params)
}

fn day(now: Time, days: i64) -> anyhow::Result<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp(now.ms() / 1000 + days * 86_400)
        .context("the clock is beyond the calendar")
}

fn names(config: &Config) -> Vec<String> {
    if !config.tls_names.is_empty() {
        return config.tls_names.clone();
    }
    let mut names = vec![host_name(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
    let own = config.listen.ip();
    if !own.is_unspecified() && !own.is_loopback() {
        names.push(own.to_string());
    }
    names
}

fn store(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", file.display());
    let temporary = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut opened = options.open(&temporary).with_context(failed)?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).with_context(failed)?;
    std::fs::rename(&temporary, file).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    fn verify(config: &Config, name: &str, at: Time, identity: &Identity) -> Result<(), String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(config.data_dir.join(CERTIFICATE_FILE)).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.unix_s()));
        use rustls::client::danger::ServerCertVerifier as _;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(&identity.chain[0], &[], &name, &[], at).map(drop).map_err(|e| e.to_string())
    }

    #[test]
    fn clients_that_trust_the_authority_trust_the_server_and_all_later_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().join("data"), ..Config::default() };
        let now = Time::from_ms(1_790_000_000_000);
        let first = identity(&config, now).unwrap();
        let authority = std::fs::read(config.data_dir.join(CERTIFICATE_FILE)).unwrap();
        let later = now.after(Duration::from_secs(60 * 86_400));
        let second = identity(&config, later).unwrap();
        assert_eq!(std::fs::read(config.data_dir.join(CERTIFICATE_FILE)).unwrap(), authority);
        for (at, identity) in [(now, &first), (later, &first), (later, &second)] {
            assert_eq!(verify(&config, "localhost", at, identity), Ok(()));
            assert_eq!(verify(&config, "127.0.0.1", at, identity), Ok(()));
        }
        assert!(verify(&config, "evil.example", now, &first).is_err());
        assert!(verify(&config, "localhost", now.after(Duration::from_secs(91 * 86_400)), &first).is_err());
    }

    #[test]
    fn the_authoritys_key_is_private_and_a_broken_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        identity(&config, Time::from_ms(0)).unwrap();
        let key = dir.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&key, "garbage").unwrap();
        let error = identity(&config, Time::from_ms(0)).map(drop).unwrap_err();
        assert!(error.to_string().contains("holds no key"), "{error:#}");
    }
}
