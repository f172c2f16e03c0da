//! That ways do to connections what the weather says.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::proxy::{Proxy, Weather};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// A way to a server that gives back what it gets.
async fn way() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Proxy::at(Ipv4Addr::LOCALHOST, port).await.unwrap()
}

async fn connect(way: &Proxy) -> TcpStream {
    TcpStream::connect(way.address()).await.unwrap()
}

/// What comes back of so many bytes, and whether it all did.
async fn send(socket: &mut TcpStream, bytes: usize) -> (usize, bool) {
    let _ = socket.write_all(&vec![7; bytes]).await;
    let mut came = 0;
    let mut buffer = vec![0; 64 * 1024];
    while came < bytes {
        match timeout(LONG, socket.read(&mut buffer)).await.unwrap() {
            Ok(0) | Err(_) => return (came, false),
            Ok(count) => came += count,
        }
    }
    (came, true)
}

#[tokio::test]
async fn a_fine_way_passes_all_and_tells_the_end() {
    let way = way().await;
    let mut socket = connect(&way).await;
    assert_eq!(send(&mut socket, 300_000).await, (300_000, true));
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_silent_way_passes_nothing_and_loses_nothing() {
    let way = way().await;
    for (up, down) in [(true, true), (true, false), (false, true)] {
        let mut socket = connect(&way).await;
        assert_eq!(send(&mut socket, 10).await, (10, true));
        way.turn(Weather::Silent { up, down });
        let heard = timeout(SHORT, send(&mut socket, 10)).await;
        assert!(heard.is_err(), "{heard:?}");
        way.turn(Weather::Fine);
        let mut rest = [0; 10];
        timeout(LONG, socket.read_exact(&mut rest)).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_way_that_resets_ends_connections_with_an_error() {
    let way = way().await;
    let mut old = connect(&way).await;
    assert_eq!(send(&mut old, 10).await, (10, true));
    way.turn(Weather::Reset);
    assert!(timeout(LONG, old.read(&mut [0])).await.unwrap().is_err());
    let mut new = connect(&way).await;
    assert_eq!(send(&mut new, 10).await, (0, false));
    way.turn(Weather::Fine);
    assert_eq!(send(&mut connect(&way).await, 10).await, (10, true));
}

#[tokio::test]
async fn a_way_that_cuts_passes_so_many_bytes_in_both_directions() {
    let way = way().await;
    way.turn(Weather::Cut { bytes: 1_000 });
    assert_eq!(send(&mut connect(&way).await, 400).await, (400, true));
    let (came, is_all) = send(&mut connect(&way).await, 5_000).await;
    assert!(came < 1_000 && !is_all, "{came} came");
}

#[tokio::test]
async fn a_slow_way_takes_its_time() {
    let way = way().await;
    way.turn(Weather::Slow {
        latency: Duration::from_millis(50),
        bytes_per_second: 100_000,
    });
    let began = std::time::Instant::now();
    assert_eq!(send(&mut connect(&way).await, 20_000).await, (20_000, true));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_way_that_refuses_answers_itself() {
    let way = way().await;
    way.turn(Weather::Refuses);
    let mut socket = connect(&way).await;
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LONG, socket.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
