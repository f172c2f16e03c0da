//! What is said on the link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::{Assignment, Phase, Prefetch};
use crate::capability::Capability;
use crate::control::Copied;
use crate::control::event::TransferProgress;
use crate::id::{AttemptId, JobId, SessionId, TunnelId};
use crate::label::Labels;
use crate::name::ClusterName;
use crate::resources::Resources;
use crate::volume::VolumeId;

/// From the agent to the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentFrame {
    /// The first frame of every connection.
    Hello(Box<Hello>),
    /// Asks for the lease to be renewed.
    Heartbeat {
        /// Counts up within the session, from 1.
        sequence: u64,
    },
    /// How far an attempt is. Repeated until acknowledged.
    Report {
        /// Counts up within the session, from 1.
        sequence: u64,
        /// Which attempt.
        attempt: AttemptId,
        /// How far.
        phase: Phase,
    },
    /// The order was carried out (an assignment: is durable at the agent).
    OrderAcknowledged {
        /// The order's sequence.
        sequence: u64,
    },
    /// How far a transfer is. May be lost.
    Progress(TransferProgress),
    /// What the cluster has for jobs now. Not acknowledged; said again on every connection.
    Survey(Box<Survey>),
    /// It has this volume now. Not acknowledged; each hello says it again.
    Holds(VolumeId),
    /// Asks for the handover lease: this process is about to end, and another one takes its place. May be said again.
    HandOver,
    /// Why an attempt does not go on. Not acknowledged; said again on every connection, for as long as it holds.
    Waits {
        /// Which attempt.
        attempt: AttemptId,
        /// In words, for people; empty if nothing holds it up any more.
        reason: String,
    },
    /// How far it is with an output that it was told to bring and to say so ([`Prefetch::confirm`]). Not acknowledged; said again when it is
    /// told again.
    Copied(Copied),
}

/// What an agent says of itself and of the attempts that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of its program.
    pub version: String,
    /// What it has for jobs, in all.
    pub capacity: Resources,
    /// How many attempts it runs at once at the most.
    pub slots: u32,
    /// What its executor can do.
    pub capabilities: Vec<Capability>,
    /// What it found out about its cluster; shown under `node.` only.
    pub facts: Labels,
    /// The address (`host:port`) at which it takes peers, if it does.
    pub peer_address: Option<String>,
    /// Every attempt that it has and was not told to forget, with its latest phase.
    pub attempts: Vec<AttemptReport>,
    /// Every volume that it has and was not told to release.
    pub volumes: Vec<VolumeId>,
}

/// What a cluster has for jobs now: what the hello said may be old by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// What it has for jobs, in all, without what others use there.
    pub capacity: Resources,
    /// Its nodes.
    pub nodes: Nodes,
    /// What it found out about its cluster; shown under `node.` only.
    pub facts: Labels,
}

/// The nodes of a cluster that jobs can go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// How many there are.
    pub count: u32,
    /// What they offer in all, also what others use of it.
    pub allocatable: Resources,
    /// The most of each that one of them has: no job that asks for more can run.
    pub largest: Resources,
}

/// One attempt as its agent knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which.
    pub attempt: AttemptId,
    /// How far.
    pub phase: Phase,
}

/// From the master to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterFrame {
    /// The answer to a hello, when what the hello said has been taken in.
    Welcome(Welcome),
    /// The lease was renewed from when the agent sent the heartbeat.
    HeartbeatAcknowledged {
        /// The heartbeat's sequence.
        sequence: u64,
    },
    /// The report is durable, and its attempt counted when it was taken in (or had ended as the report says).
    ReportAcknowledged {
        /// The report's sequence.
        sequence: u64,
    },
    /// Something to do. Repeated until acknowledged.
    Order {
        /// Counts up within the session, from 1.
        sequence: u64,
        /// What.
        order: OrderFrame,
    },
    /// The handover lease was granted, from when the agent first asked for it on this connection. It is durable.
    HandedOver,
    /// Somebody wants a tunnel to this agent: dial back and accept it.
    TunnelOffered {
        /// Which.
        tunnel: TunnelId,
    },
}

/// The settings of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// The name that the master knows the agent by.
    pub cluster: ClusterName,
    /// How often to send a heartbeat.
    pub heartbeat: Duration,
    /// How long the agent may act on its own after it *sent* the last heartbeat that was acknowledged.
    pub lease: Duration,
    /// How long commands may go on after the agent has asked for the handover lease; zero if the master grants none.
    pub handover: Duration,
}

/// What the control plane wants of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Run this attempt. The driver adds the specification before it is sent ([`OrderFrame::Assign`]).
    Assign(AttemptId),
    /// Stop this attempt and report its end.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
    },
    /// The attempt's end is durable, or it is of no interest any more: stop it if it still runs, and remove what is left of it.
    Forget(AttemptId),
    /// Nobody will use this volume any more: remove it when the attempts that use it are gone.
    Release(VolumeId),
    /// Bring the output of this job into the cluster's own store: a job that needs it will run there. The driver adds where it
    /// is ([`OrderFrame::Prefetch`]).
    Prefetch(JobId),
    /// The same, because the cluster that has the output is to go: say how far it is ([`AgentFrame::Copied`]). Given again for as long as nothing
    /// is heard of it.
    Copy(JobId),
}

/// An order as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderFrame {
    /// Run this.
    Assign(Box<Assignment>),
    /// Stop this attempt and report its end.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
    },
    /// Stop this attempt if it still runs, report nothing, and remove what is left of it.
    Forget(AttemptId),
    /// Note durably that this volume is to be removed, acknowledge, and remove it when the attempts that use it are gone.
    Release(VolumeId),
    /// Acknowledge, and bring this when there is nothing better to do. Nothing depends on it.
    Prefetch(Box<Prefetch>),
}

impl OrderFrame {
    /// The attempt that it is about, if it is about one.
    pub fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Assign(assignment) => Some(assignment.attempt),
            Self::Stop { attempt, .. } | Self::Forget(attempt) => Some(*attempt),
            Self::Release(_) | Self::Prefetch(_) => None,
        }
    }
}

/// Why an attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A user cancelled it.
    Cancelled,
}
