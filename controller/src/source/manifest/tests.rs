//! One table: a text, and what is made of it.

use super::*;

fn show(text: &str) -> Vec<String> {
    let remark = |remark: &Remark| format!("{}: {}", remark.line, remark.diagnostic);
    match read(text) {
        Reading::Broken(broken) => vec![format!("broken {}", remark(&broken))],
        Reading::Items(items) => items
            .iter()
            .map(|item| match item {
                Item::Accepted(sound) => {
                    assert_eq!(sound.object.reference(), sound.reference);
                    format!("{}: {}", sound.lines.first(), sound.reference)
                }
                Item::Refused(reference, remarks) => {
                    let known = if reference.is_some() { "refused" } else { "refused, nameless" };
                    format!("{known} {}", remarks.iter().map(remark).collect::<Vec<_>>().join("; "))
                }
                Item::Foreign(foreign) => format!("foreign {}", remark(foreign)),
            })
            .collect(),
    }
}

const INGRESS: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\n";

#[test]
fn sound_objects_are_taken() {
    let cases: Vec<(String, &[&str])> = vec![
        (format!("{INGRESS}metadata: {{name: a}}\nspec: {{rules: [{{}}]}}\n"), &["1: Ingress default/a"]),
        (
            format!("{INGRESS}metadata: {{name: a, namespace: chat}}\nspec:\n  rules:\n  - host: x\n"),
            &["1: Ingress chat/a"],
        ),
        (
            format!(
                "{INGRESS}metadata: {{name: a}}\nspec: {{rules: [{{}}]}}\n---\n{SERVICE}metadata: {{name: b}}\n\
                 spec: {{ports: [{{port: 80}}]}}\n"
            ),
            &["1: Ingress default/a", "6: Service default/b"],
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: c, namespace: x}\n\
             spec: {controller: a.test/b}\n"
                .into(),
            &["1: IngressClass c"],
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n\
             - apiVersion: discovery.k8s.io/v1\n  kind: EndpointSlice\n  metadata: {name: e}\n  \
             addressType: IPv4\n  endpoints: [{addresses: [127.0.0.1]}]\n"
                .into(),
            &["4: Secret default/s", "7: EndpointSlice default/e"],
        ),
        (
            "{\"apiVersion\": \"v1\", \"kind\": \"ServiceList\",\n \"items\": [\n  {\"apiVersion\": \"v1\", \
             \"kind\": \"Service\", \"metadata\": {\"name\": \"j\"}, \"spec\": {\"clusterIP\": \"None\"}}]}"
                .into(),
            &["3: Service default/j"],
        ),
        (
            "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: w}\nspec:\n  rules:\n  \
             - name: r\n    backends: [{service: s, port: 80}]\n"
                .into(),
            &["1: WsRoute default/w"],
        ),
        ("# nothing\n".into(), &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(show(&text), expected, "{text}");
    }
}

#[test]
fn mistakes_are_refused_where_they_stand() {
    let cases: Vec<(String, &str)> = vec![
        (format!("{INGRESS}metadata: {{name: a}}\nspec:\n  rulez: []\n"), {
            "refused 5: Ingress default/a spec.rulez: unknown field `rulez` (did you mean `rules`?)"
        }),
        (format!("{INGRESS}metadata:\n  name: a\n  anotations: {{}}\n"), {
            "refused 5: Ingress default/a metadata.anotations: unknown field `anotations` \
             (did you mean `annotations`?)"
        }),
        (format!("{INGRESS}metadata:\n  name: a\n  annotations:\n    longhaul.dev/x: 5\n"), {
            "refused 6: Ingress default/a metadata.annotations[longhaul.dev/x]: invalid type: integer `5`, \
             expected a string (put the value in quotes)"
        }),
        (
            "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: w}\nspec:\n  rules:\n  \
             - name: r\n    backnds: []\n    backends: [{service: s, port: 80}]\n"
                .into(),
            "refused 7: WsRoute default/w spec.rules[0].backnds: unknown field `backnds` \
             (did you mean `backends`?)",
        ),
        (format!("{SERVICE}metadata: {{namespace: x}}\n"), {
            "refused, nameless 3: Service x/ metadata.name: an object needs `metadata.name` (use lower case \
             letters, digits, `-` and `.`)"
        }),
        (format!("{SERVICE}metadata: {{name: A_b}}\n"), {
            "refused, nameless 3: Service default/A_b metadata.name: `A_b` cannot be an object's name (use lower \
             case letters, digits, `-` and `.`)"
        }),
        ("kind: Service\nmetadata: {name: a}\n".into(), {
            "refused, nameless 1: Service a apiVersion: an object needs `apiVersion` (add it)"
        }),
        ("just text\n".into(), "refused, nameless 1:   apiVersion: an object needs `apiVersion` (add it)"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n".into(), {
            "foreign 2: Deployment default/d kind: objects of kind `Deployment` (apps/v1) are not read (read are: \
             Ingress, IngressClass, WsRoute, WsPolicy, Service, EndpointSlice, Secret, ConfigMap)"
        }),
        ("apiVersion: v1\nkind: Servce\nmetadata: {name: d}\n".into(), {
            "foreign 2: Servce default/d kind: objects of kind `Servce` (v1) are not read (did you mean `Service`?)"
        }),
        ("apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {name: d}\n".into(), {
            "foreign 1: Ingress default/d apiVersion: Ingress of `networking.k8s.io/v1beta1` is not read (write \
             `apiVersion: networking.k8s.io/v1`)"
        }),
        ("a: [\n".into(), "broken 2: File  : the file cannot be read:"),
        (format!("{SERVICE}metadata: {{name: a}}\nkind: Secret\n"), {
            "broken 4: File  : the file cannot be read: `kind` is already set on line 2"
        }),
    ];
    for (text, expected) in cases {
        let shown = show(&text);
        assert!(shown.len() == 1 && shown[0].starts_with(expected), "{text}\n{shown:#?}\n{expected}");
    }
}

#[test]
fn a_secrets_values_show_in_no_remark() {
    for data in
        ["data: {password: 'hunter2!'}", "data: {password: 42424242}", "stringData: {password: 42424242}"]
    {
        let shown = show(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{data}\n"));
        assert!(shown[0].starts_with("refused 4: Secret default/s"), "{shown:?}");
        assert!(!shown[0].contains("hunter2") && !shown[0].contains("424242"), "{shown:?}");
    }
}

#[test]
fn string_data_goes_over_data() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: b2xk, b: a2VwdA==}\nstringData: {a: new}\n";
    let Reading::Items(items) = read(text) else { panic!("it reads") };
    let [Item::Accepted(Sound { object: Object::Secret(secret), .. })] = &items[..] else {
        panic!("{items:?}")
    };
    let data = secret.data.as_ref().unwrap();
    assert_eq!((&*data["a"].0, &*data["b"].0), (&b"new"[..], &b"kept"[..]));
    assert_eq!(secret.string_data, None);
}

#[test]
fn fields_of_diagnostics_find_their_lines() {
    let text = format!(
        "{INGRESS}metadata:\n  name: a\n  annotations:\n    longhaul.dev/idle-timeout: 5s\nspec:\n  rules:\n  \
         - host: one\n  - host: two\n    http:\n      paths:\n      - {{path: /, pathType: Prefix, backend: \
         {{service: {{name: s, port: {{number: 80}}}}}}}}\n"
    );
    let Reading::Items(items) = read(&text) else { panic!("it reads") };
    let [Item::Accepted(sound)] = &items[..] else { panic!("{items:?}") };
    let cases = [
        ("metadata.annotations[longhaul.dev/idle-timeout]", 6),
        ("metadata.annotations[longhaul.dev/other]", 5),
        ("spec.rules[1].host", 10),
        ("spec.rules[1].http.paths[3].backend", 12),
        ("spec.tls", 7),
        ("status", 1),
        ("", 1),
    ];
    for (field, line) in cases {
        assert_eq!(sound.lines.of(field), line, "{field}");
    }
}
