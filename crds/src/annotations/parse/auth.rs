//! Who is let in. Each key is read by itself, and they are put together once all are known: one without its others
//! would leave open what was meant to be closed.

use std::collections::BTreeMap;

use super::super::{NGINX, OWN, Reader};
use super::{Malformed, Parsed, config_maps, nginx_bool};
use crate::diagnostic::{Severity, quoted};
use crate::duration::Duration;
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::auth::{
    Auth, Basic, External, REALM, ServicePort, SetCookie, SignIn, Target, Template, Url, UsersForm, may_pass,
};

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

pub(in super::super) fn own_service(text: &str) -> Parsed {
    service(text).map(|_| PolicyPatch::default().into())
}

/// Without variables: they are ingress-nginx's.
pub(in super::super) fn own_url(text: &str) -> Parsed {
    address(text).filter(|_| !text.contains('$')).map(|_| PolicyPatch::default().into()).ok_or(NO_URL)
}

pub(in super::super) fn own_timeout(text: &str) -> Parsed {
    timeout(text).map(|_| PolicyPatch::default().into())
}

pub(in super::super) fn response_headers(text: &str) -> Parsed {
    names(text).map(|_| PolicyPatch::default().into())
}

pub(in super::super) fn nginx_url(text: &str) -> Parsed {
    address(text).map(|_| PolicyPatch::default().into()).ok_or(NO_NGINX_URL)
}

pub(in super::super) fn nginx_method(text: &str) -> Parsed {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    read(text, |text| METHODS.contains(&text), NO_METHOD)
}

pub(in super::super) fn nginx_set_cookie(text: &str) -> Parsed {
    nginx_bool(text).map(|_| PolicyPatch::default().into())
}

pub(in super::super) fn nginx_sign_in(text: &str) -> Parsed {
    read(text, |text| text.len() <= LONGEST && Template::of_page(text).is_ok(), NO_PAGE)
}

pub(in super::super) fn nginx_sign_in_parameter(text: &str) -> Parsed {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    read(text, |text| (1..=64).contains(&text.len()) && text.bytes().all(plain), NO_PARAMETER)
}

pub(in super::super) fn nginx_redirect(text: &str) -> Parsed {
    read(text, |text| text.len() <= LONGEST && !text.is_empty() && Template::read(text).is_ok(), NO_PAGE)
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
    if let Some(way) = OURS.way(reader, annotations) {
        own.auth = ours_of(way, &|name| OURS.value(annotations, name));
    }
    if nginx
        && own.auth.is_none()
        && let Some(way) = THEIRS.way(reader, annotations)
    {
        theirs.auth = theirs_of(reader, way, &|name| THEIRS.value(annotations, name));
    }
}

const OURS: Family = Family {
    prefix: OWN,
    ways: &["auth-service", "auth-url", "auth-basic-secret"],
    further: &[
        ("auth-basic-realm", &["auth-basic-secret"]),
        ("auth-response-headers", &["auth-service", "auth-url"]),
        ("auth-timeout", &["auth-service", "auth-url"]),
    ],
};

const ASKED_WITH: &str = "auth-proxy-set-headers";

const THEIRS: Family = Family {
    prefix: NGINX,
    ways: &["auth-url", "auth-type"],
    further: &[
        ("auth-secret", &["auth-type"]),
        ("auth-secret-type", &["auth-type"]),
        ("auth-realm", &["auth-type"]),
        ("auth-method", &["auth-url"]),
        (ASKED_WITH, &["auth-url"]),
        ("auth-request-redirect", &["auth-url"]),
        ("auth-response-headers", &["auth-url"]),
        ("auth-signin", &["auth-url"]),
        ("auth-signin-redirect-param", &["auth-signin"]),
    ],
};

/// The keys of one family.
struct Family {
    prefix: &'static str,
    /// Each of which is a way to come in.
    ways: &'static [&'static str],
    /// Each of which says more of a way, and nothing without it.
    further: &'static [(&'static str, &'static [&'static str])],
}

impl Family {
    fn value<'a>(&self, annotations: &'a Annotations, name: &str) -> Option<&'a str> {
        annotations.get(&format!("{}{name}", self.prefix)).map(String::as_str)
    }

    /// The one way that is asked for.
    fn way(&self, reader: &mut Reader<'_>, annotations: &Annotations) -> Option<&'static str> {
        let set = |name: &&&'static str| self.value(annotations, name).is_some();
        let mut asked = self.ways.iter().filter(set).copied();
        let (mut way, other) = (asked.next(), asked.next());
        if let (Some(way), Some(other)) = (way, other) {
            let message = format!("and {}{way} are two ways to come in", self.prefix);
            self.close(reader, other, &message, "keep one of the two");
            return None;
        }
        for (name, needed) in self.further {
            let met = needed.iter().any(|needed| self.value(annotations, needed).is_some());
            if self.value(annotations, name).is_some() && !met {
                let needed: Vec<_> = needed.iter().map(|name| format!("{}{name}", self.prefix)).collect();
                let message = format!("says nothing without {}", needed.join(" or "));
                self.close(reader, name, &message, "set that too, or remove it");
                way = None;
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
    let target = match way {
        "auth-service" => Some(service(value(way)?).ok()?),
        "auth-url" => Some(Target::Url(address(value(way)?)?)),
        _ => None,
    };
    if let Some(target) = target {
        return Some(Auth::External(External {
            namespace: None,
            target,
            method: None,
            response_headers: value("auth-response-headers").map_or(Ok(Vec::new()), names).ok()?,
            timeout: value("auth-timeout").map(timeout).transpose().ok()?,
            sign_in: None,
            request_redirect: None,
            set_cookie: SetCookie::default(),
            request_headers: None,
            field: field(OWN, way),
        }));
    }
    let secret = value(way)?;
    let realm = value("auth-basic-realm").unwrap_or(REALM);
    Some(Auth::Basic(Basic {
        namespace: None,
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
    if way == "auth-url" {
        return their_service(reader, way, value);
    }
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
        namespace: None,
        secret: name.into(),
        form: value("auth-secret-type").map_or(Ok(UsersForm::File), form).ok()?,
        // ingress-nginx's own default.
        realm: value("auth-realm").unwrap_or_default().into(),
        field: field(NGINX, "auth-secret"),
    }))
}

fn their_service<'a>(
    reader: &mut Reader<'_>,
    way: &str,
    value: &dyn Fn(&str) -> Option<&'a str>,
) -> Option<Auth> {
    let parameter = value("auth-signin-redirect-param").unwrap_or("rd");
    let sign_in = value("auth-signin").map(|page| {
        // As ingress-nginx: a page that names the parameter itself gets no other.
        let query = page.split_once('?').map_or("", |(_, query)| query);
        let named = query.split('&').any(|pair| pair.split('=').next() == Some(parameter));
        let parameter = (!named).then(|| parameter.to_owned());
        Template::of_page(page).map(|url| SignIn { url, parameter })
    });
    Some(Auth::External(External {
        namespace: None,
        target: Target::Url(address(value(way)?)?),
        method: value("auth-method").map(str::to_owned),
        response_headers: value("auth-response-headers").map_or(Ok(Vec::new()), names).ok()?,
        timeout: None,
        sign_in: sign_in.transpose().ok()?,
        request_redirect: value("auth-request-redirect").map(Template::read).transpose().ok()?,
        set_cookie: match value("auth-always-set-cookie").map(nginx_bool).transpose().ok()? {
            Some(true) => SetCookie::Always,
            Some(false) | None => SetCookie::WithSuccess,
        },
        request_headers: match value(ASKED_WITH) {
            Some(named) => Some(Box::new(config_maps::asked_with(reader, ASKED_WITH, named)?)),
            None => None,
        },
        field: field(NGINX, way),
    }))
}

/// `NAME:PORT/PATH`, of which the path may be left out.
fn service(text: &str) -> Result<Target, Malformed> {
    const GRAMMAR: Malformed = Malformed {
        message: "is no port of a Service with a path",
        remedy: "write NAME:PORT/PATH, such as auth:9000/check, with the port's number or name",
    };
    let (name, rest) = text.split_once(':').ok_or(GRAMMAR)?;
    let (port, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let port = match port.parse::<u16>() {
        Ok(number) if number > 0 && !port.starts_with(['+', '0']) => ServicePort::Number(number.into()),
        Err(_) if grammar::PORT_NAME.holds(port) && port.len() <= 15 => ServicePort::Name(port.to_owned()),
        _ => return Err(GRAMMAR),
    };
    let sound = grammar::LABEL.holds(name) && name.len() <= 63 && grammar::SENT_PATH.holds(path);
    if !sound || path.len() > 1024 {
        return Err(GRAMMAR);
    }
    Ok(Target::Service { name: name.to_owned(), port, path: path.to_owned() })
}

fn address(text: &str) -> Option<Url> {
    Url::read(text).ok().filter(|_| text.len() <= LONGEST)
}

fn timeout(text: &str) -> Result<Duration, Malformed> {
    text.parse().ok().filter(|duration: &Duration| !duration.is_zero()).ok_or(Malformed {
        message: "is no time that a service may take",
        remedy: "write a duration with unit (h, m, s, ms) above 0, such as 5s",
    })
}

/// Names of fields in lower case, each once.
fn names(text: &str) -> Result<Vec<String>, Malformed> {
    let mut found = Vec::new();
    for name in super::list(text).map(str::to_ascii_lowercase) {
        if !may_pass(&name) {
            return Err(Malformed {
                message: "names something that no backend can get of an authentication service",
                remedy: "write a comma list of field names, such as X-User, X-Groups; not those of connections and \
                         bodies, nor X-Forwarded-*",
            });
        }
        if !found.contains(&name) {
            found.push(name);
        }
    }
    if found.len() > 32 {
        return Err(Malformed { message: "names more than 32 fields", remedy: "name at most 32" });
    }
    Ok(found)
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

/// The longest address, in bytes.
const LONGEST: usize = 2048;

const NO_URL: Malformed = Malformed {
    message: "is no address of a service",
    remedy: "write an address such as http://auth.example.com:9000/check, or use longhaul.dev/auth-service",
};

const NO_NGINX_URL: Malformed = Malformed {
    message: "is no address that is served",
    remedy: "write an address whose host is a name or $host, with no other of nginx's variables than $host, \
             $http_host, $request_uri, $escaped_request_uri, $scheme, $request_method, $remote_addr, $http_NAME, \
             $arg_NAME and $cookie_NAME behind it",
};

const NO_METHOD: Malformed =
    Malformed { message: "is no method that a service is asked with", remedy: "write GET, HEAD or POST" };

const NO_PAGE: Malformed = Malformed {
    message: "is no address of a page",
    remedy: "write an address whose host is a name or $host, such as \
             https://$host/oauth2/start?rd=$escaped_request_uri",
};

const NO_PARAMETER: Malformed =
    Malformed { message: "is no name of a parameter", remedy: "write letters, digits and any of -._~" };

const NO_NAME: Malformed =
    Malformed { message: "is no name of a Secret", remedy: "write the name of a Secret in this namespace" };

const NO_REALM: Malformed =
    Malformed { message: "is no realm", remedy: "write one line of at most 256 bytes" };
