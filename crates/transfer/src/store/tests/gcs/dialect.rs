//! Speaks Google's XML to clients and the emulator's JSON to the emulator, which by itself takes no more than plain puts and
//! gets, answers without ETag, and knows neither conditions, checksums nor signatures.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::BUCKET;
use super::signature::{Refusal, Strictness, Verifier, has_md5};

/// How many objects a page of a listing has: few, so that there are several.
const PAGE: usize = 10;
/// When everything was changed last: nobody here asks.
const CHANGED: &str = "Sun, 01 Nov 2026 00:00:00 GMT";

pub(super) struct Dialect {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Bridge {
    emulator: String,
    http: reqwest::Client,
    verifier: Verifier,
    /// Between the question whether an object is there and its writing nobody else writes.
    writing: Mutex<()>,
}

type Answer = Response<Full<Bytes>>;

impl Dialect {
    pub(super) async fn start(emulator: SocketAddr, strictness: Strictness) -> Self {
        let bridge = Arc::new(Bridge {
            emulator: format!("http://{emulator}"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            verifier: Verifier::new(strictness),
            writing: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let bridge = Arc::clone(&bridge);
                connections.spawn(async move {
                    let serve = service_fn(move |request| {
                        let bridge = Arc::clone(&bridge);
                        async move { Ok::<_, Infallible>(bridge.answer(request).await) }
                    });
                    // A connection that a client drops is no fault of the test.
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), serve).await;
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

impl Bridge {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return plain(400);
        };
        if let Err(refusal) = self.verifier.check(&head.method, &head.uri, &head.headers) {
            return refuse(refusal);
        }
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let path = head.uri.path().trim_start_matches('/');
        match path.split_once('/') {
            None if path == BUCKET && head.method == Method::GET => {
                self.list(head.uri.query().unwrap_or_default()).await
            }
            Some((BUCKET, key)) => {
                let key = decoded(key);
                match head.method {
                    Method::GET => self.get(&key).await,
                    Method::HEAD => self.head(&key).await,
                    Method::DELETE => {
                        let deleted = self.http.delete(self.resource(&key)).send().await.unwrap();
                        plain(if deleted.status().is_success() { 204 } else { 404 })
                    }
                    Method::PUT => {
                        let is_new = header("x-goog-if-generation-match") == Some("0");
                        self.put(&key, body.to_bytes(), is_new, header("content-md5")).await
                    }
                    _ => refuse((405, "MethodNotAllowed")),
                }
            }
            _ => refuse((404, "NoSuchBucket")),
        }
    }

    /// The address of an object's description.
    fn resource(&self, key: &str) -> String {
        let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        format!("{}/storage/v1/b/{BUCKET}/o/{}", self.emulator, key.replace('+', "%20"))
    }

    async fn describe(&self, key: &str) -> Option<Value> {
        let answer = self.http.get(self.resource(key)).send().await.unwrap();
        if !answer.status().is_success() {
            return None;
        }
        Some(answer.json().await.unwrap())
    }

    async fn get(&self, key: &str) -> Answer {
        let Some(description) = self.describe(key).await else {
            return refuse((404, "NoSuchKey"));
        };
        let content = format!("{}/{BUCKET}/{key}", self.emulator);
        let content = self.http.get(content).send().await.unwrap().bytes().await.unwrap();
        described(&description).body(Full::new(content)).unwrap()
    }

    async fn head(&self, key: &str) -> Answer {
        match self.describe(key).await {
            Some(description) => described(&description)
                .header("content-length", text(&description, "size"))
                .body(Full::default())
                .unwrap(),
            None => plain(404),
        }
    }

    async fn put(&self, key: &str, content: Bytes, is_new: bool, md5: Option<&str>) -> Answer {
        if md5.is_some_and(|md5| !has_md5(&content, md5)) {
            return refuse((400, "BadDigest"));
        }
        let _turn = self.writing.lock().await;
        if is_new && self.describe(key).await.is_some() {
            return refuse((412, "PreconditionFailed"));
        }
        let request = if content.is_empty() {
            // The emulator's simpler ways break off at an object without bytes.
            let url = format!("{}/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart", self.emulator);
            let description = serde_json::json!({ "name": key });
            let parts = format!(
                "--part\r\nContent-Type: application/json\r\n\r\n{description}\r\n\
                 --part\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--part--\r\n"
            );
            let request = self.http.post(url).body(parts);
            request.header("content-type", "multipart/related; boundary=part")
        } else {
            self.http.put(format!("{}/{BUCKET}/{key}", self.emulator)).body(content)
        };
        let written = request.send().await;
        assert!(
            written.as_ref().is_ok_and(|answer| answer.status().is_success()),
            "{written:?}"
        );
        let description = self.describe(key).await.unwrap();
        described(&description).body(Full::default()).unwrap()
    }

    async fn list(&self, query: &str) -> Answer {
        let mut url = url::Url::parse(&format!("{}/storage/v1/b/{BUCKET}/o", self.emulator)).unwrap();
        let mut from = 0;
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "prefix" | "delimiter" => drop(url.query_pairs_mut().append_pair(&name, &value)),
                "continuation-token" => from = value.parse().unwrap(),
                _ => {}
            }
        }
        let listed: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let all = |name: &str| listed[name].as_array().cloned().unwrap_or_default();
        let (mut objects, folders) = (all("items"), all("prefixes"));
        objects.sort_by_key(|object| text(object, "name"));
        let mut xml = "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>".to_owned();
        for object in objects.iter().skip(from).take(PAGE) {
            let [name, size, etag] = ["name", "size", "etag"].map(|field| text(object, field));
            let _ = write!(
                xml,
                "<Contents><Key>{name}</Key><Size>{size}</Size><ETag>{etag}</ETag>\
                 <LastModified>2026-11-01T00:00:00.000Z</LastModified></Contents>"
            );
        }
        if from == 0 {
            for folder in folders {
                let folder = folder.as_str().unwrap();
                let _ = write!(xml, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
            }
        }
        if from + PAGE < objects.len() {
            let next = from + PAGE;
            let _ = write!(xml, "<NextContinuationToken>{next}</NextContinuationToken>");
        }
        xml += "</ListBucketResult>";
        Response::new(Full::new(xml.into()))
    }
}

fn decoded(key: &str) -> String {
    let key = key.replace('+', "%2B");
    let pair = format!("k={key}");
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().unwrap().1.into_owned()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn described(description: &Value) -> http::response::Builder {
    Response::builder()
        .header("etag", format!("\"{}\"", text(description, "etag")))
        .header("last-modified", CHANGED)
        .header("x-goog-generation", text(description, "generation"))
}

fn plain(status: u16) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn refuse((status, code): Refusal) -> Answer {
    let mut answer = plain(status);
    *answer.body_mut() = Full::new(format!("<Error><Code>{code}</Code></Error>").into());
    answer
}
