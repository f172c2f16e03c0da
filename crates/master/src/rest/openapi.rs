//! The description of the API, made from the handlers.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::authorization::{Somewhere, Viewer};
use super::error::Problems;

/// The whole description.
pub fn document() -> OpenApi {
    super::routes().into_openapi()
}

/// The description without the routes.
pub(super) fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Tombolo")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Runs builds over several clusters. Each route says the role that it needs (`x-tombolo-role`) and where \
             (`x-tombolo-reach`): in the project of the path, everywhere, or somewhere (then only what the token reaches is \
             shown). A project that a token does not reach looks like one that does not exist.",
        ))
        .license(Some(utoipa::openapi::License::new("Apache-2.0")));
    let mut components = Components::new();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("tombolo_...")
        .build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let problem = (
        tombolo_api::Problem::name().into_owned(),
        tombolo_api::Problem::schema(),
    );
    let mut schemas = vec![problem];
    <tombolo_api::Problem as ToSchema>::schemas(&mut schemas);
    components.schemas.extend(schemas);
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(components))
        .build()
}

/// The description as it is sent.
#[derive(Clone)]
pub(super) struct Served(Bytes);

impl Served {
    pub(super) fn new(document: &OpenApi) -> Self {
        Self(
            serde_json::to_vec(document)
                .expect("a description is always JSON")
                .into(),
        )
    }
}

/// This description
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "server", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("somewhere"))),
    responses((status = 200, body = serde_json::Value), Problems)
)]
pub(super) async fn show_openapi(_: Somewhere<Viewer>, Extension(document): Extension<Served>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0).into_response()
}
