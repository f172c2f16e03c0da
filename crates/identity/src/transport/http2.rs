//! The settings of every gRPC connection, in one place.
//!
//! A window bounds what a receiver holds for a reader that is slow; nothing is allocated before data comes. A stream alone moves at
//! most one window per round trip: 4 MiB at 50 ms are 640 Mbit/s. Streams that stall use up the window of their connection, which
//! is why bulk data has connections of its own, and a connection's window is that of several streams.

use std::time::Duration;

use tonic::transport::{Endpoint, Server};

/// What one stream may have in flight.
pub const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What all streams of a connection may have in flight: four of them at full speed. It bounds what a connection can make us hold:
/// an agent that pulls has 16 MiB here beside the 32 MiB of chunks that it checks and stores.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
/// The largest HTTP/2 frame: a tunnel frame of 64 KiB with its envelope fits into one.
pub const MAX_FRAME_BYTES: u32 = 128 * 1024;
/// Streams of one connection; a relay is one, a call is one.
pub const MAX_CONCURRENT_STREAMS: u32 = 256;
/// Headers of a call: grants and names have less than a KiB.
pub const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// How often a connection is probed, also when idle: finds peers that are gone without a word, and keeps NATs open.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A server with these settings.
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// An endpoint with these settings.
pub(super) fn endpoint(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}
