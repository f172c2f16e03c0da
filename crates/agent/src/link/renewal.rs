//! Renews the certificate at two thirds of its life.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tombolo_core::time::Timestamp;
use tombolo_identity::member::Member;
use tombolo_identity::transport;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tombolo_runtime::clock;

use super::Master;
use crate::join::taken;
use crate::pauses::Pauses;

/// How often the calendar is looked at: it may jump, and does not go on while the machine sleeps.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The pauses after a renewal that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// How long the answer may take.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Renews the certificate of `master.identity` whenever it is time, and writes it into `folder`, until `stop`. Streams that
/// are open go on; new handshakes use the new certificate.
pub async fn renew(master: Master, folder: &Path, stop: CancellationToken) {
    stop.run_until_cancelled(renewing(&master, folder)).await;
}

async fn renewing(master: &Master, folder: &Path) {
    let mut pauses = Pauses::new(PAUSES);
    loop {
        let now = Timestamp(clock::now().wall_milliseconds);
        let wait = master.identity.credentials().chain.renew_in(now);
        if !wait.is_zero() {
            sleep(wait.min(LOOK_AGAIN)).await;
            continue;
        }
        pauses.reset();
        while let Err(error) = once(master, folder).await {
            let pause = pauses.next();
            tracing::warn!(error = format!("{error:#}"), ?pause, "the certificate was not renewed");
            sleep(pause).await;
        }
    }
}

async fn once(master: &Master, folder: &Path) -> anyhow::Result<()> {
    let present = master.identity.credentials();
    let request = wire::RenewRequest {
        signing_request: present.key.request()?,
    };
    let tls = master.identity.client(&Member::Master)?;
    let channel = transport::connect(&master.addresses, tls, &master.proxy).await?;
    let mut client = ControlClient::new(channel);
    let answer = timeout(CALL_DEADLINE, client.renew(request)).await?;
    let answer = answer.map_err(|status| anyhow::anyhow!("the master says: {}", status.message()))?;
    let given = answer.into_inner().credentials;
    let (chain, trust) = taken(given.ok_or_else(|| anyhow::anyhow!("the answer has no credentials"))?)?;
    let renewed = present.renewed(chain, trust)?;
    anyhow::ensure!(
        renewed.identity() == present.identity(),
        "the answer is for another member"
    );
    anyhow::ensure!(
        renewed.chain.not_after() > present.chain.not_after(),
        "the new certificate does not last longer than the present one"
    );
    // Small files: the disk is not waited for in earnest.
    renewed.save(folder)?;
    let until = renewed.chain.not_after();
    master.identity.replace(renewed)?;
    tracing::info!(until = until.0, "certificate renewed");
    Ok(())
}
