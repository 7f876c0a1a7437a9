//! Durations as Gateway API writes them ([GEP-2257]): `5s`, `1h30m`, `250ms`. No days, no fractions, no sign.
//!
//! [GEP-2257]: https://gateway-api.sigs.k8s.io/geps/gep-2257/

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The grammar as a regular expression, for schemas.
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// The grammar in words, for remedies.
pub const GRAMMAR: &str = "a duration with unit: up to four numbers of at most 5 digits, each with h, m, s or ms, \
                           such as 30s, 5m or 1h30m";

const MILLIS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest that the canonical form can write: `99999h59m59s999ms`.
const MAX: u64 = 100_000 * 3_600_000 - 1;

/// A length of time in whole milliseconds. Zero stands for "no limit" wherever Longhaul takes a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// So many seconds; `None` where they are more than the grammar can write.
    pub fn from_secs(seconds: u64) -> Option<Self> {
        seconds.checked_mul(1_000).filter(|millis| *millis <= MAX).map(Self)
    }

    /// The whole length in milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Stands for "no limit".
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// As it is written.
impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADuration;

impl fmt::Display for NotADuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {GRAMMAR}")
    }
}

impl std::error::Error for NotADuration {}

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let (mut rest, mut millis, mut terms) = (text, 0u64, 0);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, after) = after.split_at(letters);
            let (_, each) = MILLIS.into_iter().find(|(name, _)| *name == unit).ok_or(NotADuration)?;
            terms += 1;
            if !(1..=5).contains(&digits) || terms > 4 {
                return Err(NotADuration);
            }
            millis += number.parse::<u64>().map_err(|_| NotADuration)? * each;
            rest = after;
        }
        if terms == 0 || millis > MAX { Err(NotADuration) } else { Ok(Self(millis)) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, each) in MILLIS {
            if rest >= each {
                write!(f, "{}{unit}", rest / each)?;
                rest %= each;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_of_gep_2257() {
        for (text, millis) in [
            ("0s", 0),
            ("0h", 0),
            ("1ms", 1),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("1s2s", 3_000),
            ("99999h", 359_996_400_000),
        ] {
            assert_eq!(text.parse::<Duration>().map(Duration::as_millis), Ok(millis), "{text}");
        }
        for text in [
            "",
            "0",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "1d",
            "100000s",
            "1s1s1s1s1s",
            " 1s",
            "1s ",
            "1S",
            "é",
            "1é",
        ] {
            assert_eq!(text.parse::<Duration>(), Err(NotADuration), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..=MAX) {
            prop_assert_eq!(Duration(millis).to_string().parse(), Ok(Duration(millis)));
        }

        #[test]
        fn what_reads_shows_the_same_length(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            if let Ok(duration) = text.parse::<Duration>() {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Duration>();
        }
    }
}
