//! Users' tokens.

use serde::{Deserialize, Serialize};
use tombolo_core::access;
use tombolo_core::id::TokenId;
use tombolo_core::name::ProjectName;
use utoipa::ToSchema;

use crate::time::DateTime;

/// What a token allows. Each role has the rights of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees builds, jobs, logs and outputs.
    Viewer,
    /// Also uploads sources, submits and cancels builds.
    Developer,
    /// Also manages projects, tokens and clusters, as far as the token reaches.
    Admin,
}

impl From<access::Role> for Role {
    fn from(role: access::Role) -> Self {
        match role {
            access::Role::Viewer => Self::Viewer,
            access::Role::Developer => Self::Developer,
            access::Role::Admin => Self::Admin,
        }
    }
}

impl From<Role> for access::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Developer => Self::Developer,
            Role::Admin => Self::Admin,
        }
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// Its name, for people.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The only project that it reaches; all if none.
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectName>,
    /// When it was made.
    pub created_at: DateTime,
    /// When it ends; never if none.
    pub expires_at: Option<DateTime>,
}

/// The tokens that the caller may manage, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// Asks for a new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Its name, for people.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The only project that it reaches; all if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectName>,
    /// How long it is valid, in seconds; for ever if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub ttl_seconds: Option<u64>,
}

/// A new token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// What to log in with.
    pub secret: String,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CreatedToken")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The caller's token.
    pub token: Token,
}
