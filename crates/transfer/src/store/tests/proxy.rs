//! Stands before a real server, and does with its answers what bad days do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What happens to a request.
#[derive(Debug, Clone)]
pub(super) enum Weather {
    Fine,
    /// It does not reach the server, which wants to be left alone for so many seconds.
    Throttled(u16, u64),
    /// The answer comes after so long.
    Late(Duration),
    /// It does not reach the server, and no answer comes.
    Silent,
    /// The second half of the answer's body does not come.
    CutShort,
    /// It is answered as the first of its kind was.
    Repeated,
    /// The one text stands in the answer where the server has written the other.
    Rewritten(String, String),
}

/// What the script sees of a request: how many there were before it, method, path and query.
pub(super) struct Asked<'request> {
    pub(super) number: usize,
    pub(super) method: &'request str,
    pub(super) path: &'request str,
    pub(super) query: &'request str,
}

impl Asked<'_> {
    /// Whether it asks which objects there are.
    pub(super) fn is_listing(&self) -> bool {
        self.method == "GET" && (self.query.contains("list-type=2") || self.query.contains("comp=list"))
    }

    /// Whether it writes or reads this object.
    pub(super) fn is_of(&self, method: &str, object: &str) -> bool {
        self.method == method && self.path.contains(object)
    }
}

type Script = Box<dyn Fn(&Asked<'_>) -> Weather + Send + Sync>;
type Body = BoxBody<Bytes, std::io::Error>;

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    way: Arc<Way>,
    _tasks: JoinSet<()>,
}

struct Way {
    server: SocketAddr,
    http: reqwest::Client,
    script: Mutex<Arc<Script>>,
    asked: AtomicUsize,
    first: Mutex<Option<(u16, http::HeaderMap, Bytes)>>,
}

impl Proxy {
    pub(super) async fn start(server: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let way = Arc::new(Way {
            server,
            http: reqwest::Client::builder().no_proxy().http1_only().build().unwrap(),
            script: Mutex::new(Arc::new(Box::new(|_| Weather::Fine))),
            asked: AtomicUsize::new(0),
            first: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&way);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let way = Arc::clone(&shared);
                connections.spawn(async move {
                    let serve = service_fn(move |request| {
                        let way = Arc::clone(&way);
                        async move { Ok::<_, Infallible>(way.pass(request).await) }
                    });
                    // Broken connections are what this is for.
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), serve).await;
                });
            }
        });
        Self {
            address,
            way,
            _tasks: tasks,
        }
    }

    /// From now on, and counts from 0 again.
    pub(super) fn turn(&self, script: impl Fn(&Asked<'_>) -> Weather + Send + Sync + 'static) {
        *self.way.script.lock().unwrap() = Arc::new(Box::new(script));
        *self.way.first.lock().unwrap() = None;
        self.way.asked.store(0, Ordering::SeqCst);
    }

    /// How many requests came since the weather turned.
    pub(super) fn asked(&self) -> usize {
        self.way.asked.load(Ordering::SeqCst)
    }
}

impl Way {
    async fn pass(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let asked = Asked {
            number: self.asked.fetch_add(1, Ordering::SeqCst),
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
        };
        let script = Arc::clone(&self.script.lock().unwrap());
        let weather = script(&asked);
        match weather {
            Weather::Throttled(status, seconds) => {
                let answer = Response::builder().status(status).header("retry-after", seconds);
                return answer.body(whole("slow down".into())).unwrap();
            }
            Weather::Silent => std::future::pending().await,
            Weather::Late(by) => tokio::time::sleep(by).await,
            _ => {}
        }
        let url = format!("http://{}{}", self.server, head.uri.path_and_query().unwrap());
        let sent = self.http.request(head.method, url).headers(head.headers);
        let answer = sent.body(body.unwrap_or_default()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let content = answer.bytes().await.unwrap();
        let (status, mut headers, content) = match &weather {
            Weather::Repeated => {
                let mut first = self.first.lock().unwrap();
                first.get_or_insert((status, headers, content)).clone()
            }
            _ => (status, headers, content),
        };
        let content = match &weather {
            Weather::Rewritten(written, shown) => String::from_utf8_lossy(&content)
                .replace(written.as_str(), shown)
                .into(),
            _ => content,
        };
        headers.remove("transfer-encoding");
        if headers.contains_key("content-length") && !content.is_empty() {
            headers.insert("content-length", content.len().into());
        }
        let mut response = Response::builder().status(status);
        *response.headers_mut().unwrap() = headers;
        let body = if matches!(weather, Weather::CutShort) {
            let half = content.slice(..content.len() / 2);
            let broken = Err(std::io::Error::other("cut short"));
            StreamBody::new(stream::iter([Ok(Frame::data(half)), broken])).boxed()
        } else {
            whole(content)
        };
        response.body(body).unwrap()
    }
}

fn whole(content: Bytes) -> Body {
    Full::new(content).map_err(|never| match never {}).boxed()
}
