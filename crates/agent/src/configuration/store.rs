//! Where the cluster keeps outputs, and how pods reach it.

use serde::Deserialize;
use tombolo_runtime::configuration::Faults;
use tombolo_transfer::store::location::{AzureLocation, GcsLocation, LocalLocation, S3Location};
use tombolo_transfer::store::{DirectAccess, DirectMode, StoreLocation};

/// The section `store`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Section")]
pub struct Store {
    /// Where it is.
    pub location: StoreLocation,
    /// Whether pods and other clusters reach it themselves, and where.
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
    azure: Option<Box<AzureLocation>>,
    #[serde(default)]
    gcs: Option<Box<GcsLocation>>,
    #[serde(default)]
    direct: DirectMode,
    /// Set to nothing is not set.
    #[serde(default)]
    direct_endpoint: Option<String>,
    #[serde(default)]
    signed: DirectMode,
    /// Set to nothing is not set.
    #[serde(default)]
    signed_endpoint: Option<String>,
}

impl TryFrom<Section> for Store {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        const PLACES: &str = "give one of `store.local`, `store.s3`, `store.azure` and `store.gcs`";
        let places = [
            section.local.map(StoreLocation::Local),
            section.s3.map(StoreLocation::S3),
            section.azure.map(StoreLocation::Azure),
            section.gcs.map(StoreLocation::Gcs),
        ];
        let mut places = places.into_iter().flatten();
        let location = match (places.next(), places.next()) {
            (Some(location), None) => location,
            (Some(_), Some(_)) => return Err(format!("`store` has more than one place: {PLACES}")),
            (None, _) => return Err(format!("`store` has no place: {PLACES}")),
        };
        Ok(Self {
            location,
            access: DirectAccess {
                mode: section.direct,
                endpoint: section.direct_endpoint.filter(|text| !text.is_empty()),
                members: section.signed,
                members_endpoint: section.signed_endpoint.filter(|text| !text.is_empty()),
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

impl Store {
    pub(super) fn check(&self, faults: &mut Faults) {
        for fault in self.location.faults() {
            faults.add(format!("store.{}", fault.key), fault.reason);
        }
        for (key, endpoint) in [
            ("store.direct_endpoint", &self.access.endpoint),
            ("store.signed_endpoint", &self.access.members_endpoint),
        ] {
            let endpoint = endpoint.as_deref();
            if let Some(reason) = endpoint.and_then(|endpoint| self.location.fault_of_direct_endpoint(endpoint)) {
                faults.add(key, reason);
            }
        }
    }
}
