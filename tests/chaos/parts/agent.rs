//! An agent: a process of this machine, or a pod of a Kubernetes cluster.

use std::process::Child;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::installation::Installation;
use crate::kubernetes::Cluster;
use crate::proxy::Proxy;

/// An agent, running or not.
pub(super) struct Agent {
    pub(super) name: &'static str,
    /// Its ways to the masters, and to its store.
    pub(super) links: Vec<Proxy>,
    pub(super) store: Option<Proxy>,
    pub(super) body: Body,
}

/// What it runs as.
pub(super) enum Body {
    Process(Process),
    Pod(Arc<Cluster>),
}

/// An agent whose jobs are processes.
pub(super) struct Process {
    pub(super) configuration: Value,
    /// What enters the place where its small disk is.
    pub(super) within: Vec<String>,
    /// It was not told to end.
    pub(super) is_wanted: bool,
    pub(super) child: Option<Child>,
}

impl Agent {
    /// Starts it after it was ended; a pod is started by its node, unless that waits for too long.
    pub(super) fn start_again(&mut self, installation: &Installation) -> anyhow::Result<()> {
        match &mut self.body {
            Body::Process(process) => {
                // One that is slow to go is not waited for: a service manager would not either.
                process.signal(Signal::KILL);
                process.start(self.name, installation, None);
                Ok(())
            }
            Body::Pod(cluster) => cluster.have_agent(),
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        match &mut self.body {
            Body::Process(process) => process.signal(signal),
            Body::Pod(cluster) => cluster.signal_agent(signal),
        }
    }

    /// Its process, if it runs.
    pub(super) fn id(&self) -> Option<u32> {
        match &self.body {
            Body::Process(process) => process.child.as_ref().map(Child::id),
            Body::Pod(cluster) => cluster.agent(),
        }
    }

    /// How it has ended, if nobody had told it to; it is started again.
    pub(super) fn fallen(&mut self, installation: &Installation) -> Option<String> {
        match &mut self.body {
            Body::Process(process) => {
                let ended = process.child.as_mut()?.try_wait().ok()??;
                process.child = None;
                if !process.is_wanted {
                    return None;
                }
                process.start(self.name, installation, None);
                Some(ended.to_string())
            }
            Body::Pod(cluster) => cluster.agent_fell().then(|| "another process has its place".to_owned()),
        }
    }
}

impl Process {
    pub(super) fn start(&mut self, name: &str, installation: &Installation, invite: Option<&str>) {
        let environment = invite.map(|invite| ("TOMBOLO_AGENT_INVITE", invite));
        let environment: Vec<_> = environment.into_iter().collect();
        let child = installation.spawn(&self.within, ("agent", name), &self.configuration, &environment);
        self.child = Some(child);
        self.is_wanted = true;
    }

    /// Sends a signal. One that ends it is waited for.
    pub(super) fn signal(&mut self, signal: Signal) {
        let Some(child) = &mut self.child else { return };
        // One that has ended already is started again all the same.
        let _ = kill_process(Pid::from_child(child), signal);
        if signal == Signal::KILL {
            drop(child.wait());
            self.child = None;
        }
        self.is_wanted = ![Signal::KILL, Signal::TERM].contains(&signal);
    }

    pub(super) fn lives(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}
