//! Commands in pods: one pod for each attempt, made from settings and assignment, watched, judged and removed.
//!
//! What the command did is told by the pod's courier, which has a session with the agent. Kubernetes is asked only for what a
//! courier cannot tell: that the pod cannot be scheduled, that its image cannot be pulled, that it was killed or lost. All
//! that decides is pure (`pod`, `verdict`, `security`); `cluster` and `watch` talk to the API server.

mod clone;
pub mod cluster;
pub mod entrypoint;
mod execute;
mod keep;
pub mod names;
pub mod orphans;
pub mod pod;
mod running;
pub mod security;
pub mod settings;
mod silence;
pub mod verdict;
pub mod view;
pub mod watch;

pub use execute::{KubernetesExecutor, Limits, Parts};
pub use running::KubernetesRunning;
