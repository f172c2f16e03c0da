//! The certificate authority: whom it signs for, and who would be cut off without an older one.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use tombolo_api::{Authority, AuthorityRoot, CertificateState, ClusterCertificate, InviteRoot, OpenInvite};
use tombolo_core::control::{Contact, record};
use tombolo_core::digest::Digest;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority;
use tombolo_identity::edition::{Shown, root_name};
use tombolo_identity::trust::pin;

use super::authorization::{Everywhere, Viewer};
use super::error::Problems;
use super::{Application, Error};

/// The certificate authority, which certificates the clusters have, and which root open invites name
///
/// An older root can be left out when all clusters are `current` or `behind`, and all invites `current`.
#[utoipa::path(
    get, path = "/api/v1/authority", tag = "clusters", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("everywhere"))),
    responses((status = 200, body = Authority), Problems)
)]
pub(super) async fn show_authority(
    State(state): State<Arc<Application>>,
    _: Everywhere<Viewer>,
) -> Result<Answer<Authority>, Error> {
    let now = state.clock.now().wall;
    let known = state.handle.query(move |control| {
        let described = control.clusters().map(|view| {
            let connected = view.contact == Contact::Connected;
            let version = view.agent.map(|agent| agent.version.clone());
            (view.record.name.clone(), view.record.key, connected, version)
        });
        let open = control.invites().filter(|invite| is_open(invite, now));
        (described.collect::<Vec<_>>(), open.cloned().collect::<Vec<_>>())
    });
    let (clusters, invites) = known.await?;
    let own = &state.foundation.authority;
    let signs = own.roots().next().and_then(root_name);
    let clusters = clusters.into_iter().map(|(cluster, key, connected, version)| {
        let shown = state.certificates.find(&cluster, key);
        ClusterCertificate {
            state: standing(own, signs, shown.as_ref()),
            expires_at: shown.map(|shown| shown.not_after.into()),
            cluster,
            connected,
            version,
        }
    });
    let roots = roots(own);
    Ok(Answer(Authority {
        trust_domain: own.domain().to_string(),
        edition: own.edition().to_string(),
        clusters: clusters.collect(),
        invites: invites.into_iter().map(|invite| open_invite(invite, &roots)).collect(),
        roots,
    }))
}

fn standing(own: &authority::Authority, signs: Option<Digest>, shown: Option<&Shown>) -> CertificateState {
    match shown {
        None => CertificateState::Unseen,
        Some(shown) if Some(shown.root) != signs => CertificateState::Older,
        Some(shown) if shown.edition == Some(own.edition()) => CertificateState::Current,
        Some(_) => CertificateState::Behind,
    }
}

/// Whether somebody may still join with it.
fn is_open(invite: &record::Invite, now: Timestamp) -> bool {
    invite.used_by.is_none() && now < invite.expires_at
}

fn open_invite(invite: record::Invite, roots: &[AuthorityRoot]) -> OpenInvite {
    let named = invite.pin.map(|pin| pin.to_string());
    let found = named.map(|named| roots.iter().find(|root| root.pin == named));
    OpenInvite {
        cluster: invite.cluster,
        expires_at: invite.expires_at.into(),
        root: match found {
            None => InviteRoot::Unknown,
            Some(None) => InviteRoot::Gone,
            Some(Some(root)) if root.signs => InviteRoot::Current,
            Some(Some(_)) => InviteRoot::Older,
        },
    }
}

/// The one that signs first.
fn roots(own: &authority::Authority) -> Vec<AuthorityRoot> {
    let described = own.roots().enumerate().map(|(index, root)| AuthorityRoot {
        pin: pin(root).unwrap_or_default(),
        signs: index == 0,
        expires_at: Shown::read(root).map_or(Timestamp(0), |shown| shown.not_after).into(),
    });
    described.collect()
}
