//! The frames of the agent link.

use std::time::Duration;

use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::id::{JobId, SessionId, TunnelId};
use tombolo_core::session::{AgentFrame, MasterFrame, OrderFrame, StopReason, Welcome};

use super::phase::{cluster_name, job_name, phase};
use super::route::route;
use super::{Error, attempt, milliseconds, required, text, uuid, volume};
use crate::agent::v1 as wire;

impl From<AgentFrame> for wire::AgentFrame {
    fn from(frame: AgentFrame) -> Self {
        use wire::agent_frame::Frame;
        let frame = match frame {
            AgentFrame::Hello(hello) => Frame::Hello((*hello).into()),
            AgentFrame::Heartbeat { sequence } => Frame::Heartbeat(wire::Heartbeat { sequence }),
            AgentFrame::Report {
                sequence,
                attempt,
                phase,
            } => Frame::Report(wire::Report {
                sequence,
                attempt: Some(attempt.into()),
                phase: Some(phase.into()),
            }),
            AgentFrame::OrderAcknowledged { sequence } => {
                Frame::OrderAcknowledged(wire::OrderAcknowledged { sequence })
            }
            AgentFrame::Progress(progress) => Frame::Progress(progress.into()),
            AgentFrame::Survey(survey) => Frame::Survey((*survey).into()),
            AgentFrame::Holds(volume) => Frame::Holds(wire::Holds {
                volume: volume.to_string(),
            }),
            AgentFrame::HandOver => Frame::HandOver(wire::HandOver {}),
            AgentFrame::Waits { attempt, reason } => Frame::Waits(wire::Waits {
                attempt: Some(attempt.into()),
                reason,
            }),
            AgentFrame::Copied(copied) => Frame::Copied(copied.into()),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<wire::AgentFrame> for AgentFrame {
    type Error = Error;

    fn try_from(frame: wire::AgentFrame) -> Result<Self, Error> {
        use wire::agent_frame::Frame;
        Ok(match required(frame.frame, "AgentFrame.frame")? {
            Frame::Hello(hello) => Self::Hello(Box::new(hello.try_into()?)),
            Frame::Heartbeat(heartbeat) => Self::Heartbeat {
                sequence: heartbeat.sequence,
            },
            Frame::Report(report) => Self::Report {
                sequence: report.sequence,
                attempt: attempt(report.attempt, "Report.attempt")?,
                phase: phase(report.phase, "Report.phase")?,
            },
            Frame::OrderAcknowledged(order) => Self::OrderAcknowledged {
                sequence: order.sequence,
            },
            Frame::Progress(progress) => Self::Progress(progress.try_into()?),
            Frame::Survey(survey) => Self::Survey(Box::new(survey.try_into()?)),
            Frame::Holds(holds) => Self::Holds(volume(&holds.volume, "Holds.volume")?),
            Frame::HandOver(wire::HandOver {}) => Self::HandOver,
            Frame::Waits(waits) => Self::Waits {
                attempt: attempt(waits.attempt, "Waits.attempt")?,
                reason: text(waits.reason, "Waits.reason")?,
            },
            Frame::Copied(copied) => Self::Copied(copied.try_into()?),
        })
    }
}

impl From<TransferProgress> for wire::Progress {
    fn from(progress: TransferProgress) -> Self {
        let (attempt, ahead_of) = match progress.recipient {
            Recipient::Attempt(attempt) => (Some(attempt.into()), None),
            Recipient::Children(job) => (None, Some(job.uuid().as_bytes().to_vec())),
        };
        Self {
            attempt,
            ahead_of,
            parent: progress.parent.map(String::from),
            from: progress.from.map(String::from),
            route: wire::Route::from(progress.route).into(),
            bytes: progress.bytes,
            done_bytes: progress.done_bytes,
            moved_bytes: progress.moved_bytes,
            milliseconds: progress.milliseconds,
        }
    }
}

impl TryFrom<wire::Progress> for TransferProgress {
    type Error = Error;

    fn try_from(progress: wire::Progress) -> Result<Self, Error> {
        let recipient = match &progress.ahead_of {
            Some(job) => Recipient::Children(JobId::new(uuid(job, "Progress.ahead_of")?)),
            None => Recipient::Attempt(attempt(progress.attempt, "Progress.attempt")?),
        };
        Ok(Self {
            recipient,
            parent: progress
                .parent
                .map(|name| job_name(&name, "Progress.parent"))
                .transpose()?,
            from: progress
                .from
                .map(|name| cluster_name(&name, "Progress.from"))
                .transpose()?,
            route: route(progress.route, "Progress.route")?,
            bytes: progress.bytes,
            done_bytes: progress.done_bytes,
            moved_bytes: progress.moved_bytes,
            milliseconds: progress.milliseconds,
        })
    }
}

impl From<MasterFrame> for wire::MasterFrame {
    fn from(frame: MasterFrame) -> Self {
        use wire::master_frame::Frame;
        let frame = match frame {
            MasterFrame::Welcome(welcome) => Frame::Welcome(wire::Welcome {
                session: welcome.session.0,
                cluster: welcome.cluster.into(),
                heartbeat_milliseconds: milliseconds(welcome.heartbeat),
                lease_milliseconds: milliseconds(welcome.lease),
                handover_milliseconds: milliseconds(welcome.handover),
            }),
            MasterFrame::HeartbeatAcknowledged { sequence } => {
                Frame::HeartbeatAcknowledged(wire::HeartbeatAcknowledged { sequence })
            }
            MasterFrame::ReportAcknowledged { sequence } => {
                Frame::ReportAcknowledged(wire::ReportAcknowledged { sequence })
            }
            MasterFrame::Order { sequence, order } => Frame::Order(wire::Order {
                sequence,
                order: Some(order.into()),
            }),
            MasterFrame::HandedOver => Frame::HandedOver(wire::HandedOver {}),
            MasterFrame::TunnelOffered { tunnel } => Frame::TunnelOffered(wire::TunnelOffered {
                tunnel: tunnel.uuid().as_bytes().to_vec(),
            }),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<wire::MasterFrame> for MasterFrame {
    type Error = Error;

    fn try_from(frame: wire::MasterFrame) -> Result<Self, Error> {
        use wire::master_frame::Frame;
        Ok(match required(frame.frame, "MasterFrame.frame")? {
            Frame::Welcome(welcome) => Self::Welcome(Welcome {
                session: SessionId(welcome.session),
                cluster: cluster_name(&welcome.cluster, "Welcome.cluster")?,
                heartbeat: Duration::from_millis(welcome.heartbeat_milliseconds),
                lease: Duration::from_millis(welcome.lease_milliseconds),
                handover: Duration::from_millis(welcome.handover_milliseconds),
            }),
            Frame::HeartbeatAcknowledged(heartbeat) => Self::HeartbeatAcknowledged {
                sequence: heartbeat.sequence,
            },
            Frame::ReportAcknowledged(report) => Self::ReportAcknowledged {
                sequence: report.sequence,
            },
            Frame::Order(order) => Self::Order {
                sequence: order.sequence,
                order: required(order.order, "Order.order")?.try_into()?,
            },
            Frame::HandedOver(wire::HandedOver {}) => Self::HandedOver,
            Frame::TunnelOffered(offer) => Self::TunnelOffered {
                tunnel: TunnelId::new(uuid(&offer.tunnel, "TunnelOffered.tunnel")?),
            },
        })
    }
}

impl From<OrderFrame> for wire::order::Order {
    fn from(order: OrderFrame) -> Self {
        match order {
            OrderFrame::Assign(assignment) => Self::Assign((*assignment).into()),
            OrderFrame::Stop { attempt, reason } => {
                let reason = match reason {
                    StopReason::Cancelled => wire::StopReason::Cancelled,
                };
                Self::Stop(wire::Stop {
                    attempt: Some(attempt.into()),
                    reason: reason.into(),
                })
            }
            OrderFrame::Forget(attempt) => Self::Forget(attempt.into()),
            OrderFrame::Release(volume) => Self::Release(volume.to_string()),
            OrderFrame::Prefetch(prefetch) => Self::Prefetch((*prefetch).into()),
        }
    }
}

impl TryFrom<wire::order::Order> for OrderFrame {
    type Error = Error;

    fn try_from(order: wire::order::Order) -> Result<Self, Error> {
        use wire::order::Order;
        Ok(match order {
            Order::Assign(assignment) => Self::Assign(Box::new(assignment.try_into()?)),
            Order::Stop(stop) => {
                let reason = match stop.reason() {
                    wire::StopReason::Cancelled => StopReason::Cancelled,
                    wire::StopReason::Unspecified => return Err(Error::new("Stop.reason", "is not known")),
                };
                Self::Stop {
                    attempt: attempt(stop.attempt, "Stop.attempt")?,
                    reason,
                }
            }
            Order::Release(released) => Self::Release(volume(&released, "Order.release")?),
            Order::Prefetch(prefetch) => Self::Prefetch(Box::new(prefetch.try_into()?)),
            Order::Forget(forgotten) => Self::Forget(attempt(Some(forgotten), "Order.forget")?),
        })
    }
}
