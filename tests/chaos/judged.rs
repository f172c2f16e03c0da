//! What plans and judges `cargo xtask chaos`, by itself: that a seed gives one plan, and that each verdict finds what it is there for.

#![allow(dead_code, reason = "the run itself needs all of it")]

#[cfg(test)]
mod histories;
mod judge;
