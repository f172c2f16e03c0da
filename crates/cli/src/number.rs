//! Numbers among the arguments: the standard library says of a wrong one "invalid digit found in string".

use std::ops::RangeInclusive;

/// The number of a build.
pub(crate) fn build(text: &str) -> Result<u64, String> {
    whole(text, 1..=u64::MAX, "a build's number, such as 7")
}

/// The number of a line of a log.
pub(crate) fn line(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX, "the number of a line, from 0")
}

/// How many builds a page may have.
pub(crate) fn page(text: &str) -> Result<u32, String> {
    let most = u64::from(tombolo_api::limit::BUILDS_PAGE);
    let number = whole(text, 1..=most, &format!("a number from 1 to {most}"))?;
    u32::try_from(number).map_err(|error| error.to_string())
}

fn whole(text: &str, allowed: RangeInclusive<u64>, what: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("it must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_what_it_must_be() {
        assert_eq!((build("7"), line("0"), page("200")), (Ok(7), Ok(0), Ok(200)));
        for text in ["x", "", "-1", "0", "99999999999999999999"] {
            assert_eq!(
                build(text).unwrap_err(),
                "it must be a build's number, such as 7",
                "{text}"
            );
        }
        assert_eq!(page("201").unwrap_err(), "it must be a number from 1 to 200");
        assert!(line("first").unwrap_err().contains("from 0"));
    }
}
