//! What a request tells of itself, and one put together by hand.

use std::borrow::Cow;
use std::fmt;

use crate::text;

/// What routes look at in a request.
pub trait Request {
    /// The host for matching: lower case, without port and trailing dot; an IPv6 literal keeps its brackets.
    fn host(&self) -> &str;

    /// Host as the client sent it.
    fn authority(&self) -> &str;

    /// The path for matching, [normalised](text::normalise).
    fn path(&self) -> &str;

    /// The query, without its question mark.
    fn query(&self) -> Option<&str>;

    /// The lines of the field of that name, in any case, in order.
    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]>;

    /// The value of the first [cookie](text::cookie) of that name.
    fn cookie(&self, name: &str) -> Option<&[u8]> {
        text::cookie(self.lines("cookie"), name)
    }

    /// The first value of a [query parameter](text::query_parameter).
    fn query_parameter(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        text::query_parameter(self.query()?, name)
    }
}

/// A request that nobody sent, to ask what would become of it.
#[derive(Clone)]
pub struct Sketch {
    authority: String,
    host: String,
    target: String,
    path: String,
    fields: Vec<(String, String)>,
}

/// Names only: values may be secrets.
impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sketch")
            .field("host", &self.host)
            .field("path", &self.path)
            .field("fields", &names)
            .finish_non_exhaustive()
    }
}

/// Why no client could send such a request. For people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Sketch {
    /// A request for a host, with or without port, and a path with or without a query.
    pub fn new(authority: &str, target: &str) -> Result<Self, Malformed> {
        let malformed = |why: String| Malformed(why);
        let read = text::authority(authority.as_bytes())
            .ok_or_else(|| malformed(format!("{authority:?} is no host that a client could name")))?;
        if !target.starts_with('/') {
            return Err(malformed(format!("{target:?} is no path: it begins without a slash")));
        }
        if let Some(character) = text::foreign(target) {
            return Err(malformed(format!(
                "{target:?} has {character:?}, which no request has as it is: encode it"
            )));
        }
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = text::normalise(path).map_err(|why| malformed(format!("{target:?}: {why}")))?;
        Ok(Self {
            authority: authority.to_owned(),
            host: read.host,
            target: target.to_owned(),
            path,
            fields: Vec::new(),
        })
    }

    /// The same with one more field.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, Malformed> {
        if !text::is_token(name.as_bytes()) {
            return Err(Malformed(format!("{name:?} is no name of a field")));
        }
        if value.bytes().any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
            return Err(Malformed(format!("the value of {name} has a control character")));
        }
        self.fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        Ok(self)
    }

    /// With the fields of these lines, as they stand in a message.
    #[cfg(test)]
    pub(crate) fn of(authority: &str, target: &str, lines: &str) -> Self {
        let fields = lines.split_terminator("\r\n").map(|line| line.split_once(':').unwrap());
        let sketch = Self::new(authority, target).unwrap();
        fields.fold(sketch, |sketch, (name, value)| sketch.field(name, value).unwrap())
    }

    /// The path and query as a client would send them.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl Request for Sketch {
    fn host(&self) -> &str {
        &self.host
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_client_would_send() {
        let sketch =
            Sketch::new("App.Example.com:8443", "/a/../%7Ejo?x=%31").unwrap().field("X-A", " 1 ").unwrap();
        assert_eq!(
            (sketch.host(), sketch.path(), sketch.query()),
            ("app.example.com", "/~jo", Some("x=%31"))
        );
        assert_eq!(sketch.query_parameter("x").as_deref(), Some(&b"1"[..]));
        assert_eq!(sketch.lines("x-a").collect::<Vec<_>>(), [b"1"]);
        assert_eq!((sketch.authority(), sketch.target()), ("App.Example.com:8443", "/a/../%7Ejo?x=%31"));
    }

    #[test]
    fn what_nobody_could_send_is_told() {
        for (authority, target) in [
            ("a b", "/"),
            ("", "/"),
            ("a", "x"),
            ("a", ""),
            ("a", "/a b"),
            ("a", "/#x"),
            ("a", "/.."),
            ("a", "/%0"),
        ] {
            assert!(Sketch::new(authority, target).is_err(), "{authority:?} {target:?}");
        }
        let sketch = || Sketch::new("a", "/").unwrap();
        assert!(sketch().field("a b", "").is_err() && sketch().field("a", "x\ny").is_err());
    }
}
