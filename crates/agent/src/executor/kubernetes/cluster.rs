//! What the agent asks of the API server: pods and secrets made and removed, and what the nodes have.
//!
//! A job costs three requests (pod, secret, removal); the rest is read by the watch. Requests that may succeed later are
//! repeated until a deadline; all are counted.

mod capacity;
mod claims;
mod error;
mod patience;
mod quantity;
mod rights;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use secrecy::SecretString;
use tower::util::MapRequestLayer;

pub use self::capacity::{Capacity, Others};
pub use self::error::{Denied, Error};
use self::patience::Patience;
pub use self::rights::Right;
use super::names;
use super::view::PodView;

/// How long a request is repeated. The glue around repeats whole steps for longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a removal is repeated: nothing waits for it, and what is left must go.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(120);
/// How long the API server may take to answer one request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// How many events of a pod are read: the last ones say what matters.
const EVENTS_LIMIT: u32 = 100;
/// The longest text of an event.
const EVENT_LIMIT: usize = 600;

/// A cluster's API server. Clones are the same.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    requests: Arc<AtomicU64>,
}

/// A pod that is there now.
#[derive(Debug, Clone)]
pub enum Created {
    /// It was made.
    New(Box<Pod>),
    /// It was there already: an earlier agent has made it.
    Adopted(Box<Pod>),
}

impl Created {
    /// The pod, as the API server has it.
    pub fn pod(&self) -> &Pod {
        match self {
            Self::New(pod) | Self::Adopted(pod) => pod,
        }
    }
}

impl Cluster {
    /// Talks to the cluster of `kubeconfig`, or to the one that this process runs in (or, outside of one, to that of the
    /// user's own kubeconfig). Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, Error> {
        let configuration = |reason: &dyn ToString| Error::Configuration(reason.to_string());
        let mut config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| configuration(&error))?;
                let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
                config.map_err(|error| configuration(&error))?
            }
            None => Config::infer().await.map_err(|error| configuration(&error))?,
        };
        // Tries are ours to count and to end.
        config.default_retry = false;
        config.connect_timeout = Some(ANSWER_DEADLINE);
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let count = MapRequestLayer::new(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            request
        });
        let builder = ClientBuilder::try_from(config).map_err(|error| configuration(&error))?;
        Ok(Self {
            client: builder.with_layer(&count).build(),
            requests,
        })
    }

    /// For watches and sessions; what goes through it is counted too.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// How many requests were sent so far, repeated ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Creates a pod, or finds it if an earlier agent has.
    ///
    /// # Errors
    /// [`Error::Quota`] if the namespace has no room now; [`Error::Taken`] if there is another of its name, or it is being
    /// removed; any other but [`Error::Configuration`].
    pub async fn create_pod(&self, pod: &Pod) -> Result<Created, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let right = Right::namespaced("create", "pods", namespace);
        let created = Patience::new(&right, PATIENCE)
            .ask(|| async { pods.create(&PostParams::default(), pod).await })
            .await;
        match created {
            Ok(created) => return Ok(Created::New(Box::new(created))),
            Err(Error::Exists) => {}
            Err(error) => return Err(error),
        }
        let taken = |reason| Error::Taken {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            reason,
        };
        match self.find_pod(namespace, name).await? {
            None => Err(taken("it was removed a moment ago")),
            Some(found) if !agrees(&found, pod) => Err(taken("it is not ours")),
            Some(found) if found.metadata.deletion_timestamp.is_some() => Err(taken("it is being removed")),
            Some(found) => Ok(Created::Adopted(Box::new(found))),
        }
    }

    /// Creates the secret of a pod. One that is there is left: for an adopted pod it is the right one. For a new pod it can
    /// only be one that an earlier pod of the name owned, and which Kubernetes is about to remove; that is waited for.
    ///
    /// # Errors
    /// [`Error::Taken`] if an old one does not go; any other but [`Error::Configuration`].
    pub async fn create_secret(&self, secret: &Secret, of: &Created) -> Result<(), Error> {
        let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let right = Right::namespaced("create", "secrets", namespace);
        let mut patience = Patience::new(&right, PATIENCE);
        loop {
            let created = patience
                .ask(|| async { secrets.create(&PostParams::default(), secret).await })
                .await;
            match (created, of) {
                (Ok(_), _) | (Err(Error::Exists), Created::Adopted(_)) => return Ok(()),
                (Err(Error::Exists), Created::New(_)) if patience.pause().await => {}
                (Err(Error::Exists), Created::New(_)) => {
                    return Err(Error::Taken {
                        name: secret.metadata.name.clone().unwrap_or_default(),
                        namespace: namespace.to_owned(),
                        reason: "a secret of an earlier pod has this name, and does not go",
                    });
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// The pod of this name, if there is one.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`].
    pub async fn find_pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, Error> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let right = Right::namespaced("get", "pods", namespace);
        Patience::new(&right, PATIENCE)
            .ask(|| async { pods.get_opt(name).await })
            .await
    }

    /// Removes a pod, and with it all that it owns. It is no error if it is gone, or if its name is another's by now.
    /// `grace`: how long its processes may go on; as its own specification says if it is not given.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`].
    pub async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let parameters = DeleteParams {
            grace_period_seconds: grace.map(|grace| u32::try_from(grace.as_secs()).unwrap_or(u32::MAX)),
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let right = Right::namespaced("delete", "pods", namespace);
        let deleted = Patience::new(&right, REMOVAL_PATIENCE)
            .ask(|| async { pods.delete(name, &parameters).await })
            .await;
        match deleted {
            Ok(_) | Err(Error::Missing { .. } | Error::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a secret. It is no error if it is gone.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`].
    pub async fn delete_secret(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let right = Right::namespaced("delete", "secrets", namespace);
        let deleted = Patience::new(&right, REMOVAL_PATIENCE)
            .ask(|| async { secrets.delete(name, &DeleteParams::background()).await })
            .await;
        match deleted {
            Ok(_) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What has happened to a pod, latest last, in Kubernetes' words. For when its status does not say enough.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unavailable`].
    pub async fn events_of(&self, view: &PodView) -> Result<Vec<String>, Error> {
        let events: Api<Event> = Api::namespaced(self.client(), &view.namespace);
        let name = names::pod_name(view.attempt);
        let fields = format!("involvedObject.name={name},involvedObject.uid={}", view.uid);
        let parameters = ListParams::default().fields(&fields).limit(EVENTS_LIMIT);
        let right = Right::namespaced("list", "events", &view.namespace);
        let listed = Patience::new(&right, PATIENCE)
            .ask(|| async { events.list(&parameters).await })
            .await?;
        let mut events: Vec<_> = listed
            .items
            .into_iter()
            .filter(|event| event.type_.as_deref() == Some("Warning"))
            .collect();
        events.sort_by_key(|event| event.last_timestamp.clone());
        let words = |event: Event| event.message.map(|message| message.chars().take(EVENT_LIMIT).collect());
        Ok(events.into_iter().filter_map(words).collect())
    }

    /// The credentials of a pull secret: the text of a Docker configuration.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such secret, or it is of another type; [`Error::Denied`], [`Error::Unavailable`].
    pub async fn pull_secret(&self, namespace: &str, name: &str) -> Result<SecretString, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), namespace);
        let right = Right::named("get", "secrets", name, namespace);
        let missing = |reason: &str| Error::Missing {
            what: format!("pull secret `{name}` in the namespace `{namespace}`"),
            reason: reason.to_owned(),
        };
        let secret = Patience::new(&right, PATIENCE)
            .ask(|| async { secrets.get_opt(name).await })
            .await?;
        let data = secret.ok_or_else(|| missing("there is none"))?.data.unwrap_or_default();
        let text = [".dockerconfigjson", ".dockercfg"]
            .iter()
            .find_map(|key| data.get(*key));
        let text = text.ok_or_else(|| missing("it has neither `.dockerconfigjson` nor `.dockercfg`"))?;
        match String::from_utf8(text.0.clone()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(missing("it is not text")),
        }
    }
}

/// Whether a pod that was found is that of the attempt that one is to be made for. Labels that the cluster adds do not matter.
fn agrees(found: &Pod, wanted: &Pod) -> bool {
    let cluster = |pod: &Pod| {
        pod.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::CLUSTER).cloned())
    };
    names::attempt_of(found).is_some()
        && names::attempt_of(found) == names::attempt_of(wanted)
        && cluster(found) == cluster(wanted)
}

#[cfg(test)]
mod tests;
