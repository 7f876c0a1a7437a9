//! Further attempts to reach an endpoint. A request or handshake that went out is never sent again elsewhere, whatever
//! comes back: the backend may have acted on it.

use super::{Malformed, Note, Parsed, Value, of_ingress};
use crate::duration::Duration;
use crate::policy::IngressPatch;
use crate::policy::next_upstream::NextUpstreamPatch;

/// A list of conditions with blanks between them.
pub(in crate::annotations) fn conditions(text: &str) -> Parsed {
    const ANSWERS: [&str; 10] = [
        "invalid_header",
        "http_403",
        "http_404",
        "http_429",
        "http_500",
        "http_502",
        "http_503",
        "http_504",
        "non_idempotent",
        "updating",
    ];
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let connects = |word: &&str| ["error", "timeout"].contains(word);
    if words.is_empty()
        || !words.iter().all(|word| connects(word) || *word == "off" || ANSWERS.contains(word))
    {
        return Err(Malformed {
            message: "names something that another endpoint is not tried for",
            remedy: "write error and timeout with a blank between them, or off",
        });
    }
    let tried = Some(words.iter().any(connects) && !words.contains(&"off"));
    let value = of(NextUpstreamPatch { tried, ..NextUpstreamPatch::default() });
    let note = Note {
        message: "is served for endpoints that cannot be reached: what was sent to one is not sent to another, whatever \
                  it answers",
        remedy: "leave retries after an answer to the client, which knows what may be repeated",
    };
    let answers = words.iter().any(|word| ANSWERS.contains(word));
    Ok(Value { note: answers.then_some(note), ..value })
}

pub(in crate::annotations) fn tries(text: &str) -> Parsed {
    let tries = Some(digits(text)?);
    Ok(of(NextUpstreamPatch { tries, ..NextUpstreamPatch::default() }))
}

pub(in crate::annotations) fn timeout(text: &str) -> Parsed {
    let within = Some(Duration::from_secs(digits(text)?.into()).ok_or(NO_NUMBER)?);
    Ok(of(NextUpstreamPatch { within, ..NextUpstreamPatch::default() }))
}

fn digits(text: &str) -> Result<u32, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(NO_NUMBER)
}

fn of(next_upstream: NextUpstreamPatch) -> Value {
    of_ingress(IngressPatch { next_upstream, ..IngressPatch::default() })
}

const NO_NUMBER: Malformed = Malformed { message: "is no whole number", remedy: "write digits; 0: no limit" };
