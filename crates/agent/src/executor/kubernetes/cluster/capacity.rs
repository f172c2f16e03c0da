//! What the nodes have for jobs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ListParams};
use tombolo_core::label::Labels;
use tombolo_core::resources::Resources;

use super::patience::Patience;
use super::rights::Right;
use super::{Cluster, Error, PATIENCE, quantity};
use crate::executor::kubernetes::names;
use crate::executor::kubernetes::settings::Settings;

/// How many objects come in one answer: more would be held in memory at once.
const PAGE: u32 = 250;

/// What a cluster has for jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// How many nodes jobs can go to.
    pub nodes: u32,
    /// What these have in all, without what other pods asked for there (as far as the agent may see those).
    pub total: Resources,
    /// The most that one of them has: no job that asks for more can run.
    pub largest: Resources,
    /// What is true of all of them, without the prefix `node.`.
    pub facts: Labels,
}

impl Cluster {
    /// What there is for jobs with these settings; none if the agent may not look at nodes, which is no error: then its own
    /// configuration has to say.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn capacity(&self, settings: &Settings) -> Result<Option<Capacity>, Error> {
        let nodes: Api<Node> = Api::all(self.client());
        let nodes = match self.pages(&nodes, &Right::everywhere("list", "nodes"), "").await {
            Ok(nodes) => nodes,
            Err(Error::Denied(denied)) => {
                tracing::info!(%denied, "nodes are not looked at: the cluster's capacity is what the agent's configuration says");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let pods: Api<Pod> = Api::all(self.client());
        let fields = "status.phase!=Succeeded,status.phase!=Failed";
        let pods = match self.pages(&pods, &Right::everywhere("list", "pods"), fields).await {
            Ok(pods) => pods,
            Err(Error::Denied(_)) => {
                tracing::info!("the agent may not look at the pods of others: what they use counts as free");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Capacity::of(&nodes, &pods, settings)))
    }

    async fn pages<K>(&self, api: &Api<K>, right: &Right, fields: &str) -> Result<Vec<K>, Error>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let mut parameters = ListParams::default().fields(fields).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = Patience::new(right, PATIENCE)
                .ask(|| async { api.list(&parameters).await })
                .await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

impl Capacity {
    /// Of all nodes and all pods that are not over.
    pub(super) fn of(nodes: &[Node], pods: &[Pod], settings: &Settings) -> Self {
        let used = used_by_others(pods);
        let eligible: Vec<_> = nodes.iter().filter(|node| is_eligible(node, settings)).collect();
        let mut capacity = Self {
            nodes: u32::try_from(eligible.len()).unwrap_or(u32::MAX),
            facts: facts(&eligible),
            ..Self::default()
        };
        for node in &eligible {
            let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
            let has = resources(allocatable);
            let used = node.metadata.name.as_ref().and_then(|name| used.get(name));
            let free = has.minus(&used.copied().unwrap_or_default());
            capacity.total = capacity.total.plus(&free);
            capacity.largest.cpu_milli = capacity.largest.cpu_milli.max(free.cpu_milli);
            capacity.largest.memory_bytes = capacity.largest.memory_bytes.max(free.memory_bytes);
        }
        capacity
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

/// By node, what pods asked for that are not jobs.
fn used_by_others(pods: &[Pod]) -> BTreeMap<String, Resources> {
    let mut used: BTreeMap<String, Resources> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| names::attempt_of(pod).is_none()) {
        let Some(spec) = &pod.spec else { continue };
        let Some(node) = &spec.node_name else { continue };
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
    used
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

/// What all of the nodes have in common, and how many they are.
fn facts(nodes: &[&Node]) -> Labels {
    let label = |node: &Node, key: &str| {
        node.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key).cloned())
    };
    let version = |node: &Node| {
        let info = node.status.as_ref()?.node_info.as_ref()?;
        Some(info.kubelet_version.trim_start_matches('v').to_owned())
    };
    type Fact<'nodes> = (&'static str, Box<dyn Fn(&Node) -> Option<String> + 'nodes>);
    let of_label =
        |name: &'static str, key: &'static str| -> Fact<'_> { (name, Box::new(move |node| label(node, key))) };
    let table = [
        of_label("os", "kubernetes.io/os"),
        of_label("arch", "kubernetes.io/arch"),
        of_label("region", "topology.kubernetes.io/region"),
        of_label("zone", "topology.kubernetes.io/zone"),
        ("kubernetes", Box::new(version) as Box<dyn Fn(&Node) -> Option<String>>),
    ];
    let mut facts = Labels::new();
    // A value that labels cannot have is no fact: nobody could select by it.
    let _ = facts.insert("nodes", &nodes.len().to_string());
    for (name, fact) in table {
        let values: BTreeSet<_> = nodes.iter().map(|node| fact(node)).collect();
        if let (1, Some(Some(value))) = (values.len(), values.first()) {
            let _ = facts.insert(name, value);
        }
    }
    facts
}
