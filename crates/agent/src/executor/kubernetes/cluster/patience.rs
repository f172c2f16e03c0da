//! Asking until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::ANSWER_DEADLINE;
use super::error::{Answer, Error};
use super::rights::Right;

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Patience<'right> {
    right: &'right Right,
    began: Instant,
    lasts: Duration,
    pause: Duration,
}

impl<'right> Patience<'right> {
    pub(super) fn new(right: &'right Right, lasts: Duration) -> Self {
        Self {
            right,
            began: Instant::now(),
            lasts,
            pause: SHORTEST_PAUSE,
        }
    }

    /// Asks until there is an answer that will not change, or patience is at its end.
    pub(super) async fn ask<T, F: Future<Output = kube::Result<T>>>(
        &mut self,
        request: impl Fn() -> F,
    ) -> Result<T, Error> {
        loop {
            let answer = match timeout(ANSWER_DEADLINE, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => Answer::new(error, self.right),
                Err(_) => Answer::Later {
                    reason: "no answer".to_owned(),
                    pause: None,
                },
            };
            let (reason, wanted) = match answer {
                Answer::Final(error) => return Err(error),
                Answer::Later { reason, pause } => (reason, pause),
            };
            if !self.pause_for(wanted).await {
                return Err(Error::Unavailable {
                    right: self.right.to_string(),
                    waited: Duration::from_secs(self.began.elapsed().as_secs()),
                    reason,
                });
            }
        }
    }

    /// Waits a little; false at the end of all patience.
    pub(super) async fn pause(&mut self) -> bool {
        self.pause_for(None).await
    }

    async fn pause_for(&mut self, wanted: Option<Duration>) -> bool {
        // All agents that an API server has turned away must not come back together.
        let spread = 0.5 + f64::from(rand::random::<u8>()) / 256.0;
        let pause = wanted.unwrap_or(self.pause).mul_f64(spread);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if self.began.elapsed() + pause >= self.lasts {
            return false;
        }
        sleep(pause).await;
        true
    }
}
