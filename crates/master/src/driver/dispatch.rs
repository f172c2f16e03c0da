//! Letting out what a batch brought about, once it is durable.

use std::collections::HashMap;
use std::time::Duration;

use tombolo_core::attempt::{
    Assignment, BuildContext, BuildOutcome, CacheOrder, CacheStart, InputReference, InputSource, ParentJob, Prefetch,
    SourceReference,
};
use tombolo_core::build::JobSpec;
use tombolo_core::cache::Cache;
use tombolo_core::control::{AssignmentView, Change, Command, InputView, JobView, Reply};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, JobId, ProjectId, SessionId};
use tombolo_core::label::Labels;
use tombolo_core::name::ClusterName;
use tombolo_core::route::Carriage;
use tombolo_core::session::{Order, OrderFrame};
use tombolo_core::time::Timestamp;
use tombolo_store::Store;

use super::Driver;
use super::batch::{Applied, Outcome};
use super::message::{Origin, Request};

/// How long the specifications of jobs may take to be read before the sessions that wait for them are ended.
const SPECS_MAX: Duration = Duration::from_secs(10);

/// The grants of one batch, so that jobs with the same input cost one signature per cluster.
type Granted = HashMap<(ClusterName, ProjectId, Digest), Vec<u8>>;

impl<S: Store> Driver<S> {
    /// Lets the effects of a batch out, in the order of its commands.
    pub(super) async fn release(&mut self, applied: Applied) {
        let Applied {
            requests,
            outcomes,
            changes,
        } = applied;
        let mut orders = Vec::new();
        for (request, outcome) in requests.into_iter().zip(outcomes) {
            let Outcome {
                reply,
                orders: more,
                events,
            } = outcome;
            self.answer(request, reply);
            orders.extend(more);
            events.into_iter().for_each(|event| self.watchers.publish(event));
        }
        orders.retain(|(cluster, _)| self.sessions.has(cluster));
        if !orders.is_empty() {
            self.dispatch(orders, &changes).await;
        }
    }

    fn answer(&mut self, request: Request, reply: Result<Reply, tombolo_core::control::Refusal>) {
        let Request { command, origin } = request;
        match (command, reply.is_ok()) {
            (Command::Disconnect { cluster, session }, true) => self.sessions.close(&cluster, session),
            (Command::RemoveCluster { name, .. }, true) => drop(self.sessions.close_cluster(&name)),
            (
                Command::Connect {
                    cluster,
                    session,
                    hello,
                },
                true,
            ) => {
                let orders = self.sessions.open(cluster.clone(), session, &hello);
                if let Origin::Agent(caller) = origin
                    && caller.send(Ok(orders)).is_err()
                {
                    self.end_session(cluster, session);
                }
                return;
            }
            _ => {}
        }
        // Whoever does not wait any more does not want to know.
        match (origin, reply) {
            (Origin::Caller(caller), reply) => drop(caller.send(reply.map_err(Into::into))),
            (Origin::Agent(caller), Err(refusal)) => drop(caller.send(Err(refusal.into()))),
            (Origin::Agent(_), Ok(_)) | (Origin::Driver, _) => {}
        }
    }

    /// Ends a session from this side, and tells the control plane so.
    fn end_session(&mut self, cluster: ClusterName, session: SessionId) {
        self.sessions.close(&cluster, session);
        self.pending
            .push_back(Request::internal(Command::Disconnect { cluster, session }));
    }

    async fn dispatch(&mut self, orders: Vec<(ClusterName, Order)>, changes: &[Change]) {
        let assigned = orders.iter().filter_map(|(_, order)| match order {
            Order::Assign(attempt) => Some(attempt.job.specified_by()),
            _ => None,
        });
        let specs = self.specs(assigned.collect(), changes).await;
        let (mut granted, now) = (Granted::new(), self.clock.now().wall);
        for (cluster, order) in orders {
            let frame = match order {
                // To copy is ordered again.
                Order::Prefetch(job) | Order::Copy(job) => {
                    if let Some(prefetch) = self.prefetch(job, &cluster, &mut granted, now) {
                        let confirm = matches!(order, Order::Copy(_));
                        let prefetch = Box::new(Prefetch { confirm, ..prefetch });
                        self.sessions.hint(&cluster, OrderFrame::Prefetch(prefetch));
                    }
                    None
                }
                Order::Stop { attempt, reason } => Some(OrderFrame::Stop { attempt, reason }),
                Order::Forget(attempt) => Some(OrderFrame::Forget(attempt)),
                Order::Release(volume) => Some(OrderFrame::Release(volume)),
                Order::Assign(attempt) => match specs.get(&attempt.job.specified_by()) {
                    Some(spec) => self.assignment(attempt, &cluster, spec, &mut granted, now),
                    None => {
                        // Not to be sent now. At the next hello the control plane finds that the agent does not have it.
                        tracing::error!(%cluster, %attempt, "an attempt has no specification; ending the session");
                        if let Some(session) = self.sessions.close_cluster(&cluster) {
                            self.end_session(cluster.clone(), session);
                        }
                        None
                    }
                },
            };
            let Some(frame) = frame else { continue };
            if let Err(session) = self.sessions.send(&cluster, frame) {
                tracing::warn!(%cluster, "a session takes its orders too slowly, or is gone; ending it");
                self.end_session(cluster, session);
            }
        }
    }

    /// The specifications of jobs: those that were just written from memory, the others from the store.
    async fn specs(&self, jobs: Vec<JobId>, changes: &[Change]) -> HashMap<JobId, JobSpec> {
        let wanted: std::collections::HashSet<JobId> = jobs.into_iter().collect();
        let mut found: HashMap<JobId, JobSpec> = HashMap::with_capacity(wanted.len());
        for change in changes {
            let (Change::InsertBuild { nodes, specs, .. } | Change::ExtendBuild { nodes, specs, .. }) = change else {
                continue;
            };
            let new = nodes.iter().zip(specs).filter(|(node, _)| wanted.contains(&node.id));
            found.extend(new.map(|(node, spec)| (node.id, spec.clone())));
        }
        let missing: Vec<JobId> = wanted.into_iter().filter(|job| !found.contains_key(job)).collect();
        if missing.is_empty() {
            return found;
        }
        match tokio::time::timeout(SPECS_MAX, self.store.specs(missing)).await {
            Ok(Ok(specs)) => found.extend(specs),
            Ok(Err(error)) => tracing::warn!(%error, "specifications cannot be read"),
            Err(_) => tracing::warn!("reading specifications takes too long"),
        }
        found
    }

    /// The attempt as it is sent; none if it does not count any more.
    fn assignment(
        &self,
        attempt: AttemptId,
        cluster: &ClusterName,
        spec: &JobSpec,
        granted: &mut Granted,
        now: Timestamp,
    ) -> Option<OrderFrame> {
        let view = self.control.assignment(attempt)?;
        if view.cluster != cluster {
            return None;
        }
        let job = match attempt.job.array_and_index() {
            // Names that become too long are refused with the array.
            Some((_, index)) => spec.of_index(index).ok()?,
            None => spec.clone(),
        };
        let project = view.project.id;
        let mut grant = |manifest| self.grant((cluster.clone(), project, manifest), granted, now);
        let source = view
            .build
            .source
            .filter(|_| spec.source && !has_clone(spec))
            .map(|manifest| SourceReference {
                manifest,
                grant: grant(manifest),
            });
        let inputs = view.inputs.iter().map(|input| {
            let grant = grant(input.output.manifest);
            self.input(input, cluster, grant)
        });
        let inputs = inputs.collect();
        let cache = view.cache.as_ref().map(|cache| CacheOrder {
            limit_bytes: cache.limit_bytes,
            start: cache.start.map(|start| CacheStart {
                content: self.cache(&view, start, &cache.holders, grant(start.content.manifest)),
                branch: start.key.branch.clone(),
                build: start.build,
            }),
        });
        Some(OrderFrame::Assign(Box::new(Assignment {
            attempt,
            build: self.context(&view),
            job,
            source,
            inputs,
            parents: parents(&view),
            labels: self.labels(cluster),
            volumes_together: view.volumes_together,
            waiting_per_hour: self.options.costs.waiting_per_hour,
            cache,
        })))
    }

    /// The output of a job as a cluster is told to bring it; none if there is no such output any more.
    fn prefetch(&self, job: JobId, cluster: &ClusterName, granted: &mut Granted, now: Timestamp) -> Option<Prefetch> {
        let input = self.control.output(job).filter(|input| !input.holders.is_empty())?;
        let project = input.parent.build.project;
        let grant = self.grant((cluster.clone(), project, input.output.manifest), granted, now);
        Some(Prefetch {
            project,
            input: self.input(&input, cluster, grant),
            waiting_per_hour: self.options.costs.waiting_per_hour,
            confirm: false,
        })
    }

    /// An output as an input of a job on the cluster `to`, which may read it by `grant`.
    fn input(&self, input: &InputView<'_>, to: &ClusterName, grant: Vec<u8>) -> InputReference {
        InputReference {
            job: input.parent.id(),
            name: input.parent.node.name.clone(),
            index: input.index,
            output: input.output,
            sources: input.holders.iter().map(|from| self.source(from, to)).collect(),
            grant,
        }
    }

    /// The cache that a job starts from, as an input of its own making.
    fn cache(
        &self,
        view: &AssignmentView<'_>,
        start: &Cache,
        holders: &[&ClusterName],
        grant: Vec<u8>,
    ) -> InputReference {
        InputReference {
            job: view.attempt.job,
            name: view.node.name.clone(),
            index: None,
            output: start.content,
            sources: holders.iter().map(|from| self.source(from, view.cluster)).collect(),
            grant,
        }
    }

    /// The cluster `from` as a source for the cluster `to`.
    fn source(&self, from: &ClusterName, to: &ClusterName) -> InputSource {
        let costs = &self.options.costs;
        InputSource {
            cluster: from.clone(),
            peer_address: self.peer_address(from),
            direct_per_gigabyte: costs.per_gigabyte(from, to, Carriage::Direct),
            relay_per_gigabyte: costs.per_gigabyte(from, to, Carriage::Relay),
        }
    }

    /// The right of a cluster to read a manifest of a project.
    fn grant(&self, of: (ClusterName, ProjectId, Digest), granted: &mut Granted, now: Timestamp) -> Vec<u8> {
        if let Some(grant) = granted.get(&of) {
            return grant.clone();
        }
        let grant = self.grants.grant(&of.0, of.1, of.2, now).unwrap_or_default();
        granted.insert(of, grant.clone());
        grant
    }

    fn labels(&self, cluster: &ClusterName) -> Labels {
        let cluster = self.control.cluster(cluster);
        cluster.map(|cluster| cluster.record.labels.clone()).unwrap_or_default()
    }

    fn peer_address(&self, cluster: &ClusterName) -> Option<String> {
        self.control.cluster(cluster)?.agent?.peer_address.clone()
    }

    fn context(&self, view: &AssignmentView<'_>) -> BuildContext {
        BuildContext {
            project: view.project.id,
            project_name: view.project.name.clone(),
            build: view.build.id,
            number: view.build.number,
            restarts: view.build.restarts,
            public_url: self.options.public_url.clone(),
            revision: view.build.revision.clone(),
            outcome: view.so_far.as_ref().map(|so_far| BuildOutcome {
                state: so_far.state,
                failed: so_far.failed.iter().filter_map(as_parent).collect(),
            }),
        }
    }
}

/// Whether a job's source is what another job has cloned.
fn has_clone(spec: &JobSpec) -> bool {
    let says = spec.extensions.as_deref();
    says.is_some_and(|says| says.source().is_some())
}

fn parents(view: &AssignmentView<'_>) -> Vec<ParentJob> {
    view.parents.iter().filter_map(as_parent).collect()
}

fn as_parent(job: &JobView<'_>) -> Option<ParentJob> {
    Some(ParentJob {
        job: job.id(),
        name: job.name(),
        state: job.status.ended()?,
    })
}
