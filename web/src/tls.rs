//! TLS: a certificate from files, or from an authority that the server makes for itself.

mod internal;

use crate::config::{Config, TlsMode};
use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use web_api::authority::{Authority, Fingerprint};
use web_api::unit::Time;

/// How often the internal certificate is made anew; it lives longer.
const RENEW_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Files of the internal authority in the data directory. Without them no agent trusts the server any more.
pub const AUTHORITY_FILES: [&str; 2] = [internal::CERTIFICATE_FILE, internal::KEY_FILE];

/// A certificate with its chain and key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The listener's TLS; `None` where there is none.
pub fn load(config: &Config, now: Time) -> anyhow::Result<Option<RustlsConfig>> {
    if config.tls == TlsMode::Off {
        return Ok(None);
    }
    Ok(Some(RustlsConfig::from_config(server_config(config, now)?)))
}

/// Keeps the certificate fresh: files are read anew at `reload`, an internal one is renewed daily.
pub async fn keep_fresh(tls: RustlsConfig, config: Config, clock: crate::clock::Clock) {
    let Ok(mut reload) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            _ = reload.recv() => {}
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        match server_config(&config, clock.now()) {
            Ok(fresh) => {
                tls.reload_from_config(fresh);
                tracing::info!("the certificate was loaded anew");
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the certificate could not be loaded; the one before stays"
            ),
        }
    }
}

/// What clients are told of the internal authority; `None` where the certificate is of another one, or there is none.
pub fn authority(config: &Config) -> anyhow::Result<Option<Authority>> {
    if config.tls != TlsMode::Internal {
        return Ok(None);
    }
    let file = config.data_dir.join(internal::CERTIFICATE_FILE);
    let certificate = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = CertificateDer::from_pem_slice(certificate.as_bytes())
        .with_context(|| format!("{} holds no certificate", file.display()))?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let fingerprint = Fingerprint::from_sha256(hash.as_ref());
    Ok(Some(Authority { certificate, fingerprint }))
}

fn server_config(config: &Config, now: Time) -> anyhow::Result<Arc<ServerConfig>> {
    let identity = match config.tls {
        TlsMode::Files => from_files(&config.tls_certificate_file, &config.tls_key_file)?,
        TlsMode::Internal | TlsMode::Off => internal::identity(config, now)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .context("the certificate and its key do not fit together")?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn from_files(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", certificate.display()))?;
    anyhow::ensure!(!chain.is_empty(), "there is no certificate in {}", certificate.display());
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    Ok(Identity { chain, key })
}
