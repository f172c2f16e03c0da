//! What InfraBox's files cannot say.

use std::time::Duration;

use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::retry::{Backoff, Retry};
use tombolo_core::build::{StateSet, TerminalState};

use super::*;

/// What a job with this field says beyond InfraBox's.
fn extensions(field: &str) -> Extensions {
    let text = format!("{{version: 1, jobs: [{{type: docker-image, name: a, image: i, {field}}}]}}");
    let [job] = <[_; 1]>::try_from(accept("tombolo.yaml", &text).jobs).expect("one job");
    job.extensions.map(|extensions| *extensions).unwrap_or_default()
}

#[test]
fn retries_are_a_number_or_an_object() {
    let plain = |count| Retry {
        count,
        states: StateSet::of(&[TerminalState::Failure, TerminalState::Error]),
        backoff: Backoff::default(),
    };
    let backoff = |initial, factor_percent, max| Backoff {
        initial: Duration::from_millis(initial),
        factor_percent,
        max: Duration::from_millis(max),
    };
    for (field, expected) in [
        ("timeout: 5", None),
        ("retry: 3", Some(plain(3))),
        ("retry: {count: 2}", Some(plain(2))),
        (
            "retry: {count: 1, states: [unstable, error]}",
            Some(Retry {
                states: StateSet::of(&[TerminalState::Error, TerminalState::Unstable]),
                ..plain(1)
            }),
        ),
        (
            "retry: {count: 10, backoff: {initial: 250ms, factor: 1.5, max: 1h}}",
            Some(Retry {
                backoff: backoff(250, 150, 3_600_000),
                ..plain(10)
            }),
        ),
        // Without a bound of its own the first wait is one.
        (
            "retry: {count: 1, backoff: {initial: 1h}}",
            Some(Retry {
                backoff: backoff(3_600_000, 200, 3_600_000),
                ..plain(1)
            }),
        ),
    ] {
        assert_eq!(extensions(field).retry, expected, "{field}");
    }
}
