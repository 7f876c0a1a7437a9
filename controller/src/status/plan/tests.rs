//! Wishes for one status: conditions and their times, cuts, and what is left alone.

use translate::Conflict;

use super::*;

fn condition_of(type_: &str, status: bool, reason: &str) -> Condition {
    Condition { type_: type_.into(), status, reason: reason.into(), message: format!("{reason}.") }
}

fn report(generation: i64, conditions: &[(&str, bool, &str)]) -> Report {
    let conditions = conditions.iter().map(|(type_, status, reason)| condition_of(type_, *status, reason));
    Report { generation: Some(generation), conditions: conditions.collect(), ..Report::default() }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// What a WsRoute's status says after this, given what it said before.
fn after(live: &LiveStatus, report: &Report, programmed: &Condition, seconds: i64) -> LiveStatus {
    wish(&Facts { report, live, programmed, addresses: Some(&[]), now: time(seconds) })
}

fn lines(status: &LiveStatus) -> Vec<String> {
    let LiveStatus::WsRoute(status) = status else { panic!("not a WsRoute's: {status:?}") };
    let line = |condition: &wsroute::Condition| {
        let wsroute::Condition { type_, status, reason, last_transition_time, .. } = condition;
        let generation = condition.observed_generation.unwrap_or_default();
        format!("{type_} {status} {reason} {generation} {}", &last_transition_time[17..])
    };
    status.conditions.iter().map(line).collect()
}

fn empty() -> LiveStatus {
    LiveStatus::WsRoute(WsRouteStatus::default())
}

#[test]
fn conditions_keep_their_order_and_the_time_of_their_last_transition() {
    let good = [("Accepted", true, "Accepted"), ("ResolvedRefs", true, "ResolvedRefs")];
    let (no, yes) =
        (condition_of(PROGRAMMED, false, "Pending"), condition_of(PROGRAMMED, true, "Programmed"));
    let first = after(&empty(), &report(1, &good), &no, 10);
    let expected = [
        "Accepted True Accepted 1 10Z",
        "ResolvedRefs True ResolvedRefs 1 10Z",
        "Programmed False Pending 1 10Z",
    ];
    assert_eq!(lines(&first), expected);
    let second = after(&first, &report(1, &good), &yes, 20);
    assert_eq!(lines(&second)[2], "Programmed True Programmed 1 20Z");
    assert_eq!(lines(&second)[..2], expected[..2]);
    let partly = [good[0], ("ResolvedRefs", false, "BackendNotFound"), ("PartiallyInvalid", true, "Invalid")];
    let third = after(&second, &report(2, &partly), &yes, 30);
    let expected = [
        "Accepted True Accepted 2 10Z",
        "ResolvedRefs False BackendNotFound 2 30Z",
        "Programmed True Programmed 2 20Z",
        "PartiallyInvalid True Invalid 2 30Z",
    ];
    assert_eq!(lines(&third), expected);
    assert_eq!(lines(&after(&third, &report(3, &good), &yes, 40)).len(), 3, "what is whole again says so");
}

#[test]
fn a_status_that_says_so_already_is_not_written() {
    let good = [("Accepted", true, "Accepted"), ("ResolvedRefs", true, "ResolvedRefs")];
    let (report, yes) = (report(1, &good), condition_of(PROGRAMMED, true, "Programmed"));
    let live = after(&empty(), &report, &yes, 10);
    let again = after(&live, &report, &yes, 99);
    assert!(says(&live, &again));
    // The API server may order them otherwise, and others may add theirs.
    let LiveStatus::WsRoute(mut status) = live.clone() else { unreachable!("it is a WsRoute's") };
    status.conditions.reverse();
    status.conditions.push(wsroute::Condition { type_: "Pretty".into(), ..wsroute::Condition::default() });
    let theirs = LiveStatus::WsRoute(status);
    assert!(says(&theirs, &after(&theirs, &report, &yes, 99)));
    let mut other = yes.clone();
    other.message = "else".into();
    let reworded = after(&live, &report, &other, 99);
    assert!(!says(&live, &reworded) && says_but_for_messages(&live, &reworded));
    let pending = after(&live, &report, &condition_of(PROGRAMMED, false, "Pending"), 99);
    assert!(!says_but_for_messages(&live, &pending));
    // What is gone from the report is still in the status.
    let partly = super::tests::report(1, &[good[0], good[1], ("PartiallyInvalid", true, "Invalid")]);
    let partly = after(&live, &partly, &yes, 10);
    assert!(!says(&partly, &after(&partly, &report, &yes, 10)));
}

#[test]
fn programmed_is_settled_for_its_generation_only() {
    let yes = condition_of(PROGRAMMED, true, "Programmed");
    let live = after(&empty(), &report(4, &[]), &yes, 10);
    assert!(settled(&live, &report(4, &[])).is_some());
    assert!(settled(&live, &report(5, &[])).is_none());
    let no = after(&live, &report(4, &[]), &condition_of(PROGRAMMED, false, "Rejected"), 10);
    assert!(settled(&no, &report(4, &[])).is_none());
    assert!(settled(&LiveStatus::Ingress(Vec::new()), &report(4, &[])).is_none());
    assert!(settled(&live, &Report::default()).is_none(), "files have no generations");
}

#[test]
fn everything_is_cut_to_what_the_schema_allows() {
    let conflict = |n: usize| Conflict {
        host: "é".repeat(300),
        path: format!("/{n}{}", "é".repeat(3_000)),
        owner: ObjectRef::new("Ingress", "n".repeat(600), "x".repeat(600)),
    };
    let long = "é".repeat(40_000);
    let accepted =
        Condition { type_: "Accepted".into(), status: false, reason: "Invalid".into(), message: long };
    let report = Report {
        conditions: vec![accepted],
        conflicts: (0..300).map(conflict).collect(),
        ..Report::default()
    };
    let address = Address { kind: AddressKind::IPAddress, value: "192.0.2.1".into() };
    let live = empty();
    let wish = wish(&Facts {
        report: &report,
        live: &live,
        programmed: &condition_of(PROGRAMMED, false, "Rejected"),
        addresses: Some(&vec![address; 100]),
        now: time(0),
    });
    let LiveStatus::WsRoute(status) = &wish else { unreachable!("it is a WsRoute's") };
    assert_eq!((status.conflicts.len(), status.addresses.len()), (256, 64));
    let schema = wsroute::schema();
    let validator = jsonschema::validator_for(&schema["properties"]["status"]).unwrap();
    let errors: Vec<_> = validator.iter_errors(&json!(status)).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{}", errors[0]);
    assert_eq!(status.conflicts[0].path.chars().count(), 2_048, "no shorter than need be");
}

#[test]
fn addresses_that_nobody_knows_yet_stay_as_they_are() {
    let (report, no) = (Report::default(), condition_of(PROGRAMMED, false, "Pending"));
    let name = Address { kind: AddressKind::Hostname, value: "lb.test".into() };
    let live = LiveStatus::Ingress(vec![name.clone()]);
    let facts = |addresses| Facts { report: &report, live: &live, programmed: &no, addresses, now: time(0) };
    assert_eq!(wish(&facts(None)), live);
    assert_eq!(wish(&facts(Some(&[]))), LiveStatus::Ingress(Vec::new()));
    let ip = Address { kind: AddressKind::IPAddress, value: "192.0.2.1".into() };
    let both = [ip, name];
    let patch = patch(&ObjectRef::new("Ingress", "d", "i"), "u", Some(&wish(&facts(Some(&both)))));
    assert_eq!(
        patch,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"namespace": "d", "name": "i", "uid": "u"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.test"}]}},
        })
    );
}
