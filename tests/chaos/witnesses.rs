//! Hears what commands in pods say, which do not see the file of witnesses, and writes it there: without any part of Tombolo between.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Nobody says more at once.
const LINE_BYTES: u64 = 1024;
const SAID_WITHIN: Duration = Duration::from_secs(10);
/// More wait to be heard.
const AT_ONCE: usize = 256;
/// What a command waits for: whoever does not hear it says the same again.
const ANSWER: &[u8] = b"heard\n";

/// Whoever hears, for as long as this lives.
pub(crate) struct Witnesses {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

/// The file, and what was heard already, by the first word of each line.
struct Notes {
    file: File,
    known: BTreeSet<String>,
}

impl Witnesses {
    pub(crate) async fn hear(host: Ipv4Addr, file: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let file = File::options().append(true).open(file);
        let notes = Notes {
            file: file.context("there is no file of witnesses")?,
            known: BTreeSet::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::new(Mutex::new(notes))));
        Ok(Self { address, _task: task })
    }
}

async fn accept(listener: TcpListener, notes: Arc<Mutex<Notes>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < AT_ONCE => {
                if let Ok((socket, _)) = accepted {
                    let notes = Arc::clone(&notes);
                    connections.spawn(async move { timeout(SAID_WITHIN, listen(socket, &notes)).await });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn listen(mut socket: TcpStream, notes: &Mutex<Notes>) -> std::io::Result<()> {
    let (from, mut to) = socket.split();
    let mut line = String::new();
    BufReader::new(from.take(LINE_BYTES)).read_line(&mut line).await?;
    // Half a line is said again.
    if line.ends_with('\n') {
        notes.lock().unwrap_or_else(PoisonError::into_inner).take(&line)?;
        to.write_all(ANSWER).await?;
    }
    to.shutdown().await
}

impl Notes {
    fn take(&mut self, line: &str) -> std::io::Result<()> {
        if let Some((name, said)) = line.split_once(' ')
            && !self.known.contains(name)
        {
            self.file.write_all(said.as_bytes())?;
            self.known.insert(name.to_owned());
        }
        Ok(())
    }
}
