//! Claims: the volumes that jobs share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use tombolo_core::name::ClusterName;
use tombolo_core::volume::VolumeId;

use super::patience::Patience;
use super::{Cluster, Error, PATIENCE, REMOVAL_PATIENCE, Right};
use crate::executor::kubernetes::names;

/// How many claims one answer lists.
const PAGE: u32 = 250;

impl Cluster {
    /// Creates a claim, or finds it.
    ///
    /// # Errors
    /// [`Error::Quota`] if the namespace has no room now; [`Error::Taken`] if there is another of its name, or it is being
    /// removed; any other but [`Error::Configuration`].
    pub async fn create_claim(&self, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let claims = self.claims(namespace);
        // Found first: all jobs of a build but one find it.
        let found = match self.find_claim(namespace, name).await? {
            Some(found) => Some(found),
            None => {
                let right = Right::namespaced("create", CLAIMS, namespace);
                let created = Patience::new(&right, PATIENCE)
                    .ask(|| async { claims.create(&PostParams::default(), claim).await })
                    .await;
                match created {
                    Ok(_) => return Ok(()),
                    Err(Error::Exists) => self.find_claim(namespace, name).await?,
                    Err(error) => return Err(error),
                }
            }
        };
        let reason = match &found {
            Some(found) if found.metadata.deletion_timestamp.is_some() => "it is being removed",
            Some(found) if are_alike(found, claim) => return Ok(()),
            Some(_) => "it is not ours",
            None => "it was removed a moment ago",
        };
        Err(Error::Taken {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            reason,
        })
    }

    /// Removes the claim of a volume of this cluster's jobs, and returns when it is gone. One that is not theirs is left alone.
    ///
    /// # Errors
    /// [`Error::Taken`] if something uses it for too long; [`Error::Denied`], [`Error::Unavailable`].
    pub async fn delete_claim(&self, namespace: &str, volume: VolumeId, cluster: &ClusterName) -> Result<(), Error> {
        let name = &names::claim_name(volume);
        let ours = |claim: &PersistentVolumeClaim| {
            let has = |key, value: String| label(claim, key) == Some(&value);
            has(names::VOLUME, volume.to_string()) && has(names::CLUSTER, names::label_value(cluster.as_str()))
        };
        if !self
            .find_claim(namespace, name)
            .await?
            .is_some_and(|claim| ours(&claim))
        {
            return Ok(());
        }
        let claims = self.claims(namespace);
        let right = Right::namespaced("delete", CLAIMS, namespace);
        let mut patience = Patience::new(&right, REMOVAL_PATIENCE);
        match patience
            .ask(|| async { claims.delete(name, &DeleteParams::background()).await })
            .await
        {
            Ok(_) => {}
            Err(Error::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        while self.find_claim(namespace, name).await?.is_some() {
            if !patience.pause().await {
                return Err(Error::Taken {
                    name: name.to_owned(),
                    namespace: namespace.to_owned(),
                    reason: "it is to be removed, and something uses it still",
                });
            }
        }
        Ok(())
    }

    /// The volumes of this cluster's jobs that have claims in the namespace.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`].
    pub async fn volumes(&self, namespace: &str, cluster: &ClusterName) -> Result<Vec<VolumeId>, Error> {
        let claims = self.claims(namespace);
        let right = Right::namespaced("list", CLAIMS, namespace);
        let mut parameters = ListParams::default().labels(&names::selector(cluster)).limit(PAGE);
        let mut volumes = Vec::new();
        loop {
            let page = Patience::new(&right, PATIENCE)
                .ask(|| async { claims.list(&parameters).await })
                .await?;
            // Those of single pods have no such label, and go with them.
            let named = page.items.iter().filter_map(|claim| label(claim, names::VOLUME));
            volumes.extend(named.filter_map(|name| name.parse::<VolumeId>().ok()));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(volumes),
            }
        }
    }

    async fn find_claim(&self, namespace: &str, name: &str) -> Result<Option<PersistentVolumeClaim>, Error> {
        let claims = self.claims(namespace);
        let right = Right::namespaced("get", CLAIMS, namespace);
        Patience::new(&right, PATIENCE)
            .ask(|| async { claims.get_opt(name).await })
            .await
    }

    fn claims(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client(), namespace)
    }
}

/// The resource, as rules name it.
pub(super) const CLAIMS: &str = "persistentvolumeclaims";

/// Whether both are of the same volume of the same cluster.
fn are_alike(found: &PersistentVolumeClaim, wanted: &PersistentVolumeClaim) -> bool {
    let same = |key| label(found, key) == label(wanted, key);
    same(names::VOLUME) && same(names::CLUSTER)
}

fn label<'claim>(claim: &'claim PersistentVolumeClaim, key: &str) -> Option<&'claim String> {
    let labels: Option<&BTreeMap<String, String>> = claim.metadata.labels.as_ref();
    labels?.get(key)
}
