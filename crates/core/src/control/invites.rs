//! Invites: the one-time right to join, and its use.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::lease::Deadline;
use super::outbox::Outbox;
use super::record::{Cluster, Invite};
use super::{Change, Control, Refusal, Reply};
use crate::digest::Digest;
use crate::id::InviteId;
use crate::name::ClusterName;
use crate::placement::Availability;
use crate::time::{Moment, Now};

/// How long an invite is shown after its end, so that people see why a cluster did not get in: a day.
const KEPT_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// All invites, by id and by the digest of their secret.
#[derive(Debug, Default)]
pub(super) struct Invites {
    by_id: BTreeMap<InviteId, Invite>,
    by_secret: HashMap<Digest, InviteId>,
}

impl Invites {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Invite> {
        self.by_id.values()
    }

    pub(super) fn get(&self, id: InviteId) -> Option<&Invite> {
        self.by_id.get(&id)
    }

    fn by_secret(&self, secret: &Digest) -> Option<&Invite> {
        self.by_id.get(self.by_secret.get(secret)?)
    }

    pub(super) fn insert(&mut self, invite: Invite) {
        self.by_secret.insert(invite.secret, invite.id);
        self.by_id.insert(invite.id, invite);
    }

    fn remove(&mut self, id: InviteId) {
        if let Some(invite) = self.by_id.remove(&id) {
            self.by_secret.remove(&invite.secret);
        }
    }
}

impl Control {
    pub(super) fn invite(&mut self, outbox: &mut Outbox, invite: Invite) -> Result<Reply, Refusal> {
        if self.clusters.by_name(&invite.cluster).is_some() {
            return Err(Refusal::Exists {
                kind: "cluster",
                name: invite.cluster.to_string(),
            });
        }
        if self.invites.get(invite.id).is_some() || self.invites.by_secret(&invite.secret).is_some() {
            return Err(Refusal::exists("invite", &invite.id));
        }
        let invite = Invite {
            used_by: None,
            ..invite
        };
        self.add_invite(outbox.now, invite.clone());
        outbox.changes.push(Change::PutInvite(invite.clone()));
        Ok(Reply::Invite(invite))
    }

    /// Those that were used stay: they say how the cluster came in.
    pub(super) fn withdraw_invites(&mut self, outbox: &mut Outbox, cluster: &ClusterName) -> Result<Reply, Refusal> {
        let now = outbox.now.wall;
        let open: Vec<InviteId> = self
            .invites
            .iter()
            .filter(|invite| invite.cluster == *cluster && invite.used_by.is_none() && now < invite.expires_at)
            .map(|invite| invite.id)
            .collect();
        if open.is_empty() {
            return Err(Refusal::not_found("invite", cluster));
        }
        for id in open {
            self.invites.remove(id);
            outbox.changes.push(Change::DeleteInvite(id));
        }
        Ok(Reply::Done)
    }

    /// Keeps the invite and wakes up when it is to be dropped.
    pub(super) fn add_invite(&mut self, now: Now, invite: Invite) {
        self.deadlines
            .insert((drop_at(now, &invite), Deadline::Invite(invite.id)));
        self.invites.insert(invite);
    }

    pub(super) fn join(&mut self, outbox: &mut Outbox, secret: Digest, key: Digest) -> Result<Reply, Refusal> {
        let invite = self.invites.by_secret(&secret).ok_or(Refusal::InvalidInvite)?.clone();
        if outbox.now.wall >= invite.expires_at || invite.used_by.is_some_and(|used| used != key) {
            return Err(Refusal::InvalidInvite);
        }
        match self.clusters.by_name(&invite.cluster) {
            // The first answer was lost, and the agent asks again.
            Some((_, member)) if invite.used_by == Some(key) && member.record.key == key => {
                return Ok(Reply::Joined(member.record.clone()));
            }
            // Another invite for the same name was used first.
            Some(_) => return Err(Refusal::InvalidInvite),
            // It has been removed since: an invite is not a way back.
            None if invite.used_by.is_some() => return Err(Refusal::InvalidInvite),
            None => {}
        }
        let cluster = Cluster {
            name: invite.cluster.clone(),
            labels: invite.labels.clone(),
            key,
            joined_at: outbox.now.wall,
            availability: Availability::Open,
            is_handing_over: false,
        };
        let invite = Invite {
            used_by: Some(key),
            ..invite
        };
        self.clusters.insert(cluster.clone());
        self.invites.insert(invite.clone());
        outbox.changes.push(Change::PutInvite(invite));
        outbox.changes.push(Change::PutCluster(cluster.clone()));
        Ok(Reply::Joined(cluster))
    }

    /// Drops the invite if its time is long over.
    pub(super) fn invite_due(&mut self, outbox: &mut Outbox, id: InviteId) {
        let Some(invite) = self.invites.get(id) else { return };
        if outbox.now.wall.0 >= invite.expires_at.0.saturating_add(KEPT_MILLISECONDS) {
            self.invites.remove(id);
            outbox.changes.push(Change::DeleteInvite(id));
        } else {
            // The calendar was set back meanwhile.
            let drop_at = drop_at(outbox.now, invite);
            self.deadlines.insert((drop_at, Deadline::Invite(id)));
        }
    }
}

/// When the calendar will show that the invite may be dropped, if nobody sets it.
fn drop_at(now: Now, invite: &Invite) -> Moment {
    let at = invite.expires_at.0.saturating_add(KEPT_MILLISECONDS);
    now.steady + Duration::from_millis(at.saturating_sub(now.wall.0))
}
