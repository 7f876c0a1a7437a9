//! The Helm chart without a cluster: what it renders, what it refuses, and that what is derived from it is fresh.
//! `make reference` writes the derived files anew. Both versions of Helm must agree everywhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use e2e::chart::{CHART, Helm, KUBERNETES, checkout, documents, manifests};
use e2e::process::binary;
use serde_yaml::Value;

/// Sets of values, each in `chart/NAME.values.yaml`, with what they give in `chart/NAME.yaml`.
const SETS: [&str; 4] = ["default", "daemonset", "scoped", "everything"];

fn values(set: &str) -> [String; 2] {
    ["--values".into(), format!("e2e/tests/chart/{set}.values.yaml")]
}

/// Holds a file of the checkout to what it should be, or writes it.
fn hold(path: &str, fresh: &str) {
    let file = checkout().join(path);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(file, fresh).unwrap();
        return;
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    let line = text.lines().zip(fresh.lines()).position(|(old, new)| old != new);
    assert!(
        text == fresh,
        "{path} is not fresh (line {:?}): run `make reference` and look",
        line.map(|at| at + 1)
    );
}

fn parsed(document: &str) -> Value {
    serde_yaml::from_str(document).unwrap_or_else(|error| panic!("{error} in\n{document}"))
}

#[test]
fn the_chart_renders_as_it_was_reviewed() {
    for helm in Helm::wanted_by("what the chart renders") {
        for set in SETS {
            let mut rendered = documents(&helm.template("lh", "net", &values(set)).unwrap());
            for document in &rendered {
                parsed(document);
            }
            // Held to its own file below.
            rendered.retain(|document| !document.contains("\nkind: CustomResourceDefinition\n"));
            hold(&format!("e2e/tests/chart/{set}.yaml"), &format!("---\n{}", rendered.join("---\n")));
        }
    }
}

#[test]
fn the_definitions_are_the_crates_own_and_stay_on_uninstall() {
    let ours = ["wsroutes", "wspolicies"].map(|name| {
        let ours = fs::read_to_string(checkout().join(format!("crds/{name}.yaml"))).unwrap();
        hold(&format!("charts/longhaul/files/{name}.yaml"), &ours);
        ours
    });
    for helm in Helm::wanted_by("the chart's definitions of WsRoute and WsPolicy") {
        let rendered = helm.template("lh", "net", &["--show-only", "templates/crd.yaml"]).unwrap();
        let rendered = documents(&rendered);
        assert_eq!(rendered.len(), ours.len());
        for (rendered, ours) in rendered.iter().zip(&ours) {
            let mut rendered = parsed(rendered);
            let metadata = rendered["metadata"].as_mapping_mut().unwrap();
            let annotations = metadata.remove("annotations").unwrap();
            assert_eq!(annotations["helm.sh/resource-policy"], "keep");
            assert!(metadata.remove("labels").is_some());
            assert!(
                rendered == parsed(ours),
                "{}: a definition was changed on its way through the chart",
                helm.name
            );
        }
    }
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    for helm in Helm::wanted_by("the manifests") {
        let rendered = helm.template("longhaul", "longhaul", &["--no-hooks"]).unwrap();
        hold("manifests/longhaul.yaml", &manifests("longhaul", &rendered));
    }
}

#[test]
fn helm_has_nothing_to_remark() {
    for helm in Helm::wanted_by("helm lint") {
        for set in SETS {
            let arguments =
                [vec!["lint".into(), "--strict".into(), CHART.into()], values(set).into()].concat();
            let said = helm.run(&arguments).unwrap();
            assert!(said.success, "{}, {set}: {}{}", helm.name, said.output, said.error);
            let remarks = said.output.lines().filter(|line| line.starts_with('['));
            let remarks: Vec<_> = remarks.filter(|line| !line.contains("icon is recommended")).collect();
            assert!(remarks.is_empty(), "{}, {set}: {remarks:?}", helm.name);
        }
    }
}

/// One mistake each, as arguments, and what the message must name.
const MISTAKES: &[(&[&str], &[&str])] = &[
    // A name that is not a value, at every depth.
    (&["--set", "controler.replicaCount=3"], &["controler"]),
    (&["--set", "controller.replicas=3"], &["controller", "replicas"]),
    (&["--set", "controller.service.externalTraficPolicy=Local"], &["service", "externalTraficPolicy"]),
    (&["--set", "controller.service.ports.http2=80"], &["ports", "http2"]),
    (&["--set", "proxy.resources.request.cpu=1"], &["resources", "request"]),
    (&["--set", "controller.config.use-gzip=true"], &["controller", "config"]),
    // A value of another type.
    (&["--set-string", "controller.replicaCount=3"], &["replicaCount", "integer"]),
    (&["--set", "controller.replicaCount=2.5"], &["replicaCount", "integer"]),
    (&["--set", "proxy.drainPeriodSeconds=240s"], &["drainPeriodSeconds", "integer"]),
    (&["--set", "proxy.shutdownDelaySeconds=-1"], &["shutdownDelaySeconds"]),
    (&["--set", "controller.hostNetwork=yes"], &["hostNetwork", "boolean"]),
    (&["--set", "controller.hostPort=true"], &["hostPort", "object"]),
    (&["--set", "controller.podAnnotations.scrape=true"], &["podAnnotations", "string"]),
    (&["--set", "controller.publishAddresses=203.0.113.7"], &["publishAddresses", "array"]),
    (&["--set", "imagePullSecrets={registry}"], &["imagePullSecrets"]),
    // A value out of its bounds.
    (&["--set", "controller.kind=StatefulSet"], &["kind", "DaemonSet"]),
    (&["--set", "controller.service.type=None"], &["type", "ClusterIP"]),
    (&["--set", "controller.service.externalTrafficPolicy=local"], &["externalTrafficPolicy", "Cluster"]),
    (&["--set", "controller.containerPort.http=70000"], &["containerPort", "http"]),
    (&["--set", "controller.image.digest=0123abcd"], &["digest"]),
    (&["--set", "controller.trustedProxies={10.0.0.1}"], &["trustedProxies"]),
    (&["--set", "controller.proxyProtocolFrom={10.0.0.1}"], &["proxyProtocolFrom"]),
    (&["--set", "controller.ingressClassResource.name=My_Class"], &["ingressClassResource", "name"]),
    (&["--set", "controller.defaultTLSSecret=wildcard"], &["defaultTLSSecret"]),
    (&["--set", "controller.publishService.pathOverride=edge"], &["pathOverride"]),
    (&["--set", "proxy.runtimeVolumeSize=64M"], &["runtimeVolumeSize"]),
    (&["--set", "controller.extraArgs.--flag=x"], &["extraArgs", "--flag"]),
    (&["--set", "logging.format=xml"], &["format", "json"]),
    // Values that make no sense together.
    (
        &["--set", "controller.hostNetwork=true,controller.hostPort.enabled=true"],
        &["hostNetwork", "hostPort"],
    ),
    (
        &["--set", "controller.hostNetwork=true", "--set-string", "controller.sysctls.a=1"],
        &["controller.sysctls"],
    ),
    (&["--set", "controller.containerPort.http=8443"], &["controller.containerPort"]),
    (
        &["--set", "controller.service.enableHttp=false,controller.service.enableHttps=false"],
        &["enableHttp", "enableHttps"],
    ),
    (
        &["--set", "controller.publishAddresses={a.example},controller.publishNodeAddresses=true"],
        &["publishAddresses", "publishNodeAddresses"],
    ),
    (
        &[
            "--set",
            "controller.scope.enabled=true,controller.scope.namespace=a,controller.scope.namespaces={b}",
        ],
        &["controller.scope"],
    ),
    (
        &["--set", "controller.scope.enabled=true,controller.defaultTLSSecret=elsewhere/tls"],
        &["controller.defaultTLSSecret", "elsewhere/tls"],
    ),
    (
        &[
            "--set",
            "controller.scope.enabled=true,rbac.clusterScoped=false,controller.publishNodeAddresses=true",
        ],
        &["controller.publishNodeAddresses", "rbac.clusterScoped"],
    ),
    (
        &[
            "--set",
            "controller.scope.enabled=true,rbac.clusterScoped=false,controller.ingressClassResource.only=false",
        ],
        &["controller.ingressClassResource.only", "rbac.clusterScoped"],
    ),
];

#[test]
fn a_mistake_in_values_is_refused_by_name() {
    for helm in Helm::wanted_by("values that are refused") {
        for (mistake, names) in MISTAKES {
            let said = helm
                .run(&[&["template", "lh", CHART, "--kube-version", KUBERNETES], *mistake].concat())
                .unwrap();
            assert!(!said.success, "{} takes {mistake:?}", helm.name);
            for name in *names {
                assert!(
                    said.error.contains(name),
                    "{}: {mistake:?}: no {name} in\n{}",
                    helm.name,
                    said.error
                );
            }
        }
    }
}

/// The schema cannot forget a value, nor keep one that is gone.
#[test]
fn schema_and_values_have_the_same_names() {
    let read = |file: &str| fs::read_to_string(checkout().join(CHART).join(file)).unwrap();
    let schema: Value = serde_yaml::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_yaml::from_str(&read("values.yaml")).unwrap();
    let mut differences = Vec::new();
    compare("", &schema, &values, &mut differences);
    // What Helm hands to every chart that another one depends on.
    assert_eq!(differences, ["global is not in values.yaml"]);
}

fn compare(path: &str, schema: &Value, values: &Value, differences: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_mapping) else { return };
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        differences.push(format!("{path} takes any name"));
    }
    for (name, property) in properties {
        let path = format!("{path}{}", name.as_str().unwrap());
        match values.get(name) {
            Some(value) => compare(&format!("{path}."), property, value, differences),
            None => differences.push(format!("{path} is not in values.yaml")),
        }
    }
    for name in values.as_mapping().unwrap().keys().filter(|name| !properties.contains_key(name)) {
        differences.push(format!("{path}{} is not in the schema", name.as_str().unwrap()));
    }
}

/// The flags that the pods are started with exist: each is in the program's own help.
#[test]
fn programs_know_the_flags_of_the_chart() {
    for helm in Helm::wanted_by("flags of the chart") {
        for set in SETS {
            let rendered = helm.template("lh", "net", &values(set)).unwrap();
            let objects: Vec<_> = documents(&rendered).iter().map(|document| parsed(document)).collect();
            let templates = objects.iter().map(|object| &object["spec"]["template"]["spec"]);
            // The pod of `helm test` is one by itself.
            let pods: Vec<_> = templates.chain(objects.iter().map(|object| &object["spec"])).collect();
            let containers = pods.iter().filter_map(|pod| pod["containers"].as_sequence()).flatten();
            let ours: Vec<_> = containers.filter(|container| !container["command"].is_null()).collect();
            assert_eq!(ours.len(), 3, "{set}: controller, proxy and test");
            for container in ours {
                flags_are_known(set, container);
            }
        }
    }
}

/// Each argument that is no flag, but `--`, names a subcommand whose help is then the one that counts.
fn flags_are_known(set: &str, container: &Value) {
    let program = container["command"][0].as_str().unwrap();
    let help = |subcommand: Option<&str>| {
        let mut command = Command::new(binary(program).unwrap());
        let said = command.args(subcommand).arg("--help").output().unwrap();
        assert!(said.status.success(), "{set}: {program} has no {subcommand:?}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let mut known = help(None);
    for argument in container["args"].as_sequence().unwrap() {
        let argument = argument.as_str().unwrap();
        if argument == "--" {
            continue;
        }
        if !argument.starts_with("--") {
            known = help(Some(argument));
            continue;
        }
        let flag = argument.split('=').next().unwrap();
        // A flag with an optional value is shown as `--flag[=<VALUE>]`.
        let words = known.split_whitespace().map(|word| word.split(['[', '=']).next().unwrap_or(word));
        assert!(words.into_iter().any(|word| word == flag), "{set}: {program} does not know {flag}");
    }
}
