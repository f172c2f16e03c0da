//! What a cluster lays over every pod, for all that has no setting of its own.
//!
//! Objects are merged, `null` removes, lists of things with names are merged by name, `tolerations` are appended to, and any
//! other list is replaced. What is ours (names, labels, commands, tokens) cannot be touched; that is checked once, when the
//! settings are read.

mod merge;
mod rules;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value};

/// The largest overlay: there is one copy of it, but every pod is as large.
const LIMIT_BYTES: usize = 64 * 1024;

/// A checked overlay; the default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Overlay(Option<Map<String, Value>>);

/// An overlay that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverlay {
    /// It is too large.
    #[error("it has more than {LIMIT_BYTES} bytes")]
    TooLarge,
    /// It is neither YAML nor JSON of an object.
    #[error("it is not the YAML or JSON of an object: {0}")]
    Syntax(String),
    /// It touches what is ours.
    #[error("{}", .0.join(", "))]
    Touches(Vec<String>),
}

impl Overlay {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// Everything in it that cannot be laid over a pod.
    pub fn parse(text: Option<&str>) -> Result<Self, InvalidOverlay> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(Self::default());
        };
        if text.len() > LIMIT_BYTES {
            return Err(InvalidOverlay::TooLarge);
        }
        let map = match serde_yaml_ng::from_str(text) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(InvalidOverlay::Syntax("it is something else".to_owned())),
            Err(error) => return Err(InvalidOverlay::Syntax(error.to_string())),
        };
        let touched = rules::touched(&map);
        if touched.is_empty() {
            Ok(Self(Some(map)))
        } else {
            Err(InvalidOverlay::Touches(touched))
        }
    }

    /// The pod with this laid over it.
    ///
    /// # Errors
    /// If it is no pod any more.
    pub fn apply(&self, pod: Pod) -> Result<Pod, serde_json::Error> {
        let Some(overlay) = &self.0 else { return Ok(pod) };
        let mut value = serde_json::to_value(pod)?;
        merge::merge(&mut value, &Value::Object(overlay.clone()), "");
        serde_json::from_value(value)
    }
}

#[cfg(test)]
mod tests;
