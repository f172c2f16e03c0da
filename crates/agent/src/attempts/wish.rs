//! What is wanted of an attempt.

use tokio::sync::watch;
use tombolo_core::planted::{Bug, planted};
use tombolo_core::session::StopReason;

/// What is wanted of an attempt. A later wish outranks an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To its end.
    Run,
    /// To an end now.
    Stop(StopReason),
    /// Nothing is to be left.
    Forget,
}

/// Waits until somebody wants the end. If nobody can any more, never.
pub(super) async fn until_stopped(wish: &mut watch::Receiver<Wish>) {
    if wish.wait_for(|wish| *wish != Wish::Run).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(super) async fn until_forgotten(wish: &mut watch::Receiver<Wish>) {
    if wish.wait_for(|wish| *wish == Wish::Forget).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until something is permitted; none if that is not to begin. The permission may be later than the word, so that the word counts if both
/// are there.
pub(super) async fn unless_stopped<T>(
    wish: &mut watch::Receiver<Wish>,
    permitted: impl Future<Output = T>,
) -> Option<T> {
    if planted(Bug::LeaseOvertakesWord) {
        return tokio::select! {
            biased;
            permitted = permitted => Some(permitted),
            () = until_stopped(wish) => None,
        };
    }
    tokio::select! {
        biased;
        () = until_stopped(wish) => None,
        permitted = permitted => Some(permitted),
    }
}
