//! The volumes that an agent has, as its end of the link knows them.
//!
//! It owns what hellos say of them, and which orders to release are being carried out. It never acknowledges one before the
//! executor's side has said that it is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::session::AgentFrame;
use crate::volume::VolumeId;

#[derive(Debug)]
pub(super) struct Volumes {
    held: BTreeSet<VolumeId>,
    /// Those that came after the hello of the present connection, and before its welcome: neither has said them.
    unsaid: BTreeSet<VolumeId>,
    /// The last that was said again.
    last: Option<VolumeId>,
    /// Told to the executor; with the order to acknowledge, if it came on the present connection.
    releasing: BTreeMap<VolumeId, Option<u64>>,
}

impl Volumes {
    pub(super) fn new(held: Vec<VolumeId>) -> Self {
        Self {
            held: held.into_iter().collect(),
            unsaid: BTreeSet::new(),
            last: None,
            releasing: BTreeMap::new(),
        }
    }

    /// Orders of the old connection need no answer, and the hello of the new one lists all.
    pub(super) fn reconnected(&mut self) {
        self.unsaid.clear();
        self.releasing.values_mut().for_each(|order| *order = None);
    }

    /// What hellos say.
    pub(super) fn held(&self) -> Vec<VolumeId> {
        self.held.iter().copied().collect()
    }

    /// Whether that is to be said now; if the link is not up, it is said after the welcome.
    pub(super) fn holds(&mut self, volume: VolumeId, is_up: bool) -> bool {
        let is_new = self.held.insert(volume);
        if is_new && !is_up {
            self.unsaid.insert(volume);
        }
        is_new && is_up
    }

    /// What is to be said after the welcome.
    pub(super) fn welcomed(&mut self) -> impl Iterator<Item = AgentFrame> + use<> {
        std::mem::take(&mut self.unsaid).into_iter().map(AgentFrame::Holds)
    }

    /// One of those that are not about to go, each in its turn. What is said of a volume is not acknowledged: who says it again some time
    /// need not rely on a connection that loses nothing.
    pub(super) fn say_again(&mut self) -> Option<AgentFrame> {
        let stays = |volume: &&VolumeId| !self.releasing.contains_key(volume);
        let after = self.last.map_or(Unbounded, Excluded);
        let mut later = self.held.range((after, Unbounded));
        let next = later.find(stays).or_else(|| self.held.iter().find(stays)).copied();
        self.last = next;
        next.map(AgentFrame::Holds)
    }

    /// Whether the executor is to be told.
    pub(super) fn release(&mut self, volume: VolumeId, order: u64) -> bool {
        self.releasing.insert(volume, Some(order)).is_none()
    }

    /// It is recorded that the volume goes; gives the order that is carried out thereby.
    pub(super) fn released(&mut self, volume: VolumeId) -> Option<u64> {
        self.held.remove(&volume);
        self.unsaid.remove(&volume);
        self.releasing.remove(&volume).flatten()
    }
}
