//! Durations as people write them: `"250ms"`, `"3s"`, `"8h"`.

use std::time::Duration;

/// Reads a whole number with one of the units `ms`, `s`, `m`, `h`, `d`.
///
/// # Errors
///
/// When it is anything else, or too long to be meant.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(DurationError::Number)?;
    if number.is_empty() {
        return Err(DurationError::Number);
    }
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return Err(DurationError::Unit),
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX)
        .ok_or(DurationError::TooLong)
}

/// Longer than anything a daemon waits for, short enough for arithmetic with deadlines.
const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Why a duration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number in front.
    #[error("a duration is a whole number with a unit, like \"250ms\" or \"3s\"")]
    Number,
    /// More than ten years.
    #[error("a duration is at most ten years")]
    TooLong,
    /// No unit, or an unknown one.
    #[error("the unit of a duration is ms, s, m, h or d")]
    Unit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        let cases = [
            ("250ms", Ok(Duration::from_millis(250))),
            ("0s", Ok(Duration::ZERO)),
            ("3s", Ok(Duration::from_secs(3))),
            ("5m", Ok(Duration::from_secs(300))),
            ("8h", Ok(Duration::from_secs(28_800))),
            ("2d", Ok(Duration::from_secs(172_800))),
            ("", Err(DurationError::Number)),
            ("s", Err(DurationError::Number)),
            ("-1s", Err(DurationError::Number)),
            ("1.5s", Err(DurationError::Unit)),
            ("3", Err(DurationError::Unit)),
            ("3 s", Err(DurationError::Unit)),
            ("3S", Err(DurationError::Unit)),
            ("3ß", Err(DurationError::Unit)),
            ("3651d", Err(DurationError::TooLong)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
            ("18446744073709551615h", Err(DurationError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }
}
