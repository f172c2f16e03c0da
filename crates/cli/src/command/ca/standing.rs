//! Who stands how with the authority, and who would be cut off without the one that does not sign.

use serde::Serialize;
use tombolo_api::{Authority as Status, CertificateState, ClusterCertificate, InviteRoot, OpenInvite, path};
use tombolo_identity::authority::Authority;

use super::USERS;
use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Rows, Wide};

#[derive(Serialize)]
struct Shown(Status);

impl Rows for Shown {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["cluster", "connected", "agent", "certificate", "ends"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |cluster: &ClusterCertificate| {
            vec![
                cluster.cluster.to_string(),
                if cluster.connected { "yes" } else { "no" }.to_owned(),
                cluster.version.clone().unwrap_or_default(),
                cluster.state.as_str().to_owned(),
                cluster.expires_at.map_or_else(String::new, render::until),
            ]
        };
        self.0.clusters.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        let mut names = left_behind(&self.0);
        names.extend(useless_invites(&self.0));
        names
    }

    fn empty(&self) -> &'static str {
        "No cluster has joined."
    }
}

/// The clusters that would be cut off without the authority that does not sign.
fn left_behind(status: &Status) -> Vec<String> {
    let behind = status.clusters.iter().filter(|cluster| !cluster.state.has_come_along());
    behind.map(|cluster| cluster.cluster.to_string()).collect()
}

/// The names of clusters whose open invites need the authority that does not sign, or one that is not trusted any more.
fn useless_invites(status: &Status) -> Vec<String> {
    let several = others(status) > 0;
    let needs_another = |invite: &&OpenInvite| match invite.root {
        // With one authority it is most likely that one's.
        InviteRoot::Unknown => several,
        root => !root.stays(),
    };
    let named = status.invites.iter().filter(needs_another);
    let mut names: Vec<String> = named.map(|invite| invite.cluster.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// How many authorities are trusted that do not sign.
fn others(status: &Status) -> usize {
    status.roots.iter().filter(|root| !root.signs).count()
}

/// What there is to do, for people.
fn verdict(status: &Status) -> String {
    let several = others(status) > 0;
    let (behind, invites) = (left_behind(status), useless_invites(status));
    let mut sentences = Vec::new();
    match behind.as_slice() {
        [] if several && invites.is_empty() => sentences.push(
            "No cluster and no open invite needs the one that does not sign any more: `tombolo ca finish` leaves it out.".to_owned(),
        ),
        [] if several => {}
        [] => sentences.push("There is one authority. `tombolo ca rotate` makes another one.".to_owned()),
        names if several => sentences.push(format!(
            "Without the one that does not sign these are cut off, and have to join again: {}. Those that are connected come along by themselves.",
            names.join(", ")
        )),
        names => sentences.push(format!(
            "There is one authority. No certificate of it has been seen since the master started from: {}. Those that have one still come back by \
             themselves; those that were away when it took the place of another one have to join again (`tombolo cluster remove NAME --force`, \
             `tombolo cluster invite NAME`).",
            names.join(", ")
        )),
    }
    if !invites.is_empty() {
        let names = invites.join(", ");
        sentences.push(match several {
            true => {
                format!("Without the one that does not sign open invites for these are of no use: {names}. {ANEW}, or let them be used or end.")
            }
            false => {
                format!("Open invites for these name an authority that is gone, and are of no use: {names}. {ANEW}.")
            }
        });
    }
    if !several || (behind.is_empty() && invites.is_empty()) {
        sentences.push(USERS.to_owned());
    }
    sentences.join(" ")
}

/// What helps where an invite names another authority than the one that signs.
const ANEW: &str = "Make them anew (`tombolo cluster uninvite NAME`, `tombolo cluster invite NAME`)";

pub(super) async fn show(session: &Session) -> Result<(), Failure> {
    let status: Status = session.client.get(&path::authority()).await?;
    if session.format.is_for_people() {
        for root in &status.roots {
            let what = if root.signs {
                "signs"
            } else {
                "does not sign, and is still trusted"
            };
            render::line(&format!("{} {what}; it ends {}", root.pin, root.expires_at))?;
        }
    }
    let verdict = verdict(&status);
    render::print(session.format, &Shown(status))?;
    if session.format.is_for_people() {
        render::line(&verdict)?;
    }
    Ok(())
}

/// Refuses to finish while a cluster needs the authority that does not sign.
pub(super) async fn check(session: &Session, authority: &Authority) -> Result<(), Failure> {
    let status: Status = session.client.get(&path::authority()).await?;
    let pins: Vec<String> = status.roots.iter().map(|root| root.pin.clone()).collect();
    if pins != authority.pins() {
        let failure = Failure::new(
            ExitCode::Failed,
            "the master has another authority than the one in these files, so that it cannot know who needs the one that does not sign",
        );
        return Err(failure.hint("start the master again with these files first, and see `tombolo ca status`"));
    }
    match refusal(&status) {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

/// Why the authority that does not sign cannot be left out, if so.
fn refusal(status: &Status) -> Option<Failure> {
    let (behind, invites) = (left_behind(status), useless_invites(status));
    let (mut faults, mut hints) = (Vec::new(), Vec::new());
    if !behind.is_empty() {
        let names = behind.join(", ");
        faults.push(format!(
            "these clusters would be cut off, and would have to join again: {names}"
        ));
        hints.push(hint(status).to_owned());
    }
    if !invites.is_empty() {
        faults.push(format!(
            "open invites for these would be of no use: {}",
            invites.join(", ")
        ));
        hints.push(format!("{ANEW}, or let them be used or end"));
    }
    if faults.is_empty() {
        return None;
    }
    hints.push("`--force` asks for none of this, and leaves them behind".to_owned());
    Some(Failure::new(ExitCode::Failed, faults.join("; ")).hint(hints.join(". ")))
}

/// What to do with those that have not come along.
fn hint(status: &Status) -> &'static str {
    let is_connected = |cluster: &ClusterCertificate| cluster.connected && cluster.state == CertificateState::Older;
    if status.clusters.iter().any(is_connected) {
        "connected ones come along within seconds; agents of an older version within 16 hours, and show it when the master was started again"
    } else {
        "connect them, or remove those that do not come back (`tombolo cluster remove NAME`)"
    }
}

#[cfg(test)]
mod tests {
    use tombolo_api::AuthorityRoot;
    use tombolo_core::name::ClusterName;
    use tombolo_core::time::Timestamp;

    use super::*;

    fn status(roots: usize, clusters: &[(&str, bool, CertificateState)]) -> Status {
        let root = |index| AuthorityRoot {
            pin: format!("pin {index}"),
            signs: index == 0,
            expires_at: Timestamp(0).into(),
        };
        let cluster = |(name, connected, state): &(&str, bool, CertificateState)| ClusterCertificate {
            cluster: ClusterName::new(name).unwrap(),
            connected: *connected,
            version: None,
            state: *state,
            expires_at: None,
        };
        Status {
            trust_domain: "tombolo.internal".to_owned(),
            edition: "e".to_owned(),
            roots: (0..roots).map(root).collect(),
            clusters: clusters.iter().map(cluster).collect(),
            invites: Vec::new(),
        }
    }

    #[test]
    fn those_that_would_be_cut_off_are_named() {
        use CertificateState::{Behind, Current, Older, Unseen};
        let all = [
            ("a", true, Current),
            ("b", true, Behind),
            ("c", true, Older),
            ("d", false, Unseen),
            ("e", false, Older),
        ];
        let mixed = status(2, &all);
        assert_eq!(left_behind(&mixed), ["c", "d", "e"]);
        assert!(verdict(&mixed).contains("c, d, e"), "{}", verdict(&mixed));
        assert!(hint(&mixed).contains("16 hours"));
        assert!(hint(&status(2, &all[3..])).contains("cluster remove"));
        let ready = status(2, &all[..2]);
        assert!(verdict(&ready).contains("ca finish"), "{}", verdict(&ready));
        // The runbook says until which words to wait.
        let runbook = include_str!("../../../../../docs/guide/runbook.md");
        let awaited = runbook
            .split_once("until it says `")
            .and_then(|(_, rest)| rest.split_once('`'));
        let (awaited, _) = awaited.expect("the runbook quotes it");
        assert!(verdict(&ready).starts_with(awaited), "{awaited}");
    }

    #[test]
    fn open_invites_of_another_authority_are_named_beside_the_clusters() {
        use InviteRoot::{Current, Gone, Older, Unknown};
        let with = |roots, clusters: &[(&str, bool, CertificateState)], invites: &[(&str, InviteRoot)]| {
            let open = |(name, root): &(&str, InviteRoot)| OpenInvite {
                cluster: ClusterName::new(name).unwrap(),
                expires_at: Timestamp(0).into(),
                root: *root,
            };
            let mut status = status(roots, clusters);
            status.invites = invites.iter().map(open).collect();
            status
        };
        let refused = |status: &Status| refusal(status).map(|failure| (failure.message, failure.hint));
        let ready = [("a", true, CertificateState::Current)];
        let invited = [("x", Current), ("z", Unknown), ("y", Older), ("y", Older)];
        let open = with(2, &ready, &invited);
        let (message, hint) = refused(&open).unwrap();
        assert_eq!(message, "open invites for these would be of no use: y, z");
        let hint = format!("{hint:?}");
        assert!(hint.contains("cluster uninvite") && hint.contains("--force"), "{hint}");
        assert!(
            !verdict(&open).contains("ca finish") && verdict(&open).contains("no use: y, z."),
            "{}",
            verdict(&open)
        );
        assert_eq!(Shown(open).names(), ["y", "z"]);
        let away = with(2, &[("d", false, CertificateState::Unseen)], &invited);
        let (message, _) = refused(&away).unwrap();
        assert!(
            message.contains("join again: d; open invites") && message.ends_with("y, z"),
            "{message}"
        );
        let gone = verdict(&with(1, &ready, &[("x", Gone), ("z", Unknown), ("c", Current)]));
        assert!(gone.contains("ca rotate") && gone.contains("no use: x."), "{gone}");
        assert_eq!(refused(&with(2, &ready, &[("x", Current)])), None);
    }

    #[test]
    fn with_one_authority_those_that_have_not_shown_a_certificate_of_it_are_named() {
        use CertificateState::{Behind, Current, Unseen};
        let all = [("a", true, Current), ("b", true, Behind), ("d", false, Unseen)];
        let whole = verdict(&status(1, &all[..2]));
        assert!(whole.contains("ca rotate") && whole.contains("master trust"), "{whole}");
        let forced = verdict(&status(1, &all));
        assert!(forced.contains("from: d.") && forced.contains("join again"), "{forced}");
    }
}
