//! Tables over the master's end.
