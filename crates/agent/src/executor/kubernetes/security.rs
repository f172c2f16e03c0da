//! The Pod Security Standards as a table of rules, checked on every pod before it is created.
//!
//! Clusters enforce them by an admission controller (from Kubernetes 1.23 on); that this agent keeps them must not depend on
//! it. The controls are those of the standard of Kubernetes 1.34, all of them: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

mod baseline;
mod restricted;

use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SecurityContext};

use super::settings::PodSecurity;

/// A rule that a pod breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The control, as the standard calls it.
    pub control: &'static str,
    /// Where and how.
    pub reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.control, self.reason)
    }
}

/// One control of the standard.
struct Rule {
    control: &'static str,
    level: PodSecurity,
    /// The reasons why a pod breaks it.
    check: fn(&Subject<'_>) -> Vec<String>,
}

/// The whole table.
const RULES: &[&[Rule]] = &[baseline::RULES, restricted::RULES];

/// What the rules look at.
struct Subject<'pod> {
    pod: &'pod Pod,
    spec: &'pod PodSpec,
}

impl<'pod> Subject<'pod> {
    fn containers(&self) -> impl Iterator<Item = &'pod Container> {
        let spec = self.spec;
        spec.init_containers.iter().flatten().chain(&spec.containers)
    }

    fn pod_context(&self) -> Option<&'pod PodSecurityContext> {
        self.spec.security_context.as_ref()
    }

    /// The reasons of all containers: `look` says what is wrong with one, if anything is.
    fn each(&self, look: impl Fn(&Container, Option<&SecurityContext>) -> Option<String>) -> Vec<String> {
        let reason = |container: &Container| {
            let reason = look(container, container.security_context.as_ref())?;
            Some(format!("container `{}`: {reason}", container.name))
        };
        self.containers().filter_map(reason).collect()
    }
}

/// All rules of `level` that a pod breaks; none for a pod that keeps it.
pub fn check(pod: &Pod, level: PodSecurity) -> Vec<Violation> {
    let Some(spec) = &pod.spec else {
        return vec![Violation {
            control: "Pod",
            reason: "it has no specification".to_owned(),
        }];
    };
    let subject = Subject { pod, spec };
    let rules = RULES.iter().copied().flatten().filter(|rule| rule.level <= level);
    let violations = rules.flat_map(|rule| {
        let reasons = (rule.check)(&subject).into_iter();
        reasons.map(|reason| Violation {
            control: rule.control,
            reason,
        })
    });
    violations.collect()
}

#[cfg(test)]
mod tests;
