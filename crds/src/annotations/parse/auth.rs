//! Who is let in. Each key is read by itself, and they are put together once all are known: one without its others
//! would leave open what was meant to be closed.

use std::collections::BTreeMap;

use super::super::{NGINX, OWN, Reader};
use super::{Malformed, Parsed};
use crate::diagnostic::{Severity, quoted};
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::auth::{Auth, Basic, REALM, UsersForm};

type Annotations = BTreeMap<String, String>;

pub(in super::super) fn own_secret(text: &str) -> Parsed {
    read(text, |text| grammar::OBJECT_NAME.holds(text) && text.len() <= 253, NO_NAME)
}

pub(in super::super) fn realm(text: &str) -> Parsed {
    read(text, |text| grammar::FIELD_VALUE.holds(text) && text.len() <= 256, NO_REALM)
}

/// `[NAMESPACE/]NAME`. That the namespace is the object's own is looked at where the keys are put together.
pub(in super::super) fn nginx_secret(text: &str) -> Parsed {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    read(name, |name| grammar::OBJECT_NAME.holds(name) && name.len() <= 253, NO_NAME)
}

pub(in super::super) fn nginx_secret_type(text: &str) -> Parsed {
    form(text).map(|_| PolicyPatch::default().into())
}

pub(in super::super) fn nginx_type(text: &str) -> Parsed {
    match text {
        "basic" => Ok(PolicyPatch::default().into()),
        "digest" => Err(Malformed {
            message: "is not served: digest is older and weaker than basic over TLS",
            remedy: "use basic, over TLS, or an authentication service",
        }),
        _ => Err(Malformed { message: "is no way to authenticate", remedy: "write basic" }),
    }
}

/// Puts the keys of each family together. Ours replace ingress-nginx's whole.
pub(in super::super) fn put_together(
    reader: &mut Reader<'_>,
    annotations: &Annotations,
    nginx: bool,
    (own, theirs): (&mut PolicyPatch, &mut PolicyPatch),
) {
    // What does not read has closed the routes already.
    if reader.reading.closed.is_some() {
        return;
    }
    let ours = Family {
        prefix: OWN,
        ways: &["auth-basic-secret"],
        further: &[("auth-basic-realm", "auth-basic-secret")],
    };
    if let Some(way) = ours.way(reader, annotations) {
        own.auth = ours_of(way, &|name| ours.value(annotations, name));
    }
    let family = Family {
        prefix: NGINX,
        ways: &["auth-type"],
        further: &[
            ("auth-secret", "auth-type"),
            ("auth-secret-type", "auth-type"),
            ("auth-realm", "auth-type"),
        ],
    };
    if nginx
        && own.auth.is_none()
        && let Some(way) = family.way(reader, annotations)
    {
        theirs.auth = theirs_of(reader, way, &|name| family.value(annotations, name));
    }
}

/// The keys of one family.
struct Family {
    prefix: &'static str,
    /// Each of which is a way to come in.
    ways: &'static [&'static str],
    /// Each of which says more of a way, and nothing without it.
    further: &'static [(&'static str, &'static str)],
}

impl Family {
    fn value<'a>(&self, annotations: &'a Annotations, name: &str) -> Option<&'a str> {
        annotations.get(&format!("{}{name}", self.prefix)).map(String::as_str)
    }

    /// The one way that is asked for.
    fn way(&self, reader: &mut Reader<'_>, annotations: &Annotations) -> Option<&'static str> {
        let set = |name: &&&'static str| self.value(annotations, name).is_some();
        let mut asked = self.ways.iter().filter(set).copied();
        let (way, other) = (asked.next(), asked.next());
        if let (Some(way), Some(other)) = (way, other) {
            let message = format!("and {}{way} are two ways to come in", self.prefix);
            self.close(reader, other, &message, "keep one of the two");
            return None;
        }
        for (name, needed) in self.further {
            if self.value(annotations, name).is_some() && self.value(annotations, needed).is_none() {
                let message = format!("says nothing without {}{needed}", self.prefix);
                self.close(reader, name, &message, "set that too, or remove it");
            }
        }
        way
    }

    fn close(&self, reader: &mut Reader<'_>, name: &str, message: &str, remedy: &str) {
        let key = format!("{}{name}", self.prefix);
        let message = format!("{message}; the routes answer 503");
        reader.report(&key, Severity::Error, "UnsupportedValue", message, remedy);
        reader.close(&key);
    }
}

/// Nothing where a value is malformed: that has closed the routes already.
fn ours_of<'a>(way: &str, value: &dyn Fn(&str) -> Option<&'a str>) -> Option<Auth> {
    let secret = value(way).filter(|name| own_secret(name).is_ok())?;
    let realm = value("auth-basic-realm").unwrap_or(REALM);
    Some(Auth::Basic(Basic {
        secret: secret.into(),
        form: UsersForm::File,
        realm: realm.into(),
        field: field(OWN, way),
    }))
}

fn theirs_of<'a>(
    reader: &mut Reader<'_>,
    way: &str,
    value: &dyn Fn(&str) -> Option<&'a str>,
) -> Option<Auth> {
    nginx_type(value(way)?).ok()?;
    let Some(secret) = value("auth-secret") else {
        let key = format!("{NGINX}{way}");
        let message = "says nothing without nginx.ingress.kubernetes.io/auth-secret; the routes answer 503";
        reader.report(
            &key,
            Severity::Error,
            "UnsupportedValue",
            message.into(),
            "name the Secret with the users",
        );
        reader.close(&key);
        return None;
    };
    let (namespace, name) = secret.split_once('/').unwrap_or((&reader.object.namespace, secret));
    if namespace != reader.object.namespace {
        let key = format!("{NGINX}auth-secret");
        let message = format!("{} is in another namespace; the routes answer 503", quoted(secret));
        let remedy = format!("name a Secret of namespace {}", reader.object.namespace);
        reader.report(&key, Severity::Error, "RefNotPermitted", message, &remedy);
        reader.close(&key);
        return None;
    }
    Some(Auth::Basic(Basic {
        secret: name.into(),
        form: value("auth-secret-type").map_or(Ok(UsersForm::File), form).ok()?,
        // ingress-nginx's own default.
        realm: value("auth-realm").unwrap_or_default().into(),
        field: field(NGINX, "auth-secret"),
    }))
}

fn field(prefix: &str, name: &str) -> String {
    format!("metadata.annotations[{prefix}{name}]")
}

fn form(text: &str) -> Result<UsersForm, Malformed> {
    match text {
        "auth-file" => Ok(UsersForm::File),
        "auth-map" => Ok(UsersForm::Map),
        _ => Err(Malformed {
            message: "is no form of a Secret with users",
            remedy: "write auth-file or auth-map",
        }),
    }
}

fn read(text: &str, holds: impl Fn(&str) -> bool, malformed: Malformed) -> Parsed {
    if holds(text) { Ok(PolicyPatch::default().into()) } else { Err(malformed) }
}

const NO_NAME: Malformed =
    Malformed { message: "is no name of a Secret", remedy: "write the name of a Secret in this namespace" };

const NO_REALM: Malformed =
    Malformed { message: "is no realm", remedy: "write one line of at most 256 bytes" };
