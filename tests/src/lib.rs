//! What the tests across crates share: the history of a world, and the checkers that judge it.

pub mod check;
pub mod history;
