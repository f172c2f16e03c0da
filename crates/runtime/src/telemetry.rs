//! What a process says of itself: structured log lines on standard error.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line of text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration section `telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What to log, in the syntax of `RUST_LOG`: `info`, `warn,tombolo_agent=debug`. The variable `RUST_LOG` overrides it.
    pub filter: String,
    /// How it looks.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: Format::default(),
        }
    }
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not follow its syntax.
    #[error(
        "`{filter}` is not a valid log filter: {reason}; write a level (`info`) or `target=level` pairs with commas between"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody has installed a subscriber already.
    #[error("telemetry is installed already")]
    Installed,
}

/// Installs the process-wide subscriber. To be called once, by `main`.
///
/// # Errors
/// A filter that cannot be parsed, or a second call.
pub fn install(settings: &Settings) -> Result<(), Error> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.filter.clone());
    let filter = parse(&filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(std::io::stderr);
    let installed = match settings.format {
        Format::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder
                .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())
                .try_init()
        }
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| Error::Installed)
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(filter).map_err(|error| Error::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for (filter, valid) in [
            ("info", true),
            ("warn,tombolo_agent=debug", true),
            ("off", true),
            ("tombolo_agent=loud", false),
            ("a=b=c", false),
        ] {
            assert_eq!(parse(filter).is_ok(), valid, "{filter}");
        }
        assert!(parse("a=loud").unwrap_err().to_string().contains("a=loud"));
    }
}
