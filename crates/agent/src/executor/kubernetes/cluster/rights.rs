//! What the agent may do, as RBAC says it, and whether it may.

use std::fmt;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::claims::CLAIMS;
use super::patience::Patience;
use super::{Cluster, Denied, Error, PATIENCE};
use crate::executor::kubernetes::settings::Settings;

/// One right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// What to do: `create`, `get`, ...
    pub verb: &'static str,
    /// With what: `pods`, `secrets`, ...
    pub resource: &'static str,
    /// Of that, only the one of this name.
    pub name: Option<String>,
    /// Where; everywhere if there is none.
    pub namespace: Option<String>,
}

impl Right {
    pub(super) fn namespaced(verb: &'static str, resource: &'static str, namespace: &str) -> Self {
        Self {
            verb,
            resource,
            name: None,
            namespace: Some(namespace.to_owned()),
        }
    }

    pub(super) fn named(verb: &'static str, resource: &'static str, name: &str, namespace: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::namespaced(verb, resource, namespace)
        }
    }

    pub(super) const fn everywhere(verb: &'static str, resource: &'static str) -> Self {
        Self {
            verb,
            resource,
            name: None,
            namespace: None,
        }
    }

    pub(super) fn is_creation(&self) -> bool {
        self.verb == "create"
    }

    /// The rule that gives it, as it stands in a Role. All that the agent uses is of the core group.
    pub fn as_rule(&self) -> String {
        let Self {
            verb, resource, name, ..
        } = self;
        let names = name
            .as_ref()
            .map(|name| format!(", resourceNames: [\"{name}\"]"))
            .unwrap_or_default();
        format!("{{apiGroups: [\"\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]{names}}}")
    }

    fn attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        ResourceAttributes {
            group: Some(String::new()),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some(self.verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(formatter, " `{name}`")?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in the namespace `{namespace}`"),
            None => write!(formatter, " in all namespaces"),
        }
    }
}

/// Everything that an agent with these settings does.
pub(super) fn needed(settings: &Settings) -> Vec<Right> {
    const RULES: [(&str, &str); 7] = [
        ("create", "pods"),
        ("get", "pods"),
        ("list", "pods"),
        ("watch", "pods"),
        ("delete", "pods"),
        ("create", "secrets"),
        ("list", "events"),
    ];
    const CLAIM_VERBS: [&str; 4] = ["create", "get", "list", "delete"];
    let mut rights = Vec::new();
    for namespace in settings.namespaces() {
        rights.extend(RULES.map(|(verb, resource)| Right::namespaced(verb, resource, &namespace)));
        if !settings.keep_finished.is_zero() {
            rights.push(Right::namespaced("delete", "secrets", &namespace));
        }
        if settings.volumes.is_some() {
            rights.extend(CLAIM_VERBS.map(|verb| Right::namespaced(verb, CLAIMS, &namespace)));
        }
        let secrets = settings.image_pull_secrets.iter();
        rights.extend(secrets.map(|name| Right::named("get", "secrets", name, &namespace)));
    }
    rights
}

impl Cluster {
    /// The rights that the agent needs and lacks.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn missing_rights(&self, settings: &Settings) -> Result<Vec<Denied>, Error> {
        let rights = self.rights(settings).await?;
        Ok(rights.into_iter().filter_map(|(_, denied)| denied).collect())
    }

    /// Every right that the agent needs, with the refusal if it lacks it: what `doctor` shows. Asks the API server, and tries
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn rights(&self, settings: &Settings) -> Result<Vec<(Right, Option<Denied>)>, Error> {
        let mut rights = Vec::new();
        for right in needed(settings) {
            let denied = self.refusal(&right).await?;
            rights.push((right, denied));
        }
        Ok(rights)
    }

    async fn refusal(&self, right: &Right) -> Result<Option<Denied>, Error> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(right.attributes()),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let asking = Right::everywhere("create", "selfsubjectaccessreviews");
        let mut patience = Patience::new(&asking, PATIENCE);
        let answer = patience.ask(|| async { reviews.create(&PostParams::default(), &review).await });
        let status = answer.await?.status.unwrap_or_default();
        if status.allowed {
            return Ok(None);
        }
        let message = status.reason.filter(|reason| !reason.is_empty());
        Ok(Some(Denied {
            right: right.clone(),
            message: message.unwrap_or_else(|| "no rule allows it".to_owned()),
        }))
    }
}
