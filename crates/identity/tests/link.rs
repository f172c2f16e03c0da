//! Real sockets: the accept loop, the connector, proxies, limits.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{Acceptor, Address, Connections, Limits, Proxy, connect};

const DEADLINE: Duration = Duration::from_secs(10);

struct Setting {
    master: Identity,
    east: Identity,
    connections: Connections,
}

impl Setting {
    fn new() -> Self {
        let now = Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
        let authority = Authority::create(TrustDomain::default(), now).unwrap();
        let identity =
            |member: &Member| Identity::new(authority.issue(member, authority.trust(), now).unwrap()).unwrap();
        let east = identity(&Member::Cluster(ClusterName::new("east").unwrap()));
        Self {
            master: identity(&Member::Master),
            east,
            connections: Connections::default(),
        }
    }

    async fn listen(&self, limits: Limits) -> (Acceptor, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let required = ClientCertificate::Required;
        let acceptor = Acceptor::new(listener, &self.master, required, limits, self.connections.clone()).unwrap();
        let address = Address::parse(&acceptor.local_address().unwrap().to_string()).unwrap();
        (acceptor, address)
    }
}

#[tokio::test]
async fn strangers_that_say_nothing_do_not_keep_members_out() {
    let setting = Setting::new();
    let limits = Limits {
        handshake: Duration::from_millis(200),
        handshakes: 2,
        connections: 4,
    };
    let (mut acceptor, address) = setting.listen(limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address.to_string()).await.unwrap());
    }
    let tls = setting.east.client(&Member::Master).unwrap();
    let addresses = [address];
    let proxy = Proxy::none();
    let client = connect(&addresses, tls, &proxy);
    let (connection, channel) = tokio::time::timeout(DEADLINE, async { tokio::join!(acceptor.next(), client) })
        .await
        .unwrap();
    assert!(connection.unwrap().unwrap().info().peer.is_some());
    channel.unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_the_place_is_free_again_later() {
    let setting = Setting::new();
    let (mut acceptor, address) = setting
        .listen(Limits {
            connections: 1,
            ..Limits::default()
        })
        .await;
    let tls = setting.east.client(&Member::Master).unwrap();
    let addresses = [address];
    let proxy = Proxy::none();
    let first = tokio::join!(acceptor.next(), connect(&addresses, tls.clone(), &proxy));
    let refused = tokio::select! {
        refused = connect(&addresses, tls.clone(), &proxy) => refused,
        _ = acceptor.next() => panic!("one connection too many"),
    };
    assert!(refused.unwrap_err().to_string().contains("127.0.0.1"));
    drop(first);
    let again = async { tokio::join!(acceptor.next(), connect(&addresses, tls, &proxy)) };
    let (connection, channel) = tokio::time::timeout(DEADLINE, again).await.unwrap();
    connection.unwrap().unwrap();
    channel.unwrap();
}

#[tokio::test]
async fn the_next_address_is_tried_and_errors_say_where_and_why() {
    let setting = Setting::new();
    let (mut acceptor, address) = setting.listen(Limits::default()).await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let closed = Address::parse(&closed).unwrap();
    let tls = setting.east.client(&Member::Master).unwrap();
    let proxy = Proxy::none();
    let addresses = [closed.clone(), address.clone()];
    let (_connection, channel) = tokio::join!(acceptor.next(), connect(&addresses, tls.clone(), &proxy));
    channel.unwrap();
    let error = connect(std::slice::from_ref(&closed), tls.clone(), &proxy)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&closed.to_string()) && error.contains("refused"),
        "{error}"
    );
    assert!(
        connect(&[], tls, &proxy)
            .await
            .unwrap_err()
            .to_string()
            .contains("no address")
    );
    let west = setting
        .east
        .client(&Member::Cluster(ClusterName::new("west").unwrap()))
        .unwrap();
    let addresses = [address];
    let error = tokio::select! {
        refused = connect(&addresses, west, &proxy) => refused.unwrap_err().to_string(),
        _ = acceptor.next() => panic!("the wrong member was accepted"),
    };
    assert!(error.contains("west.cluster.tombolo.internal"), "{error}");
}

#[tokio::test]
async fn goes_out_by_a_proxy_and_not_where_it_is_excepted() {
    let setting = Setting::new();
    let (mut acceptor, address) = setting.listen(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_address = listener.local_addr().unwrap();
    let proxying = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        let mut reader = BufReader::new(&mut client);
        while !head.ends_with(b"\r\n\r\n") {
            reader.read_until(b'\n', &mut head).await.unwrap();
        }
        let head = String::from_utf8(head).unwrap();
        let target = head
            .strip_prefix("CONNECT ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let mut upstream = TcpStream::connect(target).await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let copying = tokio::io::copy_bidirectional(&mut client, &mut upstream);
        tokio::time::timeout(DEADLINE, copying).await.ok();
        head
    });
    let tls = setting.east.client(&Member::Master).unwrap();
    let proxy = Proxy::new(&format!("http://user:word@{proxy_address}"), "excepted.example");
    let addresses = [address.clone()];
    let (connection, channel) = tokio::join!(acceptor.next(), connect(&addresses, tls.clone(), &proxy));
    let connection = connection.unwrap().unwrap();
    drop(channel.unwrap());
    drop(connection);
    let head = tokio::time::timeout(DEADLINE, proxying).await.unwrap().unwrap();
    assert!(head.starts_with(&format!("CONNECT {address} ")), "{head}");
    assert!(head.contains("Basic dXNlcjp3b3Jk"), "{head}");

    // The proxy is gone now: only where it is excepted is there a way.
    let error = connect(&addresses, tls.clone(), &proxy).await.unwrap_err().to_string();
    assert!(error.contains("by the proxy") && !error.contains("word"), "{error}");
    let excepted = Proxy::new(&format!("http://{proxy_address}"), "127.0.0.0/8");
    let (_connection, channel) = tokio::join!(acceptor.next(), connect(&addresses, tls.clone(), &excepted));
    channel.unwrap();
    let error = connect(&addresses, tls, &Proxy::new("socks5://h:1", ""))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("HTTPS_PROXY"), "{error}");
}

#[tokio::test]
async fn what_is_no_tls_is_logged_and_forgotten() {
    let setting = Setting::new();
    let (mut acceptor, address) = setting.listen(Limits::default()).await;
    let mut stranger = TcpStream::connect(address.to_string()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::select! {
        closed = stranger.read_to_end(&mut answer) => closed,
        _ = acceptor.next() => panic!("accepted"),
    };
    closed.ok();
    assert!(!answer.starts_with(b"HTTP"));
    assert!(setting.connections.is_empty());
}
