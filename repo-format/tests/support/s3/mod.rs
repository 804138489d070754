//! Real S3 engines on loopback, and a proxy of ours that breaks what goes to them.

pub mod proxy;

use repo_format::store::s3::{KeySource, S3Store, Settings};
use std::sync::Arc;
use std::time::Duration;

pub const KEY_ID: &str = "GK0123456789abcdef01234567";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const REGION: &str = "garage";
pub const BUCKET: &str = "backups";

/// A running engine with one bucket; it ends with this.
pub struct Engine {
    endpoint: String,
    /// These live as long as the engine.
    _runtime: tokio::runtime::Runtime,
    _directory: tempfile::TempDir,
}

impl Engine {
    /// s3s-fs, in this process.
    pub fn s3s_fs() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let mut service = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory.path()).unwrap());
        service.set_auth(s3s::auth::SimpleAuth::from_single(KEY_ID, SECRET));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    // A client that hangs up is no failure of the engine.
                    let _ = http.serve_connection(hyper_util::rt::TokioIo::new(line), service).await;
                });
            }
        });
        Self { endpoint, _runtime: runtime, _directory: directory }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Settings of a store below a prefix.
    pub fn settings(&self, prefix: &str) -> Settings {
        settings_at(&self.endpoint, prefix)
    }

    /// A store below a prefix.
    pub fn store(&self, prefix: &str) -> Arc<S3Store> {
        Arc::new(S3Store::open(self.settings(prefix)).unwrap())
    }
}

/// Settings of a store below a prefix, through an endpoint.
pub fn settings_at(endpoint: &str, prefix: &str) -> Settings {
    Settings {
        address: format!("s3://{BUCKET}/{prefix}").parse().unwrap(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: REGION.into(),
        keys: KeySource::Given { key_id: KEY_ID.into(), secret: SECRET.into(), token: None },
        ca_bundle_pem: None,
        virtual_host: false,
        patience: Duration::from_secs(120),
        single_put_bytes: repo_format::store::s3::SINGLE_PUT_BYTES,
        cancel: Arc::default(),
    }
}
