//! Tests of the short way of endpoints: past what waits, and never with it.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use serde_json::json;
use snapshot::{HostPattern, Key};
use translate::{Object, translate};

use super::tests::{Setup, service, start, synced};
use super::*;

/// A slice, with something to tell its versions apart.
fn slice(name: &str, version: u8) -> Object {
    let mut slice = EndpointSlice::default();
    slice.metadata.name = Some(name.into());
    slice.metadata.generation = Some(version.into());
    Object::EndpointSlice(Arc::new(slice))
}

fn named(kind: &str, name: &str) -> ObjectRef {
    ObjectRef::new(kind, "", name)
}

/// Each object becomes a host of its kind and name; a Service named `panic` panics.
fn hosts(store: &Store, _: &Settings) -> Outcome {
    let mut outcome = Outcome::default();
    for object in store.objects() {
        assert_ne!(object.name, "panic", "as asked");
        let host = format!("{}.{}", object.name, object.kind);
        outcome.snapshot.insert_encoded(Key::Host(HostPattern::Exact(host)), vec![0].into());
    }
    outcome
}

async fn begun() -> Setup {
    let mut setup = start(|| Box::new(hosts));
    setup.changes.send(synced()).await.unwrap();
    setup.view.changed().await.unwrap();
    setup
}

fn shown(setup: &Setup) -> Vec<String> {
    let published = setup.publisher.published().borrow().clone().unwrap();
    published.snapshot.iter().map(|(key, _)| key.to_string()).collect()
}

/// Which of these are shown.
fn has(setup: &Setup, names: &[&str]) -> Vec<bool> {
    let shown = shown(setup).join(" ");
    names.iter().map(|name| shown.contains(name)).collect()
}

async fn view(setup: &mut Setup, wanted: impl FnMut(&Arc<View>) -> bool) -> Arc<View> {
    // The clock jumps when nothing is left to do: what does not come fails at once.
    let seen = tokio::time::timeout(Duration::from_mins(1), setup.view.wait_for(wanted)).await;
    seen.expect("it is seen").unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn endpoints_pass_what_waits_for_its_pace_and_do_not_take_it_along() {
    let mut setup = begun().await;
    let begun = Instant::now();
    // One file, say: it stays together.
    let mixed = vec![Change::Upsert(service("late")), Change::Upsert(slice("mixed", 1))];
    setup.changes.send(mixed).await.unwrap();
    setup.changes.send(vec![Change::Upsert(slice("early", 1))]).await.unwrap();
    let early = named("EndpointSlice", "early");
    let seen = view(&mut setup, |view| view.since.contains_key(&early)).await;
    assert!(begun.elapsed() < PACE / 2, "after {:?}", begun.elapsed());
    assert_eq!(has(&setup, &["early", "late", "mixed"]), [true, false, false]);
    assert_eq!(
        seen.since.values().map(|since| since.number).collect::<Vec<_>>(),
        [2],
        "what waits is in no generation yet"
    );
    // Again at once, while the route goes on waiting. A newer version of what waits is for endpoints alone.
    let next = [slice("next", 1), slice("mixed", 2)].map(Change::Upsert);
    setup.changes.send([&[Change::Delete(early)], &next[..]].concat()).await.unwrap();
    view(&mut setup, |view| view.since.contains_key(&named("EndpointSlice", "next"))).await;
    assert!(begun.elapsed() < PACE / 2, "after {:?}", begun.elapsed());
    assert_eq!(has(&setup, &["early", "next", "late", "mixed"]), [false, true, false, true]);
    let seen = view(&mut setup, |view| view.since.contains_key(&named("Service", "late"))).await;
    assert!(begun.elapsed() >= PACE);
    assert_eq!(has(&setup, &["early", "next", "late", "mixed"]), [false, true, true, true]);
    let since: Vec<_> = seen.since.iter().map(|(object, since)| (&*object.name, since.number)).collect();
    assert_eq!(since, [("mixed", 3), ("next", 3), ("late", 4)]);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_come_quickly_go_together() {
    let mut setup = begun().await;
    tokio::time::sleep(PACE).await;
    let begun = Instant::now();
    for round in 0..20 {
        setup.changes.send(vec![Change::Upsert(slice(&format!("s{round}"), 1))]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seen = view(&mut setup, |view| view.since.len() == 20).await;
    let generations: BTreeSet<_> = seen.since.values().map(|since| since.number).collect();
    let most = begun.elapsed().as_millis() / ENDPOINT_PACE.as_millis() + 1;
    assert!((2..=most).contains(&(generations.len() as u128)), "{generations:?} in {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn endpoints_change_while_the_world_cannot_be_translated() {
    let mut setup = begun().await;
    let world = Instant::now();
    setup.changes.send(vec![Change::Upsert(slice("old", 1))]).await.unwrap();
    view(&mut setup, |view| view.since.len() == 1).await;
    let mixed = vec![Change::Upsert(service("panic")), Change::Upsert(slice("mixed", 1))];
    setup.changes.send(mixed).await.unwrap();
    // One shortly before the world's turn, and one that is waiting for its own when the world panics.
    tokio::time::sleep_until(world + PACE - Duration::from_millis(4)).await;
    setup.changes.send(vec![Change::Upsert(slice("sooner", 1))]).await.unwrap();
    view(&mut setup, |view| view.since.contains_key(&named("EndpointSlice", "sooner"))).await;
    setup.changes.send(vec![Change::Upsert(slice("new", 1))]).await.unwrap();
    let panicked = |view: &Arc<View>| view.diagnostics.iter().any(|said| said.message.contains("as asked"));
    view(&mut setup, panicked).await;
    let new = named("EndpointSlice", "new");
    let seen = view(&mut setup, |view| view.since.contains_key(&new)).await;
    assert!(panicked(&seen), "that routes do not change is still so");
    assert_eq!(has(&setup, &["old", "new", "mixed", "panic"]), [true, true, false, false]);
    setup.changes.send(vec![Change::Delete(named("EndpointSlice", "old"))]).await.unwrap();
    view(&mut setup, |view| !view.since.contains_key(&named("EndpointSlice", "old"))).await;
    setup.changes.send(vec![Change::Delete(named("Service", "panic"))]).await.unwrap();
    let seen = view(&mut setup, |view| view.diagnostics.is_empty()).await;
    assert_eq!(has(&setup, &["old", "new", "mixed"]), [false, true, true]);
    assert_eq!(seen.since.len(), 3);
}

/// One object of a world so small that most changes meet: an Ingress of a host, its Service, its endpoints.
fn object(kind: u8, number: u8, version: u8) -> Object {
    let metadata = json!({"name": format!("n{number}"), "namespace": "default"});
    let backend = json!({"service": {"name": format!("n{number}"), "port": {"number": 80 + version}}});
    match kind {
        0 => {
            let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
            let rules = json!([{"host": "one.example.com", "http": {"paths": [path]}}]);
            let ingress =
                json!({"metadata": metadata, "spec": {"ingressClassName": "longhaul", "rules": rules}});
            Object::Ingress(Arc::new(serde_json::from_value(ingress).unwrap()))
        }
        1 => {
            let ports = json!([{"port": 80 + version}]);
            let service = json!({"metadata": metadata, "spec": {"ports": ports}});
            Object::Service(Arc::new(serde_json::from_value(service).unwrap()))
        }
        _ => {
            let labels = json!({"kubernetes.io/service-name": format!("n{number}")});
            let slice = json!({
                "metadata": {"name": format!("n{number}"), "namespace": "default", "labels": labels},
                "addressType": "IPv4", "ports": [{"port": 8080}],
                "endpoints": [{"addresses": [format!("10.0.{number}.{version}")]}],
            });
            Object::EndpointSlice(Arc::new(serde_json::from_value(slice).unwrap()))
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    // Most are for endpoints.
    let object = || (prop_oneof![Just(0u8), Just(1), Just(2), Just(2), Just(2)], 0u8..2, 1u8..3);
    let object = move || object().prop_map(|(kind, number, version)| self::object(kind, number, version));
    prop_oneof![
        6 => object().prop_map(Change::Upsert),
        2 => object().prop_map(|object| Change::Delete(object.reference())),
        1 => proptest::collection::vec(object(), 0..3)
            .prop_map(|objects| Change::Replace(Kind::EndpointSlice, objects)),
    ]
}

/// Batches, and for how many milliseconds nothing comes behind each.
fn story() -> impl Strategy<Value = Vec<(Batch, u64)>> {
    let pause = prop_oneof![Just(0u64), Just(2), Just(6), Just(120)];
    proptest::collection::vec((proptest::collection::vec(change(), 1..3), pause), 1..12)
}

async fn tell(batches: Vec<(Batch, u64)>) {
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    let metrics = Arc::new(Metrics::new());
    let publisher = Publisher::new(metrics.bytes_sent()).unwrap();
    let reconciler = Reconciler::new(from_scratch, settings.clone(), publisher.clone(), metrics);
    let (changes, receiver) = mpsc::channel(4);
    let view = reconciler.view();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(reconciler.run(receiver, watch::Sender::default()));
    let mut store = Store::default();
    for (batch, pause) in std::iter::once((synced(), 0)).chain(batches) {
        for change in &batch {
            store.apply(change.clone());
        }
        changes.send(batch).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    // The clock stands still while anything runs: whatever is due has been done when it has moved so far.
    tokio::time::sleep(3 * PACE).await;
    let expected = translate(&store, &settings);
    let (view, last) = (view.borrow().clone(), publisher.published().borrow().clone().unwrap());
    assert_eq!(last.snapshot, expected.snapshot);
    assert_eq!((&view.reports, &view.diagnostics), (&expected.reports, &expected.diagnostics));
    assert!(view.since.keys().cloned().eq(store.objects().collect::<BTreeSet<_>>()));
    assert!(view.since.values().all(|since| (1..=last.generation.number).contains(&since.number)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn in_the_end_everything_is_shown(story in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(tell(story));
    }
}
