//! Backups of the master itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use tombolo_api::problem::Code;

use super::authorization::{Admin, Everywhere};
use super::error::Problems;
use super::produced::produced;
use super::{Application, Error};
use crate::backup::Refused;

/// Makes a backup of the master
///
/// The database as of one moment (unless it is Postgres), the keys of the certificate authority, of grants and of secrets, and the sources of builds
/// where they are in a folder, as `tombolo restore` takes them. Whoever has it can act as the master. It is made while it is sent; one that cannot be
/// finished says in its last entry why.
#[utoipa::path(
    post, path = "/api/v1/backup", tag = "backup", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("admin")), ("x-tombolo-reach" = json!("everywhere"))),
    responses((status = 200, body = Vec<u8>, content_type = "application/zstd"), Problems)
)]
pub(super) async fn make_backup(
    State(state): State<Arc<Application>>,
    _: Everywhere<Admin>,
) -> Result<Response, Error> {
    let permit = state.stream_permit()?;
    let turn = state.backups.turn().map_err(refused)?;
    let body = produced(move |sink| async move {
        let _permit = permit;
        turn.write(sink).await
    });
    let headers = [
        (header::CONTENT_TYPE, "application/zstd"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn refused(refused: Refused) -> Error {
    let error = |code| Error::new(code, &refused);
    match refused {
        Refused::Busy => error(Code::Conflict).with_hint("wait for it to end, or break it off"),
        Refused::Full { .. } => error(Code::Unavailable).with_hint("make room in the data folder of the master"),
        Refused::Disk(_) => Error::internal("looking at the data folder", refused),
    }
}
