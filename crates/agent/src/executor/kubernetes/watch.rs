//! One watch on all pods of this cluster's attempts (one for each namespace, where projects have their own), however many there
//! are. It lists again whenever it lost touch, and outlives an API server that is away for as long as that takes.

mod store;

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_runtime::clock;

pub use self::store::{Health, Pods, Seen};
use super::names;

/// How long one request of a watch lasts. A connection that broke silently is noticed after it; a new request costs little.
const REQUEST_SECONDS: u32 = 120;
/// The pauses between tries: short enough that an API server that is back is heard soon.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the right to watch may be missing before that counts as a mistake and not as a moment's hiccup.
const DENIED_PATIENCE: Duration = Duration::from_secs(60);

/// Why pods cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent has no right to.
    #[error(
        "the agent may not watch pods in the namespace `{namespace}`: {reason}; its Role needs the verbs list and watch on pods"
    )]
    Denied {
        /// Where.
        namespace: String,
        /// The API server's words.
        reason: String,
    },
    /// The watch has ended, which it never should.
    #[error("the watch of pods has ended")]
    Ended,
}

/// Watches until `stop`, and keeps `pods` current.
///
/// # Errors
/// See [`Error`]. An API server that is away is no error.
pub async fn run(
    client: Client,
    cluster: ClusterName,
    namespaces: Vec<String>,
    pods: Pods,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut streams: SelectAll<_> = namespaces
        .iter()
        .map(|namespace| stream(&client, &cluster, namespace))
        .collect();
    let mut places = Places::new(&namespaces);
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            next = streams.next() => next.ok_or(Error::Ended)?,
        };
        match next {
            Ok((namespace, event)) => {
                let place = places.of(&namespace);
                pods.take(
                    &namespace,
                    &event,
                    &mut place.listed,
                    Timestamp(clock::now().wall_milliseconds),
                );
                place.heard(&event);
            }
            Err((namespace, error)) => places.of(&namespace).failed(&namespace, &error, Instant::now())?,
        }
        pods.set_health(places.health());
    }
}

type Item = Result<(String, Event<Pod>), (String, watcher::Error)>;

fn stream(client: &Client, cluster: &ClusterName, namespace: &str) -> BoxStream<'static, Item> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let config = Config::default()
        .labels(&names::selector(cluster))
        .timeout(REQUEST_SECONDS);
    let (of_event, of_error) = (namespace.to_owned(), namespace.to_owned());
    watcher::watcher(pods, config)
        .backoff(Pauses::default())
        .map_ok(move |event| (of_event.clone(), event))
        .map_err(move |error| (of_error.clone(), error))
        .boxed()
}

/// How the watch of each namespace goes.
struct Places(Vec<(String, Place)>);

#[derive(Default)]
struct Place {
    listed: HashSet<tombolo_core::id::AttemptId>,
    /// It was listed whole, and nothing failed since.
    current: bool,
    trouble: Option<String>,
    denied_since: Option<Instant>,
}

impl Places {
    fn new(namespaces: &[String]) -> Self {
        Self(
            namespaces
                .iter()
                .map(|namespace| (namespace.clone(), Place::default()))
                .collect(),
        )
    }

    fn of(&mut self, namespace: &str) -> &mut Place {
        let index = self.0.iter().position(|(name, _)| name == namespace);
        let index = index.expect("every stream is of one of the namespaces");
        &mut self.0[index].1
    }

    fn health(&self) -> Health {
        let behind = self.0.iter().find(|(_, place)| !place.current);
        behind.map_or(Health::Current, |(namespace, place)| Health::Behind {
            reason: place
                .trouble
                .clone()
                .unwrap_or_else(|| format!("the pods of the namespace `{namespace}` are being listed")),
        })
    }
}

impl Place {
    fn heard(&mut self, event: &Event<Pod>) {
        match event {
            // A new list begins; until it is whole, what is known may be old.
            Event::Init => self.current = false,
            Event::InitDone | Event::Apply(_) | Event::Delete(_) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the API server is heard again");
                }
                self.current = true;
            }
            Event::InitApply(_) => {}
        }
        self.denied_since = None;
    }

    fn failed(&mut self, namespace: &str, error: &watcher::Error, now: Instant) -> Result<(), Error> {
        let reason = error.to_string();
        if self.trouble.is_none() {
            tracing::warn!(namespace, error = %reason, "pods cannot be watched; trying again");
        }
        if is_denied(error) {
            let since = *self.denied_since.get_or_insert(now);
            if now.duration_since(since) >= DENIED_PATIENCE {
                return Err(Error::Denied {
                    namespace: namespace.to_owned(),
                    reason,
                });
            }
        }
        // A watch whose request ran out, or whose version is too old, is begun anew at once: that is no trouble.
        if !matches!(error, watcher::Error::WatchError(_)) {
            self.current = false;
            self.trouble = Some(reason);
        }
        Ok(())
    }
}

fn is_denied(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        _ => false,
    }
}

/// Doubling pauses up to a bound.
#[derive(Default)]
struct Pauses(u32);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = SHORTEST_PAUSE.saturating_mul(1 << self.0.min(10)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests;
