//! An S3 server inside the test's own process.

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::store::StoreLocation;
use crate::store::location::{S3Location, SecretReference};

const ACCESS_KEY: &str = "tester";
const SECRET_KEY: &str = "not-a-secret";

pub(super) struct Server {
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = service.clone();
                connections.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A connection that a client drops is no fault of the test.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            address,
            _folder: folder,
            _tasks: tasks,
        }
    }

    #[allow(dead_code)] // other tests include this file
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn location(&self, prefix: &str) -> StoreLocation {
        s3(self.address, prefix, ACCESS_KEY, SECRET_KEY)
    }
}

pub(super) fn s3(address: SocketAddr, prefix: &str, access_key: &str, secret_key: &str) -> StoreLocation {
    // Another test of this process may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    StoreLocation::S3(Box::new(S3Location {
        bucket: "bucket".to_owned(),
        endpoint: Some(format!("http://{address}")),
        prefix: prefix.to_owned(),
        allow_http: true,
        access_key_id: Some(access_key.to_owned()),
        secret_access_key: Some(SecretReference::Value(secret_key.to_owned().into())),
        ..S3Location::default()
    }))
}
