//! Secrets of projects.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use tombolo_core::name::SecretName;
use tombolo_core::secret;
use utoipa::ToSchema;

use crate::DateTime;

/// The secrets of a project, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// Them.
    pub secrets: Vec<Secret>,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// How job files name it.
    #[schema(value_type = String)]
    pub name: SecretName,
    /// When it was given its value.
    pub updated_at: DateTime,
}

impl From<secret::Secret> for Secret {
    fn from(secret: secret::Secret) -> Self {
        Self {
            name: secret.name,
            updated_at: secret.updated_at.into(),
        }
    }
}

/// Gives a secret a value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// The value: 1 to 65,536 bytes.
    #[serde(deserialize_with = "text")]
    pub value: String,
}

impl fmt::Debug for SetSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SetSecret").finish_non_exhaustive()
    }
}

/// An error would quote what is not text.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|_| de::Error::custom("the value of a secret is text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown_by_what_is_said_of_it() {
        let error = serde_json::from_str::<SetSecret>(r#"{"value": 8675309}"#).expect_err("a number is no text");
        assert!(!error.to_string().contains("8675309"), "{error}");
        let request: SetSecret = serde_json::from_str(r#"{"value": "8675309"}"#).expect("text");
        assert_eq!(format!("{request:?}"), "SetSecret { .. }");
    }
}
