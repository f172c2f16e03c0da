//! The server's version.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The version of the program, such as `0.1.0`.
    pub version: String,
    /// The trust domain of the master and its clusters.
    pub trust_domain: String,
    /// Where users see the master, without a trailing slash.
    pub public_url: String,
}
