//! Every frame survives the wire, and what the domain does not take is refused with the field's name.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use tombolo_core::attempt::{
    Assignment, BuildContext, BuildOutcome, CacheOrder, CacheStart, GeneratedFile, InputReference, InputSource,
    LostInput, Outcome, OutputReference, ParentJob, Phase, Prefetch, Revision, RouteKind, RouteOutcome, RouteReport,
    SourceReference, TransferReceipt, WorkflowFile,
};
use tombolo_core::build::extensions::{Extensions, InputRule, PhaseLimits};
use tombolo_core::build::repository::Repository;
use tombolo_core::build::{Dependency, JobSpec, PodNeeds, StateSet, TerminalState};
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::control::{Copied, CopyStage};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId, ProjectId, SessionId, TunnelId};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::route::Cost;
use tombolo_core::session::{
    AgentFrame, AttemptReport, Capability, Hello, MasterFrame, Nodes, OrderFrame, StopReason, Survey, Welcome,
};
use tombolo_core::time::Timestamp;
use tombolo_core::volume::{VolumeId, VolumeKind, VolumeSet};
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::convert::Error;

const SHARED: VolumeId = VolumeId::Shared(BuildId::from_u128(12));
const ATTEMPT: AttemptId = AttemptId {
    job: JobId::from_u128(7),
    epoch: Epoch(3),
};

fn job(name: &str) -> JobName {
    JobName::new(name).expect("valid")
}

fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).expect("valid")
}

fn output() -> OutputReference {
    OutputReference {
        manifest: Digest::new([9; 32]),
        bytes: 1 << 40,
        files: 12,
    }
}

fn report(outcome: RouteOutcome) -> RouteReport {
    RouteReport {
        from: Some(cluster("east")),
        route: RouteKind::ReversePeer,
        moved_bytes: 9,
        outcome,
    }
}

fn receipt(route: RouteKind) -> TransferReceipt {
    TransferReceipt {
        parent: Some(job("a/build")),
        cache: route == RouteKind::Peer,
        from: Some(cluster("east")),
        route,
        manifest: Digest::new([1; 32]),
        bytes: 5,
        moved_bytes: 4,
        milliseconds: 3,
        routes: vec![
            report(RouteOutcome::Used),
            report(RouteOutcome::Failed("broke off".to_owned())),
            report(RouteOutcome::NotNeeded),
            report(RouteOutcome::Unavailable("no port".to_owned())),
        ],
        prefetched: route == RouteKind::Relay,
        failure: (route == RouteKind::Peer).then(|| "nobody answers".to_owned()),
    }
}

fn outcome(state: TerminalState) -> Outcome {
    Outcome {
        state,
        exit_code: Some(-3),
        message: "exit code -3".to_owned(),
        started_at: Some(Timestamp(5)),
        ended_at: Timestamp(6),
        output: Some(output()),
        cache: (state == TerminalState::Finished).then(|| Box::new(output())),
        inputs: vec![receipt(RouteKind::Local), receipt(RouteKind::Master)],
        lost_inputs: vec![LostInput {
            parent: JobId::from_u128(3),
            manifest: Digest::new([8; 32]),
            missing: vec![cluster("east"), cluster("west")],
            unreachable: vec![cluster("north")],
        }],
        lease_ended: state == TerminalState::Error,
        lost: state == TerminalState::Killed,
        log_lines: 77,
        generated: (state == TerminalState::Finished).then(|| Box::new(generated(Ok("version: 1".to_owned())))),
    }
}

fn generated(text: Result<String, String>) -> GeneratedFile {
    let name = "infrabox.json".to_owned();
    let workflows = vec![
        WorkflowFile {
            path: "ci/unit.json".to_owned(),
            text: Ok("{}".to_owned()),
        },
        WorkflowFile {
            path: "ci/gone.json".to_owned(),
            text: Err("there is none".to_owned()),
        },
    ];
    GeneratedFile { name, text, workflows }
}

fn sources() -> Vec<InputSource> {
    vec![
        InputSource {
            cluster: cluster("east"),
            peer_address: Some("east:7445".to_owned()),
            direct_per_gigabyte: Cost(7),
            relay_per_gigabyte: Cost(u64::MAX),
        },
        InputSource {
            cluster: cluster("west"),
            peer_address: None,
            direct_per_gigabyte: Cost(7),
            relay_per_gigabyte: Cost(u64::MAX),
        },
    ]
}

fn cache() -> CacheOrder {
    CacheOrder {
        limit_bytes: 1 << 33,
        start: Some(CacheStart {
            content: InputReference {
                index: None,
                job: ATTEMPT.job,
                name: job("test"),
                output: output(),
                sources: sources(),
                grant: vec![4],
            },
            branch: "main".to_owned(),
            build: 3,
        }),
    }
}

/// What of a job's extensions is sent.
fn extensions() -> Extensions {
    Extensions {
        limits: PhaseLimits {
            start: Some(Duration::from_millis(1)),
            transfer: Some(Duration::from_secs(7)),
            ..PhaseLimits::default()
        },
        inputs: vec![InputRule {
            same_index: false,
            job: JobName::new("a/b").expect("a valid name"),
            wanted: true,
            paths: vec!["dist/**".to_owned()],
            folder: Some("dist".to_owned()),
            is_source: true,
        }],
        output_limit_bytes: Some(u64::MAX),
        exclusive: true,
        ..Extensions::default()
    }
}

#[expect(clippy::too_many_lines, reason = "everything that an assignment can have")]
fn assignment() -> Assignment {
    Assignment {
        attempt: ATTEMPT,
        build: BuildContext {
            project: ProjectId::from_u128(1),
            project_name: ProjectName::new("demo").expect("valid"),
            build: BuildId::from_u128(2),
            number: 4,
            restarts: 1,
            public_url: "https://localhost:8443".to_owned(),
            revision: Revision {
                branch: Some("main".to_owned()),
                commit: None,
                tag: Some(String::new()),
            },
            outcome: Some(BuildOutcome {
                state: TerminalState::Failure,
                failed: vec![ParentJob {
                    job: JobId::from_u128(11),
                    name: JobName::new("a/b").expect("a valid name"),
                    state: TerminalState::Unstable,
                }],
            }),
        },
        job: JobSpec {
            name: job("test"),
            image: "busybox:1".to_owned(),
            command: Some(vec!["sh".to_owned(), "-c".to_owned(), String::new()]),
            environment: BTreeMap::from([("A".to_owned(), "ä\n".to_owned())]),
            secrets: [(
                "X".to_owned(),
                tombolo_core::name::SecretName::new("of_X").expect("a name"),
            )]
            .into(),
            timeout: Duration::from_millis(1_500),
            resources: Resources {
                cpu_milli: 500,
                memory_bytes: 1 << 28,
            },
            dependencies: vec![Dependency {
                job: job("a/build"),
                on: StateSet::of(&[TerminalState::Finished, TerminalState::Unstable]),
            }],
            selector: Selector::parse("GCP,!spot,region in (eu,us),gpu>0").expect("valid"),
            prefer: Some(cluster("west")),
            priority: 0,
            volumes: VolumeSet::of(&[VolumeKind::Workspace]),
            cache: true,
            pod: Some(Box::new(PodNeeds {
                storage_bytes: Some(1 << 30),
                node_selector: BTreeMap::from([("disk".to_owned(), "fast".to_owned())]),
                run_as_user: Some(0),
                architecture: Some("arm64".to_owned()),
            })),
            kind: Default::default(),
            source: true,
            needs: Default::default(),
            passes_on: Default::default(),
            confined_to: Default::default(),
            repository: Some(Box::new(Repository {
                url: "https://git.example/shop".to_owned(),
                commit: "main".to_owned(),
                branch: Some("release".to_owned()),
                file: Some("ci/infrabox.json".to_owned()),
                username: Some("robot".to_owned()),
            })),
            extensions: extensions().boxed(),
        },
        source: Some(SourceReference {
            manifest: Digest::new([2; 32]),
            grant: vec![1, 2],
        }),
        inputs: vec![InputReference {
            index: Some(17),
            job: JobId::from_u128(5),
            name: job("a/build"),
            output: output(),
            sources: sources(),
            grant: vec![3],
        }],
        waiting_per_hour: Cost(3),
        cache: Some(cache()),
        parents: vec![ParentJob {
            job: JobId::from_u128(5),
            name: job("a/build"),
            state: TerminalState::Unstable,
        }],
        labels: Labels::from_pairs([("GCP", ""), ("region", "eu")]).expect("valid"),
        volumes_together: VolumeSet::of(&VolumeKind::ALL),
    }
}

#[expect(clippy::too_many_lines, reason = "one of each")]
fn agent_frames() -> Vec<AgentFrame> {
    let phases = [
        Phase::Accepted,
        Phase::Preparing,
        Phase::Running {
            started_at: Timestamp(9),
            inputs: vec![receipt(RouteKind::Relay)],
        },
        Phase::Publishing,
        Phase::Ended(outcome(TerminalState::Failure)),
    ];
    let mut frames: Vec<_> = phases
        .iter()
        .map(|phase| AgentFrame::Report {
            sequence: 8,
            attempt: ATTEMPT,
            phase: phase.clone(),
        })
        .collect();
    frames.push(AgentFrame::Hello(Box::new(Hello {
        version: "0.1.0".to_owned(),
        capacity: Resources {
            cpu_milli: 2_000,
            memory_bytes: 1 << 30,
        },
        slots: 4,
        capabilities: vec![Capability::Images, Capability::Exec, Capability::Volumes],
        facts: Labels::from_pairs([("arch", "amd64")]).expect("valid"),
        peer_address: Some("10.0.0.1:7445".to_owned()),
        attempts: phases
            .into_iter()
            .map(|phase| AttemptReport {
                attempt: ATTEMPT,
                phase,
            })
            .collect(),
        volumes: vec![SHARED, VolumeId::Workspace(ProjectId::from_u128(13))],
    })));
    frames.push(AgentFrame::Holds(SHARED));
    frames.push(AgentFrame::Heartbeat { sequence: u64::MAX });
    frames.push(AgentFrame::OrderAcknowledged { sequence: 2 });
    frames.push(AgentFrame::Survey(Box::new(Survey {
        capacity: Resources {
            cpu_milli: 5,
            memory_bytes: 6,
        },
        nodes: Nodes {
            count: 3,
            allocatable: Resources {
                cpu_milli: 9,
                memory_bytes: 10,
            },
            largest: Resources {
                cpu_milli: 3,
                memory_bytes: 4,
            },
        },
        facts: Labels::from_pairs([("nodes", "3")]).expect("valid"),
    })));
    frames.push(AgentFrame::HandOver);
    frames.push(AgentFrame::Waits {
        attempt: ATTEMPT,
        reason: "waits for a node".to_owned(),
    });
    let stages = [
        CopyStage::UnderWay,
        CopyStage::Whole,
        CopyStage::Failed("nobody gave it".to_owned()),
    ];
    frames.extend(stages.map(|stage| {
        AgentFrame::Copied(Copied {
            job: ATTEMPT.job,
            manifest: Digest::new([4; 32]),
            stage,
        })
    }));
    let recipients = [Recipient::Attempt(ATTEMPT), Recipient::Children(ATTEMPT.job)];
    frames.extend(recipients.map(|recipient| {
        AgentFrame::Progress(TransferProgress {
            recipient,
            parent: None,
            from: None,
            route: RouteKind::Peer,
            bytes: 1,
            done_bytes: 2,
            moved_bytes: 3,
            milliseconds: 4,
        })
    }));
    frames
}

fn master_frames() -> Vec<MasterFrame> {
    let order = |order| MasterFrame::Order { sequence: 1, order };
    vec![
        MasterFrame::Welcome(Welcome {
            session: SessionId(6),
            cluster: cluster("west"),
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            handover: Duration::from_secs(300),
        }),
        MasterFrame::HandedOver,
        MasterFrame::HeartbeatAcknowledged { sequence: 1 },
        MasterFrame::ReportAcknowledged { sequence: 2 },
        order(OrderFrame::Assign(Box::new(assignment()))),
        order(OrderFrame::Stop {
            attempt: ATTEMPT,
            reason: StopReason::Cancelled,
        }),
        order(OrderFrame::Forget(ATTEMPT)),
        order(OrderFrame::Release(SHARED)),
        order(OrderFrame::Prefetch(Box::new(Prefetch {
            project: assignment().build.project,
            input: assignment().inputs.remove(0),
            waiting_per_hour: Cost(5),
            confirm: true,
        }))),
        MasterFrame::TunnelOffered {
            tunnel: TunnelId::from_u128(11),
        },
    ]
}

#[test]
fn frames_survive_the_wire() {
    for frame in agent_frames() {
        let bytes = wire::AgentFrame::from(frame.clone()).encode_to_vec();
        let decoded = wire::AgentFrame::decode(bytes.as_slice()).expect("decodes");
        assert_eq!(AgentFrame::try_from(decoded), Ok(frame));
    }
    for frame in master_frames() {
        let bytes = wire::MasterFrame::from(frame.clone()).encode_to_vec();
        let decoded = wire::MasterFrame::decode(bytes.as_slice()).expect("decodes");
        assert_eq!(MasterFrame::try_from(decoded), Ok(frame));
    }
}

#[test]
fn what_the_domain_does_not_take_is_refused() {
    let report = |change: fn(&mut wire::Outcome)| {
        let mut wire_outcome = wire::Outcome::from(outcome(TerminalState::Finished));
        change(&mut wire_outcome);
        Outcome::try_from(wire_outcome).map(drop)
    };
    let cases: [(Result<(), Error>, &str); 10] = [
        (report(|outcome| outcome.state = 99), "Outcome.state"),
        (
            report(|outcome| outcome.state = wire::TerminalState::Skipped.into()),
            "Outcome.state",
        ),
        (report(|outcome| outcome.message = "a\0b".to_owned()), "Outcome.message"),
        (
            report(|outcome| outcome.inputs[0].manifest = vec![0; 31]),
            "TransferReceipt.manifest",
        ),
        (report(|outcome| outcome.inputs[0].route = 0), "TransferReceipt.route"),
        (
            report(|outcome| outcome.inputs[0].parent = Some("../x".to_owned())),
            "TransferReceipt.parent",
        ),
        (
            report(|outcome| outcome.lost_inputs = vec![outcome.lost_inputs[0].clone(); 65]),
            "Outcome.lost_inputs",
        ),
        (
            report(|outcome| outcome.lost_inputs[0].parent = vec![0; 15]),
            "LostInput.parent",
        ),
        (
            report(|outcome| outcome.lost_inputs[0].missing = vec!["Not A Name".to_owned()]),
            "LostInput.missing",
        ),
        (
            report(|outcome| outcome.lost_inputs[0].unreachable = vec!["east".to_owned(); 33]),
            "LostInput.unreachable",
        ),
    ];
    for (result, field) in cases {
        assert_eq!(result.map_err(|error| error.field), Err(field));
    }
    let empty = AgentFrame::try_from(wire::AgentFrame { frame: None });
    assert_eq!(empty.map_err(|error| error.field), Err("AgentFrame.frame"));
    let mut hostile = wire::Assignment::from(assignment());
    hostile.attempt = Some(wire::Attempt { job: vec![1], epoch: 1 });
    assert_eq!(
        Assignment::try_from(hostile).map_err(|error| error.field),
        Err("Assignment.attempt")
    );
}
