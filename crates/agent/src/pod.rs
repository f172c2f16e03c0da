//! The pod of an attempt, from inside: what the user's container runs ([`supervise`]), and the courier beside it ([`courier`]),
//! which alone holds a token and is the only one that talks to the agent.
//!
//! Both share a volume ([`Places`]). The supervisor reaches the agent through the courier's socket ([`proxy`]): it fetches what
//! belongs into the sandbox, and hands the output over. What happens in between is told by files in the attempt's folder, which the
//! courier reports ([`session`]); what is to happen, the courier says at the supervisor's socket. Whichever of the agent and the
//! courier's connection goes away and comes back finds everything as it is.

mod attend;
pub mod courier;
mod direct;
mod errand;
pub mod install;
mod observer;
mod places;
mod proxy;
mod session;
mod settings;
pub mod supervise;
mod tenure;

pub use install::install;
pub use places::Places;
pub use settings::Settings;
