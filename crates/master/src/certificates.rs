//! Which certificates clusters have shown, so that it is known when nobody needs an older authority any more.
//!
//! In memory only: whoever is connected to a master that has just begun to lead has just shown its certificate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;
use tombolo_identity::edition::Shown;

/// What each cluster has shown last. Clones share it. As many as there are clusters, with those that were removed since the start: only
/// clusters that the control plane has admitted are noted.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    shown: Arc<Mutex<HashMap<ClusterName, (Digest, Shown)>>>,
}

impl Certificates {
    /// Notes what a cluster has shown, whose key has this digest.
    pub fn note(&self, cluster: ClusterName, key: Digest, shown: Shown) {
        let mut noted = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(cluster, (key, shown));
    }

    /// What a cluster has shown, if that was with this key: one that was removed may have joined again with another.
    pub fn find(&self, cluster: &ClusterName, key: Digest) -> Option<Shown> {
        let noted = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, shown) = noted.get(cluster)?;
        (*known == key).then(|| shown.clone())
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;

    use super::*;

    #[test]
    fn what_counts_is_what_was_shown_last_and_with_the_key_of_today() {
        let certificates = Certificates::default();
        let east = ClusterName::new("east").unwrap();
        let [old, new] = [1, 2].map(|byte| Digest::new([byte; 32]));
        let shown = |not_after| Shown {
            root: Digest::new([7; 32]),
            edition: None,
            not_after: Timestamp(not_after),
        };
        assert_eq!(certificates.find(&east, old), None);
        certificates.note(east.clone(), old, shown(1));
        certificates.note(east.clone(), old, shown(2));
        assert_eq!(certificates.find(&east, old), Some(shown(2)));
        assert_eq!(certificates.find(&east, new), None, "it joined again");
    }
}
