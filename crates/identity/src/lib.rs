//! Who is who: certificate authority, invites, TLS with reload, grants and tokens.
//!
//! Every gRPC connection is mutual TLS 1.3 between two [`member::Member`]s. A certificate names its member by a SPIFFE URI;
//! both ends check it in the handshake, and the server hands it to the application as a request extension
//! ([`transport::ConnectionInfo`]).

pub mod authority;
pub mod credentials;
pub mod edition;
pub mod grant;
pub mod invite;
pub mod key;
pub mod member;
pub mod private_file;
pub mod sealing;
pub mod tls;
pub mod token;
pub mod transport;
pub mod trust;
