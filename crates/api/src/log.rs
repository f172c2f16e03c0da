//! Logs, as newline-delimited JSON (`application/x-ndjson`): one [`LogItem`] a line. Empty lines keep a quiet connection
//! alive and mean nothing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::JobState;
use crate::time::DateTime;

/// The media type of a log.
pub const MEDIA_TYPE: &str = "application/x-ndjson";

/// One piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogItem {
    /// The lines that follow are of this attempt. Comes first, and again (with numbers beginning at 0) when the attempt is
    /// replaced while its log is followed.
    Attempt {
        /// Which.
        epoch: u32,
        /// Where it runs.
        cluster: Option<String>,
    },
    /// A line.
    Line {
        /// Its number, from 0. To resume, ask `from` the next one.
        number: u64,
        /// When it was written, by the cluster's calendar.
        at: DateTime,
        /// The line without its end. Bytes that are not UTF-8 are shown as U+FFFD.
        text: String,
    },
    /// Lines are not there: the agent gave them up, or the log is longer than the master keeps.
    Gap {
        /// The number of the first one.
        from: u64,
        /// The number of the line that comes next.
        to: u64,
    },
    /// The log is whole: no more lines will come.
    End {
        /// How many lines it has.
        lines: u64,
        /// How the job ended.
        state: JobState,
    },
}
