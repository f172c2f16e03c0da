//! What every long-running process needs and no domain knows of: telemetry, configuration, clocks, calls that block, shutdown.

pub mod blocking;
pub mod clock;
pub mod configuration;
pub mod memory;
pub mod reason;
pub mod shutdown;
pub mod telemetry;
