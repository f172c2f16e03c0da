//! Kubernetes' amounts: `500m`, `16Gi`, `1e3`.

/// Thousandths of what `text` says, rounded up; none if it is no amount.
pub(super) fn milli(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?;
            10_f64.powi(exponent.parse().ok().filter(|power| (-30..=30).contains(power))?)
        }
    };
    let milli = (number * factor * 1000.0).ceil();
    // What does not fit is as good as endless.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    (milli.is_finite() && milli >= 0.0).then_some(milli as u64)
}

/// What `text` says, rounded up; none if it is no amount.
pub(super) fn whole(text: &str) -> Option<u64> {
    milli(text).map(|milli| milli.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, expected) in [
            ("2", Some(2000)),
            ("3920m", Some(3920)),
            ("0.5", Some(500)),
            ("1e3", Some(1_000_000)),
            ("100n", Some(1)),
            ("24558736Ki", Some(24_558_736 * 1024 * 1000)),
            ("1Gi", Some((1 << 30) * 1000)),
            ("2M", Some(2_000_000_000)),
            (
                "1E",
                Some(1_000_000_000_000_000_000_000_u128.min(u128::from(u64::MAX)) as u64),
            ),
            ("", None),
            ("many", None),
            ("1Xi", None),
            ("-1", None),
            ("1e99", None),
        ] {
            assert_eq!(milli(text), expected, "{text}");
        }
        assert_eq!(whole("1500m"), Some(2));
    }
}
