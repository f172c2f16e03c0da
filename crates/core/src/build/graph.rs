//! The graph of a build's jobs.
