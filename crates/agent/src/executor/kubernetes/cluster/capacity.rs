//! What the nodes have for jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ListParams};
use tokio::time::Instant;
use tombolo_core::label::Labels;
use tombolo_core::resources::Resources;
use tombolo_core::session::Nodes;

use super::patience::Patience;
use super::rights::Right;
use super::{Cluster, Error, PATIENCE, quantity};
use crate::executor::kubernetes::names;
use crate::executor::kubernetes::settings::Settings;

/// How many objects come in one answer: more would be held in memory at once.
const PAGE: u32 = 250;
/// How old what is known of others may be.
const OTHERS_EVERY: Duration = Duration::from_secs(5 * 60);

/// What a cluster has for jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// The nodes that jobs can go to; the largest without what other pods asked for there.
    pub nodes: Nodes,
    /// What these have in all, without what other pods asked for there (as far as the agent may see those).
    pub total: Resources,
    /// What is true of all of them, without the prefix `node.`.
    pub facts: Labels,
}

/// What others than jobs use, by node: looked at less often than the nodes, for it may be thousands of pods.
#[derive(Debug, Default)]
pub struct Others {
    used: BTreeMap<String, Resources>,
    looked_at: Option<Instant>,
    denied: bool,
}

impl Cluster {
    /// What there is for jobs with these settings; none if the agent may not look at nodes, which is no error: then its own
    /// configuration has to say. `others`: what is known of them; they are looked at again if that is old. One page of
    /// nodes and one of pods is in memory at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn capacity(&self, settings: &Settings, others: &mut Others) -> Result<Option<Capacity>, Error> {
        self.look_at_others(others).await?;
        let nodes: Api<Node> = Api::all(self.client());
        let mut sum = Sum::default();
        let add = |page: Vec<Node>| page.iter().for_each(|node| sum.add(node, &others.used, settings));
        match self.pages(&nodes, &Right::everywhere("list", "nodes"), "", add).await {
            Ok(()) => Ok(Some(sum.capacity())),
            Err(Error::Denied(denied)) => {
                tracing::info!(%denied, "nodes are not looked at: the cluster's capacity is what the agent's configuration says");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn look_at_others(&self, others: &mut Others) -> Result<(), Error> {
        if others.denied || others.looked_at.is_some_and(|at| at.elapsed() < OTHERS_EVERY) {
            return Ok(());
        }
        let pods: Api<Pod> = Api::all(self.client());
        let fields = "status.phase!=Succeeded,status.phase!=Failed";
        let mut used = BTreeMap::new();
        let add = |page: Vec<Pod>| page.iter().for_each(|pod| add_other(&mut used, pod));
        match self.pages(&pods, &Right::everywhere("list", "pods"), fields, add).await {
            Ok(()) => {
                others.used = used;
                others.looked_at = Some(Instant::now());
                Ok(())
            }
            Err(Error::Denied(_)) => {
                tracing::info!("the agent may not look at the pods of others: what they use counts as free");
                others.denied = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn pages<K>(
        &self,
        api: &Api<K>,
        right: &Right,
        fields: &str,
        mut add: impl FnMut(Vec<K>),
    ) -> Result<(), Error>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let mut parameters = ListParams::default().fields(fields).limit(PAGE);
        loop {
            let page = Patience::new(right, PATIENCE)
                .ask(|| async { api.list(&parameters).await })
                .await?;
            add(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(()),
            }
        }
    }
}

/// What the nodes that were seen so far have.
#[derive(Debug, Default)]
pub(super) struct Sum {
    capacity: Capacity,
    facts: Facts,
}

impl Sum {
    /// Adds a node, if jobs can go there.
    pub(super) fn add(&mut self, node: &Node, used: &BTreeMap<String, Resources>, settings: &Settings) {
        if !is_eligible(node, settings) {
            return;
        }
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let has = resources(allocatable);
        let used = node.metadata.name.as_ref().and_then(|name| used.get(name));
        let free = has.minus(&used.copied().unwrap_or_default());
        let Capacity { total, nodes, .. } = &mut self.capacity;
        *total = total.plus(&free);
        nodes.count = nodes.count.saturating_add(1);
        nodes.allocatable = nodes.allocatable.plus(&has);
        nodes.largest.cpu_milli = nodes.largest.cpu_milli.max(free.cpu_milli);
        nodes.largest.memory_bytes = nodes.largest.memory_bytes.max(free.memory_bytes);
        self.facts.add(node);
    }

    pub(super) fn capacity(self) -> Capacity {
        Capacity {
            facts: self.facts.labels(self.capacity.nodes.count),
            ..self.capacity
        }
    }
}

/// Whether a job's pod could go there.
fn is_eligible(node: &Node, settings: &Settings) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let has = |key: &str, value: &str| labels.get(key).is_some_and(|label| label == value);
    let dedicated = settings.dedicated_nodes.as_ref();
    let selected = settings.node_selector.iter().all(|(key, value)| has(key, value))
        && dedicated.is_none_or(|dedicated| has(&dedicated.key, &dedicated.value))
        && settings
            .architecture
            .as_ref()
            .is_none_or(|architecture| has("kubernetes.io/arch", architecture));
    let tolerated = spec.taints.iter().flatten().all(|taint| {
        let dedicated = dedicated.is_some_and(|dedicated| {
            taint.key == dedicated.key && taint.value.as_deref().unwrap_or_default() == dedicated.value
        });
        dedicated
            || taint.effect == "PreferNoSchedule"
            || settings
                .tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
    });
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    selected && tolerated && ready && spec.unschedulable != Some(true)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |field: &Option<String>| field.clone().unwrap_or_default();
    let effect = given(&toleration.effect);
    let key = given(&toleration.key);
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = exists || given(&toleration.value) == given(&taint.value);
    (effect.is_empty() || effect == taint.effect) && ((key.is_empty() && exists) || key == taint.key) && value
}

/// Adds what a pod asked for that is no job.
pub(super) fn add_other(used: &mut BTreeMap<String, Resources>, pod: &Pod) {
    let spec = pod.spec.as_ref().filter(|_| names::attempt_of(pod).is_none());
    let Some((spec, node)) = spec.and_then(|spec| Some((spec, spec.node_name.as_ref()?))) else {
        return;
    };
    let requests = spec.containers.iter().map(|container| {
        let requests = container
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        resources(requests)
    });
    let sum = requests.fold(Resources::default(), |sum, requests| sum.plus(&requests));
    let entry = used.entry(node.clone()).or_default();
    *entry = entry.plus(&sum);
}

fn resources(amounts: Option<&BTreeMap<String, Quantity>>) -> Resources {
    let amount = |name: &str| {
        amounts
            .and_then(|amounts| amounts.get(name))
            .map(|quantity| quantity.0.as_str())
    };
    Resources {
        cpu_milli: amount("cpu").and_then(quantity::milli).unwrap_or(0),
        memory_bytes: amount("memory").and_then(quantity::whole).unwrap_or(0),
    }
}

/// What all nodes so far have in common.
#[derive(Debug, Default)]
struct Facts(Option<BTreeMap<&'static str, String>>);

impl Facts {
    fn add(&mut self, node: &Node) {
        let of_node = facts_of(node);
        match &mut self.0 {
            Some(common) => common.retain(|name, value| of_node.get(name) == Some(value)),
            None => self.0 = Some(of_node),
        }
    }

    fn labels(self, nodes: u32) -> Labels {
        let mut labels = Labels::new();
        // A value that labels cannot have is no fact: nobody could select by it.
        let _ = labels.insert("nodes", &nodes.to_string());
        for (name, value) in self.0.into_iter().flatten() {
            let _ = labels.insert(name, &value);
        }
        labels
    }
}

fn facts_of(node: &Node) -> BTreeMap<&'static str, String> {
    const LABELS: [(&str, &str); 4] = [
        ("os", "kubernetes.io/os"),
        ("arch", "kubernetes.io/arch"),
        ("region", "topology.kubernetes.io/region"),
        ("zone", "topology.kubernetes.io/zone"),
    ];
    let labels = node.metadata.labels.iter().flatten();
    let of_label = |(key, value): (&String, &String)| {
        let (name, _) = LABELS.iter().find(|(_, label)| label == key)?;
        Some((*name, value.clone()))
    };
    let mut facts: BTreeMap<_, _> = labels.filter_map(of_label).collect();
    if let Some(info) = node.status.as_ref().and_then(|status| status.node_info.as_ref()) {
        let version = info.kubelet_version.trim_start_matches('v').to_owned();
        facts.insert("kubernetes", version);
    }
    facts
}
