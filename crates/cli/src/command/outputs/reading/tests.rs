//! Against a server that breaks its answers off where it is told to.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tombolo_identity::authority::Authority;
use tombolo_identity::member::TrustDomain;
use tombolo_identity::tls::Website;

use super::*;
use crate::context::Context;

const CONTENT: &[u8] = b"what a job has left";

/// What the server does with the next request.
#[derive(Clone, Copy)]
enum Answer {
    /// It hangs up.
    Nothing,
    /// A part of the head.
    Head,
    /// The head, and so much of what was asked for.
    Part(usize),
    /// All that was asked for.
    Whole,
}

/// A server that is gone after its last answer.
struct Server {
    client: Client,
    /// The ranges that were asked for; empty for all of it.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &[Answer]) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = tombolo_core::time::Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap());
        let authority = Authority::create(TrustDomain::new("test.example").unwrap(), now).unwrap();
        let certificate = authority.issue_website(&["localhost".to_owned()], now).unwrap();
        let mut config = ServerConfig::clone(&Website::new(certificate).server_config().unwrap());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answers, config) = (Arc::clone(&asked), answers.to_vec(), Arc::new(config));
        // It ends with its last answer, or with the test's process.
        thread::spawn(move || {
            for answer in answers {
                serve(&listener, &config, answer, &noted).unwrap();
            }
        });
        let context = Context {
            server: format!("https://localhost:{port}").parse().unwrap(),
            server_name: None,
            certificate_authority: Some(authority.trust().pem()),
            token: "secret".to_owned().into(),
            project: None,
        };
        Self {
            client: Client::new(&context).unwrap(),
            asked,
        }
    }

    /// All that comes, or why nothing more does.
    async fn download(&self) -> Result<Vec<u8>, Failure> {
        let mut reading = Reading::begin(&self.client, "/api/v1/output".to_owned()).await?;
        let mut all = Vec::new();
        while let Some(piece) = reading.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request. The range that it asks for is noted before the answer: who has that may look at once.
fn serve(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    answer: Answer,
    noted: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let (socket, _) = listener.accept()?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    let (mut range, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line)? > 2 {
        if let Some(asked) = line.to_ascii_lowercase().strip_prefix("range: ") {
            asked.trim().clone_into(&mut range);
        }
        line.clear();
    }
    let first = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    let first: usize = first.map_or(0, |first| first.parse().unwrap());
    noted.lock().unwrap().push(range);
    let (status, rest) = (
        if first > 0 { "206 Partial Content" } else { "200 OK" },
        &CONTENT[first..],
    );
    let size = rest.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {size}\r\netag: \"one\"\r\nconnection: close\r\n\r\n");
    let sent = match answer {
        Answer::Nothing => Vec::new(),
        Answer::Head => head.as_bytes()[..20].to_vec(),
        Answer::Part(part) => [head.as_bytes(), &rest[..part]].concat(),
        Answer::Whole => [head.as_bytes(), rest].concat(),
    };
    let stream = stream.get_mut();
    stream.write_all(&sent)?;
    stream.flush()
}

#[tokio::test]
async fn what_breaks_off_is_asked_for_again_from_where_it_broke() {
    use Answer::{Head, Nothing, Part, Whole};
    for (answers, ranges) in [
        (vec![Whole], vec![""]),
        (vec![Nothing, Head, Whole], vec!["", "", ""]),
        (vec![Part(0), Whole], vec!["", ""]),
        (
            vec![Part(4), Nothing, Part(5), Whole],
            vec!["", "bytes=4-", "bytes=4-", "bytes=9-"],
        ),
    ] {
        let server = Server::start(&answers);
        let all = server.download().await.unwrap();
        assert_eq!(all, CONTENT);
        assert_eq!(server.asked(), ranges);
    }
}

#[tokio::test]
async fn a_master_that_is_gone_for_good_is_an_error_that_says_so() {
    let tries = usize::try_from(ATTEMPTS).unwrap() + 1;
    for (answers, asked) in [
        (vec![], 0),
        // It hangs up each time.
        (vec![Answer::Nothing; 20], tries),
        (vec![Answer::Part(3)], 1),
        ([vec![Answer::Part(3)], vec![Answer::Nothing; 20]].concat(), tries),
    ] {
        let server = Server::start(&answers);
        let failure = server.download().await.unwrap_err();
        assert_eq!(failure.code, ExitCode::Unreachable, "{failure:?}");
        assert!(failure.message.contains("cannot be reached"), "{failure:?}");
        assert_eq!(server.asked().len(), asked);
    }
}
