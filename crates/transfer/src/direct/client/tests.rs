use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    request: Duration::from_secs(2),
    operation: Duration::from_secs(4),
};

/// A store that says these answers one after the other, and the last of them again and again.
struct Store {
    address: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Store {
    async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 16 * 1024];
                let _ = stream.read(&mut request).await;
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let answer = &answers[number.min(answers.len() - 1)];
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, asked, task }
    }

    fn request(&self) -> SignedRequest {
        SignedRequest::parse(&format!("http://{}/b/k?X-Amz-Signature=secret", self.address), []).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(None, DEADLINES).unwrap()
}

#[tokio::test]
async fn what_passes_is_waited_for_as_long_as_the_store_asks() {
    for status in ["503 Slow Down", "429 Too Many Requests", "500 Oh", "409 Conflict"] {
        let again = answer(status, "retry-after: 1\r\n", "");
        let store = Store::start(vec![again, answer("200 OK", "", "")]).await;
        let began = Instant::now();
        let put = client().put(&store.request(), &Bytes::from_static(b"x")).await;
        assert_eq!((put, store.asked()), (Ok(Written::Stored), 2), "{status}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{status}");
    }
    let never = answer("503 Slow Down", "retry-after: 3600\r\n", "later");
    let store = Store::start(vec![never]).await;
    let began = Instant::now();
    let put = client().put(&store.request(), &Bytes::from_static(b"x")).await;
    let Err(Failure::Busy(reason)) = put else {
        panic!("{put:?}");
    };
    assert!(reason.contains("503") && reason.contains("later"), "{reason}");
    assert!(began.elapsed() <= DEADLINES.operation);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/b/k", listener.local_addr().unwrap());
    let request = SignedRequest::parse(&url, []).unwrap();
    let began = Instant::now();
    let got = client().get(&request, 10).await;
    assert!(matches!(got, Err(Failure::Busy(_))), "{got:?}");
    assert!(began.elapsed() <= DEADLINES.operation + Duration::from_millis(500));
}

#[tokio::test]
async fn refusals_are_not_repeated_and_nobody_leads_elsewhere() {
    let elsewhere = Store::start(vec![answer("200 OK", "", "stolen")]).await;
    let location = format!("location: http://{}/\r\n", elsewhere.address);
    for (status, headers) in [
        ("307 Temporary Redirect", &location[..]),
        ("403 Forbidden", ""),
        ("400 Bad Request", ""),
        ("501 Not Implemented", ""),
    ] {
        let store = Store::start(vec![answer(status, headers, "<Code>No</Code>")]).await;
        let got = client().get(&store.request(), 100).await;
        let Err(Failure::Refused(reason)) = got else {
            panic!("{status}: {got:?}");
        };
        assert!(reason.contains(&status[..3]) && reason.contains("<Code>No"), "{reason}");
        assert_eq!(store.asked(), 1);
    }
    assert_eq!(elsewhere.asked(), 0);
    let store = Store::start(vec![answer("404 Not Found", "", "")]).await;
    assert_eq!(client().get(&store.request(), 100).await, Err(Failure::Missing));
}

#[tokio::test]
async fn no_message_shows_the_signature() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for host in [closed.to_string(), "no-such-host.invalid:80".to_owned()] {
        let request = SignedRequest::parse(&format!("http://{host}/b/k?X-Amz-Signature=secret"), []).unwrap();
        let Err(Failure::Unreachable(reason)) = client().get(&request, 100).await else {
            panic!("{host}");
        };
        assert!(!reason.contains("secret"), "{reason}");
    }
    let store = Store::start(vec!["HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nless".to_owned()]).await;
    let Err(Failure::Busy(reason)) = client().get(&store.request(), 100).await else {
        panic!("it broke off");
    };
    assert!(!reason.contains("secret"), "{reason}");
}

#[tokio::test]
async fn no_more_is_taken_than_there_may_be() {
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned() + &"x".repeat(200);
    for text in [answer("200 OK", "", &"x".repeat(101)), endless] {
        let store = Store::start(vec![text]).await;
        assert_eq!(client().get(&store.request(), 100).await, Err(Failure::TooLong(100)));
    }
}
