//! A way to the server that breaks at the worst moment.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// When the way breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The next `COMMIT` does not arrive.
    BeforeCommit,
    /// The next `COMMIT` arrives, and the answer to it does not.
    AfterCommit,
    /// The next `COMMIT` arrives at a server that has no time for it: the answer does not come, and the way stays open.
    Silence,
}

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    plan: Arc<Mutex<Option<Break>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(super) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Mutex::new(None));
        let accepting = tokio::spawn({
            let plan = Arc::clone(&plan);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let server = TcpStream::connect(("127.0.0.1", server)).await;
                    // Without a server the client's connection ends at once.
                    let Ok(server) = server else { continue };
                    connections.spawn(splice(client, server, Arc::clone(&plan)));
                }
            }
        });
        Self {
            address,
            plan,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(super) fn plan(&self, plan: Break) {
        *self.plan.lock().unwrap() = Some(plan);
    }

    /// Whether what was planned has happened.
    pub(super) fn has_broken(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }
}

async fn splice(client: TcpStream, server: TcpStream, plan: Arc<Mutex<Option<Break>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut sent, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = from_client.read(&mut sent) => {
                let Ok(count @ 1..) = count else { return };
                let sent = &sent[..count];
                let broken = sent.windows(7).any(|part| part == b"COMMIT\0").then(|| plan.lock().unwrap().take());
                match broken.flatten() {
                    Some(Break::BeforeCommit) => return,
                    Some(broken) => {
                        to_server.write_all(sent).await.unwrap();
                        let _ = from_server.read(&mut answered).await;
                        if broken == Break::Silence {
                            std::future::pending::<()>().await;
                        }
                        return;
                    }
                    None if to_server.write_all(sent).await.is_err() => return,
                    None => {}
                }
            }
            count = from_server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if to_client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
