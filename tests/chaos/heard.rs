//! That what commands in pods say is written down whole, and once.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::witnesses::Witnesses;

/// Says something as a command does, and gives what is answered.
async fn say(address: SocketAddr, line: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(line.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_said_again_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("witness");
    std::fs::write(&file, "0.50 a process\n").unwrap();
    let witnesses = Witnesses::hear(Ipv4Addr::LOCALHOST, &file).await.unwrap();
    for line in [
        "x-1 1.00 begins\n",
        "x-1 1.00 begins\n",
        "y-1 1.00 begins\n",
        "x-2 1.50 lives\n",
    ] {
        assert_eq!(say(witnesses.address, line).await, "heard\n", "{line}");
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written, "0.50 a process\n1.00 begins\n1.00 begins\n1.50 lives\n");
}

#[tokio::test]
async fn half_a_line_is_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("witness");
    std::fs::write(&file, "").unwrap();
    let witnesses = Witnesses::hear(Ipv4Addr::LOCALHOST, &file).await.unwrap();
    assert_eq!(say(witnesses.address, "x-1 1.00 beg").await, "");
    assert_eq!(say(witnesses.address, "x-1 1.00 begins\n").await, "heard\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1.00 begins\n");
}
