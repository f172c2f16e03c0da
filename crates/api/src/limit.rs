//! What one request may carry. The master refuses more with `too_large`; clients cut their requests accordingly.

/// The largest JSON body, in bytes: a job file, which travels inside JSON, may double in size when escaped.
pub const JSON_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The largest job file, in bytes.
pub const JOB_FILE_BYTES: usize = tombolo_core::build::JOB_FILE_BYTES_MAX;

/// The most chunks that one question for missing chunks may name (about 1.5 MB of JSON).
pub const MISSING_CHUNKS: usize = 10_000;

/// The most builds in one page of a list.
pub const BUILDS_PAGE: u32 = 200;

/// How many builds a page has if the client does not say.
pub const BUILDS_PAGE_DEFAULT: u32 = 50;

/// The most indexes of an array in one page of a list.
pub const INDEXES_PAGE: u32 = 1000;

/// How many indexes a page has if the client does not say.
pub const INDEXES_PAGE_DEFAULT: u32 = 100;

/// The most entries in one page of an output's listing (about 2 MB of JSON).
pub const ENTRIES_PAGE: u32 = 10_000;

/// The longest text of people in a request (a token's name, a branch, a commit, a tag), in bytes.
pub const TEXT_BYTES: usize = 256;

/// The longest life of an invite, in seconds: a day. It is a secret that travels through chats and tickets.
pub const INVITE_SECONDS: u64 = 24 * 60 * 60;

/// The life of an invite if the client does not say, in seconds.
pub const INVITE_SECONDS_DEFAULT: u64 = 15 * 60;
