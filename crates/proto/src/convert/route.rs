//! The ways of artifacts, and how they came.

use tombolo_core::attempt::{RouteKind, RouteOutcome, RouteReport, TransferReceipt};

use super::phase::{cluster_name, job_name};
use super::{Error, digest, required, text};
use crate::agent::v1 as wire;

/// How many ways of one artifact are told: each cluster that has it is reached by four.
const MAX_ROUTES: usize = 64;
/// How long a reason may be, in bytes.
const MAX_REASON: usize = 2048;

impl From<RouteKind> for wire::Route {
    fn from(route: RouteKind) -> Self {
        match route {
            RouteKind::Local => Self::Local,
            RouteKind::Signed => Self::Signed,
            RouteKind::Peer => Self::Peer,
            RouteKind::ReversePeer => Self::ReversePeer,
            RouteKind::Relay => Self::Relay,
            RouteKind::Master => Self::Master,
        }
    }
}

pub(super) fn route(number: i32, field: &'static str) -> Result<RouteKind, Error> {
    RouteKind::ALL
        .into_iter()
        .find(|route| i32::from(wire::Route::from(*route)) == number)
        .ok_or_else(|| Error::new(field, format!("has no route {number}")))
}

impl From<TransferReceipt> for wire::TransferReceipt {
    fn from(receipt: TransferReceipt) -> Self {
        Self {
            parent: receipt.parent.map(String::from),
            from: receipt.from.map(String::from),
            route: wire::Route::from(receipt.route).into(),
            manifest: receipt.manifest.as_bytes().to_vec(),
            bytes: receipt.bytes,
            moved_bytes: receipt.moved_bytes,
            milliseconds: receipt.milliseconds,
            routes: receipt.routes.into_iter().map(Into::into).collect(),
            prefetched: receipt.prefetched,
            cache: receipt.cache,
            failure: receipt.failure,
        }
    }
}

impl TryFrom<wire::TransferReceipt> for TransferReceipt {
    type Error = Error;

    fn try_from(receipt: wire::TransferReceipt) -> Result<Self, Error> {
        let parent = receipt.parent.map(|name| job_name(&name, "TransferReceipt.parent"));
        let from = receipt.from.map(|name| cluster_name(&name, "TransferReceipt.from"));
        if receipt.routes.len() > MAX_ROUTES {
            let words = format!("has {} entries, more than {MAX_ROUTES}", receipt.routes.len());
            return Err(Error::new("TransferReceipt.routes", words));
        }
        let routes = receipt.routes.into_iter().map(RouteReport::try_from);
        Ok(Self {
            parent: parent.transpose()?,
            cache: receipt.cache,
            from: from.transpose()?,
            route: route(receipt.route, "TransferReceipt.route")?,
            manifest: digest(&receipt.manifest, "TransferReceipt.manifest")?,
            bytes: receipt.bytes,
            moved_bytes: receipt.moved_bytes,
            milliseconds: receipt.milliseconds,
            routes: routes.collect::<Result<_, _>>()?,
            prefetched: receipt.prefetched,
            failure: receipt.failure,
        })
    }
}

impl From<RouteReport> for wire::RouteReport {
    fn from(report: RouteReport) -> Self {
        use wire::route_report::Outcome;
        let outcome = match report.outcome {
            RouteOutcome::Used => Outcome::Used(wire::RouteUsed {}),
            RouteOutcome::Failed(reason) => Outcome::Failed(reason),
            RouteOutcome::NotNeeded => Outcome::NotNeeded(wire::RouteNotNeeded {}),
            RouteOutcome::Unavailable(reason) => Outcome::Unavailable(reason),
        };
        Self {
            from: report.from.map(String::from),
            route: wire::Route::from(report.route).into(),
            moved_bytes: report.moved_bytes,
            outcome: Some(outcome),
        }
    }
}

impl TryFrom<wire::RouteReport> for RouteReport {
    type Error = Error;

    fn try_from(report: wire::RouteReport) -> Result<Self, Error> {
        use wire::route_report::Outcome;
        let from = report.from.map(|name| cluster_name(&name, "RouteReport.from"));
        let outcome = match required(report.outcome, "RouteReport.outcome")? {
            Outcome::Used(_) => RouteOutcome::Used,
            Outcome::Failed(words) => RouteOutcome::Failed(reason(words, "RouteReport.failed")?),
            Outcome::NotNeeded(_) => RouteOutcome::NotNeeded,
            Outcome::Unavailable(words) => RouteOutcome::Unavailable(reason(words, "RouteReport.unavailable")?),
        };
        Ok(Self {
            from: from.transpose()?,
            route: route(report.route, "RouteReport.route")?,
            moved_bytes: report.moved_bytes,
            outcome,
        })
    }
}

fn reason(words: String, field: &'static str) -> Result<String, Error> {
    if words.len() > MAX_REASON {
        return Err(Error::new(
            field,
            format!("has {} bytes, more than {MAX_REASON}", words.len()),
        ));
    }
    text(words, field)
}
