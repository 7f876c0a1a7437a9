//! How watches come together. That they watch is tested against a real API server.

use super::*;
use crate::live::LiveStatus;
use k8s_openapi::api::core::v1::Service;
use kube::core::Status;

fn at(kind: Kind, namespace: &str) -> Position {
    Position { kind, namespace: Some(namespace.into()) }
}

fn seen(kind: Kind, namespace: &str, name: &str) -> ObjectSeen {
    let mut service = Service::default();
    service.metadata.name = Some(name.into());
    service.metadata.namespace = Some(namespace.into());
    let live = Live {
        uid: "u".into(),
        generation: Some(1),
        status: LiveStatus::Ingress(Vec::new()),
        claimed: false,
    };
    ObjectSeen {
        object: ObjectRef::new(kind.as_str(), namespace, name),
        sight: Sight::Whole(Object::Service(Arc::new(service))),
        live: Some(live),
        unreadable: None,
    }
}

fn collector(watches: &[Position]) -> Collector {
    Collector {
        changes: mpsc::channel(1).0,
        said: last::Sender::default(),
        lives: last::Sender::default(),
        incomplete: watches.iter().cloned().collect(),
        troubles: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        on_demand: OnDemand::default(),
    }
}

fn refused(kind: Kind, namespace: &str, code: u16) -> Diagnostic {
    let status = Status { code, message: "no".into(), ..Status::default() };
    trouble::remark(&kube::Error::Api(Box::new(status)), &at(kind, namespace))
}

fn synced(batch: &Batch) -> Vec<Kind> {
    batch
        .iter()
        .filter_map(|change| if let Change::Synced(kind) = change { Some(*kind) } else { None })
        .collect()
}

fn said(collector: &Collector) -> Vec<String> {
    collector.say();
    collector.said.borrow().findings.iter().map(|finding| finding.diagnostic.message.clone()).collect()
}

#[test]
fn a_kind_is_complete_with_the_last_of_its_namespaces_and_once() {
    let (a, b) = (at(Kind::Service, "a"), at(Kind::Service, "b"));
    let mut collector = collector(&[a.clone(), b.clone(), at(Kind::Secret, "a")]);
    assert_eq!(synced(&collector.take(a.clone(), What::Listed(vec![seen(Kind::Service, "a", "x")]))), []);
    assert_eq!(synced(&collector.take(a.clone(), What::Listed(Vec::new()))), [], "the same one again");
    let batch = collector.take(b.clone(), What::Listed(vec![seen(Kind::Service, "b", "y")]));
    assert_eq!(synced(&batch), [Kind::Service]);
    assert!(matches!(batch[0], Change::Upsert(_)), "what is complete comes before that it is");
    assert_eq!(synced(&collector.take(b, What::Listed(Vec::new()))), []);
    let missing = refused(Kind::Secret, "a", 404);
    assert_eq!(synced(&collector.take(at(Kind::Secret, "a"), What::Absent(missing))), [Kind::Secret]);
}

#[test]
fn what_several_watches_have_in_the_way_is_said_once_and_while_it_lasts() {
    let watches = [at(Kind::Service, "a"), at(Kind::Secret, "a"), at(Kind::Secret, "b")];
    let mut collector = collector(&watches);
    for watch in &watches {
        collector.take(watch.clone(), What::Trouble(refused(watch.kind, "a", 500)));
    }
    assert_eq!(said(&collector), ["the API server answers 500: no; what was seen before stays"]);
    collector.take(watches[0].clone(), What::Following);
    collector.take(watches[1].clone(), What::Following);
    assert_eq!(said(&collector).len(), 1);
    collector.take(watches[2].clone(), What::Following);
    assert_eq!(said(&collector), [""; 0]);
    for watch in &watches[1..] {
        let remark = refused(watch.kind, watch.namespace.as_deref().unwrap(), 403);
        collector.take(watch.clone(), What::Trouble(remark));
    }
    let said = said(&collector);
    assert_eq!(said.len(), 2, "permissions are each namespace's own: {said:?}");
    assert!(said[0].starts_with("secrets in namespace a cannot be watched: no"), "{said:?}");
}

#[test]
fn an_object_that_cannot_be_read_is_named_until_it_can_or_is_gone() {
    let mut collector = collector(&[]);
    let broken =
        || ObjectSeen { unreadable: Some(refused(Kind::WsRoute, "a", 500)), ..seen(Kind::WsRoute, "a", "x") };
    for better in [seen(Kind::WsRoute, "a", "x"), ObjectSeen::gone(ObjectRef::new("WsRoute", "a", "x"))] {
        collector.take(at(Kind::WsRoute, "a"), What::Objects(vec![broken()]));
        assert_eq!(said(&collector).len(), 1);
        assert_eq!(collector.lives.borrow().len(), 1, "it has a status all the same");
        collector.take(at(Kind::WsRoute, "a"), What::Objects(vec![better]));
        assert_eq!(said(&collector).len(), 0);
    }
    assert!(collector.lives.borrow().is_empty());
}
