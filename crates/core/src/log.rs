//! The log of an attempt: what its command writes, in numbered lines.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The most bytes that one line has. Whoever cuts a stream into lines ends a line there and goes on in the next, so that no
/// command can make anybody hold an endless line.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place in the log, from 0, without gaps. The number of the line after the last is the number of lines.
    pub number: u64,
    /// When it was written, by the agent's calendar.
    pub at: Timestamp,
    /// The bytes as the command wrote them, in any encoding, without the line's end. Made readable only where it is shown.
    pub text: Vec<u8>,
}

impl LogLine {
    /// What it counts for where memory is bounded, in bytes: its text and what is stored beside it.
    pub const fn weight(&self) -> usize {
        self.text.len() + 24
    }

    /// The line as people see it: whatever is not UTF-8 becomes U+FFFD.
    pub fn display(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}
