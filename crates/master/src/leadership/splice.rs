//! Bytes of a connection, passed on as they are: TLS goes from end to end.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What one direction of a connection holds, while something is under way on it.
const BUFFER_BYTES: usize = 16 * 1024;

/// Passes bytes on in both directions, until both have ended or one has failed.
pub(super) async fn splice(mut one: TcpStream, mut other: TcpStream) -> io::Result<()> {
    let (one_reader, one_writer) = one.split();
    let (other_reader, other_writer) = other.split();
    tokio::try_join!(pass(one_reader, other_writer), pass(other_reader, one_writer))?;
    Ok(())
}

async fn pass(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        // Most connections are idle most of the time, and hold nothing meanwhile.
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => return to.shutdown().await,
            Ok(_) => to.write_all(&buffer).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialled, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn everything_arrives_and_each_direction_ends_by_itself() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let splicing = tokio::spawn(splice(near, far));
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        // The other way is still open.
        server.write_all(b"all of it").await.unwrap();
        drop(server);
        assert_eq!(sending.await.unwrap(), b"all of it");
        splicing.await.unwrap().unwrap();
    }
}
