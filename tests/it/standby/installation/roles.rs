//! Which master leads, as they say themselves.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Installation;

impl Installation {
    /// What a master says of itself; nothing if it does not answer.
    pub(crate) fn role(&self, index: usize) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.masters[index].ports.health));
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(body.trim().to_owned())
    }

    #[track_caller]
    pub(crate) fn wait_for_role(&self, index: usize, role: &str) {
        let what = format!("master {index} to be {role}");
        self.wait_for(&what, || self.role(index).filter(|found| found == role));
    }

    /// The master that says of itself that it leads.
    #[track_caller]
    pub(crate) fn leader(&self) -> usize {
        self.wait_for("a leader", || {
            (0..self.masters.len()).find(|index| self.role(*index).as_deref() == Some("leader"))
        })
    }
}
