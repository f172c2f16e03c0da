//! What is planned, what happened, and what is to be said of it: without sockets, clocks and processes.

pub(crate) mod check;
pub(crate) mod history;
pub(crate) mod page;
pub(crate) mod plan;
pub(crate) mod planted;
