//! Where the database is.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use tombolo_runtime::configuration::Faults;
use tombolo_store::postgres::Location;
use tombolo_transfer::store::location::SecretReference;

/// A Postgres database. Without a URL the database is a file in the data folder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user@host[:port]/database[?parameters]`. It may have the password in it, and is not shown for that reason.
    pub url: Option<SecretString>,
    /// The password, if it is not in the URL.
    pub password: Option<SecretReference>,
    /// PEM file with the authorities that may have signed the server's certificate; those of this machine if it is not given.
    pub ca_file: Option<PathBuf>,
    /// Uses the database also if it belongs to another installation, and makes it this one's.
    pub adopt: bool,
}

impl Database {
    /// Whether a URL has a password in it.
    pub fn has_password(url: &str) -> bool {
        Location::new(url).has_password_in_url()
    }

    /// Checks what the types do not hold to.
    pub(super) fn check(&self, faults: &mut Faults) {
        if let Some(reason) = self.password.as_ref().and_then(SecretReference::fault) {
            faults.add("database.password", reason);
        }
        let Some(location) = self.location_without_password() else {
            for (key, is_given) in [
                ("database.password", self.password.is_some()),
                ("database.ca_file", self.ca_file.is_some()),
                ("database.adopt", self.adopt),
            ] {
                if is_given {
                    faults.add(key, "it is of no use without `database.url`");
                }
            }
            return;
        };
        faults.take("database.url", location.check());
        if self.password.is_some() && location.has_password_in_url() {
            faults.add("database.password", "there is one in `database.url` already");
        }
    }

    /// Where the database is, and how to get in; none if it is a file in the data folder.
    ///
    /// # Errors
    /// Why the password cannot be read.
    pub fn location(&self) -> Result<Option<Location>, String> {
        let Some(location) = self.location_without_password() else {
            return Ok(None);
        };
        let password = self.password.as_ref();
        let password = password
            .map(|password| password.read("database.password"))
            .transpose()?;
        Ok(Some(Location { password, ..location }))
    }

    fn location_without_password(&self) -> Option<Location> {
        Some(Location {
            url: self.url.clone()?,
            password: None,
            root_certificates: self.ca_file.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Database {
        serde_json::from_value(json).unwrap()
    }

    fn faults(database: &Database) -> Vec<(String, String)> {
        let mut faults = Faults::default();
        database.check(&mut faults);
        faults
            .all()
            .iter()
            .map(|fault| (fault.key.to_string(), fault.reason.clone()))
            .collect()
    }

    #[test]
    fn a_database_is_a_file_or_a_url() {
        assert!(read(serde_json::json!({})).location().unwrap().is_none());
        let given = read(serde_json::json!({
            "url": "postgres://tombolo@db/builds", "password": { "value": "hunter2" }, "ca_file": "/ca.pem"
        }));
        assert_eq!(faults(&given), []);
        let location = given.location().unwrap().unwrap();
        assert!(location.password.is_some() && location.root_certificates.is_some());
        assert!(!format!("{given:?} {location:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_is_said_without_secrets() {
        for (json, keys) in [
            (
                serde_json::json!({ "url": "mysql://t:hunter2@db/b" }),
                &["database.url"][..],
            ),
            (
                serde_json::json!({ "url": "postgres://t:hunter2@db/b", "password": { "value": "hunter2" } }),
                &["database.password"],
            ),
            (
                serde_json::json!({ "url": "postgres://t@db/b", "password": { "file": "" } }),
                &["database.password"],
            ),
            (
                serde_json::json!({ "password": { "value": "hunter2" }, "ca_file": "/ca.pem" }),
                &["database.password", "database.ca_file"],
            ),
        ] {
            let database = read(json);
            let found = faults(&database);
            let found_keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(found_keys, keys);
            assert!(!format!("{found:?} {database:?}").contains("hunter2"), "{found:?}");
        }
    }

    #[test]
    fn a_password_that_cannot_be_read_is_named_by_its_place() {
        let database = read(serde_json::json!({
            "url": "postgres://t@db/b", "password": { "file": "/nowhere/password" }
        }));
        let error = database.location().unwrap_err();
        assert!(
            error.contains("database.password") && error.contains("/nowhere/password"),
            "{error}"
        );
    }
}
