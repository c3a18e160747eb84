//! Durations as people write them: `250ms`, `3s`, `1m`, `8h`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// A duration, and how it is written: a whole number and one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

/// Units and their milliseconds, shortest first.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

impl FromStr for DurationText {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        if number.is_empty() {
            return Err(DurationError::Form);
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit);
        }
        if unit.starts_with(['.', ',']) {
            return Err(DurationError::Fraction);
        }
        let millis = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis);
        let millis = millis.ok_or(DurationError::Form)?;
        let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
        total.map(|total| Self(Duration::from_millis(total))).ok_or(DurationError::TooLong)
    }
}

impl Display for DurationText {
    /// In the longest unit of which it is a whole number. What is below a millisecond is left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let total = self.0.as_millis();
        let whole = |(_, millis): &&(&str, u64)| total > 0 && total.is_multiple_of(u128::from(*millis));
        let (unit, millis) = UNITS.iter().rev().find(whole).unwrap_or(&("s", 1_000));
        write!(f, "{}{unit}", total / u128::from(*millis))
    }
}

/// Why a [`DurationText`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number and a unit.
    #[error("a duration is a number and ms, s, m or h, like \"250ms\" or \"3s\"")]
    Form,
    /// Not a whole number.
    #[error("a duration is a whole number of its unit: write \"1500ms\" for one and a half seconds")]
    Fraction,
    /// A number alone could mean anything.
    #[error("a duration needs a unit: ms, s, m or h")]
    NoUnit,
    /// More than can be counted.
    #[error("a duration this long has no end")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Duration, DurationError> {
        text.parse().map(|DurationText(duration)| duration)
    }

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, millis) in [("250ms", 250), ("3s", 3_000), ("1m", 60_000), ("8h", 28_800_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, error) in [
            ("", DurationError::Form),
            ("s", DurationError::Form),
            ("-3s", DurationError::Form),
            ("+3s", DurationError::Form),
            (" 3s", DurationError::Form),
            ("3 s", DurationError::Form),
            ("3s ", DurationError::Form),
            ("3S", DurationError::Form),
            ("3d", DurationError::Form),
            ("3s500ms", DurationError::Form),
            ("٣s", DurationError::Form),
            ("3µs", DurationError::Form),
            ("3", DurationError::NoUnit),
            ("1.5s", DurationError::Fraction),
            ("1,5s", DurationError::Fraction),
            ("18446744073709551615h", DurationError::TooLong),
            ("99999999999999999999s", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_longest_whole_unit() {
        for text in ["250ms", "1500ms", "3s", "90s", "2m", "8h", "0s"] {
            assert_eq!(DurationText(parse(text).unwrap()).to_string(), text);
        }
        assert_eq!(DurationText(Duration::from_secs(3_600)).to_string(), "1h");
    }
}
