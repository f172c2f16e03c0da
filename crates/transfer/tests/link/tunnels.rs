//! The tunnel itself.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tombolo_core::id::TunnelId;
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::tunnels_client::TunnelsClient;
use tombolo_proto::transfer::v1::{Finished, Opened, TunnelFrame};
use tombolo_transfer::tunnel::{self, Error, Limits, MAX_DATA_BYTES, Tunnel};
use tonic::transport::Channel;

use crate::setting::{DEADLINE, FORBIDDEN, Record, Setting, cluster, name, until};

/// Two clusters that are connected, and a tunnel from `east` to `west`.
struct Ends {
    setting: Setting,
    east: Tunnel,
    west: Tunnel,
}

async fn channels(setting: &Setting) -> (Channel, Channel) {
    let east = setting.identity(&cluster("east"));
    let west = setting.identity(&cluster("west"));
    (setting.bulk(&east).await, setting.bulk(&west).await)
}

async fn ends() -> Ends {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (east, west) = channels(&setting).await;
    let mut offers = setting.offers.listen("west");
    let target = name("west");
    let accepting = async { tunnel::accept(west, offers.recv().await.unwrap()).await };
    let (east, west) = tokio::join!(tunnel::open(east, &target), accepting);
    Ends {
        setting,
        east: east.unwrap(),
        west: west.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_arrive_in_order_and_each_direction_ends_by_itself() {
    let Ends {
        setting,
        mut east,
        mut west,
    } = ends().await;
    let sent: Vec<u8> = (0..5_000_000u32).map(|number| (number % 251) as u8).collect();
    let expected = sent.clone();
    let writing = async move {
        east.write_all(&sent).await.unwrap();
        east.shutdown().await.unwrap();
        assert_eq!(east.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut answer = Vec::new();
        east.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let reading = async move {
        let mut received = Vec::new();
        west.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        west.write_all(b"all there").await.unwrap();
        west.shutdown().await.unwrap();
        west
    };
    let (answer, _west) = timeout(DEADLINE, async { tokio::join!(writing, reading) })
        .await
        .unwrap();
    assert_eq!(answer, b"all there");
    assert_eq!(setting.switchboard.moved_bytes(), 5_000_009);
    until("the tunnel is given up", || setting.switchboard.tunnels() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_stalls_the_writer_and_nobody_else() {
    let Ends {
        setting,
        mut east,
        mut west,
    } = ends().await;
    let block = vec![7; MAX_DATA_BYTES];
    let mut written = 0;
    // Until nothing moves any more.
    while let Ok(result) = timeout(Duration::from_millis(500), east.write(&block)).await {
        written += result.unwrap();
        assert!(written <= 16 << 20, "somebody holds more than two windows");
    }
    assert!(written > 0);
    // The connection of the writer is not held up by it.
    let east_again = setting.bulk(&setting.identity(&cluster("east"))).await;
    assert_eq!(
        unavailable(tunnel::open(east_again, &name("nobody")).await),
        "cluster nobody is not connected"
    );
    let mut received = vec![0; written];
    timeout(DEADLINE, west.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received.iter().all(|byte| *byte == 7));
    timeout(DEADLINE, east.write_all(&block)).await.unwrap().unwrap();
}

fn unavailable(outcome: Result<Tunnel, Error>) -> String {
    match outcome {
        Err(Error::Unavailable(reason)) => reason,
        other => panic!("expected to be unavailable: {:?}", other.err()),
    }
}

fn refused(outcome: Result<Tunnel, Error>) -> String {
    match outcome {
        Err(Error::Refused(reason)) => reason,
        other => panic!("expected to be refused: {:?}", other.err()),
    }
}

#[tokio::test]
async fn tunnels_that_are_not_opened() {
    let limits = Limits {
        from_one: 2,
        from_master: 2,
        to_one: 256,
        accept: Duration::from_millis(300),
    };
    let setting = Setting::new(limits, Record::Nothing).await;
    let (east, west) = channels(&setting).await;
    let mallory = setting.bulk(&setting.identity(&cluster("mallory"))).await;
    let mut offers = setting.offers.listen("west");

    assert!(unavailable(tunnel::open(east.clone(), &name("nobody")).await).contains("not connected"));
    assert!(refused(tunnel::open(east.clone(), &name(FORBIDDEN)).await).contains("not allowed"));
    assert!(matches!(
        tunnel::open(east.clone(), &name("east")).await,
        Err(Error::Protocol(_))
    ));
    assert!(unavailable(tunnel::open(east.clone(), &name("west")).await).contains("dial back"));
    let withdrawn = offers.recv().await.unwrap();
    assert!(refused(tunnel::accept(west.clone(), withdrawn).await).contains("no such tunnel"));
    assert!(refused(tunnel::accept(west.clone(), TunnelId::from_u128(1)).await).contains("no such tunnel"));

    // Somebody else cannot take it, and its trying does no harm.
    let target = name("west");
    let accepting = async {
        let offered = offers.recv().await.unwrap();
        assert!(refused(tunnel::accept(mallory.clone(), offered).await).contains("no such tunnel"));
        assert!(refused(tunnel::accept(east.clone(), offered).await).contains("no such tunnel"));
        tunnel::accept(west.clone(), offered).await.unwrap()
    };
    let (first, _first_end) = tokio::join!(tunnel::open(east.clone(), &target), accepting);
    let first = first.unwrap();

    // As many as one cluster may have, and then none.
    let accepting = async {
        tunnel::accept(west.clone(), offers.recv().await.unwrap())
            .await
            .unwrap()
    };
    let (second, _second_end) = tokio::join!(tunnel::open(east.clone(), &target), accepting);
    let _second = second.unwrap();
    assert!(unavailable(tunnel::open(east.clone(), &target).await).contains("2 tunnels already"));
    drop(first);
    until("the place is free again", || setting.switchboard.tunnels() == 1).await;

    // The master is offered nothing, so it can take nothing either; but it may dial.
    let master = setting
        .bulk(&setting.identity(&tombolo_identity::member::Member::Master))
        .await;
    assert!(refused(tunnel::accept(master.clone(), withdrawn).await).contains("no such tunnel"));
    let accepting = async {
        tunnel::accept(west.clone(), offers.recv().await.unwrap())
            .await
            .unwrap()
    };
    let (dialled, _end) = tokio::join!(tunnel::open(master, &target), accepting);
    dialled.unwrap();
}

#[tokio::test]
async fn a_tunnel_that_breaks_never_looks_whole() {
    for case in ["dropped", "dialler removed", "acceptor removed"] {
        let Ends {
            setting,
            mut east,
            mut west,
        } = ends().await;
        east.write_all(b"part").await.unwrap();
        let mut part = [0; 4];
        west.read_exact(&mut part).await.unwrap();
        let mut survivor = match case {
            "dropped" => {
                drop(east);
                west
            }
            "dialler removed" => {
                assert_eq!(setting.connections.close(&cluster("east")), 1);
                assert!(timeout(DEADLINE, east.read_u8()).await.unwrap().is_err());
                west
            }
            _ => {
                assert_eq!(setting.connections.close(&cluster("west")), 1);
                east
            }
        };
        let error = timeout(DEADLINE, survivor.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{case}");
        until("the tunnel is given up", || setting.switchboard.tunnels() == 0).await;
    }
}

fn frame(frame: Frame) -> TunnelFrame {
    TunnelFrame { frame: Some(frame) }
}

#[tokio::test]
async fn frames_that_break_the_protocol() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let (east, west) = channels(&setting).await;
    let data = |length: usize| frame(Frame::Data(Bytes::from(vec![0; length])));
    let dial = |target: &str| frame(Frame::Dial(target.to_owned()));
    for (case, first) in [
        ("nothing", None),
        ("an empty frame", Some(TunnelFrame { frame: None })),
        ("data", Some(data(1))),
        ("opened", Some(frame(Frame::Opened(Opened {})))),
        ("a name that is none", Some(dial("No Name"))),
        (
            "an id that is none",
            Some(frame(Frame::Accept(Bytes::from_static(b"short")))),
        ),
        ("a frame that is too large", Some(data(MAX_DATA_BYTES + 4096))),
    ] {
        let mut client = TunnelsClient::new(east.clone());
        let outcome = timeout(DEADLINE, client.open(tokio_stream::iter(first))).await.unwrap();
        assert!(outcome.is_err(), "{case}");
    }
    let mut offers = setting.offers.listen("west");
    for (case, after) in [
        ("too much data", data(MAX_DATA_BYTES + 1)),
        ("opened", frame(Frame::Opened(Opened {}))),
        ("dial", dial("west")),
        ("nothing", TunnelFrame { frame: None }),
    ] {
        let frames = tokio_stream::iter([dial("west"), after]);
        let mut client = TunnelsClient::new(east.clone());
        let accepting = async {
            tunnel::accept(west.clone(), offers.recv().await.unwrap())
                .await
                .unwrap()
        };
        let (_opened, mut end) = tokio::join!(client.open(frames), accepting);
        assert!(timeout(DEADLINE, end.read_u8()).await.unwrap().is_err(), "{case}");
    }
    // Data after the end of data.
    let frames = tokio_stream::iter([dial("west"), frame(Frame::Finished(Finished {})), data(1)]);
    let mut client = TunnelsClient::new(east.clone());
    let accepting = async {
        tunnel::accept(west.clone(), offers.recv().await.unwrap())
            .await
            .unwrap()
    };
    let (opened, mut end) = tokio::join!(client.open(frames), accepting);
    assert_eq!(end.read(&mut [0; 1]).await.unwrap(), 0, "the end that was said counts");
    let mut answers = opened.unwrap().into_inner();
    let broken = async { while answers.message().await.is_ok_and(|next| next.is_some()) {} };
    timeout(DEADLINE, broken).await.unwrap();
    until("all are given up", || setting.switchboard.tunnels() == 0).await;
}
