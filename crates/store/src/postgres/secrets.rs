//! Values that projects keep secret, as they were sealed.

use std::collections::HashMap;

use tombolo_core::id::ProjectId;
use tombolo_core::name::SecretName;
use tombolo_core::secret::SealedValue;

use super::connection::Connection;
use super::read::{Parameter, all};
use crate::port::Error;

pub(super) async fn sealed(
    connection: &Connection,
    project: ProjectId,
    names: &[SecretName],
) -> Result<Vec<(SecretName, SealedValue)>, Error> {
    let texts: Vec<&str> = names.iter().map(SecretName::as_str).collect();
    let sql = "SELECT name, sealed_by, sealed FROM secrets WHERE project = $1 AND name = ANY($2)";
    let parameters: [Parameter<'_>; 2] = [&project.uuid(), &texts];
    let found = all(connection, sql, &parameters, |columns| {
        let name: String = columns.take()?;
        let value = SealedValue {
            key: columns.take()?,
            bytes: columns.take()?,
        };
        Ok((name, value))
    });
    let mut found: HashMap<String, SealedValue> = found.await?.into_iter().collect();
    let values = names
        .iter()
        .filter_map(|name| Some((name.clone(), found.remove(name.as_str())?)));
    Ok(values.collect())
}

pub(super) async fn keys(connection: &Connection) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT sealed_by FROM secrets ORDER BY sealed_by";
    all(connection, sql, &[], |columns| columns.take()).await
}
