//! The values: each served key's text into a patch of its one or few fields.

use crate::duration::{self, Duration};
use crate::policy::{PolicyPatch, Redirect, TimeoutsPatch};

/// A value that does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong with it, to follow the quoted value.
    pub message: &'static str,
    /// How it is written.
    pub remedy: &'static str,
}

type Parsed = Result<PolicyPatch, Malformed>;

pub(super) fn own_connect(text: &str) -> Parsed {
    own_timeout(text, |connect| TimeoutsPatch { connect, ..TimeoutsPatch::default() })
}

pub(super) fn own_handshake(text: &str) -> Parsed {
    own_timeout(text, |handshake| TimeoutsPatch { handshake, ..TimeoutsPatch::default() })
}

pub(super) fn own_idle(text: &str) -> Parsed {
    own_timeout(text, |idle| TimeoutsPatch { idle, ..TimeoutsPatch::default() })
}

pub(super) fn own_send(text: &str) -> Parsed {
    own_timeout(text, |send| TimeoutsPatch { send, ..TimeoutsPatch::default() })
}

pub(super) fn own_request(text: &str) -> Parsed {
    own_timeout(text, |request| TimeoutsPatch { request, ..TimeoutsPatch::default() })
}

pub(super) fn own_redirect(text: &str) -> Parsed {
    match text {
        "true" => Ok(redirect(true)),
        "false" => Ok(redirect(false)),
        _ => Err(Malformed { message: "is not a boolean", remedy: "write true or false" }),
    }
}

pub(super) fn nginx_connect(text: &str) -> Parsed {
    nginx_timeout(text, |connect| TimeoutsPatch { connect, ..TimeoutsPatch::default() })
}

/// nginx arms its read timeout on the backend's socket only. Bytes either way count with us, so that no tunnel
/// that nginx would keep is cut.
pub(super) fn nginx_read(text: &str) -> Parsed {
    nginx_timeout(text, |read| TimeoutsPatch {
        handshake: read,
        idle: read,
        request: read,
        ..TimeoutsPatch::default()
    })
}

pub(super) fn nginx_send(text: &str) -> Parsed {
    nginx_timeout(text, |send| TimeoutsPatch { send, ..TimeoutsPatch::default() })
}

pub(super) fn nginx_redirect(text: &str) -> Parsed {
    go_bool(text)
        .map(redirect)
        .ok_or(Malformed { message: "is not a boolean", remedy: "write true or false" })
}

/// The spellings of Go's `strconv.ParseBool`, which ingress-nginx takes.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whether a piece of nginx configuration keeps somebody out. Without what it does the route would be open.
pub(super) fn snippet_protects(text: &str) -> bool {
    const DIRECTIVES: [&str; 12] = [
        "access_by_lua",
        "allow",
        "auth_",
        "deny",
        "limit_except",
        "modsecurity",
        "return",
        "satisfy",
        "secure_link",
        "ssl_client_certificate",
        "ssl_verify_client",
        "valid_referers",
    ];
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}'));
    words.into_iter().any(|word| DIRECTIVES.iter().any(|directive| word.starts_with(directive)))
}

fn redirect(on: bool) -> PolicyPatch {
    let redirect = if on { Redirect::WithCertificate } else { Redirect::Never };
    PolicyPatch { redirect: Some(redirect), ..PolicyPatch::default() }
}

fn own_timeout(text: &str, patch: fn(Option<Duration>) -> TimeoutsPatch) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is not a duration",
        remedy: "write a duration with unit (h, m, s, ms), such as 30s, 5m or 1h30m; 0s: no limit",
    };
    let duration = text.parse().map_err(|_: duration::NotADuration| GRAMMAR)?;
    Ok(PolicyPatch { timeouts: patch(Some(duration)), ..PolicyPatch::default() })
}

/// Bare seconds as Go's `strconv.Atoi` takes them, and as an extension a duration with unit. Zero arms a timer of
/// zero in nginx, which nobody means.
fn nginx_timeout(text: &str, patch: fn(Option<Duration>) -> TimeoutsPatch) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is neither bare seconds nor a duration",
        remedy: "write whole seconds, such as 3600, or a duration with unit, such as 1h",
    };
    const ZERO: Malformed = Malformed {
        message: "would be a timeout of no time at all",
        remedy: "for no limit set our own key instead, such as longhaul.dev/idle-timeout: 0s",
    };
    let digits = text.strip_prefix('+').unwrap_or(text);
    let duration = if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok().and_then(Duration::from_secs).ok_or(GRAMMAR)?
    } else {
        text.parse().map_err(|_: duration::NotADuration| GRAMMAR)?
    };
    if duration.is_zero() {
        return Err(ZERO);
    }
    Ok(PolicyPatch { timeouts: patch(Some(duration)), ..PolicyPatch::default() })
}
