//! What becomes of a job's cache folder.

use tombolo_core::attempt::{CacheOrder, CacheStart};

use super::{Error, required, text};
use crate::agent::v1 as wire;

impl From<CacheOrder> for wire::CacheOrder {
    fn from(order: CacheOrder) -> Self {
        let start = |start: CacheStart| wire::CacheStart {
            content: Some(start.content.into()),
            branch: start.branch,
            build: start.build,
        };
        Self {
            limit_bytes: order.limit_bytes,
            start: order.start.map(start),
        }
    }
}

impl TryFrom<wire::CacheOrder> for CacheOrder {
    type Error = Error;

    fn try_from(order: wire::CacheOrder) -> Result<Self, Error> {
        let start = |start: wire::CacheStart| {
            Ok(CacheStart {
                content: required(start.content, "CacheStart.content")?.try_into()?,
                branch: text(start.branch, "CacheStart.branch")?,
                build: start.build,
            })
        };
        Ok(Self {
            limit_bytes: order.limit_bytes,
            start: order.start.map(start).transpose()?,
        })
    }
}
