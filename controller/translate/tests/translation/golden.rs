//! Golden pairs: what the objects of `cases/*/in.yaml` translate to, as `cases/*/out.yaml`. `UPDATE_GOLDEN=1`
//! writes the second from the first; read what it wrote before you keep it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use translate::{Outcome, translate};

use crate::manifests::Case;

pub(crate) fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What is compared: everything, less what nobody could read.
fn view(outcome: &Outcome) -> Value {
    let mut sections = outcome.snapshot.view()["sections"].take();
    for section in sections.as_object_mut().unwrap().values_mut() {
        for route in section.pointer_mut("/Host/routes").and_then(Value::as_array_mut).into_iter().flatten() {
            leave_out_defaults(route);
        }
        if let Some(listener) = section.pointer_mut("/Listener").and_then(Value::as_object_mut)
            && listener["proxy_protocol_from"] == json!([])
        {
            listener.remove("proxy_protocol_from");
        }
        if let Some(tls) = section.pointer_mut("/Host/tls").and_then(Value::as_object_mut)
            && tls["clients"].is_null()
        {
            tls.remove("clients");
        }
        for list in ["authorities", "revoked"] {
            let list = section.pointer_mut(&format!("/Host/tls/clients/verification/{list}"));
            for der in list.and_then(Value::as_array_mut).into_iter().flatten() {
                *der = json!(format!("{} bytes", der.as_array().unwrap().len()));
            }
        }
        let endpoints = section.pointer_mut("/Endpoints/endpoints").and_then(Value::as_array_mut);
        for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
            endpoint.retain(|_, value| !value.is_null());
        }
        for der in
            section.pointer_mut("/Certificate/Pair/chain").and_then(Value::as_array_mut).into_iter().flatten()
        {
            *der = json!(format!("{} bytes", der.as_array().unwrap().len()));
        }
    }
    let reports = outcome.reports.iter().map(|(object, report)| (object.to_string(), report_view(report)));
    let reports: serde_json::Map<_, _> = reports.collect();
    let diagnostics = outcome.diagnostics.iter();
    let diagnostics: Vec<_> = diagnostics
        .map(|one| {
            format!(
                "{:?} {} | {} | {} | {} | {}",
                one.severity, one.reason, one.object, one.field, one.message, one.remedy
            )
        })
        .collect();
    json!({"diagnostics": diagnostics, "reports": reports, "sections": sections})
}

/// Events in one line each; where there are none, or no addresses, nothing.
fn report_view(report: &translate::Report) -> Value {
    let mut view = serde_json::to_value(report).unwrap();
    let events = report.events.iter();
    let events: Vec<_> =
        events.map(|event| format!("{:?} {}: {}", event.type_, event.reason, event.message)).collect();
    view["events"] = json!(events);
    view.as_object_mut().unwrap().retain(|field, value| {
        !matches!(&**field, "events" | "addresses") || value.as_array().is_some_and(|all| !all.is_empty())
    });
    view
}

/// What nobody set is not written, so that what somebody did set is seen.
fn leave_out_defaults(route: &mut Value) {
    let defaults = json!({
        "app_root": null,
        "conditions": {"headers": [], "query": [], "subprotocols": [], "clients": []},
        "redirect": "Never",
        "balance": "LeastConnections",
        "retries": snapshot::Retries::default(),
        "upstream_tls": null,
        "ring": "Address",
        "affinity": null,
        "rewrite": snapshot::Rewrite::default(),
        "headers": snapshot::Headers::default(),
        "max_body": null,
        "auth": null,
        "access_log": true,
        "access": snapshot::Access::default(),
        "timeouts": snapshot::Timeouts::default(),
    });
    for certificates in ["/upstream_tls/verify/By", "/upstream_tls/client/chain"] {
        for der in route.pointer_mut(certificates).and_then(Value::as_array_mut).into_iter().flatten() {
            *der = json!(format!("{} bytes", der.as_array().unwrap().len()));
        }
    }
    if let Some(forward) = route.pointer_mut("/action/Forward").and_then(Value::as_object_mut) {
        forward.retain(|_, value| !value.is_null());
    }
    let route = route.as_object_mut().unwrap();
    for (field, default) in defaults.as_object().unwrap() {
        assert!(route.contains_key(field), "{field}");
        if route[field] == *default {
            route.remove(field);
        }
    }
}

#[test]
fn each_case_translates_to_what_is_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (cases, mut wrong) = (cases(), String::new());
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for folder in cases {
        let case = Case::read(&folder.join("in.yaml"));
        let found = view(&translate(&case.store(), &case.settings));
        let path = folder.join("out.yaml");
        if update {
            fs::write(&path, serde_yaml::to_string(&found).unwrap()).unwrap();
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let wanted: Value = serde_yaml::from_str(&text).unwrap();
        if wanted != found {
            writeln!(wrong, "{}:\n{}", path.display(), serde_yaml::to_string(&found).unwrap()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "these differ (UPDATE_GOLDEN=1 writes them anew):\n{wrong}");
}
