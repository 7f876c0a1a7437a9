//! Cross-origin requests. Both families say them by several keys that mean something together only: see [`own`] and
//! [`nginx`].

use std::collections::BTreeMap;

use super::super::{NGINX, OWN};
use super::{Malformed, Note, Parsed, Value, list, nginx_bool, own_bool};
use crate::duration::Duration;
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::cors::{CorsOrigin, CorsPatch};

pub(in super::super) fn own_origins(text: &str) -> Parsed {
    let read: Option<Vec<_>> = list(text).map(CorsOrigin::read).collect();
    match read {
        Some(origins) if origins.len() <= 64 => {
            Ok(cors(CorsPatch { allow_origins: Some(origins), ..CorsPatch::default() }))
        }
        _ => Err(ORIGINS),
    }
}

/// As there, what is no origin is dropped item by item; but said.
pub(in super::super) fn nginx_origins(text: &str) -> Parsed {
    let origins: Vec<_> = list(text).filter_map(CorsOrigin::read).collect();
    if origins.is_empty() || origins.len() > 64 {
        return Err(ORIGINS);
    }
    let dropped = origins.len() < list(text).filter(|item| !item.is_empty()).count();
    let note = dropped.then_some(Note {
        message: "has items that are no origins; they are left out, as ingress-nginx does without a word",
        remedy: ORIGINS.remedy,
    });
    let patch = cors(CorsPatch { allow_origins: Some(origins), ..CorsPatch::default() }).patch;
    Ok(Value { patch, note })
}

const ORIGINS: Malformed = Malformed {
    message: "is no list of origins",
    remedy: "write a comma list of at most 64 origins, such as https://app.example.com, https://*.example.com",
};

pub(in super::super) fn methods(text: &str) -> Parsed {
    Ok(cors(CorsPatch { allow_methods: Some(tokens(text)?), ..CorsPatch::default() }))
}

pub(in super::super) fn request_headers(text: &str) -> Parsed {
    Ok(cors(CorsPatch { allow_headers: Some(tokens(text)?), ..CorsPatch::default() }))
}

pub(in super::super) fn expose_headers(text: &str) -> Parsed {
    Ok(cors(CorsPatch { expose_headers: Some(tokens(text)?), ..CorsPatch::default() }))
}

pub(in super::super) fn own_credentials(text: &str) -> Parsed {
    Ok(cors(CorsPatch { allow_credentials: Some(own_bool(text)?), ..CorsPatch::default() }))
}

pub(in super::super) fn nginx_credentials(text: &str) -> Parsed {
    Ok(cors(CorsPatch { allow_credentials: Some(nginx_bool(text)?), ..CorsPatch::default() }))
}

pub(in super::super) fn own_max_age(text: &str) -> Parsed {
    let age: Duration = text.parse().map_err(|_| Malformed {
        message: "is not a duration",
        remedy: "write a duration with unit (h, m, s, ms), such as 24h",
    })?;
    Ok(cors(CorsPatch { max_age: Some(age.as_millis() / 1000), ..CorsPatch::default() }))
}

pub(in super::super) fn nginx_max_age(text: &str) -> Parsed {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let age = text.parse().ok().filter(|_| digits);
    let age = age.ok_or(Malformed {
        message: "is no number of seconds",
        remedy: "write whole seconds, such as 600",
    })?;
    Ok(cors(CorsPatch { max_age: Some(age), ..CorsPatch::default() }))
}

/// True stands for the defaults of everything that is not said: all origins. See [`nginx`].
pub(in super::super) fn nginx_enable(text: &str) -> Parsed {
    let allow_origins = if nginx_bool(text)? { vec![CorsOrigin::Any] } else { Vec::new() };
    Ok(cors(CorsPatch { allow_origins: Some(allow_origins), ..CorsPatch::default() }))
}

fn cors(cors: CorsPatch) -> Value {
    PolicyPatch { cors, ..PolicyPatch::default() }.into()
}

fn tokens(text: &str) -> Result<Vec<String>, Malformed> {
    let names: Vec<String> = list(text).map(str::to_owned).collect();
    if names.len() > 32 || !names.iter().all(|name| grammar::TOKEN.holds(name)) {
        return Err(Malformed {
            message: "is no list of names",
            remedy: "write a comma list of at most 32 names, or *",
        });
    }
    Ok(names)
}

/// What is to be said of a key by the company that it is in: its key, that, and what to do.
pub(in super::super) type Remark = (String, &'static str, &'static str);

/// What our own keys say together: nothing without origins.
pub(in super::super) fn own(
    annotations: &BTreeMap<String, String>,
    own: &CorsPatch,
    theirs: &CorsPatch,
) -> Vec<Remark> {
    let key = |name: &str| format!("{OWN}cors-{name}");
    let mut remarks = Vec::new();
    let origins = annotations.contains_key(&key("allow-origins"));
    let named = !origins && theirs.allow_origins.is_none() && *own != CorsPatch::default();
    let others = ["allow-credentials", "allow-headers", "allow-methods", "expose-headers", "max-age"];
    for name in others.into_iter().filter(|name| named && annotations.contains_key(&key(name))) {
        remarks.push((
            key(name),
            "has no effect: no origin is allowed",
            "name the origins by longhaul.dev/cors-allow-origins, or remove it",
        ));
    }
    if own.is_invalid_pair() {
        remarks.push((key("allow-credentials"), NO_PAIR, NAME_ORIGINS));
    }
    remarks
}

/// What ingress-nginx's keys say together: `enable-cors` switches the others on, with defaults of its own. Without it
/// nothing is left of them.
pub(in super::super) fn nginx(annotations: &BTreeMap<String, String>, theirs: &mut CorsPatch) -> Vec<Remark> {
    let key = |name: &str| format!("{NGINX}{name}");
    let value = |name: &str| annotations.get(&key(name));
    let enabled = value("enable-cors").and_then(|text| super::go_bool(text));
    if enabled != Some(true) {
        let said = std::mem::take(theirs);
        // Where it is malformed or false, that is known.
        let alone = value("enable-cors").is_none() && said != CorsPatch::default();
        if enabled == Some(false) {
            theirs.allow_origins = Some(Vec::new());
        }
        let keys = annotations.keys().filter(|name| name.starts_with(&key("cors-")));
        let remark = |name: &String| {
            (
                name.clone(),
                "has no effect: enable-cors is not set",
                "set enable-cors to true beside it, or remove it",
            )
        };
        return if alone { keys.map(remark).collect() } else { Vec::new() };
    }
    let mut remarks = Vec::new();
    if let Some(text) = value("cors-allow-origin") {
        // `enable-cors` comes after it in the order of keys.
        theirs.allow_origins = nginx_origins(text).ok().and_then(|read| read.patch.cors.allow_origins);
        if theirs.allow_origins.is_none() {
            theirs.allow_origins = Some(Vec::new());
            remarks.push((
                key("enable-cors"),
                "has no effect: cors-allow-origin does not read, and everybody's pages are not let in for that",
                "correct cors-allow-origin",
            ));
        }
    }
    theirs.allow_credentials = theirs.allow_credentials.or(Some(true));
    if theirs.is_invalid_pair() {
        let named =
            if value("cors-allow-credentials").is_some() { "cors-allow-credentials" } else { "enable-cors" };
        remarks.push((key(named), NO_PAIR, NAME_ORIGINS_THERE));
    }
    remarks
}

const NO_PAIR: &str =
    "allows credentials where every origin is allowed, which browsers refuse; credentials are not allowed";
const NAME_ORIGINS: &str = "name the origins by longhaul.dev/cors-allow-origins, or allow no credentials";
const NAME_ORIGINS_THERE: &str =
    "name the origins by cors-allow-origin, or set cors-allow-credentials to false";
