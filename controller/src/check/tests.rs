//! What fails a check.

use super::*;

fn checked(text: &str, scope: Scope) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, text).unwrap();
    let manifests = crate::source::once::read(&[path]).unwrap();
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    check(manifests, &settings, scope)
}

/// With a Service that is not there.
fn ingress(annotation: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a, annotations: {{{annotation}}}}}\nspec:\n  \
         rules:\n  - host: a.test\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: s, port: \
         {{number: 80}}}}}}}}]}}\n"
    )
}

#[test]
fn what_is_missing_of_a_part_fails_nothing() {
    let whole = checked(&ingress(""), Scope::Whole);
    assert_eq!((whole.summary.errors, whole.passes(Strictness::ErrorsFail)), (1, false), "{}", whole.text());
    let part = checked(&ingress(""), Scope::Part);
    assert_eq!((part.summary.errors, part.summary.warnings), (0, 1), "{}", part.text());
    assert!(part.passes(Strictness::WarningsFail));
}

#[test]
fn a_warning_fails_a_strict_check() {
    let said = checked(&ingress("longhaul.dev/idle-timeout: '300'"), Scope::Part);
    assert_eq!(said.summary.warnings, 2, "{}", said.text());
    assert!(said.passes(Strictness::ErrorsFail) && !said.passes(Strictness::WarningsFail));
}

#[test]
fn kinds_of_others_are_counted_and_slips_are_told() {
    let others = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
                  {name: a}\n";
    let said = checked(others, Scope::Whole);
    assert_eq!((said.findings.len(), said.summary.others), (0, 2), "{}", said.text());
    assert!(said.text().ends_with("; 2 objects of kinds that Longhaul does not read\n"), "{}", said.text());
    let slip = checked("apiVersion: networking.k8s.io/v1\nkind: Ingres\nmetadata: {name: a}\n", Scope::Whole);
    assert_eq!((slip.summary.warnings, slip.summary.others), (1, 0), "{}", slip.text());
}
