//! Standard input and output, on threads of their own: both may block for ever.

use std::io::{self, Read, Write};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tombolo_api::exec::{PIECE_BYTES, cost};

/// Pieces of input that are read ahead.
const INPUT_PIECES: usize = 2;

/// Reads standard input, piece by piece; its end is the channel's. A thread that waits for input when nobody wants it any more ends with the
/// process.
pub(super) fn input() -> io::Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(INPUT_PIECES);
    let reading = move || {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read has ended.
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                        return;
                    }
                }
            }
        }
    };
    thread::Builder::new().name("input".to_owned()).spawn(reading)?;
    Ok(receiver)
}

/// What is printed.
pub(super) enum Piece {
    Output(Bytes),
    Error(Bytes),
}

/// Prints, and tells what it has printed.
pub(super) struct Printer {
    pieces: mpsc::UnboundedSender<Piece>,
    /// What was printed, by its cost.
    pub(super) printed: mpsc::UnboundedReceiver<u32>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        // The session's window bounds what is in there.
        let (pieces, mut receiver) = mpsc::unbounded_channel();
        let (sender, printed) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let printing = move || {
            let mut result = Ok(());
            while let Some(piece) = receiver.blocking_recv() {
                match print(&piece) {
                    // Nobody is left to be told.
                    Ok(cost) => drop(sender.send(cost)),
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            let _ = end.send(result);
        };
        thread::Builder::new().name("output".to_owned()).spawn(printing)?;
        Ok(Self { pieces, printed, ended })
    }

    /// Has a piece printed. One that has failed says so in [`Self::finish`].
    pub(super) fn print(&self, piece: Piece) {
        let _ = self.pieces.send(piece);
    }

    /// Waits until all is printed.
    pub(super) async fn finish(self) -> io::Result<()> {
        let Self { pieces, ended, .. } = self;
        drop(pieces);
        ended.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn print(piece: &Piece) -> io::Result<u32> {
    let bytes = match piece {
        Piece::Output(bytes) => {
            let mut output = io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())?;
            bytes
        }
        Piece::Error(bytes) => {
            io::stderr().lock().write_all(bytes)?;
            bytes
        }
    };
    Ok(cost(bytes.len()))
}
