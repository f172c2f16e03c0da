//! What can befall the parts of an installation.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::super::cable::Cable;
use super::Installation;

impl Installation {
    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let child = self.masters[index].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it lives");
    }

    /// Has a master stand still, and waits until it does: a signal is not yet there when it has been sent, and the threads still work.
    #[track_caller]
    pub(crate) fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
        let child = self.masters[index].child.as_ref().expect("it runs");
        let pid = WaitId::Pid(Pid::from_child(child));
        // Of its end nothing is asked: that is for whoever waits for the child.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.wait_for("a master to stand still", || {
            waitid(pid.clone(), options).expect("it is a child")
        });
    }

    /// Sends a signal that ends a master, waits for its end, and gives its exit code.
    #[track_caller]
    pub(crate) fn end(&mut self, index: usize, signal: Signal) -> Option<i32> {
        self.signal(index, signal);
        self.wait_for_end(index)
    }

    /// Waits for the end of a master that was told to end.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, index: usize) -> Option<i32> {
        let mut child = self.masters[index].child.take().expect("it runs");
        let status = self.wait_for("the end of a master", || {
            child.try_wait().expect("a child can be waited for")
        });
        status.code()
    }

    /// The way of a master to the database.
    pub(crate) fn cable(&self, index: usize) -> &Cable {
        &self.masters[index].cable
    }

    /// Sets a part's calendar by so many seconds from what it is.
    pub(crate) fn write_clock(&self, name: &str, seconds: i64) -> PathBuf {
        let path = self.path(&format!("{name}.clock"));
        // Whole at any time: the part may read it now.
        let written = self.write(&format!("{name}.clock.new"), &format!("{seconds:+}\n"));
        fs::rename(written, &path).expect("the folder is writable");
        path
    }

    /// Kills a master, if it runs.
    pub(crate) fn end_at_once(&mut self, index: usize) {
        if let Some(mut child) = self.masters[index].child.take().or(self.masters[index].going.take()) {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Tells a master to go, without waiting for it.
    pub(crate) fn tell(&mut self, index: usize) {
        if self.masters[index].child.is_some() {
            self.signal(index, Signal::TERM);
            self.masters[index].going = self.masters[index].child.take();
        }
    }

    /// A master that has ended without being told to, which is started again then.
    pub(crate) fn fallen(&mut self, index: usize) -> Option<ExitStatus> {
        let ended = self.masters[index].child.as_mut()?.try_wait().ok()??;
        self.launch_master(index);
        Some(ended)
    }

    /// The process of a master that runs.
    pub(crate) fn process(&self, index: usize) -> Option<u32> {
        self.masters[index].child.as_ref().map(Child::id)
    }

    /// Where agents reach a master.
    pub(crate) fn port_for_agents(&self, index: usize) -> u16 {
        self.masters[index].ports.agents
    }

    /// Where probes reach a master.
    pub(crate) fn port_for_probes(&self, index: usize) -> u16 {
        self.masters[index].ports.health
    }
}
