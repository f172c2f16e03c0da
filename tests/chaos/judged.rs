//! What `cargo xtask chaos` is made of, by itself: that a seed gives one plan, that each verdict finds what it is there for, that ways do what
//! the weather says, and that commands in pods are heard.

#![allow(dead_code, reason = "the run itself needs all of it")]

#[cfg(test)]
mod heard;
#[cfg(test)]
mod histories;
mod judge;
mod proxy;
#[cfg(test)]
mod ways;
mod witnesses;
