//! What is wanted of an attempt.

use tokio::sync::watch;
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
