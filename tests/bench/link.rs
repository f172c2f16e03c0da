//! A link of a certain rate between processes of this machine: all connections through it share the rate, in each direction.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const PIECE_BYTES: usize = 32 * 1024;
/// How much may be sent at once after a silence: what a switch would hold.
const BURST: Duration = Duration::from_millis(2);

/// One direction: when it is free again.
struct Direction(Mutex<Instant>);

/// A link. It ends with this value.
pub(crate) struct Link {
    bytes_per_second: u64,
    directions: Arc<[Direction; 2]>,
    tasks: JoinSet<()>,
    runtime: Handle,
}

impl Link {
    pub(crate) fn new(bits_per_second: u64, runtime: Handle) -> Self {
        let now = Instant::now();
        Self {
            bytes_per_second: bits_per_second / 8,
            directions: Arc::new([Direction(Mutex::new(now)), Direction(Mutex::new(now))]),
            tasks: JoinSet::new(),
            runtime,
        }
    }

    /// An address that leads to `to` over this link.
    pub(crate) fn to(&mut self, to: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (directions, rate) = (Arc::clone(&self.directions), self.bytes_per_second);
        self.tasks
            .spawn_on(serve(listener, to, directions, rate), &self.runtime);
        Ok(address)
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, directions: Arc<[Direction; 2]>, rate: u64) {
    let mut connections = JoinSet::new();
    while let Ok((here, _)) = listener.accept().await {
        let directions = Arc::clone(&directions);
        connections.spawn(async move {
            let Ok(there) = TcpStream::connect(to).await else {
                return;
            };
            let _ = (here.set_nodelay(true), there.set_nodelay(true));
            let (from_here, to_here) = here.into_split();
            let (from_there, to_there) = there.into_split();
            // Whichever side ends, what the other has sent still arrives.
            tokio::join!(
                directions[0].carry(from_here, to_there, rate),
                directions[1].carry(from_there, to_here, rate)
            );
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Direction {
    async fn carry(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, rate: u64) {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            sleep_until(self.turn(read as u64, rate)).await;
            if to.write_all(&piece[..read]).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }

    /// When so many bytes have gone through.
    fn turn(&self, bytes: u64, rate: u64) -> Instant {
        let mut free = self.0.lock().expect("nothing panics while it is held");
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(*free);
        *free = (*free).max(earliest) + Duration::from_nanos(bytes * 1_000_000_000 / rate);
        *free
    }
}
