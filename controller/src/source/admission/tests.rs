//! Objects that the API server refuses, and the words in which that is said.

use super::super::manifest::{Item, Reading, read};
use super::*;

/// What is said of one object: line, field, message, remedy.
fn said(text: &str) -> Vec<String> {
    let Reading::Items(items) = read(text) else { panic!("not YAML: {text}") };
    let [item] = &items[..] else { panic!("{items:?}") };
    match item {
        Item::Accepted(_) => Vec::new(),
        Item::Refused(_, remarks) => remarks
            .iter()
            .map(|remark| {
                let diagnostic = &remark.diagnostic;
                assert!(!diagnostic.remedy.is_empty() && !diagnostic.reason.is_empty(), "{diagnostic}");
                format!("{} {}: {}", remark.line, diagnostic.field, diagnostic.message)
            })
            .collect(),
        Item::Foreign(remark) => panic!("{remark:?}"),
    }
}

fn object(text: &str) -> Object {
    let Reading::Items(items) = read(text) else { panic!("not YAML: {text}") };
    match &items[..] {
        [Item::Accepted(sound)] => sound.object.clone(),
        other => panic!("{other:?}"),
    }
}

/// Every text is refused with exactly this.
fn refused(head: &str, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        let said = said(&format!("{head}{body}"));
        assert!(said.len() == 1 && said[0].starts_with(expected), "{body}\n{said:#?}\nexpected: {expected}");
    }
}

const WSROUTE: &str = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: w}\nspec:\n";
const RULE: &str = "  rules:\n  - name: a\n    backends: [{service: s, port: 80}]\n";

#[test]
fn the_schema_compiles_with_all_its_rules() {
    fn errors(schema: &kube_cel::CompiledSchema) -> usize {
        let below = schema.properties.values().chain(schema.items.as_deref());
        schema.compilation_errors().len() + below.map(errors).sum::<usize>()
    }
    fn rules(schema: &kube_cel::CompiledSchema) -> usize {
        let below = schema.properties.values().chain(schema.items.as_deref());
        schema.validations.len() + below.map(rules).sum::<usize>()
    }
    let compiled = kube_cel::compile_schema(&crds::wsroute::schema());
    assert_eq!(errors(&compiled), 0);
    assert_eq!(rules(&compiled), 23, "those of the spec, its tls, its rules, and twice those of a policy");
}

#[test]
fn a_wsroute_is_held_to_its_schema() {
    let body = |more: &str| format!("{RULE}{more}");
    let cases: Vec<(String, &str)> = vec![
        ("  hosts: [a.test]\n".into(), "4 spec.rules: missing field `rules`"),
        ("  rules: []\n".into(), "5 spec.rules: the list has less than 1 items"),
        (body("    http: 1\n"), "8 spec.rules[0].http: 1 is not of type boolean"),
        (body("    policy: {timeouts: {idle: 5}}\n"), {
            "8 spec.rules[0].policy.timeouts.idle: 5 is not of type string"
        }),
        (body("    policy: {timeouts: {idle: 5 minutes}}\n"), {
            "8 spec.rules[0].policy.timeouts.idle: \"5 minutes\" does not have the form"
        }),
        (body("    policy: {limits: {bodySize: 1KB}}\n"), {
            "8 spec.rules[0].policy.limits.bodySize: \"1KB\" does not have the form"
        }),
        (body("    policy: {limits: {bodySize: -1}}\n"), {
            "8 spec.rules[0].policy.limits.bodySize: -1 is below 0"
        }),
        (body("    policy: {loadBalancing: {policy: Random}}\n"), {
            "8 spec.rules[0].policy.loadBalancing.policy: \"Random\" is none of the words"
        }),
        (body("    policy: {rewrite: {upstreamHost: \"a\\r\\nb\"}}\n"), {
            "8 spec.rules[0].policy.rewrite.upstreamHost: \"a\\r\\nb\" does not have the form"
        }),
        (body("    matches:\n    - headers: [{name: 'a b', value: x}]\n"), {
            "9 spec.rules[0].matches[0].headers[0].name: \"a b\" does not have the form"
        }),
        (body("    matches:\n    - path: {value: ws}\n"), {
            "9 spec.rules[0].matches[0].path.value: \"ws\" does not have the form"
        }),
        (body("    matches:\n    - path: {type: Regex, value: /ws}\n"), {
            "9 spec.rules[0].matches[0].path.type: \"Regex\" is none of the words"
        }),
        (body("  - name: a\n    backends: [{service: s, port: 80}]\n"), {
            "8 spec.rules[1].name: \"a\" is there twice"
        }),
        (body("  - name: b\n    backends: [{service: s, port: 0}]\n"), {
            "9 spec.rules[1].backends[0].port: 0 is below 1"
        }),
        (body("  - name: b\n    backends: [{service: s, port: '80'}]\n"), {
            "9 spec.rules[1].backends[0].port: \"80\" does not have the form"
        }),
        (body("  - name: b\n    backends: []\n"), "9 spec.rules[1].backends: the list has less than 1 items"),
        (body("  hosts: [a_b]\n"), "8 spec.hosts[0]: \"a_b\" does not have the form"),
        (
            body("  hosts: [Chat.example.com]\n"),
            "8 spec.hosts[0]: \"Chat.example.com\" does not have the form",
        ),
        (body("  tls:\n  - cipherSuites: [TLS_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n"), {
            "9 spec.tls[0].cipherSuites[1]: \"TLS_AES_128_GCM_SHA256\" is there twice"
        }),
        (body("  tls:\n  - minVersion: 1.2\n"), "9 spec.tls[0].minVersion: 1.2 is not of type string"),
        (body("  hosts: [a.test]\n  tls:\n  - hosts: [b.test]\n"), {
            "9 spec.tls: every host under tls must be one of spec.hosts"
        }),
        (body("    policy: {rewrite: {prefix: /, path: /}}\n"), {
            "8 spec.rules[0].policy.rewrite.path: prefix and path exclude each other"
        }),
        (body("    policy: {loadBalancing: {policy: ConsistentHash, hashOn: {}}}\n"), {
            "8 spec.rules[0].policy.loadBalancing.hashOn: hashOn must name exactly one thing"
        }),
        (body("  policy: {loadBalancing: {policy: ConsistentHash}}\n"), {
            "8 spec.policy.loadBalancing.policy: the policy ConsistentHash needs hashOn"
        }),
    ];
    for (body, expected) in &cases {
        refused(WSROUTE, &[(body, expected)]);
    }
    // Everything that is wrong is said at once, unknown fields too, and rules wait until each field is sound.
    let many = body("    http: 1\n    htp: true\n    policy: {rewrite: {prefix: '', path: /}}\n");
    let said = said(&format!("{WSROUTE}{many}"));
    let fields: Vec<_> = said.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        fields,
        ["8 spec.rules[0].http", "9 spec.rules[0].htp", "10 spec.rules[0].policy.rewrite.prefix"],
        "{said:#?}"
    );
}

#[test]
fn a_sound_wsroute_passes_with_its_defaults() {
    let text = format!(
        "{WSROUTE}  hosts: [a.test, '*.b.test']\n  tls:\n  - hosts: [x.b.test]\n    secretName: s\n    minVersion: '1.3'\n{RULE}    \
         matches:\n    - path: {{value: /ws}}\n      headers: [{{name: X-A, value: b}}]\n    http:\n    policy:\n      \
         limits: {{bodySize: 1048576}}\n      loadBalancing: {{policy: ConsistentHash, hashOn: {{path: {{}}}}}}\n\
         status:\n  conditions: [{{type: Accepted, status: 'True', lastTransitionTime: now, reason: A, message: ''}}]\n"
    );
    let Object::WsRoute(route) = object(&text) else { panic!("a WsRoute") };
    let rule = &route.spec.rules[0];
    assert!(!rule.http, "null is absent, and that is false");
    let matched = &rule.matches[0];
    assert_eq!(matched.path.as_ref().unwrap().kind, crds::wsroute::PathKind::Prefix);
    assert_eq!(matched.headers[0].kind, crds::wsroute::ValueKind::Exact);
    assert_eq!(route.status, None, "what a file says of it does not count");
    // The defaults of the types are those of the schema.
    let schema = crds::wsroute::schema();
    let rule = &schema["properties"]["spec"]["properties"]["rules"]["items"]["properties"];
    let of_match = &rule["matches"]["items"]["properties"];
    assert_eq!(rule["http"]["default"], false);
    assert_eq!(of_match["path"]["properties"]["type"]["default"], "Prefix");
}

#[test]
fn an_ingress_is_refused_where_the_api_server_would() {
    let head = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n";
    let path =
        |path: &str| format!("spec:\n  rules:\n  - host: a.test\n    http:\n      paths:\n      - {path}\n");
    let backend = |backend: &str| path(&format!("{{path: /, pathType: Prefix, backend: {backend}}}"));
    let sound = "backend: {service: {name: s, port: {number: 80}}}";
    let typed = |text: &str| path(&format!("{{{text}, {sound}}}"));
    let at = "spec.rules[0].http.paths[0]";
    let cases: Vec<(String, String)> = vec![
        (String::new(), "1 spec: an Ingress needs `rules` or a `defaultBackend`".into()),
        ("spec: {ingressClassName: a}\n".into(), "4 spec: an Ingress needs `rules`".into()),
        (
            "spec: {rules: [{host: 10.0.0.1}]}\n".into(),
            "4 spec.rules[0].host: `10.0.0.1` is an address".into(),
        ),
        ("spec: {rules: [{host: A.test}]}\n".into(), "4 spec.rules[0].host: `A.test` does not have".into()),
        ("spec: {rules: [{host: '*'}]}\n".into(), "4 spec.rules[0].host: `*` does not have".into()),
        ("spec: {rules: [{host: a.*.b}]}\n".into(), "4 spec.rules[0].host: `a.*.b` does not have".into()),
        (
            "spec: {rules: [{http: {paths: []}}]}\n".into(),
            "4 spec.rules[0].http.paths: a rule needs at least".into(),
        ),
        (
            "spec: {rules: [{}], tls: [{hosts: [a_b]}]}\n".into(),
            "4 spec.tls[0].hosts[0]: `a_b` does not".into(),
        ),
        (
            "spec: {rules: [{}], tls: [{secretName: A}]}\n".into(),
            "4 spec.tls[0].secretName: `A` does not".into(),
        ),
        (
            "spec: {rules: [{}], ingressClassName: a/b}\n".into(),
            "4 spec.ingressClassName: `a/b` does not".into(),
        ),
        (typed("path: /"), format!("9 {at}.pathType: a path needs `pathType`")),
        (typed("path: /, pathType: prefix"), format!("9 {at}.pathType: `prefix` is no type of a path")),
        (typed("pathType: Prefix"), format!("9 {at}.path: `` is no absolute path")),
        (typed("path: a, pathType: Exact"), format!("9 {at}.path: `a` is no absolute path")),
        (typed("path: a, pathType: ImplementationSpecific"), format!("9 {at}.path: `a` is no absolute path")),
        (typed("path: /a//b, pathType: Prefix"), format!("9 {at}.path: `/a//b` contains `//`")),
        (typed("path: /a/.., pathType: Prefix"), format!("9 {at}.path: `/a/..` contains `/..`")),
        (typed("path: /a%2fb, pathType: Exact"), format!("9 {at}.path: `/a%2fb` contains `%2f`")),
        (backend("{}"), format!("9 {at}.backend: a backend needs a `service` or a `resource`")),
        (backend("{service: {name: s}}"), format!("9 {at}.backend.service.port: a port needs a `name` or")),
        (backend("{service: {name: s, port: {}}}"), format!("9 {at}.backend.service.port: a port needs")),
        (backend("{service: {name: s, port: {name: a, number: 1}}}"), {
            format!("9 {at}.backend.service.port: a port has a `name` or a `number`, not both")
        }),
        (backend("{service: {name: s, port: {number: 70000}}}"), {
            format!("9 {at}.backend.service.port.number: 70000 is no port")
        }),
        (backend("{service: {name: s, port: {name: '80'}}}"), {
            format!("9 {at}.backend.service.port.name: `80` does not have the form")
        }),
        (
            backend("{service: {name: S, port: {number: 80}}}"),
            format!("9 {at}.backend.service.name: `S` does"),
        ),
        (backend("{service: {name: s, port: {number: 80}}, resource: {kind: a, name: b}}"), {
            format!("9 {at}.backend: a backend is a `service` or a `resource`, not both")
        }),
        ("spec: {defaultBackend: {}}\n".into(), "4 spec.defaultBackend: a backend needs".into()),
    ];
    for (body, expected) in &cases {
        refused(head, &[(body, expected)]);
    }
    for sound in [
        typed("path: /a, pathType: Prefix"),
        typed("pathType: ImplementationSpecific"),
        backend("{resource: {kind: a, name: b}}"),
        "spec: {defaultBackend: {service: {name: s, port: {name: ws}}}}\n".into(),
        "spec: {rules: [{host: '*.a.test'}], tls: [{hosts: ['*.a.test']}]}\n".into(),
    ] {
        assert_eq!(said(&format!("{head}{sound}")), [""; 0], "{sound}");
    }
    let both = head.replace("{name: a}", "{name: a, annotations: {kubernetes.io/ingress.class: x}}");
    refused(
        &both,
        &[("spec: {rules: [{}], ingressClassName: x}\n", {
            "3 metadata.annotations[kubernetes.io/ingress.class]: it cannot be set when"
        })],
    );
}

#[test]
fn a_service_is_refused_where_the_api_server_would() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    refused(
        service,
        &[
            ("", "1 spec.ports: a Service needs at least one port"),
            ("spec: {ports: [{port: 0}]}\n", "4 spec.ports[0].port: 0 is no port"),
            (
                "spec: {ports: [{port: 80}, {port: 81, name: a}]}\n",
                "4 spec.ports[0].name: a port needs a name",
            ),
            (
                "spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}\n",
                "4 spec.ports[1].name: two ports are named",
            ),
            (
                "spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}\n",
                "4 spec.ports[1].port: two ports are TCP 80",
            ),
            ("spec: {ports: [{port: 80, name: A}]}\n", "4 spec.ports[0].name: `A` does not have the form"),
            (
                "spec: {ports: [{port: 80, protocol: tcp}]}\n",
                "4 spec.ports[0].protocol: `tcp` is no protocol",
            ),
            (
                "spec: {ports: [{port: 80, targetPort: 99999}]}\n",
                "4 spec.ports[0].targetPort: 99999 is no port",
            ),
            ("spec: {ports: [{port: 80, targetPort: A}]}\n", "4 spec.ports[0].targetPort: `A` does not have"),
            ("spec: {type: Odd, ports: [{port: 80}]}\n", "4 spec.type: `Odd` is no type of a Service"),
            ("spec: {type: ExternalName}\n", "4 spec.externalName: `` does not have the form"),
        ],
    );
    for sound in ["spec: {clusterIP: None}\n", "spec: {type: ExternalName, externalName: a.test}\n"] {
        assert_eq!(said(&format!("{service}{sound}")), [""; 0], "{sound}");
    }
}

#[test]
fn other_kinds_are_refused_where_the_api_server_would() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\n";
    refused(
        slice,
        &[
            ("endpoints: []\n", "1 addressType: an EndpointSlice needs `addressType`"),
            ("addressType: IPv5\nendpoints: []\n", "4 addressType: `IPv5` is no type of addresses"),
            (
                "addressType: IPv4\nendpoints: [{addresses: []}]\n",
                "5 endpoints[0].addresses: an endpoint needs",
            ),
            (
                "addressType: IPv4\nendpoints: [{addresses: [300.1.2.3]}]\n",
                "5 endpoints[0].addresses[0]: `300.1.2.3` is",
            ),
            (
                "addressType: IPv4\nendpoints: [{addresses: ['::1']}]\n",
                "5 endpoints[0].addresses[0]: `::1` is no IPv4",
            ),
            (
                "addressType: IPv6\nendpoints: [{addresses: [1.2.3.4]}]\n",
                "5 endpoints[0].addresses[0]: `1.2.3.4` is",
            ),
            (
                "addressType: IPv4\nendpoints: [{addresses: [0.0.0.0]}]\n",
                "5 endpoints[0].addresses[0]: `0.0.0.0` is",
            ),
            (
                "addressType: IPv4\nendpoints: []\nports: [{port: 70000}]\n",
                "6 ports[0].port: 70000 is no port",
            ),
            (
                "addressType: IPv4\nendpoints: []\nports: [{port: 1}, {port: 2}]\n",
                "6 ports[1].name: two ports are named",
            ),
            (
                "addressType: IPv4\nendpoints: []\nports: [{port: 1, protocol: x}]\n",
                "6 ports[0].protocol: `x` is no",
            ),
        ],
    );
    let sound = "addressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]\nports: [{port: 1}]\n";
    assert_eq!(said(&format!("{slice}{sound}")), [""; 0]);
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: a}\n";
    refused(
        class,
        &[
            ("", "1 spec.controller: an IngressClass needs `controller`"),
            ("spec: {controller: longhaul}\n", "4 spec.controller: `longhaul` is no controller's name"),
        ],
    );
    assert_eq!(said(&format!("{class}spec: {{controller: longhaul.dev/ingress-controller}}\n")), [""; 0]);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
    refused(
        secret,
        &[
            (
                "type: kubernetes.io/tls\nstringData: {tls.crt: x}\n",
                "1 data[tls.key]: a Secret of type kubernetes.io/tls",
            ),
            (
                "type: kubernetes.io/tls\ndata: {tls.key: aGk=}\n",
                "5 data[tls.crt]: a Secret of type kubernetes.io/tls",
            ),
            ("stringData: {a/b: x}\n", "1 data[a/b]: `a/b` cannot be a key of a Secret"),
        ],
    );
    refused(
        "apiVersion: v1\nkind: Secret\n",
        &[("metadata: {name: a, namespace: A}\n", "3 metadata.namespace: `A`")],
    );
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, name: a}, \
                {port: 81, name: b, targetPort: ws, protocol: UDP}]}\n";
    let Object::Service(service) = object(text) else { panic!("a Service") };
    let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
    let shown: Vec<_> = ports
        .iter()
        .map(|port| (port.protocol.as_deref(), format!("{:?}", port.target_port.as_ref().unwrap())))
        .collect();
    assert_eq!(shown, [(Some("TCP"), "Int(80)".into()), (Some("UDP"), "String(\"ws\")".into())]);
    assert_eq!(service.metadata.creation_timestamp, None, "what is absent counts as oldest");
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n\
                endpoints: []\nports: [{port: 1}]\n";
    let Object::EndpointSlice(slice) = object(text) else { panic!("an EndpointSlice") };
    let port = &slice.ports.as_ref().unwrap()[0];
    assert_eq!((port.protocol.as_deref(), port.name.as_deref()), (Some("TCP"), Some("")));
    let Object::Secret(secret) = object("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n") else {
        panic!("a Secret")
    };
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
}

#[test]
fn a_config_map_is_read_without_complaint() {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    assert_eq!(said(&format!("{head}data: {{a: b}}\n")), [""; 0]);
    refused(
        head,
        &[
            ("dta: {a: b}\n", "4 dta: unknown field `dta`"),
            ("data: {'a b': c}\n", "4 data[a b]: `a b` cannot be a key of a ConfigMap"),
            ("binaryData: {'..': AAAA}\n", "4 binaryData[..]: `..` cannot be a key of a ConfigMap"),
        ],
    );
}

#[test]
fn a_secrets_values_stay_secret_and_its_keys_do_not() {
    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
    let values = said(&format!("{head}stringData: {{'a b': hunter2}}\n")).join("\n");
    assert!(values.contains("a b") && !values.contains("hunter2"), "{values}");
}
