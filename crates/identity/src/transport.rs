//! Connections between members: our own accept loop and connector, since tonic's take neither a verifier nor a certificate resolver.

mod acceptor;
mod address;
mod connection;
mod connector;
pub mod http2;
mod serve;
mod socket;

pub use acceptor::{Acceptor, Limits};
pub use address::{Address, InvalidAddress};
pub use connection::{Connection, ConnectionInfo, Connections, accept, peer, shown};
pub use connector::{Error, Proxy, connect, connect_lazy, connect_over, connect_reverse, dial_reverse};
pub use serve::serve_one;
pub use socket::{ByteStream, Dial};
