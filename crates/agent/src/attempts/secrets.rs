//! The values that an attempt is given: asked for when its command is about to start, and kept in memory for as long as it is here.

use std::time::Duration;

use tombolo_core::attempt::Assignment;

use super::Shared;
use super::life::{Broken, fault};
use crate::pauses::Pauses;
use crate::secrets::{Error, Values};

/// Between two questions, while nobody can answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Asks for the values of the secrets that the job refers to, for as long as it takes.
pub(super) async fn find<E>(shared: &Shared<E>, assignment: &Assignment) -> Result<Values, Broken> {
    let variables: Vec<String> = assignment.job.secrets.keys().cloned().collect();
    if variables.is_empty() {
        return Ok(Values::default());
    }
    let mut pauses = Pauses::new(PAUSES);
    loop {
        match shared.surroundings.secrets.of(assignment.attempt).await {
            Ok(values) if values.are_of(&variables) => return Ok(values),
            Ok(_) => return Err(fault("the master gave other secrets than the job refers to")),
            Err(Error::Denied(reason)) => return Err(fault(format!("the job is not given its secrets: {reason}"))),
            Err(Error::Unavailable(reason)) => {
                tracing::warn!(attempt = %assignment.attempt, reason, "the secrets of an attempt are not to be had yet");
                tokio::time::sleep(pauses.next()).await;
            }
        }
    }
}
