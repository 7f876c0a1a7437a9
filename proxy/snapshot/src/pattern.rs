//! What a regular expression of a condition means, for who refuses it and for who asks it.

use regex::bytes::{Regex, RegexBuilder};

/// The longest text of one.
const LONGEST: usize = 1024;
/// The most memory that one takes once it is compiled, in bytes; also what bounds the time for each byte of a value.
const LARGEST: usize = 32 * 1024;
/// What a search keeps of what it found out, in bytes, at most.
const LARGEST_CACHE: usize = 128 * 1024;

/// Compiles a regular expression so that it fits whole values only, as Envoy's do. Classes such as `\w` and `.` are of
/// ASCII and of bytes, as values of fields are. A search takes time in proportion to the value; there is neither
/// look-around nor a reference back. What is wrong is said for people.
pub fn pattern(text: &str) -> Result<Regex, String> {
    compiled(text, r"\z")
}

/// The same, so that it fits what a value begins with.
pub fn leading_pattern(text: &str) -> Result<Regex, String> {
    compiled(text, "")
}

fn compiled(text: &str, end: &str) -> Result<Regex, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let compile = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(LARGEST).dfa_size_limit(LARGEST_CACHE);
        builder.build().map_err(|error| reason(&error))
    };
    // By itself first: `a)|(b` would only seem to be whole.
    compile(text)?;
    compile(&format!(r"\A(?:{text}){end}"))
}

/// The last line says what, those before show where.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large once it is compiled".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_as_a_whole() {
        for (text, value, fits) in [
            ("blue|green", "blue", true),
            ("blue|green", "bluegreen", false),
            ("blue|green", "a green", false),
            ("v[0-9]+", "v12", true),
            ("v[0-9]+", "v12b", false),
            ("v[0-9]+", "v12\n", false),
            ("", "", true),
            ("", "a", false),
            ("(?i)blue", "BLUE", true),
            ("(?m)^a$", "a\nb", false),
            (".*", "\u{e9}", true),
            ("(a|ab)(c|bcd)", "abcd", true),
        ] {
            assert_eq!(pattern(text).unwrap().is_match(value.as_bytes()), fits, "{text} {value}");
        }
        assert!(pattern(".*").unwrap().is_match(b"\xff\xfe"));
    }

    #[test]
    fn a_beginning_fits_at_the_beginning() {
        for (text, value, fits) in [
            ("CN=ann", "CN=ann", true),
            ("CN=ann", "CN=anna", true),
            ("CN=ann$", "CN=anna", false),
            ("CN=ann|CN=bob", "CN=bob", true),
            ("CN=ann", "a CN=ann", false),
        ] {
            assert_eq!(leading_pattern(text).unwrap().is_match(value.as_bytes()), fits, "{text} {value}");
        }
        assert!(leading_pattern("CN=a)|(b").is_err());
    }

    #[test]
    fn what_cannot_be_had_says_why() {
        for (text, why) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("[z-a]", "invalid character class range"),
            ("(?x)a # b", "unclosed group"),
            ("a{1000}{1000}", "too large"),
            (&"a".repeat(1025), "longer than 1024"),
        ] {
            let said = pattern(text).unwrap_err();
            assert!(said.contains(why) && !said.contains('\n'), "{text}: {said}");
        }
    }

    /// What makes other engines take for ever.
    #[test]
    fn time_follows_the_length() {
        let nested = pattern("(a*)*b").unwrap();
        assert!(!nested.is_match(&[b'a'; 4096]));
        assert!(nested.is_match(&[&[b'a'; 4096][..], b"b"].concat()));
    }
}
