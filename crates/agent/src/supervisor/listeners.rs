//! Those who wait for the command's end, or ask for it, over the socket in the attempt's folder.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use super::request;
use crate::folder::AttemptFolder;
use crate::link::Granted;

/// The agent has one connection; a few more are for people and for an agent that has just been replaced.
const LIMIT: usize = 16;

/// Requests are short words; who says more is not ours.
const REQUEST_LIMIT: usize = 64;

/// What somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    Begin,
    /// From the system, by a signal.
    Terminate,
    Stop,
    Kill,
}

/// The socket and its clients. Dropping it tells them that the end has come.
pub(super) struct Listeners {
    socket: UnixListener,
    clients: Vec<Client>,
    /// Where signals arrive.
    signals: Option<UnixStream>,
    /// The latest lease that somebody told of.
    lease: Option<Granted>,
}

struct Client {
    stream: UnixStream,
    said: Vec<u8>,
}

impl Listeners {
    pub(super) fn bind(folder: &AttemptFolder) -> io::Result<Self> {
        let socket = folder.with_socket(|path| {
            // One of a supervisor that died; this one holds the lock.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            UnixListener::bind(path)
        })?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            clients: Vec::new(),
            signals: None,
            lease: None,
        })
    }

    /// Takes what arrives at `signals` as the system's wish that this process ends.
    pub(super) fn heed(self, signals: UnixStream) -> io::Result<Self> {
        signals.set_nonblocking(true)?;
        let signals = Some(signals);
        Ok(Self { signals, ..self })
    }

    fn signalled(&mut self) -> Option<Request> {
        let mut buffer = [0; REQUEST_LIMIT];
        let count = self.signals.as_mut()?.read(&mut buffer).ok()?;
        (count > 0).then_some(Request::Terminate)
    }

    /// What to poll for input.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clients = self.clients.iter().map(|client| client.stream.as_fd());
        let signals = self.signals.iter().map(|signals| signals.as_fd());
        std::iter::once(self.socket.as_fd()).chain(signals).chain(clients)
    }

    /// The latest lease that somebody told of.
    pub(super) const fn lease(&self) -> Option<Granted> {
        self.lease
    }

    /// Takes new clients in and reads what there is. Returns the strongest request.
    pub(super) fn serve(&mut self) -> Option<Request> {
        while let Ok((stream, _)) = self.socket.accept() {
            if self.clients.len() < LIMIT && stream.set_nonblocking(true).is_ok() {
                let said = Vec::new();
                self.clients.push(Client { stream, said });
            }
        }
        let mut strongest = self.signalled();
        self.clients.retain_mut(|client| {
            // Who leaves after a request has made it all the same.
            let stays = client.read().is_ok();
            match client.requests(&mut self.lease) {
                Ok(request) => {
                    strongest = strongest.max(request);
                    stays
                }
                Err(Nonsense) => false,
            }
        });
        strongest
    }

    /// Tells that there is something new in the folder. A client that has not yet read the last word needs no other.
    pub(super) fn spool_has_grown(&mut self) {
        for client in &mut self.clients {
            let _ = client.stream.write(b".");
        }
    }
}

/// A client says what is no request.
struct Nonsense;

impl Client {
    /// Reads until there is no more for now. An error means that there never will be.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; REQUEST_LIMIT];
        while self.said.len() <= REQUEST_LIMIT {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.said.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The strongest of the requests that were read whole. What they tell of a lease is put into `lease`, if that lasts longer.
    fn requests(&mut self, lease: &mut Option<Granted>) -> Result<Option<Request>, Nonsense> {
        let mut strongest = None;
        while let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.said.drain(..=end).collect();
            strongest = strongest.max(match line.as_slice() {
                request::BEGIN => Some(Request::Begin),
                request::STOP => Some(Request::Stop),
                request::KILL => Some(Request::Kill),
                told => {
                    let told = request::read_lease(told).ok_or(Nonsense)?;
                    if lease.is_none_or(|known| known.until < told.until) {
                        *lease = Some(told);
                    }
                    None
                }
            });
        }
        if self.said.len() > REQUEST_LIMIT {
            Err(Nonsense)
        } else {
            Ok(strongest)
        }
    }
}
