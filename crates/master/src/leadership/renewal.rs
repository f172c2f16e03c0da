//! Holding on to the lead, and letting go of it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tombolo_core::leadership::{Lease, Term};
use tombolo_store::postgres::Candidate;

use super::Tenure;
use crate::clock::Clock;

/// Between two tries when the database does not answer.
const RETRY: Duration = Duration::from_millis(50);

/// How long the database may take to hear that this master has let go; the others find it out in the end.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// What is renewed.
pub(super) struct Renewal {
    pub(super) candidate: Arc<Candidate>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) term: Term,
    pub(super) lease: Lease,
    pub(super) tenure: Tenure,
    /// Cancelled when what leads has come to its end by itself: then the lead is let go of.
    pub(super) over: CancellationToken,
    /// Cancelled when the lead is lost: what leads has to end.
    pub(super) lost: CancellationToken,
}

impl Renewal {
    /// Renews until the lead is lost or let go of.
    pub(super) async fn run(mut self) {
        let over = self.over.clone();
        let reason = over.run_until_cancelled(self.renew()).await;
        self.tenure.end();
        match reason {
            Some(reason) => {
                tracing::warn!(term = self.term.0, reason, "this master does not lead any more");
                self.lost.cancel();
            }
            None => self.release().await,
        }
    }

    /// Why the lead is lost.
    async fn renew(&mut self) -> &'static str {
        loop {
            let sent = self.clock.now().steady;
            if !self.lease.holds(sent) {
                return "the database has not acknowledged it in time";
            }
            // One lost packet is not to use up the lease.
            let patience = self.lease.until().since(sent).min(2 * self.lease.interval());
            let renewed = tokio::time::timeout(patience, self.candidate.renew(self.term)).await;
            let pause = match renewed {
                Ok(Ok(true)) => {
                    self.lease.renewed(self.clock.now().steady, sent);
                    self.tenure.extend(self.lease.until());
                    self.lease.interval()
                }
                Ok(Ok(false)) => return "another master leads",
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lead was not renewed; trying again");
                    RETRY
                }
                Err(_) => {
                    tracing::warn!("the lead was not renewed: the database does not answer; trying again");
                    RETRY
                }
            };
            let left = self.lease.until().since(self.clock.now().steady);
            tokio::time::sleep(pause.min(left)).await;
        }
    }

    async fn release(&self) {
        let released = tokio::time::timeout(RELEASE_MAX, self.candidate.release(self.term)).await;
        match released {
            Ok(Ok(())) => tracing::info!(term = self.term.0, "let go of the lead"),
            Ok(Err(error)) => tracing::warn!(%error, "the others were not told that this master leads no more"),
            Err(_) => tracing::warn!("the others were not told in time that this master leads no more"),
        }
    }
}
