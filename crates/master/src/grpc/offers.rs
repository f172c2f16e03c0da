//! Whom a tunnel can be offered to: the clusters whose session is live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tombolo_core::id::{SessionId, TunnelId};
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_transfer::tunnel::{Offer, Refusal};

/// How many offers wait for one session to send them; more make the dialler wait.
const WAITING_OFFERS: usize = 64;

/// The live sessions, as far as tunnels are concerned. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    sessions: Arc<Mutex<HashMap<ClusterName, Listener>>>,
}

#[derive(Debug)]
struct Listener {
    session: SessionId,
    sender: mpsc::Sender<TunnelId>,
}

/// A session's place in [`Offers`]; given up when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    offers: Offers,
    cluster: ClusterName,
    session: SessionId,
    /// What is offered.
    pub(super) receiver: mpsc::Receiver<TunnelId>,
}

impl Offers {
    /// Takes the place of the cluster's earlier session.
    pub(super) fn register(&self, cluster: ClusterName, session: SessionId) -> Registration {
        let (sender, receiver) = mpsc::channel(WAITING_OFFERS);
        self.lock().insert(cluster.clone(), Listener { session, sender });
        Registration {
            offers: self.clone(),
            cluster,
            session,
            receiver,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterName, Listener>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self.offers.lock();
        if sessions
            .get(&self.cluster)
            .is_some_and(|listener| listener.session == self.session)
        {
            sessions.remove(&self.cluster);
        }
    }
}

impl Offer for Offers {
    /// Any member may dial any cluster: what it can read there, the grant decides.
    async fn offer(&self, _: &Member, target: &ClusterName, tunnel: TunnelId) -> Result<(), Refusal> {
        let sender = self.lock().get(target).map(|listener| listener.sender.clone());
        let not_connected = || Refusal::NotConnected(target.clone());
        sender
            .ok_or_else(not_connected)?
            .send(tunnel)
            .await
            .map_err(|_| not_connected())
    }
}
