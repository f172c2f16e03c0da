//! Users who ask for builds all the time, follow them, and change their minds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::api::Api;
use crate::judge::history::Fact;
use crate::record::Recorder;
use crate::shape::{self, Work};

/// How many users there are. Each has one build under way.
const USERS: u64 = 6;
/// How often a user looks.
const LOOK: Duration = Duration::from_millis(700);
/// After a refusal.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// One build of so many is cancelled.
const CANCELS_ONE_OF: u32 = 8;
/// How often a user asks for that.
const CANCELS: u32 = 30;

/// What all users have in common.
pub(crate) struct Office {
    pub(crate) api: Arc<Api>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) work: Work,
    /// Nobody begins anything more.
    pub(crate) is_over: AtomicBool,
}

/// Lets users work; they are done when they have seen the end of what they began after [`Office::is_over`].
pub(crate) fn begin(office: &Arc<Office>, seed: u64) -> JoinSet<anyhow::Result<()>> {
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(1 + user);
        users.spawn(work(Arc::clone(office), user, chance));
    }
    users
}

async fn work(office: Arc<Office>, user: u64, mut chance: ChaCha8Rng) -> anyhow::Result<()> {
    for round in 0.. {
        if office.is_over.load(Ordering::Relaxed) {
            break;
        }
        let tag = format!("user{user}-{round}");
        let shape = shape::any(&mut chance);
        let cancels_after = chance
            .random_ratio(1, CANCELS_ONE_OF)
            .then(|| Duration::from_millis(chance.random_range(200..9_000)));
        let asked = shape.iter().map(|job| job.asked.clone()).collect();
        office.recorder.note(Fact::Submitted {
            tag: tag.clone(),
            jobs: asked,
        });
        let body = shape::body(&shape, &tag, &office.work);
        match office.api.submit(&body).await {
            Ok(build) => {
                office.recorder.note(Fact::Acknowledged { tag, build });
                follow(&office, build, cancels_after).await;
            }
            Err(refusal) if refusal.is_final() => {
                println!("          a build is refused: {refusal}");
                let why = refusal.to_string();
                office.recorder.note(Fact::Refused { tag, why });
                sleep(TRY_AGAIN).await;
            }
            Err(refusal) => {
                let why = refusal.to_string();
                office.recorder.note(Fact::NotAcknowledged { tag, why });
                sleep(TRY_AGAIN).await;
            }
        }
    }
    Ok(())
}

/// Looks at a build until it is over.
async fn follow(office: &Arc<Office>, build: u64, cancels_after: Option<Duration>) {
    let began = Instant::now();
    let mut cancels_after = cancels_after;
    let mut known = BTreeMap::new();
    loop {
        if cancels_after.take_if(|after| began.elapsed() >= *after).is_some() {
            cancel(office, build).await;
        }
        if let Ok(seen) = office.api.build(build).await {
            let jobs = seen["jobs"].as_array().map_or(&[][..], Vec::as_slice);
            for job in jobs {
                let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
                let epoch = job["epoch"]
                    .as_u64()
                    .and_then(|epoch| u32::try_from(epoch).ok())
                    .unwrap_or(0);
                let (name, now) = (text("name"), (text("state"), epoch));
                if known.get(&name) != Some(&now) {
                    office.recorder.note(Fact::Seen {
                        build,
                        job: name.clone(),
                        state: now.0.clone(),
                        epoch,
                    });
                    known.insert(name, now);
                }
            }
            if seen["state"] != "running" {
                return;
            }
        }
        sleep(LOOK).await;
    }
}

async fn cancel(office: &Arc<Office>, build: u64) {
    office.recorder.note(Fact::CancelAsked { build });
    for _ in 0..CANCELS {
        match office.api.cancel(build).await {
            Ok(()) => return office.recorder.note(Fact::Cancelled { build }),
            // It is over, or there is nothing to cancel.
            Err(refusal) if refusal.is_final() => return,
            Err(_) => sleep(TRY_AGAIN).await,
        }
    }
}
