//! Set-Cookie of upstreams that know themselves by another name (RFC 6265 §5.2), changed as nginx changes it.

/// What is replaced, and what by.
#[derive(Debug)]
pub(super) struct Cookies {
    domain: Option<(Box<str>, Box<str>)>,
    path: Option<(Box<str>, Box<str>)>,
}

impl Cookies {
    /// None where nothing is replaced. The error is for people.
    pub(super) fn new(changes: snapshot::CookieChanges) -> Result<Option<Self>, String> {
        let snapshot::CookieChanges { domain, path } = changes;
        let sound =
            |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic() && !b";,".contains(&byte));
        let texts = [&domain, &path].into_iter().flatten().flat_map(|(from, to)| [from, to]);
        if let Some(odd) = texts.filter(|text| text.is_empty() || !sound(text)).map(String::as_str).next() {
            return Err(format!("{odd:?} is no part of a cookie"));
        }
        let boxed = |(from, to): (String, String)| (from.into(), to.into());
        let (domain, path) = (domain.map(boxed), path.map(boxed));
        Ok((domain.is_some() || path.is_some()).then_some(Self { domain, path }))
    }

    /// A field's value as the client gets it.
    pub(super) fn replace(&self, value: &[u8]) -> Vec<u8> {
        let mut parts = value.split(|byte| *byte == b';');
        // The cookie itself.
        let mut out = parts.next().unwrap_or_default().to_vec();
        for part in parts {
            out.push(b';');
            match self.attribute(part) {
                Some((kept, replaced)) => {
                    out.extend_from_slice(kept);
                    out.extend_from_slice(&replaced);
                }
                None => out.extend_from_slice(part),
            }
        }
        out
    }

    /// What stays of an attribute, and what comes behind that.
    fn attribute<'a>(&self, part: &'a [u8]) -> Option<(&'a [u8], Vec<u8>)> {
        let equals = part.iter().position(|byte| *byte == b'=')?;
        let name = part[..equals].trim_ascii();
        let blanks = part[equals + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (before, value) = part.split_at(equals + 1 + blanks);
        if name.eq_ignore_ascii_case(b"domain") {
            let (from, to) = self.domain.as_ref()?;
            let dot = usize::from(value.first() == Some(&b'.'));
            let same = value[dot..].trim_ascii_end().eq_ignore_ascii_case(from.as_bytes());
            return same.then(|| (&part[..before.len() + dot], to.as_bytes().to_vec()));
        }
        if name.eq_ignore_ascii_case(b"path") {
            let (from, to) = self.path.as_ref()?;
            let rest = value.strip_prefix(from.as_bytes())?;
            return Some((before, [to.as_bytes(), rest].concat()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_and_path_are_replaced() {
        let pair = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        let changes =
            snapshot::CookieChanges { domain: pair("in.test", "out.test"), path: pair("/one/", "/") };
        let cookies = Cookies::new(changes).unwrap().unwrap();
        for (before, after) in [
            ("a=b", "a=b"),
            ("a=b; Domain=in.test; Path=/one/two; HttpOnly", "a=b; Domain=out.test; Path=/two; HttpOnly"),
            ("a=b;domain=.IN.test;path= /one/", "a=b;domain=.out.test;path= /"),
            ("a=b; Domain=sub.in.test; Path=/one", "a=b; Domain=sub.in.test; Path=/one"),
            ("a=b; Domain=in.test.evil; Path=/two/one/", "a=b; Domain=in.test.evil; Path=/two/one/"),
            ("domain=in.test; Secure", "domain=in.test; Secure"),
            ("a=b; Domain; Path=", "a=b; Domain; Path="),
            ("", ""),
        ] {
            assert_eq!(cookies.replace(before.as_bytes()).escape_ascii().to_string(), after);
        }
        let none = snapshot::CookieChanges::default();
        assert!(Cookies::new(none).unwrap().is_none());
        let odd = snapshot::CookieChanges { domain: pair("a", "b; Secure"), path: None };
        assert!(Cookies::new(odd).is_err());
    }
}
