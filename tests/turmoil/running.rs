//! A command as its agent sees it.

use tokio::sync::watch;
use tombolo_agent::executor::{Collected, Error, Running, Urgency};
use tombolo_agent::link::Lease;
use tombolo_agent::supervisor::Exit;
use tombolo_agent::xunit;
use tombolo_core::time::Timestamp;

use crate::supervisor::{Supervised, Wanted};

pub(crate) struct NodeRunning {
    exit: Option<Exit>,
    supervisor: Option<(watch::Sender<Wanted>, watch::Receiver<Supervised>)>,
    lease: Option<Lease>,
}

impl NodeRunning {
    pub(crate) const fn over(exit: Exit) -> Self {
        Self {
            exit: Some(exit),
            supervisor: None,
            lease: None,
        }
    }

    pub(crate) fn attached(
        wanted: watch::Sender<Wanted>,
        seen: watch::Receiver<Supervised>,
        lease: Option<Lease>,
    ) -> Self {
        let running = Self {
            exit: None,
            supervisor: Some((wanted, seen)),
            lease,
        };
        running.say_lease();
        running
    }

    fn say_lease(&self) {
        let granted = self.lease.as_ref().and_then(Lease::granted);
        if let (Some(granted), Some((wanted, _))) = (granted, &self.supervisor) {
            wanted.send_modify(|wanted| wanted.lease = Some(granted));
        }
    }
}

impl Running for NodeRunning {
    /// It began before there was a value of this kind.
    async fn begun(&mut self, _: &mut Lease, _: impl Fn() + Send + Sync) -> Result<Option<Timestamp>, Error> {
        let seen = self.supervisor.as_ref().map(|(_, seen)| seen.borrow().started_at);
        Ok(seen.unwrap_or_else(|| self.exit.as_ref().and_then(|exit| exit.started_at)))
    }

    async fn ended(&mut self, on_output: impl Fn() + Send + Sync) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = &self.exit {
                return Ok(exit.clone());
            }
            let Some((_, seen)) = &mut self.supervisor else {
                return Err(Error::Lost { said: None });
            };
            self.exit = seen.borrow_and_update().exit.clone();
            if self.exit.is_some() {
                continue;
            }
            let renewed = async {
                match &mut self.lease {
                    Some(lease) => lease.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = seen.changed() => match changed {
                    Ok(()) => on_output(),
                    // Its machine has ended.
                    Err(_) => return Err(Error::Lost { said: None }),
                },
                () = renewed => self.say_lease(),
            }
        }
    }

    async fn stop(&mut self, _: Urgency) -> Result<(), Error> {
        if let Some((wanted, _)) = &self.supervisor {
            wanted.send_modify(|wanted| wanted.stop = true);
        }
        Ok(())
    }

    async fn collect(&mut self) -> Result<Collected, Error> {
        Ok(Collected {
            output: Ok(None),
            cache: Ok(None),
            tests: xunit::Results::default(),
            generated: None,
        })
    }
}
