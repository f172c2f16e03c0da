//! Short ways to write what the tests of the control plane need.

use std::time::Duration;

use super::record::JobNode;
use crate::build::StateSet;
use crate::id::{BuildId, JobId};
use crate::label::Selector;
use crate::name::JobName;
use crate::resources::Resources;

pub(super) fn node(name: &str, parents: &[u32]) -> JobNode {
    JobNode {
        id: JobId::from_u128(0),
        build: BuildId::from_u128(0),
        index: 0,
        name: JobName::new(name).unwrap(),
        parents: parents.iter().map(|parent| (*parent, StateSet::ALL)).collect(),
        selector: Selector::default(),
        prefer: None,
        resources: Resources::default(),
        timeout: Duration::from_secs(1),
    }
}
