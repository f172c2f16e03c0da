//! The secret with the token of an attempt.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use secrecy::{ExposeSecret, SecretString};

use super::TOKEN;

/// A pod that the API server has not taken yet owns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod has no name or UID: it was not created yet")]
pub struct Unowned;

/// The secret that `pod` mounts. The pod owns it: Kubernetes removes it with the pod, so that the agent needs the right to
/// create secrets only, and to read none.
///
/// # Errors
/// If `pod` is not what the API server answered to its creation.
pub fn token_secret(pod: &Pod, token: &SecretString) -> Result<Secret, Unowned> {
    let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else {
        return Err(Unowned);
    };
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.clone(),
        uid: uid.clone(),
        ..OwnerReference::default()
    };
    let token = ByteString(token.expose_secret().as_bytes().to_vec());
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: pod.metadata.namespace.clone(),
            labels: pod.metadata.labels.clone(),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some([(TOKEN.to_owned(), token)].into()),
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}
