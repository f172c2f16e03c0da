//! Ways that are counted and meddled with: to an agent, and to a store.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Hands streams on to `to`, and counts.
pub(crate) struct Counted {
    pub(crate) port: u16,
    bytes: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Counted {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bytes = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&bytes);
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let counter = Arc::clone(&counter);
                streams.spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
                        return;
                    };
                    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                    tokio::join!(
                        hand_on(from_near, to_far, &counter),
                        hand_on(from_far, to_near, &counter)
                    );
                });
            }
        });
        Self {
            port,
            bytes,
            _tasks: tasks,
        }
    }

    /// How much went both ways, TLS included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

async fn hand_on(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    counter: &AtomicU64,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        counter.fetch_add(length as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = copy(&mut tokio::io::empty(), &mut to).await;
    let _ = to.shutdown().await;
}

/// What goes wrong on the way to a store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meddling {
    /// Requests that are answered with 503, and that one is to come again in a second.
    pub(crate) busy: usize,
    /// Uploads, from the first, of which one bit becomes another.
    pub(crate) corrupt_uploads: usize,
    /// Downloads, the same.
    pub(crate) corrupt_downloads: usize,
}

/// Hands requests on to a store.
pub(crate) struct Storeway {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) uploads: AtomicUsize,
    pub(crate) uploaded_bytes: AtomicU64,
    pub(crate) downloads: AtomicUsize,
    pub(crate) downloaded_bytes: AtomicU64,
    requests: AtomicUsize,
}

impl Seen {
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let [up, down] = [&self.uploaded_bytes, &self.downloaded_bytes];
        (up.load(Ordering::SeqCst), down.load(Ordering::SeqCst))
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Storeway {
    pub(crate) async fn start(to: SocketAddr, meddling: Meddling) -> Self {
        Self::start_with(to, meddling, None).await
    }

    /// With TLS.
    pub(crate) async fn start_with(to: SocketAddr, meddling: Meddling, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut tasks = JoinSet::new();
        let counted = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (client, seen, tls) = (client.clone(), Arc::clone(&counted), tls.clone());
                connections.spawn(async move {
                    let answer = service_fn(|request| {
                        let (client, seen) = (client.clone(), Arc::clone(&seen));
                        async move { Ok::<_, Infallible>(answer(&client, to, &seen, meddling, request).await) }
                    });
                    let server = Builder::new(TokioExecutor::new());
                    // A connection that a courier drops is no fault of the test.
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), answer).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(server.serve_connection(TokioIo::new(stream), answer).await);
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }
}

async fn answer(
    client: &reqwest::Client,
    to: SocketAddr,
    seen: &Seen,
    meddling: Meddling,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes().to_vec();
    if seen.requests.fetch_add(1, Ordering::SeqCst) < meddling.busy {
        let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        return response.header(header::RETRY_AFTER, "1").body(Full::default()).unwrap();
    }
    let is_upload = head.method == Method::PUT;
    if is_upload {
        seen.uploaded_bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
        if seen.uploads.fetch_add(1, Ordering::SeqCst) < meddling.corrupt_uploads {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
    }
    // The host stays: it is signed.
    let url = format!("http://{to}{}", head.uri.path_and_query().unwrap());
    let sent = client.request(head.method, url).headers(head.headers).body(body).send();
    let answered = sent.await.unwrap();
    let status = answered.status();
    let mut bytes = answered.bytes().await.unwrap().to_vec();
    if !is_upload && status.is_success() {
        seen.downloaded_bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if seen.downloads.fetch_add(1, Ordering::SeqCst) < meddling.corrupt_downloads {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
    }
    Response::builder()
        .status(status)
        .body(Full::new(bytes.into()))
        .unwrap()
}
