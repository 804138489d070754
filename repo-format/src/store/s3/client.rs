//! The requests of the store, each by itself and once. Paths are names in the bucket.

use super::problem::{Kind, Problem, tag};
use super::settings::{KeySource, Settings};
use super::wire::{Counters, CountingConnector};
use crate::error::{Error, Result};
use bytes::Bytes;
use http::{HeaderMap, Method};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, Checksum};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};
use object_store::{Certificate, ClientOptions, RetryConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use url::Url;

const CONNECT: Duration = Duration::from_secs(10);

/// A client for one bucket.
pub(super) struct Client {
    with_checksums: AmazonS3,
    without: AmazonS3,
    /// The endpoint refused a checksum once.
    refuses_checksums: AtomicBool,
    http: HttpClient,
    bucket_url: String,
    region: String,
    /// The key is given, and need not be fetched.
    has_key: bool,
}

impl Client {
    pub(super) fn new(settings: &Settings, counters: Arc<Counters>) -> Result<Self> {
        let connector = CountingConnector(counters);
        let options = client_options(settings)?;
        let broken = |error: object_store::Error| Error::Refused(format!("object storage cannot be used: {error}"));
        let builder = builder(settings, options.clone(), connector.clone());
        let with_checksums = builder.clone().with_checksum_algorithm(Checksum::SHA256).build().map_err(broken)?;
        Ok(Self {
            with_checksums,
            without: builder.build().map_err(broken)?,
            refuses_checksums: AtomicBool::new(false),
            http: connector.connect(&options).map_err(broken)?,
            bucket_url: settings.bucket_url(),
            region: settings.region.clone(),
            has_key: matches!(settings.keys, KeySource::Given { .. }),
        })
    }

    /// What requests are made with. Every body is signed with its SHA-256 in any case; the checksum makes the endpoint keep it.
    pub(super) async fn s3(&self) -> Result<&AmazonS3, Problem> {
        let s3 = if self.refuses_checksums.load(Ordering::Relaxed) { &self.without } else { &self.with_checksums };
        if !self.has_key {
            s3.credentials()
                .get_credential()
                .await
                .map_err(|error| Problem::new(Kind::NoKey, Problem::of(&error).said))?;
        }
        Ok(s3)
    }

    /// The same without checksums, if an endpoint that did not offer something has not been asked like that yet.
    pub(super) fn without_checksums(&self) -> Option<&AmazonS3> {
        (!self.refuses_checksums.load(Ordering::Relaxed)).then_some(&self.without)
    }

    /// The endpoint took without a checksum what it had refused with one.
    pub(super) fn leave_checksums(&self) {
        self.refuses_checksums.store(true, Ordering::Relaxed);
    }

    /// A request that `object_store` does not have. `name` may be empty: then it is about the bucket.
    pub(super) async fn ask(
        &self,
        method: Method,
        (name, query): (&str, &[(&str, &str)]),
        (headers, body): (HeaderMap, Bytes),
    ) -> Result<(HeaderMap, String), Problem> {
        let url = self.url(name, query)?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Problem::new(Kind::Other, format!("{url} is no URI")))?;
        *request.headers_mut() = headers;
        let refused = |error: object_store::Error| Problem::new(Kind::NoKey, Problem::of(&error).said);
        let key = self.with_checksums.credentials().get_credential().await.map_err(refused)?;
        AwsAuthorizer::new(&key, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| Problem::new(Kind::Other, error.to_string()))?;
        let answer = self.http.execute(request).await.map_err(|error| Problem::of(&error))?;
        let (parts, body) = answer.into_parts();
        let body = body.bytes().await.map_err(|error| Problem::of(&error))?;
        Ok((parts.headers, String::from_utf8_lossy(&body).into_owned()))
    }

    fn url(&self, name: &str, query: &[(&str, &str)]) -> Result<Url, Problem> {
        let text = if name.is_empty() { self.bucket_url.clone() } else { format!("{}/{name}", self.bucket_url) };
        let mut url: Url = text.parse().map_err(|_| Problem::new(Kind::Other, format!("{text} is no URL")))?;
        url.query_pairs_mut().extend_pairs(query);
        Ok(url)
    }

    /// Names and ids of uploads in parts that were begun below a prefix and not finished; at most a thousand.
    pub(super) async fn unfinished_uploads(&self, prefix: &str) -> Result<Vec<(String, String)>, Problem> {
        let query = [("uploads", ""), ("prefix", prefix)];
        let (_, text) = self.ask(Method::GET, ("", &query), Default::default()).await?;
        let uploads = text.split("<Upload>").skip(1);
        Ok(uploads.filter_map(|upload| Some((tag(upload, "Key")?, tag(upload, "UploadId")?))).collect())
    }
}

fn client_options(settings: &Settings) -> Result<ClientOptions> {
    // Times of whole requests are bounded by their lengths, in `wire`.
    let mut options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT);
    // Whether http is allowed was decided when the endpoint was read.
    options = options.with_allow_http(settings.endpoint.as_ref().is_some_and(|url| url.scheme() == "http"));
    if let Some(pem) = &settings.ca_bundle_pem {
        let unsound =
            |error: object_store::Error| Error::Refused(format!("AWS_CA_BUNDLE holds no certificates: {error}"));
        for certificate in Certificate::from_pem_bundle(pem).map_err(unsound)? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn builder(settings: &Settings, options: ClientOptions, connector: CountingConnector) -> AmazonS3Builder {
    // Trying again is `patience`'s; some endpoints have no deletion of many at once.
    let never = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(settings.address.bucket())
        .with_region(&settings.region)
        .with_virtual_hosted_style_request(settings.virtual_host)
        .with_client_options(options)
        .with_http_connector(connector)
        .with_retry(never)
        .with_disable_bulk_delete(true);
    if settings.endpoint.is_some() {
        // The bucket is in the URL of an endpoint with a virtual host, and is added to that of another.
        let url = settings.bucket_url();
        let bucket = format!("/{}", settings.address.bucket());
        let endpoint = if settings.virtual_host { &url } else { url.strip_suffix(&bucket).unwrap_or(&url) };
        builder = builder.with_endpoint(endpoint);
    }
    match &settings.keys {
        KeySource::Given { key_id, secret, token } => {
            builder = builder.with_access_key_id(key_id).with_secret_access_key(secret);
            if let Some(token) = token {
                builder = builder.with_token(token);
            }
        }
        KeySource::Machine(options) => {
            for (name, value) in options {
                if let Ok(key) = name.to_lowercase().parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    builder
}
