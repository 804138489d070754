//! Whom to believe to be a server: an authority that the system knows, or the server's own, recognised by its fingerprint.
//!
//! The authority itself comes over a connection that proves nothing. What makes it safe is what comes after: the fingerprint is one that came
//! another way or that a person confirmed, and the server is then asked again over a connection that trusts this authority alone.
//! No secret goes to a server before.

use super::connection::{Connection, Options};
use super::problem::Problem;
use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use reqwest::{Method, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use web_api::authority::{Authority, Fingerprint};

/// How a server is to be recognised.
pub enum Trust<'t> {
    /// By these certificates (PEM) and no others.
    Authority(String),
    /// By the authority of this fingerprint.
    Fingerprint(Fingerprint),
    /// By an authority that the system knows, or else by what a person says of a fingerprint: whether it is the right one.
    Ask(&'t mut dyn FnMut(&Fingerprint) -> Result<bool>),
}

/// Fingerprint of the first certificate in PEM text.
pub fn fingerprint_of(pem: &str) -> Result<Fingerprint> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok().context("this is no certificate")?;
    Ok(Fingerprint::from_sha256(digest(&SHA256, &der).as_ref()))
}

/// Finds out whom to trust for a server, and that the server is it. `None`: whom the system trusts, or nobody where there is no TLS.
pub fn establish(server: &Url, trust: Trust<'_>, cancel: &Arc<AtomicBool>) -> Result<Option<String>> {
    if server.scheme() == "http" {
        return Ok(None);
    }
    let authority = match trust {
        Trust::Authority(pem) => pem,
        Trust::Fingerprint(expected) => {
            let (pem, found) = own_authority(server, cancel)?;
            if found != expected {
                bail!(
                    "{server} is not the server that was named, or somebody stands in between: its authority has the fingerprint {found}, and {expected} was expected"
                );
            }
            pem
        }
        Trust::Ask(confirm) => {
            match prove(server, None, cancel) {
                Ok(()) => return Ok(None),
                Err(Problem::Untrusted(_)) => {}
                Err(problem) => return Err(problem.into()),
            }
            let (pem, found) = own_authority(server, cancel)?;
            if !confirm(&found)? {
                bail!("the server {server} is not trusted; nothing was sent to it");
            }
            pem
        }
    };
    prove(server, Some(authority.clone()), cancel).context("the server does not prove to be of this authority")?;
    Ok(Some(authority))
}

/// The authority that a server says is its own, with the fingerprint that it really has. Believed by nobody yet.
fn own_authority(server: &Url, cancel: &Arc<AtomicBool>) -> Result<(String, Fingerprint)> {
    let connection = Connection::unproved(server.clone(), cancel.clone())?;
    let authority: Authority = connection.get(&["authority"]).with_context(|| {
        format!(
            "{server} proves to be nobody that this system trusts, and names no authority of its own; give --ca-file"
        )
    })?;
    let fingerprint = fingerprint_of(&authority.certificate)?;
    Ok((authority.certificate, fingerprint))
}

/// Asks for nothing, over a connection that has to prove who is there.
fn prove(server: &Url, authority: Option<String>, cancel: &Arc<AtomicBool>) -> Result<(), Problem> {
    let options = Options { authority, ..Options::plain(cancel.clone()) };
    let connection =
        Connection::new(server.clone(), options).map_err(|error| Problem::Unreachable(format!("{error:#}")))?;
    let mut url = server.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push("health");
    }
    connection.ask(&Method::GET, &url, |request| request, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of a Debian snake oil kind; only its bytes matter here.
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQIDBA==\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_fingerprint_is_that_of_the_bytes_inside() {
        // SHA-256 of 01 02 03 04.
        let expected = "sha256:9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a";
        assert_eq!(fingerprint_of(PEM).unwrap().to_string(), expected);
        assert!(fingerprint_of("").is_err());
    }

    #[test]
    fn without_tls_there_is_nobody_to_trust() {
        let trust = Trust::Ask(&mut |_| panic!("nobody is asked"));
        let cancel = Arc::default();
        assert_eq!(establish(&"http://127.0.0.1:1/".parse().unwrap(), trust, &cancel).unwrap(), None);
    }
}
