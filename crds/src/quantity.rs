//! Sizes as Kubernetes quantities: `1048576`, `512Ki`, `10Mi`, `1M`. Whole, without a sign or an exponent: a
//! fraction of a byte is nothing, and nobody writes `1e6` for a size.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::fmt;

/// The grammar as a regular expression, for schemas.
pub const PATTERN: &str = "^[0-9]{1,15}(Ki|Mi|Gi|Ti|k|M|G|T)?$";

/// The grammar in words, for remedies.
pub const GRAMMAR: &str = "a size in bytes as a quantity, such as 1048576, 512Ki, 10Mi or 1G; 0: no limit";

/// The same, as a remedy.
pub(crate) const WRITE: &str =
    "write a size in bytes as a quantity, such as 1048576, 512Ki, 10Mi or 1G; 0: no limit";

const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAQuantity;

impl fmt::Display for NotAQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {GRAMMAR}")
    }
}

impl std::error::Error for NotAQuantity {}

/// The bytes that a quantity says.
pub fn bytes(text: &str) -> Result<u64, NotAQuantity> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotAQuantity)?;
    let fits = (1..=15).contains(&digits);
    let number: u64 = number.parse().ok().filter(|_| fits).ok_or(NotAQuantity)?;
    number.checked_mul(*unit).ok_or(NotAQuantity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_kubernetes_reads_them() {
        for (text, size) in
            [("0", 0), ("1024", 1024), ("1Ki", 1024), ("10Mi", 10 << 20), ("2k", 2000), ("1G", 1_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in [
            "",
            "Ki",
            "-1",
            "+1",
            "1.5Mi",
            "1e3",
            "1 Mi",
            "1mi",
            "1KB",
            "1m",
            "9999999999999999",
            "999999999999999Ti",
        ] {
            assert_eq!(bytes(text), Err(NotAQuantity), "{text}");
        }
    }
}
