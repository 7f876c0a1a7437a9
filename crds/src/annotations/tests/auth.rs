//! Who is let in: keys that mean something together.

use super::*;
use crate::policy::auth::{Auth, Basic, External, ServicePort, Target, Url, UsersForm};

fn basic(secret: &str, form: UsersForm, realm: &str, field: &str) -> Auth {
    let field = format!("metadata.annotations[{field}]");
    Auth::Basic(Basic { secret: secret.into(), namespace: None, form, realm: realm.into(), field })
}

#[test]
fn users_of_both_families() {
    const SECRET: (&str, &str) = ("longhaul.dev/auth-basic-secret", "users");
    const TYPE: (&str, &str) = ("nginx.ingress.kubernetes.io/auth-type", "basic");
    const THEIRS: (&str, &str) = ("nginx.ingress.kubernetes.io/auth-secret", "default/map");
    let form = ("nginx.ingress.kubernetes.io/auth-secret-type", "auth-map");
    let ours = basic("users", UsersForm::File, "Restricted", SECRET.0);
    let realm = ("longhaul.dev/auth-basic-realm", "Staff");
    let with_realm = basic("users", UsersForm::File, "Staff", SECRET.0);
    for (annotations, wanted) in [
        (&[SECRET][..], ours.clone()),
        (&[SECRET, realm], with_realm),
        (&[TYPE, THEIRS], basic("map", UsersForm::File, "", THEIRS.0)),
        (
            &[TYPE, THEIRS, form, ("nginx.ingress.kubernetes.io/auth-realm", "Staff")],
            basic("map", UsersForm::Map, "Staff", THEIRS.0),
        ),
        // Ours replace theirs whole.
        (&[SECRET, TYPE, THEIRS, form], ours.clone()),
        (&[SECRET, TYPE], ours),
    ] {
        let reading = read_all(annotations);
        assert_eq!((reading.patch.auth, reading.closed), (Some(wanted), None), "{annotations:?}");
        assert_eq!(reading.diagnostics, [], "{annotations:?}");
    }
    for (annotations, said) in [
        (&[realm][..], "says nothing without longhaul.dev/auth-basic-secret"),
        (&[TYPE], "says nothing without nginx.ingress.kubernetes.io/auth-secret"),
        (&[THEIRS], "says nothing without nginx.ingress.kubernetes.io/auth-type"),
        (&[form], "says nothing without nginx.ingress.kubernetes.io/auth-type"),
        (&[("nginx.ingress.kubernetes.io/auth-realm", "x")], "says nothing without"),
        (&[TYPE, (THEIRS.0, "other/map")], "is in another namespace"),
        (&[TYPE, (THEIRS.0, "a/b/c")], "is no name of a Secret"),
        (&[(TYPE.0, "digest"), THEIRS], "digest is older and weaker"),
        (&[(TYPE.0, "xbasicx"), THEIRS], "is no way to authenticate"),
        (&[TYPE, THEIRS, (form.0, "auth-mapp")], "is no form of a Secret"),
        (&[(SECRET.0, "a b")], "is no name of a Secret"),
    ] {
        let reading = read_all(annotations);
        assert!(reading.closed.is_some() && reading.patch.auth.is_none(), "{annotations:?}");
        assert!(reading.diagnostics.iter().any(|one| one.message.contains(said)), "{reading:?}");
        assert!(reading.diagnostics.iter().all(|one| one.severity == Severity::Error), "{reading:?}");
    }
}

fn external(annotations: &[(&str, &str)]) -> External {
    let reading = read_all(annotations);
    assert_eq!((&reading.closed, &reading.diagnostics[..]), (&None, &[][..]), "{annotations:?}");
    match reading.patch.auth {
        Some(Auth::External(external)) => external,
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_of_both_families() {
    const SERVICE: (&str, &str) = ("longhaul.dev/auth-service", "auth:web/check");
    const URL: (&str, &str) = ("nginx.ingress.kubernetes.io/auth-url", "http://$host/auth");
    const SIGN_IN: &str = "nginx.ingress.kubernetes.io/auth-signin";
    let (name, path) = ("auth".to_owned(), "/check".to_owned());
    let port = ServicePort::Name("web".into());
    let ours = external(&[
        SERVICE,
        ("longhaul.dev/auth-response-headers", "X-User, x-groups,X-USER"),
        ("longhaul.dev/auth-timeout", "1500ms"),
        URL,
    ]);
    assert_eq!(ours.target, Target::Service { name, port, path });
    assert_eq!(ours.response_headers, ["x-user", "x-groups"]);
    assert_eq!(ours.timeout.map(Duration::as_millis), Some(1500));
    let by_number = external(&[("longhaul.dev/auth-service", "auth:9000")]);
    let (port, path) = (ServicePort::Number(9000), "/".to_owned());
    assert_eq!(by_number.target, Target::Service { name: "auth".into(), port, path });
    let url = external(&[("longhaul.dev/auth-url", "http://auth.test/x")]);
    assert_eq!(url.target, Target::Url(Url::read("http://auth.test/x").unwrap()));

    let theirs = external(&[
        URL,
        ("nginx.ingress.kubernetes.io/auth-method", "HEAD"),
        ("nginx.ingress.kubernetes.io/auth-response-headers", "X-User"),
        ("nginx.ingress.kubernetes.io/auth-request-redirect", "https://$host$request_uri"),
        (SIGN_IN, "https://$host/start?x=1"),
        ("nginx.ingress.kubernetes.io/auth-signin-redirect-param", "back"),
    ]);
    assert_eq!(theirs.target, Target::Url(Url::read(URL.1).unwrap()));
    assert_eq!(
        (theirs.method.as_deref(), &theirs.response_headers[..]),
        (Some("HEAD"), &["x-user".to_owned()][..])
    );
    assert!(theirs.request_redirect.is_some());
    assert_eq!(theirs.sign_in.unwrap().parameter.as_deref(), Some("back"));
    let parameter = |page| external(&[URL, (SIGN_IN, page)]).sign_in.unwrap().parameter;
    assert_eq!(parameter("/start").as_deref(), Some("rd"));
    assert_eq!(parameter("/start?rd=$escaped_request_uri"), None, "it says so itself");
}

#[test]
fn services_that_cannot_be_asked_close() {
    const OURS: &str = "longhaul.dev/auth-";
    const THEIRS: &str = "nginx.ingress.kubernetes.io/auth-";
    for (family, annotations, said) in [
        (OURS, &[("service", "auth")][..], "is no port of a Service"),
        (OURS, &[("service", "other/auth:80")], "is no port of a Service"),
        (OURS, &[("service", "auth:0")], "is no port of a Service"),
        (OURS, &[("service", "auth:80?x")], "is no port of a Service"),
        (OURS, &[("url", "auth.test")], "is no address of a service"),
        (OURS, &[("url", "http://$host/")], "is no address of a service"),
        (OURS, &[("service", "auth:80"), ("url", "http://a/")], "are two ways to come in"),
        (OURS, &[("service", "auth:80"), ("basic-secret", "x")], "are two ways to come in"),
        (OURS, &[("service", "auth:80"), ("timeout", "0s")], "is no time that a service may take"),
        (OURS, &[("service", "auth:80"), ("response-headers", "X-User, Host")], "names something"),
        (OURS, &[("service", "auth:80"), ("response-headers", "X_Forwarded_For")], "names something"),
        (OURS, &[("response-headers", "X-User")], "says nothing without"),
        (OURS, &[("timeout", "5s")], "says nothing without"),
        (THEIRS, &[("url", "http://$http_x_auth/")], "is no address that is served"),
        (THEIRS, &[("url", "http://a/$upstream_addr")], "is no address that is served"),
        (THEIRS, &[("url", "http://a/"), ("method", "GET /")], "is no method"),
        (THEIRS, &[("url", "http://a/"), ("signin", "//evil.test")], "is no address of a page"),
        (THEIRS, &[("url", "http://a/"), ("signin", "https://$arg_to/")], "is no address of a page"),
        (THEIRS, &[("url", "http://a/"), ("signin-redirect-param", "rd")], "says nothing without"),
        (THEIRS, &[("url", "http://a/"), ("signin", "/l"), ("signin-redirect-param", "a&b")], "is no name"),
        (THEIRS, &[("url", "http://a/"), ("request-redirect", "a b")], "is no address of a page"),
        (THEIRS, &[("url", "http://a/"), ("type", "basic"), ("secret", "x")], "are two ways to come in"),
        (THEIRS, &[("signin", "/login")], "says nothing without"),
    ] {
        let annotations =
            annotations.iter().map(|(name, value)| (format!("{family}{name}"), (*value).to_owned()));
        let reading = read(&annotations.clone().collect(), &ingress(), true);
        let shown: Vec<_> = annotations.collect();
        assert!(reading.closed.is_some() && reading.patch.auth.is_none(), "{shown:?}");
        assert!(reading.diagnostics.iter().any(|one| one.message.contains(said)), "{shown:?}: {reading:?}");
    }
}
