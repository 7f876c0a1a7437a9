//! Who is let in: what the Secret or Service leads to that a layer names. Where it leads nowhere, the route closes.

mod htpasswd;

use crds::diagnostic::ObjectRef;
use crds::policy::auth as policy;
use crds::policy::auth::{
    Auth, Basic, External, Piece, ServicePort, Target, Template, Url, UsersForm, Variable,
};
use k8s_openapi::api::core::v1::Secret;
use snapshot::{AuthTarget, BasicAuth, ExternalAuth, LocalTargets, Millis, Reach, Scheme, SetCookie, User};

pub use htpasswd::is_password_hash;
pub(crate) use htpasswd::{MOST_USERS, Trouble};

use crate::absence::{self, Absence};
use crate::backends;
use crate::draft::{DraftBackend, Owner, PortRef};
use crate::endpoints::Local;
use crate::object::Reference;
use crate::policy::config_maps;
use crate::report::{Notes, remark};
use crate::settings::{AuthUrls, Settings};
use crate::store::{Kind, Name, Store};

/// What it names.
pub(crate) fn references(auth: &Auth, owner: &Owner) -> impl Iterator<Item = Reference> {
    let asked_with = match auth {
        Auth::External(external) => external.request_headers.as_deref(),
        Auth::Basic(_) | Auth::None | Auth::Unusable(_) => None,
    };
    let asked_with = asked_with.map(|named| config_maps::reference_to(named, owner));
    who_decides(auth, owner).into_iter().chain(asked_with)
}

fn who_decides(auth: &Auth, owner: &Owner) -> Option<Reference> {
    match auth {
        Auth::Basic(basic) => {
            Some((Kind::Secret, Name::new(home(basic.namespace.as_ref(), owner), &basic.secret)))
        }
        Auth::External(External { target: Target::Service { name, .. }, namespace, .. }) => {
            Some((Kind::Service, Name::new(home(namespace.as_ref(), owner), name)))
        }
        Auth::External(_) | Auth::None | Auth::Unusable(_) => None,
    }
}

/// The namespace of what is named: that of the layer which names it, where that says one, else the object's own.
fn home<'a>(namespace: Option<&'a String>, owner: &'a Owner) -> &'a str {
    namespace.map_or(owner.namespace(), String::as_str)
}

/// What a route's way to come in depends on, beside the objects that it names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) settings: &'a Settings,
    /// The route is for hosts that are named whole, so that no client chooses one.
    pub(crate) hosts_are_exact: bool,
}

/// Who is let in, or why nobody is.
pub(crate) fn resolve(
    auth: Option<&Auth>,
    owner: &Owner,
    (store, around): (&Store, Surroundings<'_>),
    notes: &mut Notes,
) -> Result<Option<snapshot::Auth>, String> {
    match auth {
        None | Some(Auth::None) => Ok(None),
        Some(Auth::Unusable(why)) => Err(why.clone()),
        Some(Auth::Basic(basic)) => self::basic(basic, owner, store, notes).map(Some),
        Some(Auth::External(external)) => {
            // Both, so that all is told that is wrong.
            let target = target(external, owner, (store, around), notes);
            let request_headers =
                config_maps::of_questions(external.request_headers.as_deref(), owner, store, notes);
            let (target, request_headers) = (target?, request_headers?);
            Ok(Some(snapshot::Auth::External(Box::new(ExternalAuth {
                target,
                method: external.method.clone().unwrap_or_else(|| "GET".into()),
                response_headers: external.response_headers.clone(),
                timeout: external.timeout.map_or(TIMEOUT, |timeout| Millis(timeout.as_millis())),
                sign_in: external.sign_in.as_ref().map(|sign_in| snapshot::SignIn {
                    url: template(&sign_in.url),
                    parameter: sign_in.parameter.clone(),
                }),
                request_redirect: external.request_redirect.as_ref().map(template),
                request_headers,
                set_cookie: match external.set_cookie {
                    policy::SetCookie::WithSuccess => SetCookie::WithSuccess,
                    policy::SetCookie::Always => SetCookie::Always,
                },
            }))))
        }
    }
}

/// How long an authentication service may take where nothing is said.
const TIMEOUT: Millis = Millis(5_000);

fn target(
    external: &External,
    owner: &Owner,
    (store, around): (&Store, Surroundings<'_>),
    notes: &mut Notes,
) -> Result<AuthTarget, String> {
    let object = owner.reference();
    let mut refused = |message: &str, remedy: &str| {
        let said = format!("{message}; the routes answer 503");
        let remark = remark(&object, &*external.field, "UnsupportedValue", said, remedy);
        // Several rules may say it of the same field.
        if !notes.diagnostics.contains(&remark) {
            notes.invalid(remark);
        }
        Err(message.to_owned())
    };
    match &external.target {
        Target::Service { name, port, path } => {
            let port = match port {
                ServicePort::Number(number) => PortRef::Number(*number),
                ServicePort::Name(name) => PortRef::Name(name.clone()),
            };
            let (service, field) = (name.clone(), external.field.clone());
            let backend = DraftBackend { service, port, weight: 1, reach: Reach::default(), field };
            let namespace = home(external.namespace.as_ref(), owner);
            let host = format!("{name}.{namespace}");
            backends::resolve(&backend, namespace, store)
                .map(|upstream| AuthTarget::Service { upstream, host, path: path.clone() })
                .map_err(|problem| {
                    let message = problem.message.clone();
                    let mut said = problem.diagnostic(&object);
                    said.message.push_str("; the routes answer 503");
                    notes.unresolved("BackendNotFound", said);
                    message
                })
        }
        Target::Url(_) if around.settings.auth_urls == AuthUrls::Refused => refused(
            "authentication services elsewhere are not asked: this controller runs with --auth-urls=false",
            "name a Service of this namespace with auth-service",
        ),
        Target::Url(Url { host: None, .. }) if !around.hosts_are_exact => refused(
            "$host would be what the client sends, who could so choose who lets him in",
            "name the service's host, or only whole hosts in the rules",
        ),
        Target::Url(Url { tls, host, port, target }) => {
            let scheme = if *tls { Scheme::Https } else { Scheme::Http };
            let local = match around.settings.local_endpoints() {
                Local::Served => LocalTargets::Allowed,
                Local::Refused => LocalTargets::Refused,
            };
            Ok(AuthTarget::Url { scheme, host: host.clone(), port: *port, target: template(target), local })
        }
    }
}

fn template(template: &Template) -> snapshot::Template {
    let pieces = template.0.iter().map(|piece| match piece {
        Piece::Text(text) => snapshot::Piece::Text(text.clone()),
        Piece::Variable(Variable::Host) => snapshot::Piece::Host,
        Piece::Variable(Variable::Authority) => snapshot::Piece::Authority,
        Piece::Variable(Variable::Target) => snapshot::Piece::Target,
        Piece::Variable(Variable::EscapedTarget) => snapshot::Piece::EscapedTarget,
        Piece::Variable(Variable::Scheme) => snapshot::Piece::Scheme,
        Piece::Variable(Variable::Method) => snapshot::Piece::Method,
        Piece::Variable(Variable::Client) => snapshot::Piece::Client,
        Piece::Variable(Variable::Header(name)) => snapshot::Piece::Header(name.clone()),
        Piece::Variable(Variable::Argument(name)) => snapshot::Piece::Argument(name.clone()),
        Piece::Variable(Variable::Cookie(name)) => snapshot::Piece::Cookie(name.clone()),
    });
    snapshot::Template(pieces.collect())
}

fn basic(basic: &Basic, owner: &Owner, store: &Store, notes: &mut Notes) -> Result<snapshot::Auth, String> {
    let name = Name::new(home(basic.namespace.as_ref(), owner), &basic.secret);
    let (object, key) = (owner.reference(), format!("{}/{}", name.namespace, name.name));
    let mut closed = |reason, message: String, remedy: &str| {
        let said = format!("{message}; the routes answer 503");
        notes.unresolved(reason, remark(&object, &*basic.field, reason, said, remedy));
        Err(message)
    };
    let Some(secret) = store.secret(&name) else {
        let remedy = match basic.form {
            UsersForm::File => "create it, with a file of htpasswd under its key auth",
            UsersForm::Map => "create it, with each user's hash under a key of the user's name",
        };
        let Absence { reason, message, remedy } = absence::of_secret(&name, store, remedy);
        return closed(reason, message, remedy);
    };
    let (users, troubles) = match read(secret, basic.form) {
        Ok(read) => read,
        Err((why, remedy)) => return closed("SecretInvalid", format!("Secret {key}: {why}"), remedy),
    };
    if users.is_empty() {
        let message = format!("Secret {key} has nobody in it who could log in");
        return closed("SecretInvalid", message, "add users with htpasswd -B");
    }
    for trouble in troubles {
        warn(&object, basic, &key, &trouble, notes);
    }
    Ok(snapshot::Auth::Basic(BasicAuth { realm: basic.realm.clone(), users }))
}

fn warn(object: &ObjectRef, basic: &Basic, key: &str, Trouble { whose, why }: &Trouble, notes: &mut Notes) {
    let message = format!("Secret {key}: {whose} {why}");
    let remedy = "hash the password with bcrypt, as htpasswd -B does";
    notes.warn(remark(object, &*basic.field, "SecretInvalid", message, remedy));
}

type Users = (Vec<User>, Vec<Trouble>);

/// The users of a Secret, by name, or why it has none that can be read.
fn read(secret: &Secret, form: UsersForm) -> Result<Users, (String, &'static str)> {
    let empty = std::collections::BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let users = match form {
        UsersForm::Map => htpasswd::of_map(data.iter().map(|(name, hash)| (&**name, &hash.0[..]))),
        UsersForm::File => {
            let file = data.get("auth").ok_or_else(|| {
                let remedy = "put a file of htpasswd there: kubectl create secret generic --from-file=auth";
                ("it has no key auth".to_owned(), remedy)
            })?;
            htpasswd::of_file(&file.0)
        }
    };
    if users.0.len() > MOST_USERS {
        let why = format!("it has more than {MOST_USERS} users");
        return Err((why, "ask an authentication service instead"));
    }
    Ok(users)
}
