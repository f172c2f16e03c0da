//! Against a server that answers as registries do, and worse.

use std::sync::Mutex;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::executor::kubernetes::pod::sample;

type Answer = Arc<dyn Fn(&Asked) -> (u16, Vec<(&'static str, String)>, Vec<u8>) + Send + Sync>;

struct Asked {
    path: String,
    authorization: Option<String>,
}

/// Plain HTTP/1.1, one request for each connection.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    // A hello of TLS is no request.
                    if socket.read(&mut byte).await.unwrap_or(0) == 0 || !byte.is_ascii() {
                        break;
                    }
                    request.push(byte[0]);
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let header = |name: &str| {
                    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
                    lines
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.to_owned())
                };
                let asked = Asked {
                    path: text.split(' ').nth(1).unwrap_or_default().to_owned(),
                    authorization: header("authorization"),
                };
                log.lock().unwrap().push(asked.path.clone());
                let (status, headers, body) = answer(&asked);
                let mut head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n",
                    body.len()
                );
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let _ = socket.write_all(format!("{head}\r\n").as_bytes()).await;
                let _ = socket.write_all(&body).await;
            }
        });
        Self { address, asked, task }
    }

    fn entrypoints(&self) -> Entrypoints {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut settings = sample::settings();
        settings.insecure_registries = vec![self.address.clone()];
        settings.architecture = Some("amd64".to_owned());
        Entrypoints::new(&settings).unwrap()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn named(bytes: &[u8]) -> String {
    let hex: String = digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// An index with one image, as registries have it.
fn tree() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let configuration = bytes(&json!({ "config": { "Entrypoint": ["greet"], "Cmd": ["you"], "User": "1000" } }));
    let manifest =
        bytes(&json!({ "schemaVersion": 2, "config": { "digest": named(&configuration), "size": 1 }, "layers": [] }));
    let index = bytes(&json!({ "schemaVersion": 2, "manifests": [
        { "digest": named(b"other"), "platform": { "os": "linux", "architecture": "arm64" } },
        { "digest": named(&manifest), "platform": { "os": "linux", "architecture": "amd64" } },
    ] }));
    (index, manifest, configuration)
}

fn serve(asked: &Asked) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
    let (index, manifest, configuration) = tree();
    match asked.path.strip_prefix("/v2/team/greeter/") {
        Some("manifests/1") => (200, vec![], index),
        Some(path) if path == format!("manifests/{}", named(&manifest)) => (200, vec![], manifest),
        Some(path) if path == format!("blobs/{}", named(&configuration)) => (200, vec![], configuration),
        _ => (
            404,
            vec![],
            bytes(&json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" }] })),
        ),
    }
}

#[tokio::test]
async fn an_image_is_looked_up_once() {
    let server = Server::start(Arc::new(serve)).await;
    let entrypoints = server.entrypoints();
    let name = format!("{}/team/greeter:1", server.address);
    for _ in 0..2 {
        let image = entrypoints.command_of(&name, &[]).await.unwrap();
        assert_eq!(
            (image.command.join(" ").as_str(), image.numeric_user()),
            ("greet you", Some(1000))
        );
    }
    assert_eq!(server.count(), 3, "index, manifest and configuration");
    let missing = entrypoints
        .look_up(&format!("{}/team/greeter:2", server.address), &[])
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, Error::Missing { words, .. } if words == "manifest unknown"),
        "{missing}"
    );
    assert_eq!(missing.state(), TerminalState::Failure);
}

#[tokio::test]
async fn tokens_are_fetched_with_the_pull_secret() {
    let address = Arc::new(Mutex::new(String::new()));
    let known = Arc::clone(&address);
    let server = Server::start(Arc::new(move |asked: &Asked| {
        let place = known.lock().unwrap().clone();
        match (asked.path.starts_with("/token?"), asked.authorization.as_deref()) {
            (true, Some("Basic bWU6cGFzcw==")) => (200, vec![], bytes(&json!({ "token": "t" }))),
            (true, _) => (
                401,
                vec![],
                bytes(&json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "who are you" }] })),
            ),
            (false, Some("Bearer t")) => serve(asked),
            (false, _) => (
                401,
                vec![(
                    "www-authenticate",
                    format!("Bearer realm=\"http://{place}/token\",service=\"s\""),
                )],
                vec![],
            ),
        }
    }))
    .await;
    address.lock().unwrap().clone_from(&server.address);
    let entrypoints = server.entrypoints();
    let name = format!("{}/team/greeter:1", server.address);
    let denied = entrypoints.look_up(&name, &[]).await.unwrap_err();
    assert!(
        matches!(&denied, Error::Denied { words, .. } if words == "who are you"),
        "{denied}"
    );
    let secret = json!({ "auths": { server.address.clone(): { "username": "me", "password": "pass" } } }).to_string();
    assert!(entrypoints.look_up(&name, &[secret.into()]).await.is_ok());
    let asked = server.asked.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .any(|path| path.contains("scope=repository%3Ateam%2Fgreeter%3Apull&service=s")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn registries_that_lie_are_found_out() {
    let (_, _, configuration) = tree();
    let cases: [(&str, Answer); 6] = [
        ("more than", Arc::new(|_| (200, vec![], vec![b' '; (4 << 20) + 1]))),
        ("cannot be read", Arc::new(|_| (200, vec![], b"<html>".to_vec()))),
        (
            "names no configuration",
            Arc::new(|asked: &Asked| {
                let index = json!({ "manifests": [{ "digest": named(b"{}"), "platform": { "os": "linux", "architecture": "amd64" } }] });
                (
                    200,
                    vec![],
                    if asked.path.ends_with("/1") {
                        bytes(&index)
                    } else {
                        b"{}".to_vec()
                    },
                )
            }),
        ),
        (
            "something else",
            Arc::new(move |asked: &Asked| {
                let manifest = json!({ "config": { "digest": named(&configuration) } });
                (
                    200,
                    vec![],
                    if asked.path.contains("blobs") {
                        b"{}".to_vec()
                    } else {
                        bytes(&manifest)
                    },
                )
            }),
        ),
        (
            "no SHA-256",
            Arc::new(|_| (200, vec![], bytes(&json!({ "config": { "digest": "../../secrets" } })))),
        ),
        (
            "without TLS",
            Arc::new(|_| (307, vec![("location", "http://localhost:1/x".to_owned())], vec![])),
        ),
    ];
    for (words, answer) in cases {
        let server = Server::start(answer).await;
        let error = server
            .entrypoints()
            .look_up(&format!("{}/a/b:1", server.address), &[])
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Registry { words: said, .. } if said.contains(words)),
            "{words}: {error}"
        );
        assert_eq!(error.state(), TerminalState::Error);
    }
}

#[tokio::test]
async fn what_a_host_says_that_is_no_registry_is_not_shown() {
    let server = Server::start(Arc::new(|_: &Asked| (500, vec![], b"secret inner page".to_vec()))).await;
    let error = server
        .entrypoints()
        .look_up(&format!("{}/a:1", server.address), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("500") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn without_a_setting_nobody_is_asked_without_tls() {
    let server = Server::start(Arc::new(serve)).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let entrypoints = Entrypoints::new(&sample::settings()).unwrap();
    let error = entrypoints
        .look_up(&format!("{}/team/greeter:1", server.address), &[])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Registry { .. }), "{error}");
    assert!(server.asked.lock().unwrap().iter().all(|path| !path.starts_with("/v2")));
}
