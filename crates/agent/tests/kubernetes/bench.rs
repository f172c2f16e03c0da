//! A namespace of its own on a real cluster, and a watch on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{Api, AttachParams, DeleteParams, PostParams};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tombolo_agent::couriers::Couriers;
use tombolo_agent::executor::kubernetes::cluster::Cluster;
use tombolo_agent::executor::kubernetes::entrypoint::Entrypoints;
use tombolo_agent::executor::kubernetes::pod::{Facts, render};
use tombolo_agent::executor::kubernetes::settings::{JobSettings, Section, Settings};
use tombolo_agent::executor::kubernetes::verdict::{Ended, Verdict, judge, judge_deleted};
use tombolo_agent::executor::kubernetes::watch::{self, Pods, Seen};
use tombolo_agent::executor::kubernetes::{KubernetesExecutor, Limits, Parts, names};
use tombolo_core::attempt::{Assignment, BuildContext, Revision};
use tombolo_core::build::JobSpec;
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId, ProjectId};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::route::Cost;
use tombolo_core::time::Timestamp;
use tombolo_transfer::store::{ChunkStore, Owner, Patience, StoreLocation};

/// Long enough for a kubelet that looks every ten seconds, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:1";

pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) pods: Pods,
    pub(crate) settings: Settings,
    admin: kube::Client,
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
        self.watch.abort();
        let (admin, namespace) = (self.admin.clone(), self.namespace.clone());
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let namespaces: Api<Namespace> = Api::all(admin);
                let _ = namespaces.delete(&namespace, &DeleteParams::background()).await;
            });
        });
    }
}

pub(crate) fn kubeconfig() -> std::path::PathBuf {
    let path = std::env::var_os("TOMBOLO_TEST_KUBECONFIG");
    path.expect("TOMBOLO_TEST_KUBECONFIG names the kubeconfig of a cluster's administrator")
        .into()
}

pub(crate) fn cluster_name() -> ClusterName {
    ClusterName::new("east").unwrap()
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::by(&kubeconfig()).await
    }

    /// Its agent uses another kubeconfig than the administrator's.
    pub(crate) async fn by(agent: &std::path::Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let admin = Cluster::connect(Some(&kubeconfig())).await.unwrap().client();
        let cluster = Cluster::connect(Some(agent)).await.unwrap();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let namespace = format!(
            "kube-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        Api::<Namespace>::all(admin.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let section: Section = serde_json::from_value(json!({
            "image": BUSYBOX, "courier_address": "agent:7444", "namespace": namespace, "run_as_user": 1000,
            "default_resources": { "cpu_milli": 50, "memory": "64MiB" }, "termination_grace": "1s",
            "ephemeral_storage_limit": "50MiB", "ephemeral_storage_request": "1MiB",
        }))
        .unwrap();
        let (pods, stop) = (Pods::default(), CancellationToken::new());
        let run = watch::run(
            cluster.client(),
            cluster_name(),
            vec![namespace.clone()],
            pods.clone(),
            stop.clone(),
        );
        let watch = tokio::spawn(async move { run.await.unwrap() });
        Self {
            settings: section.check(None).unwrap(),
            cluster,
            namespace,
            pods,
            admin,
            stop,
            watch,
        }
    }

    pub(crate) fn admin(&self) -> kube::Client {
        self.admin.clone()
    }

    /// A pod as it is rendered, but for what runs in it: busybox in place of this program.
    pub(crate) fn pod(&self, command: &str, change: impl Fn(&mut Settings)) -> Pod {
        self.pod_of(&assignment(BUSYBOX), command, change)
    }

    /// The same for a job of the caller's.
    pub(crate) fn pod_of(&self, assignment: &Assignment, command: &str, change: impl Fn(&mut Settings)) -> Pod {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let (job, cluster) = (JobSettings::default(), cluster_name());
        let facts = Facts {
            cluster: &cluster,
            assignment,
            job: &job,
            image: None,
            trust: "PEM",
        };
        let mut pod = render(&settings, &facts).unwrap();
        let spec = pod.spec.as_mut().unwrap();
        let shell = |command: &str| Some(["sh", "-c", command].map(str::to_owned).to_vec());
        spec.init_containers.as_mut().unwrap()[0].command = shell("touch /run/tombolo/tombolo");
        spec.containers[0].command = shell("exec sleep 600");
        spec.containers[1].command = shell(command);
        pod
    }

    /// Creates a pod and its secret.
    pub(crate) async fn start(&self, pod: &Pod) -> AttemptId {
        let created = self.cluster.create_pod(pod).await.unwrap();
        let secret = tombolo_agent::executor::kubernetes::pod::token_secret(created.pod(), &"t".into()).unwrap();
        self.cluster.create_secret(&secret, &created).await.unwrap();
        names::attempt_of(pod).unwrap()
    }

    /// The executor, on the pods of this bench, with its data in `folder`.
    pub(crate) async fn executor(&self, folder: &std::path::Path) -> KubernetesExecutor {
        let place = json!({ "local": { "path": folder.join("store") } });
        let location: StoreLocation = serde_json::from_value(place).unwrap();
        let owner = Owner {
            trust_domain: "tombolo".to_owned(),
            member: "east".to_owned(),
        };
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        KubernetesExecutor::new(Parts {
            name: cluster_name(),
            settings: self.settings.clone(),
            limits: Limits {
                stop_grace: Duration::from_secs(1),
                log_limit_bytes: 1 << 20,
            },
            cluster: self.cluster.clone(),
            pods: self.pods.clone(),
            entrypoints: Entrypoints::new(&self.settings).unwrap(),
            couriers: Couriers::open(folder, store).unwrap(),
            trust: "PEM".to_owned(),
        })
    }

    pub(crate) fn verdict(&self, seen: &Seen) -> Option<Verdict> {
        match seen {
            Seen::Nothing => None,
            Seen::Here(view) => Some(judge(view, now(), &self.settings.deadlines)),
            Seen::Gone(view) => Some(Verdict::Ended(judge_deleted(view))),
        }
    }

    /// Waits for a verdict of this name.
    pub(crate) async fn until(&self, attempt: AttemptId, what: &str, is: impl Fn(&str) -> bool) {
        let seen = self.seen(attempt, |seen| {
            let verdict = self.verdict(seen);
            verdict.is_some_and(|verdict| {
                assert!(!matches!(verdict, Verdict::Ended(_)), "{what}: {verdict:?}");
                is(name(&verdict))
            })
        });
        seen.await;
    }

    /// Waits for the end of a pod.
    pub(crate) async fn end(&self, attempt: AttemptId) -> Ended {
        let seen = self
            .seen(attempt, |seen| matches!(self.verdict(seen), Some(Verdict::Ended(_))))
            .await;
        let Some(Verdict::Ended(ended)) = self.verdict(&seen) else {
            unreachable!()
        };
        let (Seen::Here(view) | Seen::Gone(view)) = seen else {
            unreachable!()
        };
        if ended.wants_events() {
            let events = self.cluster.events_of(&view).await.unwrap();
            return ended.with_events(&view, &events);
        }
        ended
    }

    /// Waits until what is seen of a pod is so. Time alone may make it so.
    pub(crate) async fn seen(&self, attempt: AttemptId, is: impl Fn(&Seen) -> bool) -> Seen {
        let mut pod = self.pods.follow(attempt);
        let start = Instant::now();
        loop {
            let seen = pod.borrow_and_update().clone();
            if is(&seen) {
                return seen;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{attempt}: {seen:?} {:?}",
                self.verdict(&seen)
            );
            let _ = timeout(Duration::from_secs(1), pod.changed()).await;
        }
    }

    pub(crate) async fn eventually<F: Future<Output = bool>>(&self, what: &str, is: impl Fn() -> F) {
        let start = Instant::now();
        while !is().await {
            assert!(start.elapsed() < PATIENCE, "{what}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the API server knows no pod of this attempt.
    pub(crate) async fn gone(&self, attempt: AttemptId) {
        let name = names::pod_name(attempt);
        let is_gone = || async {
            let found = self.cluster.find_pod(&self.namespace, &name).await.unwrap();
            found.is_none()
        };
        self.eventually("the pod goes", is_gone).await;
    }

    pub(crate) async fn secret(&self, name: &str) -> Option<Secret> {
        Api::<Secret>::namespaced(self.admin(), &self.namespace)
            .get_opt(name)
            .await
            .unwrap()
    }

    pub(crate) async fn exec(&self, pod: &Pod, container: &str, command: &[&str]) -> String {
        let pods: Api<Pod> = Api::namespaced(self.admin(), &self.namespace);
        let parameters = AttachParams::default().container(container).stderr(false);
        let name = pod.metadata.name.as_ref().unwrap();
        let mut process = pods.exec(name, command.iter().copied(), &parameters).await.unwrap();
        let mut said = String::new();
        process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
        said
    }
}

pub(crate) fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Waiting { .. } => "waiting",
        Verdict::Running => "running",
        Verdict::Finishing => "finishing",
        Verdict::Unreachable { .. } => "unreachable",
        Verdict::Leaving { .. } => "leaving",
        Verdict::Ended(_) => "ended",
    }
}

fn now() -> Timestamp {
    Timestamp(tombolo_runtime::clock::now().wall_milliseconds)
}

/// A job of its own each time.
pub(crate) fn assignment(image: &str) -> Assignment {
    Assignment {
        attempt: AttemptId {
            job: JobId::from_u128(rand::random()),
            epoch: Epoch(1),
        },
        build: BuildContext {
            project: ProjectId::from_u128(1),
            project_name: ProjectName::new("shop").unwrap(),
            build: BuildId::from_u128(2),
            number: 1,
            restarts: 0,
            public_url: String::new(),
            revision: Revision::default(),
            outcome: None,
        },
        job: JobSpec {
            name: JobName::new("test").unwrap(),
            image: image.to_owned(),
            command: None,
            environment: std::collections::BTreeMap::new(),
            secrets: Default::default(),
            timeout: Duration::from_secs(600),
            resources: Resources::default(),
            dependencies: Vec::new(),
            selector: Selector::default(),
            prefer: None,
            priority: 0,
            volumes: tombolo_core::volume::VolumeSet::default(),
            cache: false,
            pod: None,
            kind: Default::default(),
            source: true,
            needs: Default::default(),
            passes_on: Default::default(),
            confined_to: Default::default(),
            repository: None,
            extensions: None,
        },
        source: None,
        inputs: Vec::new(),
        parents: Vec::new(),
        labels: Labels::default(),
        volumes_together: Default::default(),
        waiting_per_hour: Cost::default(),
        cache: None,
    }
}
