//! The sessions of agents, as far as orders go.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tombolo_core::id::SessionId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::{Hello, OrderFrame};

/// How many orders wait for a session's reader beyond those that its hello may bring.
const ORDERS: usize = 1024;

/// The most slots of an agent that are believed when room for orders is made.
const SLOTS_MAX: usize = 16 * 1024;

#[derive(Debug)]
struct Live {
    id: SessionId,
    orders: mpsc::Sender<OrderFrame>,
}

/// The present session of each cluster.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: HashMap<ClusterName, Live>,
}

impl Sessions {
    /// Begins a session; the cluster's earlier one ends.
    pub(super) fn open(&mut self, cluster: ClusterName, id: SessionId, hello: &Hello) -> mpsc::Receiver<OrderFrame> {
        let (orders, receiver) = mpsc::channel(capacity(hello));
        self.live.insert(cluster, Live { id, orders });
        receiver
    }

    /// Ends this session, if it is the present one.
    pub(super) fn close(&mut self, cluster: &ClusterName, id: SessionId) {
        if self.live.get(cluster).is_some_and(|live| live.id == id) {
            self.live.remove(cluster);
        }
    }

    /// Ends the cluster's session.
    pub(super) fn close_cluster(&mut self, cluster: &ClusterName) -> Option<SessionId> {
        self.live.remove(cluster).map(|live| live.id)
    }

    pub(super) fn close_all(&mut self) {
        self.live.clear();
    }

    pub(super) fn has(&self, cluster: &ClusterName) -> bool {
        self.live.contains_key(cluster)
    }

    /// Hands over what need not be heard, if there is much room.
    pub(super) fn hint(&self, cluster: &ClusterName, order: OrderFrame) {
        if let Some(live) = self.live.get(cluster)
            && live.orders.capacity() > live.orders.max_capacity() / 2
        {
            // A session that is gone is found by the next order.
            let _ = live.orders.try_send(order);
        }
    }

    /// Hands an order to the cluster's session. If that is too slow or gone, it ends, and its number comes back.
    pub(super) fn send(&mut self, cluster: &ClusterName, order: OrderFrame) -> Result<(), SessionId> {
        let Some(live) = self.live.get(cluster) else {
            return Ok(());
        };
        if live.orders.try_send(order).is_ok() {
            return Ok(());
        }
        let id = live.id;
        self.live.remove(cluster);
        Err(id)
    }
}

/// Room for what a hello may bring at once (an order for each attempt that the agent has, and one for each of its slots), or a
/// session that ends because it is full would be full again when it is back.
fn capacity(hello: &Hello) -> usize {
    let slots = usize::try_from(hello.slots).unwrap_or(SLOTS_MAX).min(SLOTS_MAX);
    ORDERS + hello.attempts.len() + 2 * slots
}
