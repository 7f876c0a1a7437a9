//! Which requests say themselves whether they are a canary's. Of all others chance decides, which is the caller's.

use snapshot::CanaryHeader;

use crate::Request;
use crate::conditions::{Value, has};

/// What of a request decides: a field before a cookie.
#[derive(Clone, Debug)]
pub struct Decider {
    header: Option<Header>,
    cookie: Option<String>,
}

#[derive(Clone, Debug)]
struct Header {
    name: String,
    /// Absent: `always` and `never` decide.
    value: Option<Value>,
}

impl Decider {
    /// A field whose value cannot be asked decides nothing: such a section is not served.
    pub fn new(header: Option<CanaryHeader>, cookie: Option<String>) -> Self {
        let header = header.and_then(|CanaryHeader { name, value }| {
            let value = value.map(Value::new).transpose().ok()?;
            Some(Header { name, value })
        });
        Self { header, cookie }
    }

    /// Whether this request is the canary's, where it says so.
    pub fn decide(&self, request: &impl Request) -> Option<bool> {
        let by_header = self.header.as_ref().and_then(|Header { name, value }| match value {
            Some(value) => has(request, name, value).then_some(true),
            None => always_or_never(request.lines(name).next()),
        });
        by_header.or_else(|| always_or_never(request.cookie(self.cookie.as_deref()?)))
    }
}

fn always_or_never(value: Option<&[u8]>) -> Option<bool> {
    match value? {
        b"always" => Some(true),
        b"never" => Some(false),
        _ => None,
    }
}
