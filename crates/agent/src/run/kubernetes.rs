//! What an agent has beside all others if its jobs run in pods: a watch, couriers, and somebody who looks for leftovers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::Survey;
use tombolo_core::time::Timestamp;
use tombolo_identity::tls::Identity;
use tombolo_runtime::clock;
use tombolo_runtime::shutdown::TaskGroup;
use tombolo_transfer::ChunkStore;

use crate::couriers::{self, Couriers};
use crate::executor::kubernetes::cluster::{Capacity, Cluster, Others};
use crate::executor::kubernetes::entrypoint::Entrypoints;
use crate::executor::kubernetes::settings::Settings;
use crate::executor::kubernetes::watch::{self, Pods};
use crate::executor::kubernetes::{KubernetesExecutor, Limits, Parts, orphans};
use crate::seam::Notice;

/// How often leftovers are looked for. It costs no request as long as there are none.
const SWEEP: Duration = Duration::from_secs(60);
/// How often it is looked what the nodes have: one request, for each 250 of them.
const SURVEY: Duration = Duration::from_secs(60);

/// What runs jobs in pods.
pub(super) struct Kubernetes {
    pub(super) executor: KubernetesExecutor,
    /// What the nodes have, if the agent may look.
    pub(super) capacity: Option<Capacity>,
    others: Others,
    cluster: Cluster,
    pods: Pods,
    settings: Settings,
    couriers: Couriers,
    store: ChunkStore,
    name: ClusterName,
}

impl Kubernetes {
    /// Connects to the API server, and asks what the agent may do and what the nodes have.
    pub(super) async fn open(
        settings: Settings,
        limits: Limits,
        name: ClusterName,
        identity: &Identity,
        data_folder: &Path,
        store: ChunkStore,
    ) -> anyhow::Result<Self> {
        let cluster = Cluster::connect(None).await?;
        for denied in cluster.missing_rights(&settings).await? {
            tracing::error!(%denied, "the agent lacks a right; its Role needs the rule `{}`", denied.right.as_rule());
        }
        let mut others = Others::default();
        let capacity = cluster.capacity(&settings, &mut others).await?;
        let couriers = Couriers::open(data_folder, store.clone()).context("cannot open the key for couriers")?;
        let entrypoints = Entrypoints::new(&settings).map_err(anyhow::Error::msg)?;
        let pods = Pods::default();
        let executor = KubernetesExecutor::new(Parts {
            name: name.clone(),
            settings: settings.clone(),
            limits,
            cluster: cluster.clone(),
            pods: pods.clone(),
            entrypoints,
            couriers: couriers.clone(),
            trust: identity.trust().pem(),
        });
        Ok(Self {
            executor,
            capacity,
            others,
            cluster,
            pods,
            settings,
            couriers,
            store,
            name,
        })
    }

    /// Starts the tasks. `attempts`: the folder of the attempts that the agent has; `notices`: where news are told.
    pub(super) async fn start(
        self,
        identity: &Identity,
        attempts: PathBuf,
        notices: mpsc::Sender<Notice>,
        group: &mut TaskGroup,
    ) -> anyhow::Result<()> {
        let listen = self.settings.courier_listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen for couriers at {listen} (`kubernetes.courier_listen`)"))?;
        let stop = group.token();
        group.spawn("couriers", {
            let (identity, stop) = (identity.clone(), stop.clone());
            async move { couriers::serve(self.couriers, listener, &identity, stop).await }
        });
        group.spawn("store", {
            let (store, stop) = (self.store, stop.clone());
            async move {
                // Whoever asks first has it tried: a pod would have to wait for that.
                tokio::select! {
                    () = try_store(&store) => stop.cancelled().await,
                    () = stop.cancelled() => {}
                }
                Ok(())
            }
        });
        group.spawn("pods", {
            let (client, namespaces) = (self.cluster.client(), self.settings.namespaces());
            let (pods, stop) = (self.pods.clone(), stop.clone());
            async move { Ok(watch::run(client, self.name, namespaces, pods, stop).await?) }
        });
        let keep = self.settings.keep_finished;
        if self.capacity.is_some() {
            let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
            let surveying = survey(cluster, settings, self.others, notices);
            let stop = stop.clone();
            group.spawn("nodes", async move {
                tokio::select! {
                    () = surveying => {}
                    () = stop.cancelled() => {}
                }
                Ok(())
            });
        }
        group.spawn("leftovers", sweep(self.cluster, self.pods, attempts, keep, stop));
        Ok(())
    }
}

/// Finds out whether pods may use the store directly, and says so.
async fn try_store(store: &ChunkStore) {
    match store.reachable().await {
        Ok(reachable) => tracing::info!(store = store.place(), "{reachable}"),
        Err(error) => tracing::warn!(%error, "it cannot be tried now whether pods may use the store directly"),
    }
}

/// Tells what there is for jobs, again and again.
async fn survey(cluster: Cluster, settings: Settings, mut others: Others, notices: mpsc::Sender<Notice>) {
    loop {
        match cluster.capacity(&settings, &mut others).await {
            Ok(Some(capacity)) => {
                let survey = Survey {
                    capacity: capacity.total,
                    nodes: capacity.nodes,
                    facts: capacity.facts,
                };
                if notices.send(Notice::Surveyed(Box::new(survey))).await.is_err() {
                    return;
                }
            }
            // The right was taken away: what was seen last stays.
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "it cannot be seen what the nodes have; trying again"),
        }
        tokio::time::sleep(SURVEY).await;
    }
}

/// Removes pods of attempts that the agent does not have, again and again; those that have ended stay for `keep`.
async fn sweep(
    cluster: Cluster,
    pods: Pods,
    attempts: PathBuf,
    keep: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(SWEEP) => {}
        }
        let known = match known(&attempts) {
            Ok(known) => known,
            Err(error) => {
                // Without it, every pod would seem to be nobody's.
                tracing::error!(%error, "the folder of the attempts cannot be read");
                continue;
            }
        };
        let now = Timestamp(clock::now().wall_milliseconds);
        if let Err(error) = orphans::remove(&cluster, &pods, &known, keep, now).await {
            tracing::warn!(%error, "cannot remove a pod that nobody knows; trying again");
        }
        tracing::debug!(
            requests = cluster.requests(),
            "requests to the API server since the start"
        );
    }
}

/// The attempts that have a folder.
fn known(attempts: &Path) -> std::io::Result<HashSet<AttemptId>> {
    let mut known = HashSet::new();
    for entry in std::fs::read_dir(attempts)? {
        let name = entry?.file_name();
        known.extend(name.to_str().and_then(|name| name.parse::<AttemptId>().ok()));
    }
    Ok(known)
}
