//! A way to a server over which the weather changes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much is passed on at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// More connections wait to be taken.
const CONNECTIONS: usize = 1024;
const REFUSAL: &[u8] = b"HTTP/1.1 503 Slow Down\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What becomes of what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// Nothing passes in these directions, and nobody is told.
    Silent {
        up: bool,
        down: bool,
    },
    /// Connections are reset, also new ones.
    Reset,
    /// Each connection is cut after at most so many bytes.
    Cut {
        bytes: u64,
    },
    /// Each piece takes so long, and so many bytes pass in a second.
    Slow {
        latency: Duration,
        bytes_per_second: u64,
    },
    /// Requests are answered with 503 by somebody before the server.
    Refuses,
}

impl Weather {
    const fn silences(self, direction: Direction) -> bool {
        match (self, direction) {
            (Self::Silent { up, .. }, Direction::Up) => up,
            (Self::Silent { down, .. }, Direction::Down) => down,
            _ => false,
        }
    }

    const fn breaks(self) -> bool {
        matches!(self, Self::Reset | Self::Refuses)
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// Who passes connections on for as long as this lives.
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// From an address of this machine to a server on it.
    pub(crate) async fn at(here: Ipv4Addr, server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((here, 0)).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fine);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, server, seen));
        Ok(Self {
            address,
            weather,
            _task: task,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, server: u16, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                if let Ok((near, _)) = accepted {
                    connections.spawn(connect(near, server, weather.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut near: TcpStream, server: u16, mut weather: watch::Receiver<Weather>) {
    let now = *weather.borrow_and_update();
    match now {
        Weather::Reset => return reset(&near),
        Weather::Refuses => return refuse(&mut near).await,
        _ => {}
    }
    let speaks = |now: &Weather| !now.silences(Direction::Up) && !now.silences(Direction::Down);
    if weather.wait_for(speaks).await.is_err() {
        return;
    }
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
        return reset(&near);
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let is_whole = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let passed = Arc::new(AtomicU64::new(0));
        let up = pass(near_read, far_write, Direction::Up, weather.clone(), &passed);
        let down = pass(far_read, near_write, Direction::Down, weather.clone(), &passed);
        let broken = async { weather.wait_for(|now| now.breaks()).await.is_ok() };
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_ok(),
            _ = broken => false,
        }
    };
    if !is_whole {
        reset(&near);
        reset(&far);
    }
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // One that is closed already is as good.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

async fn refuse(near: &mut TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    if near.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        let _ = near.write_all(REFUSAL).await;
    }
}

/// Passes one direction on to its end. It is an error if the connection is to be cut.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
    passed: &AtomicU64,
) -> Result<(), ()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut count = from.read(&mut buffer).await.map_err(drop)?;
        let now = *weather.wait_for(|now| !now.silences(direction)).await.map_err(drop)?;
        if count == 0 {
            return to.shutdown().await.map_err(drop);
        }
        let mut is_last = false;
        match now {
            Weather::Slow {
                latency,
                bytes_per_second,
            } => {
                let takes = Duration::from_secs_f64(count as f64 / bytes_per_second as f64);
                tokio::time::sleep(latency + takes).await;
            }
            Weather::Cut { bytes } => {
                let before = passed.fetch_add(count as u64, Ordering::Relaxed);
                let left = usize::try_from(bytes.saturating_sub(before)).unwrap_or(usize::MAX);
                is_last = left < count;
                count = count.min(left);
            }
            _ => {}
        }
        to.write_all(&buffer[..count]).await.map_err(drop)?;
        if is_last {
            return Err(());
        }
    }
}
