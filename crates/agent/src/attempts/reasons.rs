//! Telling the master why an attempt does not go on.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tombolo_core::id::AttemptId;

use crate::seam::Notice;

/// How long a reason must hold to be worth telling: a pod that starts well has several, each for a moment.
const HOLDS: Duration = Duration::from_secs(1);

/// Tells for ever why the attempt does not go on, as far as that holds for a while.
pub(super) async fn tell_reasons(
    reason: Option<watch::Receiver<String>>,
    attempt: AttemptId,
    notices: mpsc::Sender<Notice>,
) {
    if let Some(mut reason) = reason {
        let mut told = String::new();
        loop {
            let now = reason.borrow_and_update().clone();
            // That nothing holds it up any more is told at once.
            if now != told && (now.is_empty() || timeout(HOLDS, reason.changed()).await.is_err()) {
                told.clone_from(&now);
                if notices.send(Notice::Waits { attempt, reason: now }).await.is_err() {
                    break;
                }
            } else if now != told {
                continue;
            }
            if reason.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::{Epoch, JobId};

    use super::*;

    #[tokio::test]
    async fn what_holds_is_told_and_what_passes_is_not() {
        let attempt = AttemptId {
            job: JobId::from_u128(1),
            epoch: Epoch(1),
        };
        let reason = watch::Sender::new(String::new());
        let (notices, mut told) = mpsc::channel(4);
        let telling = tokio::spawn(tell_reasons(Some(reason.subscribe()), attempt, notices));
        let say = |words: &str| drop(reason.send_replace(words.to_owned()));
        say("for a moment");
        tokio::time::sleep(HOLDS / 4).await;
        say("for longer");
        let next = |notice: Option<Notice>| match notice {
            Some(Notice::Waits { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(next(told.recv().await), "for longer");
        say("for a moment");
        tokio::time::sleep(HOLDS / 4).await;
        say("");
        assert_eq!(next(timeout(HOLDS / 2, told.recv()).await.unwrap()), "");
        assert!(told.try_recv().is_err());
        drop(reason);
        assert!(!telling.is_finished());
        telling.abort();
    }
}
