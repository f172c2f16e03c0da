//! How long the phases of an attempt may take, where its job says so. An agent that comes back counts anew.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_core::attempt::Assignment;
use tombolo_core::build::extensions::PhaseLimits;
use tombolo_core::time::Timestamp;

use super::life::{Broken, broken, fault};
use super::wish::{Wish, until_stopped};
use crate::executor::{Running, Urgency};
use crate::link::Lease;

/// The limits of a job.
pub(super) fn limits(assignment: &Assignment) -> PhaseLimits {
    let extensions = assignment.job.extensions.as_deref();
    extensions.map(|extensions| extensions.limits).unwrap_or_default()
}

/// Brings source, inputs and cache, in no more time than that may take.
pub(super) async fn transfer<T>(limits: &PhaseLimits, bringing: impl Future<Output = T>) -> Result<T, Broken> {
    let Some(limit) = limits.transfer else {
        return Ok(bringing.await);
    };
    tokio::time::timeout(limit, bringing).await.map_err(|_| {
        let limit = humantime::format_duration(limit);
        fault(format!(
            "source and inputs did not come within {limit} (`timeouts.transfer`): `tombolo transfers` shows how far they were; give them more time"
        ))
    })
}

/// The wait for a command to begin.
pub(super) struct Start {
    limit: Option<Duration>,
    since: Instant,
}

impl Start {
    pub(super) fn now(limits: &PhaseLimits) -> Self {
        Self {
            limit: limits.start,
            since: Instant::now(),
        }
    }

    /// Waits until the command runs, and tells when it started; none if it turned out that it cannot. Somebody may want its end meanwhile:
    /// then `stopping` says so.
    pub(super) async fn until_begun<R: Running>(
        &self,
        running: &mut R,
        lease: &mut Lease,
        on_output: impl Fn() + Send + Sync,
        wish: &mut watch::Receiver<Wish>,
        stopping: &mut bool,
    ) -> Result<Option<Timestamp>, Broken> {
        let reason = running.reason();
        loop {
            tokio::select! {
                biased;
                begun = running.begun(lease, &on_output) => return begun.map_err(broken),
                () = until_stopped(wish), if !*stopping => {
                    *stopping = true;
                    running.stop(Urgency::Graceful).await.map_err(broken)?;
                }
                () = self.elapsed(), if !*stopping => return Err(self.too_long(reason.as_ref())),
            }
        }
    }

    async fn elapsed(&self) {
        match self.limit {
            Some(limit) => tokio::time::sleep_until(self.since + limit).await,
            None => std::future::pending().await,
        }
    }

    fn too_long(&self, reason: Option<&watch::Receiver<String>>) -> Broken {
        let limit = humantime::format_duration(self.limit.unwrap_or_default());
        let why = reason.map(|reason| reason.borrow().clone()).unwrap_or_default();
        let why = if why.is_empty() { why } else { format!(": {why}") };
        fault(format!(
            "the command did not start on this cluster within {limit} (`timeouts.start`){why}; give it more time, or send it elsewhere"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{Collected, Error};
    use crate::link::Granted;
    use crate::supervisor::Exit;

    /// A command that begins after a time, if ever.
    struct Slow {
        begins: Instant,
        reason: watch::Sender<String>,
        stopped: bool,
    }

    impl Running for Slow {
        fn reason(&self) -> Option<watch::Receiver<String>> {
            Some(self.reason.subscribe())
        }

        async fn begun(&mut self, _: &mut Lease, _: impl Fn() + Send + Sync) -> Result<Option<Timestamp>, Error> {
            tokio::time::sleep_until(self.begins).await;
            if self.stopped {
                return Err(Error::Stopped);
            }
            Ok(Some(Timestamp(7)))
        }

        async fn ended(&mut self, _: impl Fn() + Send + Sync) -> Result<Exit, Error> {
            std::future::pending().await
        }

        async fn stop(&mut self, _: Urgency) -> Result<(), Error> {
            self.stopped = true;
            Ok(())
        }

        async fn collect(&mut self) -> Result<Collected, Error> {
            Err(Error::Stopped)
        }
    }

    fn limits(seconds: u64) -> PhaseLimits {
        let limit = Some(Duration::from_secs(seconds));
        PhaseLimits {
            start: limit,
            transfer: limit,
            ..PhaseLimits::default()
        }
    }

    /// What becomes of a command that begins after so many seconds; somebody wants its end at once, or nobody does.
    async fn begin(limits: &PhaseLimits, after: u64, wish: Wish) -> Result<Option<Timestamp>, String> {
        let (_wishes, mut wish) = watch::channel(wish);
        let (_leases, granted) = watch::channel(Some(Granted {
            until: Duration::MAX,
            length: Duration::from_secs(30),
        }));
        let mut running = Slow {
            begins: Instant::now() + Duration::from_secs(after),
            reason: watch::Sender::new("no node has room".to_owned()),
            stopped: false,
        };
        let begun = Start::now(limits)
            .until_begun(&mut running, &mut Lease::new(granted), || {}, &mut wish, &mut false)
            .await;
        begun.map_err(|broken| match broken {
            Broken::Fault(reason) => reason,
            Broken::Stopped => "stopped".to_owned(),
            Broken::Input(_) | Broken::Job(_) => "something else".to_owned(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_does_not_start_in_time_is_an_error_with_the_reason() {
        let late = "the command did not start on this cluster within 1m 30s (`timeouts.start`): no node has room; give it more time, or \
                    send it elsewhere";
        for (limits, after, wish, expected) in [
            (limits(90), 89, Wish::Run, Ok(Some(Timestamp(7)))),
            (limits(90), 91, Wish::Run, Err(late.to_owned())),
            (PhaseLimits::default(), 1_000_000, Wish::Run, Ok(Some(Timestamp(7)))),
            // Who cancels it hears that it was cancelled.
            (limits(90), 91, Wish::Forget, Err("stopped".to_owned())),
        ] {
            assert_eq!(begin(&limits, after, wish).await, expected, "{limits:?} {after}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn inputs_that_do_not_come_in_time_are_an_error() {
        let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        assert!(transfer(&limits(60), after(59)).await.is_ok());
        assert!(transfer(&PhaseLimits::default(), after(1_000_000)).await.is_ok());
        let late = transfer(&limits(60), after(61)).await;
        assert!(matches!(late, Err(Broken::Fault(reason)) if reason.contains("within 1m (`timeouts.transfer`)")));
    }
}
