//! Layers and who says what in them.

use serde_json::json;

use super::*;
use crate::store::Change;
use crate::translate;

fn world(objects: &[Value]) -> (Store, Settings) {
    let mut store = Store::default();
    for object in objects {
        let object = match object["kind"].as_str() {
            Some("Ingress") => Object::Ingress(serde_json::from_value(object.clone()).unwrap()),
            Some("IngressClass") => Object::IngressClass(serde_json::from_value(object.clone()).unwrap()),
            Some("WsPolicy") => Object::WsPolicy(serde_json::from_value(object.clone()).unwrap()),
            _ => Object::WsRoute(serde_json::from_value(object.clone()).unwrap()),
        };
        store.apply(Change::Upsert(object));
    }
    (store, Settings { built_in_class: Some("longhaul".into()), ..Settings::default() })
}

fn ingress(annotations: &Value) -> Value {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "a", "namespace": "d", "annotations": annotations},
        "spec": {"ingressClassName": "longhaul", "rules": [{"host": "a.test", "http": {"paths": [
            {"path": "/x", "pathType": "Prefix", "backend": backend},
        ]}}]},
    })
}

/// Of the only route of the objects: each setting as `name=value < layer: fields: value < …`, without what nobody but
/// the built-in layer says.
fn said(objects: &[Value]) -> (String, Vec<String>) {
    let (store, settings) = world(objects);
    let outcome = translate(&store, &settings);
    let routes = outcome.snapshot.sections().filter_map(|(_, section)| match section.unwrap() {
        snapshot::Section::Host(host) => Some(host.routes),
        _ => None,
    });
    let route = routes.flatten().next().unwrap();
    let Provenance { field, settings } = provenance(&store, &settings, &route.id, None).unwrap();
    let lines =
        settings.iter().filter(|setting| setting.said.iter().any(|saying| saying.layer != "built in"));
    let line = |setting: &Setting| {
        let said: Vec<_> = setting
            .said
            .iter()
            .map(|saying| format!("{}: {}: {}", saying.layer, saying.fields.join(" "), saying.value))
            .collect();
        format!("{}={} < {}", setting.name, setting.value, said.join(" < "))
    };
    (field, lines.map(line).collect())
}

#[test]
fn an_annotation_lies_on_what_is_built_in() {
    let (field, lines) = said(&[ingress(&json!({"longhaul.dev/idle-timeout": "5m"}))]);
    assert_eq!(field, "spec.rules[0].http.paths[0]");
    let idle = "timeouts.idle=\"5m\" < annotations: metadata.annotations[longhaul.dev/idle-timeout]: \"5m\" < \
                built in: : \"1h\"";
    assert_eq!(lines, [idle]);
}

#[test]
fn a_class_lies_below_and_above() {
    let named = json!({
        "apiGroup": "longhaul.dev", "kind": "WsPolicy", "name": "all", "namespace": "ops", "scope": "Namespace",
    });
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "longhaul"},
        "spec": {"controller": "longhaul.dev/ingress-controller", "parameters": named},
    });
    let policy = json!({
        "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsPolicy", "metadata": {"name": "all", "namespace": "ops"},
        "spec": {"defaults": {"timeouts": {"idle": "2h"}}, "overrides": {"timeouts": {"send": "9s"}}},
    });
    let own = json!({"longhaul.dev/idle-timeout": "5m", "longhaul.dev/send-timeout": "1s"});
    let (_, lines) = said(&[class, policy, ingress(&own)]);
    let idle = "timeouts.idle=\"5m\" < annotations: metadata.annotations[longhaul.dev/idle-timeout]: \"5m\" < class \
                defaults: WsPolicy ops/all: spec.defaults.timeouts.idle: \"2h\" < built in: : \"1h\"";
    let send = "timeouts.send=\"9s\" < class overrides: WsPolicy ops/all: spec.overrides.timeouts.send: \"9s\" < \
                annotations: metadata.annotations[longhaul.dev/send-timeout]: \"1s\" < built in: : \"1m\"";
    assert_eq!(lines, [idle, send]);
}

#[test]
fn our_annotation_lies_on_ingress_nginxs() {
    let annotations = json!({
        "longhaul.dev/connect-timeout": "7s", "nginx.ingress.kubernetes.io/proxy-connect-timeout": "9",
        "nginx.ingress.kubernetes.io/proxy-body-size": "1m",
    });
    let (_, lines) = said(&[ingress(&annotations)]);
    let body = lines.iter().find(|line| line.starts_with("maxBody=")).unwrap();
    assert!(
        body.starts_with(
            "maxBody=1048576 < annotations: metadata.annotations[nginx.ingress.kubernetes.io/proxy-body-size]: \
             1048576 < built in"
        ),
        "{body}"
    );
    let connect = lines.iter().find(|line| line.starts_with("timeouts.connect=")).unwrap();
    let wanted = "timeouts.connect=\"7s\" < annotations: metadata.annotations[longhaul.dev/connect-timeout]: \"7s\" < \
                  ingress-nginx's annotations: \
                  metadata.annotations[nginx.ingress.kubernetes.io/proxy-connect-timeout]: \"9s\" < built in: : \"5s\"";
    assert_eq!(connect, wanted);
}

#[test]
fn of_two_that_say_the_same_ours_is_named() {
    let annotations =
        json!({"longhaul.dev/idle-timeout": "5m", "nginx.ingress.kubernetes.io/proxy-read-timeout": "300"});
    let (_, lines) = said(&[ingress(&annotations)]);
    let idle = lines.iter().find(|line| line.starts_with("timeouts.idle=")).unwrap();
    assert!(
        idle.starts_with(
            "timeouts.idle=\"5m\" < annotations: metadata.annotations[longhaul.dev/idle-timeout]: "
        ),
        "{idle}"
    );
    assert!(idle.contains(" < ingress-nginx's annotations: metadata.annotations[nginx.ingress"), "{idle}");
}

#[test]
fn a_rules_policy_lies_on_the_objects() {
    let route = json!({
        "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute", "metadata": {"name": "a", "namespace": "d"},
        "spec": {
            "policy": {"timeouts": {"idle": "5m", "send": "9s"}, "auth": {"basic": {"secretName": "users"}}},
            "rules": [{
                "name": "live", "backends": [{"service": "s", "port": 80}],
                "policy": {"timeouts": {"idle": "7m"}, "loadBalancing": {"hashOn": {"header": "X-Room"}}},
            }],
        },
    });
    let (field, lines) = said(&[route]);
    assert_eq!(field, "spec.rules[0]");
    let wanted = [
        "loadBalancing.hashOn=[{\"Header\":\"x-room\"}] < rule: spec.rules[0].policy.loadBalancing.hashOn.header: \
         [{\"Header\":\"x-room\"}]",
        "timeouts.idle=\"7m\" < rule: spec.rules[0].policy.timeouts.idle: \"7m\" < policy: spec.policy.timeouts.idle: \
         \"5m\" < built in: : \"1h\"",
        "timeouts.send=\"9s\" < policy: spec.policy.timeouts.send: \"9s\" < built in: : \"1m\"",
    ];
    let rest: Vec<_> = lines.iter().filter(|line| !line.starts_with("auth=")).collect();
    assert_eq!(rest, wanted);
    let auth = lines.iter().find(|line| line.starts_with("auth=")).unwrap();
    assert!(auth.contains("policy: spec.policy.auth.basic.secretName: "), "{auth}");
}

#[test]
fn what_is_said_without_effect_is_told() {
    // No request could have this path.
    let (_, lines) = said(&[ingress(&json!({"longhaul.dev/rewrite-prefix": "/a/../b"}))]);
    let wanted = "rewrite.path=null < annotations: metadata.annotations[longhaul.dev/rewrite-prefix]: \
                  {\"Prefix\":\"/a/../b\"}";
    assert_eq!(lines, [wanted]);
}

#[test]
fn what_comes_first_says_why() {
    let route = |path: PathMatch, rule: &str, conditions: usize| {
        let owner = snapshot::ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: "a".into() };
        let id = RouteId { owner, rule: rule.into(), matched: path.to_string() };
        let header = snapshot::Condition { name: "x".into(), value: snapshot::ValueMatch::Exact("1".into()) };
        let conditions = Conditions { headers: vec![header; conditions], ..Conditions::default() };
        Route { conditions, ..Route::new(id, path, snapshot::Action::Broken(String::new())) }
    };
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let exact = |path: &str| PathMatch::Exact(path.into());
    let regex = |path: &str| PathMatch::Regex(path.into());
    for (first, second, why) in [
        ((exact("/a"), "r", 0), (prefix("/a"), "r", 9), Precedence::ExactPath),
        ((prefix("/a/b"), "r", 0), (prefix("/a"), "r", 1), Precedence::LongerPath),
        ((prefix("/a"), "r", 0), (regex("/a.*"), "r", 0), Precedence::PlainPath),
        ((regex("/a.*x"), "r", 0), (regex("/a.*"), "r", 0), Precedence::LongerPattern),
        ((prefix("/a"), "r", 1), (prefix("/a"), "r", 0), Precedence::MoreConditions),
        ((prefix("/a"), "r", 1), (prefix("/a"), "s", 1), Precedence::OlderObject),
        ((prefix("/a"), "r", 0), (prefix("/"), "defaultBackend", 0), Precedence::RuleBeforeDefault),
    ] {
        let made = |(path, rule, conditions)| route(path, rule, conditions);
        let (first, second) = (made(first), made(second));
        assert_eq!(precedence(&first, &second), why, "{first:?} {second:?}");
    }
}
