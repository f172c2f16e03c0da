//! The tombolo program.
