//! The server's version.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use tombolo_api::Version;

use super::authorization::{Somewhere, Viewer};
use super::error::Problems;
use super::{Application, Error};

/// The version of the server
#[utoipa::path(
    get, path = "/api/v1/version", tag = "server", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("somewhere"))),
    responses((status = 200, body = Version), Problems)
)]
pub(super) async fn show_version(
    State(state): State<Arc<Application>>,
    _: Somewhere<Viewer>,
) -> Result<Answer<Version>, Error> {
    Ok(Answer(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        trust_domain: state.invitation.domain.to_string(),
        public_url: state.public_url.clone(),
    }))
}
