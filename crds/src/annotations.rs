//! Annotations of Ingresses: one table from which the parser, the documentation and the tests come.
//!
//! Two families are known, our own (`longhaul.dev/`) and that of the retired ingress-nginx
//! (`nginx.ingress.kubernetes.io/`). Nothing of either is passed over in silence: a key that is not served, or that
//! nobody knows, is a [`Diagnostic`]; where it was to keep somebody out, the object's routes close. Other
//! prefixes are other programs' business.

mod hash;
mod parse;
mod table;

use std::collections::BTreeMap;

pub use parse::{Malformed, Note, Parsed, Value};
pub use table::table;

use crate::diagnostic::{Diagnostic, ObjectRef, Severity, quoted};
use crate::policy::{CanaryPatch, LoadBalancing, PathRewrite, PolicyPatch, Redirect};
use crate::tls::TlsVersion;

/// The prefix of our own keys.
pub const OWN: &str = "longhaul.dev/";

/// The prefix of ingress-nginx's keys.
pub const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// On a Service without EndpointSlices, in standalone mode: its addresses, `IP:PORT, …`.
pub const ADDRESSES: &str = "longhaul.dev/addresses";

/// One known key.
#[derive(Clone, Copy, Debug)]
pub struct Annotation {
    /// With its prefix.
    pub key: &'static str,
    /// What it says; of a key that is not served, what its value looks like.
    pub doc: &'static str,
    /// What its value looks like. Empty where the key is not served.
    pub values: &'static str,
    /// What is served without it. Empty where the key is not served.
    pub default: &'static str,
    /// A value. Empty where the key is not served.
    pub example: &'static str,
    /// It is meant to keep somebody out: where it cannot be kept, the routes answer 503.
    pub security: bool,
    /// What becomes of it.
    pub support: Support,
    /// Values with which it asks for nothing, so that nothing is missing where it is not served.
    pub inert: Inert,
    protects: fn(&str) -> bool,
}

/// What becomes of a known key.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// It is read into the policy.
    Served(fn(&str) -> Parsed),
    /// Nothing is missing without it: why.
    NotApplicable(&'static str),
    /// It will never be served: what to do instead.
    Refused(&'static str),
    /// It is not served by this version.
    NotYet,
}

/// Values with which a key asks for nothing.
#[derive(Clone, Copy, Debug)]
pub enum Inert {
    /// No value.
    Never,
    /// Any value.
    Always,
    /// What reads as false.
    False,
    /// What reads as true.
    True,
    /// One of these.
    Values(&'static [&'static str]),
}

impl Inert {
    fn holds(self, value: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::False => parse::go_bool(value) == Some(false),
            Self::True => parse::go_bool(value) == Some(true),
            Self::Values(values) => values.contains(&value),
        }
    }
}

/// What an object's annotations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The settings.
    pub patch: PolicyPatch,
    /// What is wrong with them, in the order of keys.
    pub diagnostics: Vec<Diagnostic>,
    /// A security setting is malformed or not served: why the object's routes must answer 503.
    pub closed: Option<String>,
    /// The object may mean something else than its routes say: why it must be left out.
    pub left_out: Option<String>,
}

/// Reads the annotations of an Ingress. `nginx`: those of ingress-nginx too. Our own win where both are set.
pub fn read(annotations: &BTreeMap<String, String>, object: &ObjectRef, nginx: bool) -> Reading {
    let mut reader = Reader { object, reading: Reading::default() };
    let (mut own, mut theirs) = (PolicyPatch::default(), PolicyPatch::default());
    for (key, value) in annotations {
        if key.starts_with(OWN) {
            own = own.merge(reader.read(key, value));
        } else if nginx && parse::is_superseded(key, annotations) {
            let message = format!("{} has no effect: its present name says it already", quoted(value));
            reader.report(key, Severity::Warning, "UnsupportedValue", message, "remove one of the two");
        } else if nginx && key.starts_with(NGINX) {
            // In ingress-nginx `force-ssl-redirect` beats `ssl-redirect`, whatever that says. (And `upstream-hash-by`
            // beats `load-balance`, as it does here by coming later.)
            let forced = theirs.redirect.filter(|redirect| *redirect == Redirect::Always);
            theirs = theirs.merge(reader.read(key, value));
            theirs.redirect = forced.or(theirs.redirect);
        }
    }
    let cors = if nginx { parse::cors::nginx(annotations, &mut theirs.cors) } else { Vec::new() };
    let alone = parse::redirects::alone(annotations, &theirs.ingress.redirects);
    let affinity = parse::affinity::put_together(annotations, &own.affinity, &mut theirs.affinity);
    for (key, message, remedy) in cors.into_iter().chain(alone).chain(affinity).chain(parse::cors::own(
        annotations,
        &own.cors,
        &theirs.cors,
    )) {
        let message = message.to_owned();
        reader.report(&key, Severity::Warning, "UnsupportedValue", message, remedy);
    }
    reader.check_together(annotations, &mut own);
    parse::auth::put_together(&mut reader, annotations, nginx, (&mut own, &mut theirs));
    parse::upstream_tls::put_together(&mut reader, (&mut own.upstream_tls, &mut theirs.upstream_tls));
    parse::config_maps::put_together(&mut reader, &mut theirs.headers.response.set_from);
    parse::clients::put_together(&mut reader, annotations, nginx, (&mut own, &mut theirs));
    reader.check_canary(&theirs.ingress.canary);
    reader.reading.patch = theirs.merge(own);
    reader.reading
}

/// Whether a key is of a family that is read.
pub fn is_known_family(key: &str) -> bool {
    key.starts_with(OWN) || key.starts_with(NGINX)
}

/// Reports our own keys on an object whose annotations set no policy: a WsRoute, whose `spec.policy` does, or a
/// Service. A security setting that was put on a WsRoute closes it, as it would an Ingress.
pub fn read_misplaced(annotations: &BTreeMap<String, String>, object: &ObjectRef, remedy: &str) -> Reading {
    let mut reader = Reader { object, reading: Reading::default() };
    for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(OWN)) {
        if key == ADDRESSES && object.kind == "Service" {
            continue;
        }
        let closes = table().any(|annotation| annotation.key == key && annotation.security);
        let (severity, effect) = if closes && object.kind != "Service" {
            (Severity::Error, "the routes answer 503, since it was to protect them")
        } else {
            (Severity::Warning, "it has no effect")
        };
        let message = format!("{} is not read here; {effect}", quoted(value));
        reader.report(key, severity, "MisplacedAnnotation", message, remedy);
        if closes {
            reader.close(key);
        }
    }
    reader.reading
}

struct Reader<'a> {
    object: &'a ObjectRef,
    reading: Reading,
}

impl Reader<'_> {
    fn read(&mut self, key: &str, value: &str) -> PolicyPatch {
        let Some(annotation) = table().find(|annotation| annotation.key == key) else {
            self.unknown(key, value);
            return PolicyPatch::default();
        };
        match annotation.support {
            Support::Served(parse) => match parse(value) {
                Ok(read) => {
                    if let Some(note) = read.note {
                        let message = format!("{} {}", quoted(value), note.message);
                        self.report(key, Severity::Info, "Adapted", message, note.remedy);
                    }
                    return read.patch;
                }
                Err(malformed) => self.malformed(annotation, value, &malformed),
            },
            Support::NotApplicable(why) => self.report(
                key,
                Severity::Info,
                "NotApplicable",
                format!("{} is accepted and changes nothing: {why}", quoted(value)),
                "it may be removed",
            ),
            Support::Refused(_) | Support::NotYet if annotation.inert.holds(value) => self.report(
                key,
                Severity::Info,
                "NotServed",
                format!("{} asks for nothing that is missing", quoted(value)),
                "it may be removed",
            ),
            Support::Refused(remedy) => self.unserved(annotation, value, "Refused", remedy),
            Support::NotYet => {
                self.unserved(
                    annotation,
                    value,
                    "NotServed",
                    "remove it, or wait for a version that serves it",
                );
            }
        }
        PolicyPatch::default()
    }

    /// What no key says by itself: keys of ours that make no sense together.
    fn check_together(&mut self, annotations: &BTreeMap<String, String>, own: &mut PolicyPatch) {
        let value = |name: &str| annotations.get(&format!("{OWN}{name}"));
        let balancing = &own.load_balancing;
        let hashes = balancing.policy.is_none_or(|policy| policy == LoadBalancing::ConsistentHash);
        if balancing.hash_on.is_some() && !hashes {
            self.together(
                "hash-on",
                Severity::Warning,
                "has no effect: longhaul.dev/load-balancing does not hash",
                "set longhaul.dev/load-balancing: consistent-hash, or remove one of the two",
            );
        }
        if let (Some(PathRewrite::Prefix(_)), Some(path)) = (&own.rewrite.path, value("rewrite-path"))
            && let Ok(whole) = parse::own_rewrite_path(path)
        {
            own.rewrite.path = whole.patch.rewrite.path;
            self.together(
                "rewrite-prefix",
                Severity::Warning,
                "has no effect: longhaul.dev/rewrite-path is set too",
                "remove one of the two",
            );
        }
        let suites = own.ingress.tls_cipher_suites.iter().flatten();
        let newest_only = own.ingress.tls_min_version == Some(TlsVersion::V1_3);
        if newest_only
            && suites.clone().count() > 0
            && suites.into_iter().all(|s| s.version() == TlsVersion::V1_2)
        {
            let key = "tls-cipher-suites";
            self.together(
                key,
                Severity::Error,
                "leaves no suite for TLS 1.3, below which longhaul.dev/tls-min-version \
                          lets nothing through; the routes answer 503",
                "name a suite of TLS 1.3 too",
            );
            self.close(&format!("{OWN}{key}"));
        }
    }

    /// Details alone make no canary, and a value without its field decides nothing.
    fn check_canary(&mut self, canary: &CanaryPatch) {
        if canary.has_details() && canary.enabled != Some(true) {
            let message =
                "other canary-* annotations are there, which have no effect without `true` here".into();
            self.report(
                CANARY,
                Severity::Warning,
                "UnsupportedValue",
                message,
                "write `true`, or remove them",
            );
        } else if (canary.header_value.is_some() || canary.header_pattern.is_some())
            && canary.header.is_none()
        {
            let name = if canary.header_value.is_some() { "value" } else { "pattern" };
            let key = format!("{CANARY}-by-header-{name}");
            let message = "has no effect: no field is named that it could be the value of".into();
            let remedy = "name it with nginx.ingress.kubernetes.io/canary-by-header";
            self.report(&key, Severity::Warning, "UnsupportedValue", message, remedy);
        }
    }

    fn together(&mut self, name: &str, severity: Severity, message: &str, remedy: &str) {
        self.report(&format!("{OWN}{name}"), severity, "UnsupportedValue", message.to_owned(), remedy);
    }

    fn malformed(&mut self, annotation: &Annotation, value: &str, malformed: &Malformed) {
        let closes = annotation.security;
        let (severity, effect) = if annotation.leaves_out() {
            (Severity::Error, "this Ingress is left out, since it may be no route of its own")
        } else {
            effect(closes)
        };
        let message = format!("{} {}; {effect}", quoted(value), malformed.message);
        self.report(annotation.key, severity, "UnsupportedValue", message, malformed.remedy);
        if annotation.leaves_out() {
            self.reading.left_out = Some(format!("annotation {CANARY} does not read"));
        }
        if closes {
            self.close(annotation.key);
        }
    }

    fn unserved(&mut self, annotation: &Annotation, value: &str, reason: &str, remedy: &str) {
        let closes = annotation.security && (annotation.protects)(value);
        let (severity, effect) = if closes {
            (Severity::Error, "the routes answer 503, since it was to protect them")
        } else {
            (Severity::Warning, "the routes are served without it")
        };
        let message = format!("{} is not served; {effect}", quoted(value));
        self.report(annotation.key, severity, reason, message, remedy);
        if closes {
            self.close(annotation.key);
        }
    }

    /// A slip in a security setting's name would leave its routes open: they close.
    fn unknown(&mut self, key: &str, value: &str) {
        let family = if key.starts_with(OWN) { OWN } else { NGINX };
        let known = table().filter(|annotation| annotation.key.starts_with(family));
        let nearest = known.map(|annotation| (distance(key, annotation.key), annotation));
        let Some((far, nearest)) = nearest.min_by_key(|(far, _)| *far) else { return };
        let closes = nearest.security && far <= 2;
        let (severity, effect) = if closes {
            (Severity::Error, "the routes answer 503, since it looks like a security setting")
        } else {
            (Severity::Warning, "it has no effect")
        };
        let message = format!("the key of {} is unknown; {effect}", quoted(value));
        let remedy = format!("the nearest known key is {}", nearest.key);
        self.report(key, severity, "UnknownAnnotation", message, &remedy);
        if closes {
            self.close(key);
        }
    }

    fn report(&mut self, key: &str, severity: Severity, reason: &str, message: String, remedy: &str) {
        self.reading.diagnostics.push(Diagnostic {
            object: self.object.clone(),
            field: format!("metadata.annotations[{key}]"),
            severity,
            reason: reason.into(),
            message,
            remedy: remedy.into(),
        });
    }

    /// The first key in order is the one that is named.
    fn close(&mut self, key: &str) {
        self.reading.closed.get_or_insert_with(|| format!("security annotation {key} cannot be kept"));
    }
}

/// A canary Ingress repeats another's hosts and paths: taken as an ordinary one it would conflict with that.
const CANARY: &str = "nginx.ingress.kubernetes.io/canary";

fn effect(closes: bool) -> (Severity, &'static str) {
    if closes {
        (Severity::Error, "the routes answer 503")
    } else {
        (Severity::Warning, "the default is served")
    }
}

const fn row(key: &'static str, doc: &'static str, support: Support) -> Annotation {
    let (values, default, example) = ("", "", "");
    Annotation {
        key,
        doc,
        values,
        default,
        example,
        security: false,
        support,
        inert: Inert::Never,
        protects: always,
    }
}

const fn served(key: &'static str, doc: &'static str, parse: fn(&str) -> Parsed) -> Annotation {
    row(key, doc, Support::Served(parse))
}

const fn not_applicable(key: &'static str, doc: &'static str, why: &'static str) -> Annotation {
    row(key, doc, Support::NotApplicable(why))
}

const fn refused(key: &'static str, doc: &'static str, remedy: &'static str) -> Annotation {
    row(key, doc, Support::Refused(remedy))
}

const fn not_yet(key: &'static str, doc: &'static str) -> Annotation {
    row(key, doc, Support::NotYet)
}

impl Annotation {
    /// An Ingress of which it does not read is left out.
    pub(crate) fn leaves_out(&self) -> bool {
        self.key == CANARY
    }

    /// What its values look like, what is served without it, and an example.
    const fn takes(mut self, values: &'static str, default: &'static str, example: &'static str) -> Self {
        self.values = values;
        self.default = default;
        self.example = example;
        self
    }

    const fn security(mut self) -> Self {
        self.security = true;
        self
    }

    /// A security setting with these values only.
    const fn only(mut self, protects: fn(&str) -> bool) -> Self {
        self.protects = protects;
        self
    }

    const fn inert(mut self, inert: Inert) -> Self {
        self.inert = inert;
        self
    }
}

fn always(_: &str) -> bool {
    true
}

/// Levenshtein's edit distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
