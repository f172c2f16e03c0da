//! The `tombolo` program.
fn main() {}
