//! Renews the certificate at two thirds of its life, and at once when the master is of another edition: the authority is being replaced, or
//! what members are to believe has changed.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tombolo_core::time::Timestamp;
use tombolo_identity::edition::Edition;
use tombolo_identity::member::Member;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tombolo_runtime::clock;
use tonic::Code;

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
    let mut editions = master.identity.master_edition();
    // What was asked for once and not given is not asked for again.
    let mut answered = None;
    loop {
        let now = Timestamp(clock::now().wall_milliseconds);
        let present = master.identity.credentials().chain;
        let seen = *editions.borrow_and_update();
        let is_behind = seen.is_some() && seen != answered && seen != Edition::of_certificate(present.leaf());
        let wait = present.renew_in(now);
        if !is_behind && !wait.is_zero() {
            tokio::select! {
                () = sleep(wait.min(LOOK_AGAIN)) => {}
                // The sender is the identity's, which is here.
                _ = editions.changed() => {}
            }
            continue;
        }
        match once(master, folder).await {
            Ok(()) => {
                pauses.reset();
                answered = *editions.borrow_and_update();
                if let Err(error) = confirm(master).await {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the master was not told of the new certificate"
                    );
                }
            }
            Err(error) => {
                let pause = pauses.next();
                tracing::warn!(error = format!("{error:#}"), ?pause, "the certificate was not renewed");
                sleep(pause).await;
            }
        }
    }
}

/// Shows the master the certificate that is used from now on. Another one is on its way in connections that are open: they go on.
async fn confirm(master: &Master) -> anyhow::Result<()> {
    let tls = master.identity.client(&Member::Master)?;
    let channel = transport::connect(&master.addresses, tls, &master.proxy).await?;
    let mut client = ControlClient::new(channel);
    match timeout(CALL_DEADLINE, client.confirm(wire::ConfirmRequest {})).await? {
        // A master of the version before sees it with the next session.
        Err(status) if status.code() == Code::Unimplemented => Ok(()),
        Err(status) => anyhow::bail!("the master says: {}", status.message()),
        Ok(_) => Ok(()),
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
        renewed.trust.domain() == present.trust.domain(),
        "the answer is of another trust domain"
    );
    // Whoever took such a pair would not be believed by anybody who was told the same.
    Identity::check(&renewed)?;
    let edition = Edition::of_certificate(renewed.chain.leaf());
    anyhow::ensure!(
        renewed.chain.not_after() > present.chain.not_after()
            || edition != Edition::of_certificate(present.chain.leaf()),
        "the new certificate does not last longer than the present one"
    );
    // Small files: the disk is not waited for in earnest.
    renewed.save(folder)?;
    let until = renewed.chain.not_after();
    master.identity.replace(renewed)?;
    let edition = edition.map(tracing::field::display);
    tracing::info!(until = until.0, edition, "certificate renewed");
    Ok(())
}
