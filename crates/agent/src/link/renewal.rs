//! Renews the certificate at two thirds of its life, and at once when the master is of another edition: the authority is being replaced, or
//! what members are to believe has changed.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
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
/// When an edition that was asked for once and not given is asked for again. It may be another master's than the one that answered, while
/// several are started again one after the other.
const ASK_AGAIN: Duration = Duration::from_secs(5 * 60);
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
    let mut asked = None;
    loop {
        let now = Timestamp(clock::now().wall_milliseconds);
        let present = master.identity.credentials().chain;
        let seen = *editions.borrow_and_update();
        let is_behind = is_behind(seen, Edition::of_certificate(present.leaf()), asked, Instant::now());
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
                // What was seen since is not what was asked for: another master's, perhaps.
                asked = Some((seen, Instant::now()));
                if let Err(error) = confirm(master).await {
                    tracing::warn!(
                        error = tombolo_runtime::reason::whole(&error),
                        "the master was not told of the new certificate"
                    );
                }
                let given = master.identity.credentials().chain;
                if given.renew_in(Timestamp(clock::now().wall_milliseconds)).is_zero() {
                    tracing::warn!(
                        "the new certificate is to be renewed already: the clock of this machine is far ahead of the master's"
                    );
                    sleep(LOOK_AGAIN).await;
                }
            }
            Err(error) => {
                let pause = pauses.next();
                tracing::warn!(
                    error = tombolo_runtime::reason::whole(&error),
                    ?pause,
                    "the certificate was not renewed"
                );
                sleep(pause).await;
            }
        }
    }
}

/// Whether to ask for another certificate because the master is of another edition (`seen`) than ours (`own`). What was `asked` for, and when,
/// and not given, is left alone for a while.
fn is_behind(
    seen: Option<Edition>,
    own: Option<Edition>,
    asked: Option<(Option<Edition>, Instant)>,
    now: Instant,
) -> bool {
    let is_to_wait = |(edition, at): (Option<Edition>, Instant)| edition == seen && now < at + ASK_AGAIN;
    seen.is_some() && seen != own && !asked.is_some_and(is_to_wait)
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
    let now = Timestamp(clock::now().wall_milliseconds);
    Identity::check(&renewed, now)?;
    if now < renewed.chain.not_before() {
        tracing::warn!(
            "the clock of this machine is more than five minutes behind the master's: set it, or those whose certificates are new are not believed"
        );
    }
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

#[cfg(test)]
mod tests {
    use tombolo_identity::authority::Authority;
    use tombolo_identity::member::TrustDomain;

    use super::*;

    #[test]
    fn what_another_master_has_is_asked_for_even_if_it_was_seen_while_this_one_answered() {
        let edition = || {
            let authority = Authority::create(TrustDomain::default(), Timestamp(1_700_000_000_000)).unwrap();
            Some(authority.edition())
        };
        let (first, second, own) = (edition(), edition(), edition());
        let now = Instant::now();
        let later = now + ASK_AGAIN;
        for (seen, own, asked, time, expected) in [
            (None, own, None, now, false),
            (first, first, None, now, false),
            (first, own, None, now, true),
            (first, None, None, now, true),
            // Asked for and not given: not at once again.
            (first, own, Some((first, now)), now, false),
            (first, own, Some((first, now)), later, true),
            // Seen only after the question.
            (second, first, Some((first, now)), now, true),
        ] {
            assert_eq!(
                is_behind(seen, own, asked, time),
                expected,
                "{seen:?} {own:?} {asked:?}"
            );
        }
    }
}
