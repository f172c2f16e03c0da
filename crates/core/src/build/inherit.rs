//! What jobs have of those that have made them.

use super::repository::Repository;
use super::{JobKind, JobSpec};
use crate::capability::Capability;

impl JobSpec {
    /// Has the variables that `maker`, whose job file it comes from, gives to what it makes. They outrank its own.
    pub fn inherit(&mut self, maker: &Self) {
        if self.kind != JobKind::Run {
            return;
        }
        let is_clone = maker.repository.is_some();
        for (name, value) in &maker.environment {
            let passes_on = maker.passes_on.contains(name);
            if passes_on {
                self.passes_on.insert(name.clone());
            }
            if passes_on || is_clone {
                self.secrets.remove(name);
                self.environment.insert(name.clone(), value.clone());
            }
        }
        let secrets = maker
            .secrets
            .iter()
            .filter(|(name, _)| is_clone && *name != Repository::PASSWORD);
        for (name, secret) in secrets {
            self.environment.remove(name);
            self.passes_on.remove(name);
            self.secrets.insert(name.clone(), secret.clone());
            self.needs.insert(Capability::Secrets);
        }
    }
}
