//! Where the cluster keeps outputs, and how pods reach it.

use serde::Deserialize;
use tombolo_transfer::store::location::{LocalLocation, S3Location};
use tombolo_transfer::store::{DirectAccess, DirectMode, StoreLocation};
use url::Url;

/// The section `store`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Section")]
pub struct Store {
    /// Where it is.
    pub location: StoreLocation,
    /// Whether pods reach it themselves, and where.
    pub access: DirectAccess,
}

/// As it is written: exactly one place, and what is said of all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    #[serde(default)]
    local: Option<LocalLocation>,
    #[serde(default)]
    s3: Option<Box<S3Location>>,
    #[serde(default)]
    direct: DirectMode,
    /// Set to nothing is not set.
    #[serde(default)]
    direct_endpoint: Option<String>,
}

impl TryFrom<Section> for Store {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        let location = match (section.local, section.s3) {
            (Some(local), None) => StoreLocation::Local(local),
            (None, Some(s3)) => StoreLocation::S3(s3),
            (Some(_), Some(_)) => return Err("`store` has two places: give `store.local` or `store.s3`".to_owned()),
            (None, None) => return Err("`store` has no place: give `store.local` or `store.s3`".to_owned()),
        };
        let endpoint = section.direct_endpoint.filter(|text| !text.is_empty());
        if let (Some(endpoint), StoreLocation::S3(s3)) = (&endpoint, &location) {
            check(endpoint, s3.allow_http).map_err(|reason| format!("`store.direct_endpoint`: {reason}"))?;
        }
        if let (Some(_), StoreLocation::Local(_)) = (&endpoint, &location) {
            return Err("`store.direct_endpoint`: pods cannot reach a folder; leave it out".to_owned());
        }
        Ok(Self {
            location,
            access: DirectAccess {
                mode: section.direct,
                endpoint,
            },
        })
    }
}

impl From<StoreLocation> for Store {
    fn from(location: StoreLocation) -> Self {
        Self {
            location,
            access: DirectAccess::default(),
        }
    }
}

fn check(endpoint: &str, allow_http: bool) -> Result<(), String> {
    let url = Url::parse(endpoint).map_err(|error| format!("`{endpoint}` is no address: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Err(format!(
                "`{endpoint}` has no TLS, which `store.s3.allow_http` would have to allow"
            ));
        }
        _ => return Err(format!("`{endpoint}` does not begin with https://")),
    }
    if url.host().is_none() || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(format!("`{endpoint}` is not `https://host:port`"));
    }
    Ok(())
}
