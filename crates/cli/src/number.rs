//! Numbers among the arguments: the standard library says of a wrong one "invalid digit found in string".

use std::ops::RangeInclusive;

use bytesize::ByteSize;

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

/// How many of something are kept.
pub(crate) fn kept(text: &str) -> Result<u32, String> {
    let number = whole(text, 1..=u64::from(u32::MAX), "a whole number from 1 on")?;
    u32::try_from(number).map_err(|error| error.to_string())
}

/// A size of what is kept.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = text.parse().ok().map(|size: ByteSize| size.as_u64());
    size.filter(|bytes| *bytes > 0)
        .ok_or_else(|| "it must be a number of bytes from 1 on, or a size such as `500GB` or `1.5TiB`".to_owned())
}

/// How much of something there may be at once.
pub(crate) fn at_once(text: &str) -> Result<u32, String> {
    kept(text)
}

/// The weight of a project.
pub(crate) fn weight(text: &str) -> Result<u32, String> {
    let most = u64::from(tombolo_core::share::Share::MAX_WEIGHT);
    let number = whole(text, 1..=most, &format!("a whole number from 1 to {most}"))?;
    u32::try_from(number).map_err(|error| error.to_string())
}

/// Processors, in thousandths.
pub(crate) fn cpu(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|cpu: &f64| (0.001..=1e9).contains(cpu));
    let milli = number.map(|cpu| (cpu * 1000.0).round() as u64);
    milli.ok_or_else(|| "it must be a number of processors, such as `16` or `0.5`".to_owned())
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
        assert_eq!(
            (kept("1"), size("500GB"), size("7")),
            (Ok(1), Ok(500_000_000_000), Ok(7))
        );
        for text in ["0", "-1", "1.5", "", "99999999999"] {
            assert_eq!(kept(text).unwrap_err(), "it must be a whole number from 1 on", "{text}");
        }
        for text in ["0", "0GB", "10XB", "-1", "", "nan"] {
            assert!(size(text).unwrap_err().contains("such as `500GB`"), "{text}");
        }
        assert_eq!((cpu("16"), cpu("0.5"), weight("1000")), (Ok(16_000), Ok(500), Ok(1000)));
        for text in ["0", "-1", "", "x", "nan", "inf"] {
            assert!(cpu(text).unwrap_err().contains("such as `16`"), "{text}");
            assert_eq!(
                weight(text).unwrap_err(),
                "it must be a whole number from 1 to 1000",
                "{text}"
            );
        }
        assert_eq!(page("201").unwrap_err(), "it must be a number from 1 to 200");
        assert!(line("first").unwrap_err().contains("from 0"));
    }
}
