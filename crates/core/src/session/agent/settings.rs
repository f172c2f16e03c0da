//! The times and limits of the agent's end of the link.

use std::time::Duration;

/// The times and limits of the agent's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// When to say hello again on the same connection.
    pub hello_retry: Duration,
    /// When to give the connection up for want of a welcome. The master commits the hello first: leave it time.
    pub welcome_timeout: Duration,
    /// When to repeat a report that was not acknowledged.
    pub report_retry: Duration,
    /// After how many heartbeat intervals without a frame of the master to give the connection up. What a lease has left then is for finding
    /// another master before exclusive commands are told to stop: it may be that this one stands still.
    pub silent_heartbeats: u32,
    /// Reports that may be on their way at once. More wait, one (the newest) for each attempt.
    pub report_credits: usize,
    /// Attempts that an agent keeps, those included that have ended and are not forgotten. Assignments beyond are left
    /// unacknowledged; the master repeats them.
    pub attempts: usize,
    /// Jobs of which the highest forgotten epoch is remembered, so that no assignment that comes late on the same
    /// connection is started.
    pub forgotten: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hello_retry: Duration::from_secs(3),
            welcome_timeout: Duration::from_secs(10),
            report_retry: Duration::from_secs(3),
            silent_heartbeats: 2,
            report_credits: 1024,
            attempts: 16_384,
            forgotten: 4096,
        }
    }
}
