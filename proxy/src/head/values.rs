//! Values inside of a head that routes ask for by name: query parameters and cookies.

use std::borrow::Cow;

use super::Head;

impl Head {
    /// The first value of a [query parameter](routing::text::query_parameter).
    pub fn query_parameter(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        routing::text::query_parameter(self.query()?, name)
    }

    /// The value of the first [cookie](routing::text::cookie) of that name.
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookies(name).next()
    }

    /// The values of all cookies of that name, in their order.
    pub(crate) fn cookies(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        routing::text::cookies(self.fields.get_all("cookie"), name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::RequestParser;

    fn parameter(query: &str, name: &str) -> Option<String> {
        let head = Head::get("a", &format!("/?{query}"));
        head.query_parameter(name).map(|value| value.escape_ascii().to_string())
    }

    #[test]
    fn query_parameters_are_decoded_and_the_first_counts() {
        for (query, value) in [
            ("v=2", Some("2")),
            ("a=1&v=2&v=3", Some("2")),
            ("v=a+b%20c", Some("a b c")),
            ("v=a%2bb%26%3D", Some("a+b&=")),
            ("%76=2", Some("2")),
            ("v", Some("")),
            ("v=&v=2", Some("")),
            ("&&v=2", Some("2")),
            ("v=a=b", Some("a=b")),
            ("v=a?b", Some("a?b")),
            ("v=100%", Some("100%")),
            ("v=%zz%4", Some("%zz%4")),
            ("v=%+f", Some("% f")),
            ("v=%ff", Some("\\xff")),
            ("V=2", None),
            ("vv=2", None),
            ("", None),
        ] {
            assert_eq!(parameter(query, "v").as_deref(), value, "{query}");
        }
        assert_eq!(parameter("a+b=c", "a b").as_deref(), Some("c"));
        assert_eq!(Head::get("a", "/v=2").query_parameter("v"), None);
    }

    #[test]
    fn cookies_are_found_in_any_line() {
        let cookie = |lines: &[&str], name: &str| {
            let lines = lines.iter().map(|line| format!("Cookie: {line}\r\n")).collect::<Vec<_>>().concat();
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let (head, _) = RequestParser::default().parse(request.as_bytes()).unwrap().unwrap();
            head.cookie(name).map(|value| String::from_utf8_lossy(value).into_owned())
        };
        for (lines, value) in [
            (&["s=1"][..], Some("1")),
            (&["a=b; s=1; s=2"], Some("1")),
            (&["a=b;s=1"], Some("1")),
            (&["a=b", "s=1"], Some("1")),
            (&["s=a=b"], Some("a=b")),
            (&["s=\"a b\""], Some("\"a b\"")),
            (&["s="], Some("")),
            (&["s; S=1; ss=1; a=s=1"], None),
            (&[], None),
        ] {
            assert_eq!(cookie(lines, "s").as_deref(), value, "{lines:?}");
        }
    }
}
