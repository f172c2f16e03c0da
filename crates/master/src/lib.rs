//! The control plane: gRPC for agents, REST for users, and the driver of the core state machine.

pub mod clock;
pub mod driver;
pub mod logs;
