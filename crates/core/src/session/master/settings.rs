//! What the master's end keeps to.

use std::time::Duration;

/// The times and limits of the master's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a new connection may take to say hello.
    pub hello_timeout: Duration,
    /// How often the agent is to send a heartbeat.
    pub heartbeat: Duration,
    /// How long the agent may act on its own; the same as the control plane's. Also how long a connection may be silent.
    pub lease: Duration,
    /// How long the handover lease lasts; the same as the control plane's. Zero: there is none.
    pub handover: Duration,
    /// When to repeat an order that was not acknowledged.
    pub order_retry: Duration,
    /// Orders that may be on their way at once. More wait.
    pub order_credits: usize,
    /// Orders that may wait. With more the connection is closed: at the next hello all that matters is found again.
    pub waiting_orders: usize,
    /// Reports that may wait for their commit. More are dropped; the agent repeats them.
    pub pending_reports: usize,
    /// Heartbeats that may wait for the control plane. More are dropped.
    pub pending_heartbeats: usize,
    /// Attempts that a hello may list, and volumes.
    pub hello_attempts: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(15),
            handover: Duration::from_secs(5 * 60),
            order_retry: Duration::from_secs(3),
            order_credits: 1024,
            waiting_orders: 16_384,
            // Four times the agent's credits: numbers that it gave up may still wait here.
            pending_reports: 4096,
            pending_heartbeats: 16,
            hello_attempts: 32_768,
        }
    }
}
