//! Outputs that come before the jobs that need them are placed: what the master says is likely to be needed soon.
//!
//! Nothing depends on it. What did not come ahead is fetched when the job is there, and what is on its way then is waited for:
//! the puller brings nothing twice.
//!
//! Copies of what another cluster has that is to go come the same way, and the master is told how far they are. Once it has written that
//! this cluster has one, it wants it; until then it is kept here.

mod told;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tombolo_core::attempt::{Prefetch, TransferReceipt};
use tombolo_core::control::event::Recipient;
use tombolo_core::control::{Copied, CopyStage};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_transfer::Puller;
use tombolo_transfer::pull::Request;
use tombolo_transfer::store::retention::UploadId;

use self::told::Told;
use crate::network::Network;
use crate::progress::Teller;
use crate::seam::Notice;

/// How many outputs come ahead at once: each has several chunks on the way already.
const AT_ONCE: usize = 2;
/// How many wait for their turn. What is more is fetched when it is needed.
const WAITING: usize = 256;
/// How many receipts are kept for the jobs that will ask for them, about 1 KiB each.
const RECEIPTS: usize = 512;

/// Takes orders, and knows how what was ordered came. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Prefetcher {
    orders: mpsc::Sender<Ordered>,
    receipts: Receipts,
    under_way: UnderWay,
    told: Told,
}

/// Something to bring.
struct Ordered {
    prefetch: Prefetch,
    /// A copy counts as on its way while it waits for its turn.
    on_its_way: Option<OnItsWay>,
}

/// Carries the orders out.
pub struct Prefetching {
    orders: mpsc::Receiver<Ordered>,
    bringer: Bringer,
}

impl Prefetcher {
    /// Has `puller` bring what is ordered, by the ways of `network`. Somebody has to [run](Prefetching::run) it.
    pub fn new(puller: Puller, network: Network) -> (Self, Prefetching) {
        let (sender, orders) = mpsc::channel(WAITING);
        let (receipts, under_way, told) = (Receipts::default(), UnderWay::default(), Told::default());
        let prefetcher = Self {
            orders: sender,
            receipts: receipts.clone(),
            under_way: under_way.clone(),
            told: told.clone(),
        };
        let prefetching = Prefetching {
            orders,
            bringer: Bringer {
                receipts,
                under_way,
                told,
                puller,
                network,
            },
        };
        (prefetcher, prefetching)
    }

    /// Has this brought, unless too much is waiting. What the master is to be told of it now, if anything.
    pub fn prefetch(&self, prefetch: Prefetch) -> Option<Copied> {
        let mut on_its_way = None;
        if prefetch.confirm {
            on_its_way = self.under_way.begin((prefetch.project, prefetch.input.output.manifest));
            if on_its_way.is_none() {
                return Some(copied(&prefetch, CopyStage::UnderWay));
            }
        }
        if self.orders.try_send(Ordered { prefetch, on_its_way }).is_err() {
            tracing::debug!("an output is not fetched ahead: too many are waiting");
        }
        None
    }

    /// Whether this artifact is on its way, or has come and waits for the job that needs it, or for the master to write that it is here.
    pub fn needs(&self, project: ProjectId, manifest: Digest) -> bool {
        let key = (project, manifest);
        self.receipts.has(key) || self.told.has(key) || self.is_under_way(project, manifest)
    }

    /// Whether this artifact is on its way.
    pub fn is_under_way(&self, project: ProjectId, manifest: Digest) -> bool {
        self.under_way.has((project, manifest))
    }

    /// How this artifact came ahead, if it did and nobody has asked before: the first job that finds it here shows the transfer.
    pub fn take_receipt(&self, project: ProjectId, manifest: Digest) -> Option<TransferReceipt> {
        self.receipts.take((project, manifest))
    }
}

impl Prefetching {
    /// Carries out orders until `stop`, and tells `notices` how far they are. What is on its way then is left as it is: chunks that arrived stay.
    pub async fn run(self, notices: mpsc::Sender<Notice>, stop: CancellationToken) {
        let Self { orders, bringer } = self;
        let bringer = Arc::new(bringer);
        let all = ReceiverStream::new(orders).for_each_concurrent(AT_ONCE, move |ordered| {
            let (bringer, notices) = (Arc::clone(&bringer), notices.clone());
            async move { bringer.bring(ordered, &notices).await }
        });
        stop.run_until_cancelled(all).await;
    }
}

/// Brings one output after the other.
struct Bringer {
    receipts: Receipts,
    under_way: UnderWay,
    told: Told,
    puller: Puller,
    network: Network,
}

impl Bringer {
    /// Brings it, and tells how that ended if somebody wants to know.
    async fn bring(&self, ordered: Ordered, notices: &mpsc::Sender<Notice>) {
        let Ordered { prefetch, on_its_way } = ordered;
        let key = key_of(&prefetch);
        // A second order for it has nothing to do.
        let Some(on_its_way) = on_its_way.or_else(|| self.under_way.begin(key)) else {
            return;
        };
        let brought = self.bring_as_upload(&prefetch, notices).await;
        drop(on_its_way);
        if let Err(error) = &brought {
            // The job that needs it tries again, and says what is wrong.
            tracing::info!(job = %prefetch.input.name, error, "an output did not come ahead");
        }
        if prefetch.confirm {
            let stage = brought.map_or_else(CopyStage::Failed, |()| CopyStage::Whole);
            // Nobody is left to tell only when the agent ends.
            let _ = notices.send(Notice::Copied(copied(&prefetch, stage))).await;
        }
    }

    /// Brings it as an upload, so that no sweep takes away what it relies on.
    async fn bring_as_upload(&self, prefetch: &Prefetch, notices: &mpsc::Sender<Notice>) -> Result<(), String> {
        let key = key_of(prefetch);
        let (store, upload) = (self.puller.store(), UploadId::ahead(key.1, rand::random()));
        store
            .begin_upload(key.0, &upload)
            .await
            .map_err(|error| error.to_string())?;
        let recipient = Recipient::Children(prefetch.input.job);
        let teller = Teller::new(recipient, Some(prefetch.input.name.clone()), notices);
        let pulled = self.pull(prefetch, &teller).await;
        if pulled.is_ok() && prefetch.confirm {
            self.told.keep(key);
        }
        if let Err(error) = store.end_upload(key.0, &upload).await {
            // The next sweep sees that it is not under way.
            tracing::info!(%error, "the end of an upload is not noted");
        }
        pulled
    }

    async fn pull(&self, prefetch: &Prefetch, teller: &Teller<'_>) -> Result<(), String> {
        let ways = self.network.input(&prefetch.input, prefetch.waiting_per_hour);
        let manifest = prefetch.input.output.manifest;
        let request = Request {
            project: prefetch.project,
            manifest,
            sources: ways.sources,
        };
        let job = &prefetch.input.name;
        match self.puller.pull(request, |progress| teller.tell(&progress)).await {
            Ok(receipt) if receipt.routes.is_empty() => teller.give_up(),
            Ok(mut receipt) => {
                teller.tell_last(&receipt.progress);
                receipt.routes.extend(ways.unavailable);
                let receipt = receipt.for_parent(Some(job.clone()));
                tracing::info!(%job, moved_bytes = receipt.moved_bytes, "an output came ahead");
                let receipt = TransferReceipt {
                    prefetched: true,
                    ..receipt
                };
                // Who gets a copy is not known: it is kept for as long as the master wants it.
                if !prefetch.confirm {
                    self.receipts.keep((prefetch.project, manifest), receipt);
                }
            }
            Err(error) => {
                teller.give_up();
                return Err(error.to_string());
            }
        }
        Ok(())
    }
}

/// What is said of a copy.
fn copied(prefetch: &Prefetch, stage: CopyStage) -> Copied {
    Copied {
        job: prefetch.input.job,
        manifest: prefetch.input.output.manifest,
        stage,
    }
}

const fn key_of(prefetch: &Prefetch) -> Key {
    (prefetch.project, prefetch.input.output.manifest)
}

type Key = (ProjectId, Digest);

/// What is on its way.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashSet<Key>>>);

impl UnderWay {
    /// Until the answer is dropped; none if it is on its way already.
    fn begin(&self, key: Key) -> Option<OnItsWay> {
        let under_way = self.clone();
        let is_new = self.lock().insert(key);
        is_new.then_some(OnItsWay { under_way, key })
    }

    fn has(&self, key: Key) -> bool {
        self.lock().contains(&key)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them; it ends with this.
struct OnItsWay {
    under_way: UnderWay,
    key: Key,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

/// The receipts that nobody has asked for.
#[derive(Clone, Default)]
struct Receipts(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    receipts: HashMap<Key, TransferReceipt>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Receipts {
    fn keep(&self, key: Key, receipt: TransferReceipt) {
        let mut kept = self.lock();
        if kept.receipts.insert(key, receipt).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > RECEIPTS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.receipts.remove(&oldest);
        }
    }

    fn has(&self, key: Key) -> bool {
        self.lock().receipts.contains_key(&key)
    }

    fn take(&self, key: Key) -> Option<TransferReceipt> {
        let mut kept = self.lock();
        let taken = kept.receipts.remove(&key)?;
        kept.order.retain(|other| *other != key);
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
