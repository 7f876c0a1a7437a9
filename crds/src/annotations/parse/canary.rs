//! Canaries of ingress-nginx.

use super::{Malformed, Parsed, Value, nginx_bool, of_ingress};
use crate::grammar;
use crate::policy::{CanaryPatch, IngressPatch};

pub(in crate::annotations) fn enabled(text: &str) -> Parsed {
    let enabled = Some(nginx_bool(text)?);
    Ok(patched(CanaryPatch { enabled, ..CanaryPatch::default() }))
}

pub(in crate::annotations) fn header(text: &str) -> Parsed {
    let header = Some(name(text)?.to_ascii_lowercase());
    Ok(patched(CanaryPatch { header, ..CanaryPatch::default() }))
}

pub(in crate::annotations) fn header_value(text: &str) -> Parsed {
    if text.is_empty() || text.trim() != text || !grammar::FIELD_VALUE.holds(text) {
        return Err(Malformed {
            message: "is no value that a field has",
            remedy: "write it as clients send it",
        });
    }
    Ok(patched(CanaryPatch { header_value: Some(text.to_owned()), ..CanaryPatch::default() }))
}

/// Whether it is a regular expression that can be served, translation finds out.
pub(in crate::annotations) fn header_pattern(text: &str) -> Parsed {
    if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
        return Err(Malformed {
            message: "is no regular expression",
            remedy: "write one of at most 512 bytes, such as ^(blue|green)$",
        });
    }
    Ok(patched(CanaryPatch { header_pattern: Some(text.to_owned()), ..CanaryPatch::default() }))
}

pub(in crate::annotations) fn cookie(text: &str) -> Parsed {
    let cookie = Some(name(text)?.to_owned());
    Ok(patched(CanaryPatch { cookie, ..CanaryPatch::default() }))
}

pub(in crate::annotations) fn weight(text: &str) -> Parsed {
    let weight = Some(number(text)?);
    Ok(patched(CanaryPatch { weight, ..CanaryPatch::default() }))
}

/// As there, less than 100 counts as 100.
pub(in crate::annotations) fn total(text: &str) -> Parsed {
    let total = Some(number(text)?.max(100));
    Ok(patched(CanaryPatch { total, ..CanaryPatch::default() }))
}

fn patched(canary: CanaryPatch) -> Value {
    of_ingress(IngressPatch { canary, ..IngressPatch::default() })
}

fn name(text: &str) -> Result<&str, Malformed> {
    if grammar::TOKEN.holds(text) {
        return Ok(text);
    }
    Err(Malformed { message: "is no name of a field or cookie", remedy: "write one name, such as X-Canary" })
}

fn number(text: &str) -> Result<u32, Malformed> {
    const GRAMMAR: Malformed =
        Malformed { message: "is no number of requests", remedy: "write digits, such as 20" };
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().ok_or(GRAMMAR)
}
