//! A model of the volumes that a cluster keeps: made for the attempts that use them, removed after the last of these when they are
//! released.

use tombolo_core::id::AttemptId;
use tombolo_core::session::agent::Event;
use tombolo_core::volume::VolumeId;
use tombolo_tests::check::shares;

use super::Agent;
use crate::master::PROJECT;
use crate::world::{Bug, World};

impl World {
    /// The volumes of an attempt are written down before it goes on.
    pub(super) fn take_volumes(&mut self, index: usize, attempt: AttemptId) {
        let Some(stored) = self.agents[index].disk.get(&attempt) else {
            return;
        };
        let (build, job) = (stored.assignment.build.build, &stored.assignment.job);
        let volumes: Vec<VolumeId> = job
            .volumes
            .iter()
            .map(|kind| VolumeId::of(kind, PROJECT, build))
            .collect();
        for volume in volumes {
            self.agents[index].volumes.insert(volume, false);
            self.tell_agent(index, Event::Holds(volume));
        }
    }

    pub(super) fn release_volume(&mut self, index: usize, volume: VolumeId) {
        if self.bug != Some(Bug::ReleaseIgnored)
            && let Some(released) = self.agents[index].volumes.get_mut(&volume)
        {
            *released = true;
        }
        self.agents[index].remove_volumes();
        self.tell_agent(index, Event::Released(volume));
    }
}

impl Agent {
    /// Removes what is released and not used.
    pub(super) fn remove_volumes(&mut self) {
        let disk = &self.disk;
        let is_used = |volume: &VolumeId| {
            disk.values().any(|stored| {
                shares(&stored.assignment.job) && *volume == VolumeId::Shared(stored.assignment.build.build)
            })
        };
        self.volumes.retain(|volume, released| !*released || is_used(volume));
    }

    /// Those that nobody has released.
    pub(super) fn held_volumes(&self) -> Vec<VolumeId> {
        let held = self.volumes.iter().filter(|(_, released)| !**released);
        held.map(|(volume, _)| *volume).collect()
    }
}
