//! Why something failed, in one line.

/// The error and what caused it, each said once: many errors have the words of their cause in their own.
pub fn whole(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let mut words = causes.next().unwrap_or_default();
    for cause in causes {
        if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write `a`: {source}")]
    struct Unwritten {
        source: io::Error,
    }

    #[test]
    fn what_an_error_says_of_its_cause_is_not_said_again() {
        let source = io::Error::from_raw_os_error(28);
        let said = "cannot write `a`: No space left on device (os error 28)";
        let error = anyhow::Error::new(Unwritten { source });
        assert_eq!(whole(&error), said);
        assert_eq!(whole(&error.context("no start")), format!("no start: {said}"));
    }

    #[test]
    fn a_cause_that_is_not_said_yet_is() {
        let error = anyhow::anyhow!("no such host").context("cannot connect");
        assert_eq!(whole(&error), "cannot connect: no such host");
    }
}
