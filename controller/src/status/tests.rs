//! The whole of it over a server in memory and with time that is paused: who writes, what, and how often.

use crds::wsroute::{Address, AddressKind};
use hyper::Method;
use serde_json::json;
use snapshot::frame::Generation;
use translate::{Condition, Event, EventType, Report};

use super::*;
use crate::live::Live;
use crate::memory_api::{MemoryApi, Mood};
use crate::publish::Proxy;
use crate::reconcile::Since;
use crate::version::Version;

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/d/events";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/d/ingresses";
const ROUTES: &str = "/apis/longhaul.dev/v1alpha1/namespaces/d/wsroutes";

/// A cluster in memory, with the watches of its controllers.
struct Cluster {
    api: MemoryApi,
    view: watch::Sender<Arc<View>>,
    proxies: watch::Sender<Proxies>,
    lives: watch::Sender<Lives>,
    published: watch::Sender<Option<Published>>,
    _tasks: JoinSet<()>,
}

fn path(object: &ObjectRef) -> String {
    let base = if object.kind == "WsRoute" { ROUTES } else { INGRESSES };
    format!("{base}/{}", object.name)
}

/// What a watch would show of it.
fn live(api: &MemoryApi, object: &ObjectRef) -> Option<Live> {
    let value = api.object(&path(object))?;
    let status = if object.kind == "WsRoute" {
        LiveStatus::WsRoute(serde_json::from_value(value["status"].clone()).unwrap_or_default())
    } else {
        LiveStatus::of_ingress(
            &serde_json::from_value(json!({"metadata": {}, "status": value["status"]})).unwrap(),
        )
    };
    let claimed = value["status"].as_object().is_some_and(|status| !status.is_empty());
    let text = |name: &str| value["metadata"][name].as_str().map(str::to_owned);
    Some(Live { uid: text("uid")?, generation: value["metadata"]["generation"].as_i64(), status, claimed })
}

impl Cluster {
    fn new() -> Self {
        let proxy = Proxy { applied: Some(Generation { epoch: 1, number: 100 }), ..Proxy::default() };
        let (api, lives) = (MemoryApi::default(), watch::Sender::new(Lives::new()));
        let mut tasks = JoinSet::new();
        let (watched, shown) = (api.clone(), lives.clone());
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                shown.send_if_modified(|lives| {
                    let before = lives.clone();
                    for object in before.keys() {
                        match live(&watched, object) {
                            Some(live) if *before[object] == live => {}
                            Some(live) => drop(lives.insert(object.clone(), Arc::new(live))),
                            None => drop(lives.remove(object)),
                        }
                    }
                    *lives != before
                });
            }
        });
        Self {
            api,
            view: watch::Sender::new(Arc::new(View { number: 1, ..View::default() })),
            proxies: watch::Sender::new(Proxies::from([(1, proxy)])),
            lives,
            published: watch::Sender::new(None),
            _tasks: tasks,
        }
    }

    fn controller(&self, pod: &str) -> Controller {
        let metrics = Arc::new(Metrics::new());
        let setup = Setup {
            client: self.api.client(),
            pod: pod.into(),
            namespace: "longhaul".into(),
            lease: "longhaul".into(),
            affinity_key: None,
            peers_service: None,
            publish: Publish::Settings,
            controller_name: "longhaul.dev/ingress-controller".into(),
            view: self.view.subscribe(),
            published: self.published.subscribe(),
            proxies: self.proxies.subscribe(),
            lives: self.lives.subscribe(),
            metrics: metrics.clone(),
        };
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        task.spawn(async move { run(setup, stopped).await.unwrap() });
        Controller { stop, task, metrics }
    }

    /// Applies an object, and has it translated with these remarks.
    fn apply(&self, object: &ObjectRef, generation: i64, warnings: &[&str]) {
        let uid = format!("uid-{}", object.name);
        let status = self.api.object(&path(object)).map(|object| object["status"].clone());
        let value = json!({
            "metadata": {"name": object.name, "namespace": "d", "uid": uid, "generation": generation},
            "spec": {"rules": []},
            "status": status.unwrap_or_else(|| json!({})),
        });
        self.api.put(&path(object), value);
        let accepted = Condition {
            type_: "Accepted".into(),
            status: true,
            reason: "Accepted".into(),
            message: String::new(),
        };
        let event = |message: &&str| Event {
            type_: EventType::Warning,
            reason: "Broken".into(),
            message: (*message).into(),
        };
        let report = Report {
            generation: Some(generation),
            conditions: vec![accepted],
            events: warnings.iter().map(event).collect(),
            addresses: vec![Address { kind: AddressKind::IPAddress, value: "192.0.2.1".into() }],
            ..Report::default()
        };
        let version = Some(Version { uid, generation, annotations: 0 });
        self.lives.send_modify(|lives| {
            lives.insert(object.clone(), Arc::new(live(&self.api, object).unwrap()));
        });
        self.view.send_modify(|view| {
            let view = Arc::make_mut(view);
            view.reports.insert(object.clone(), Arc::new(report));
            view.since.insert(object.clone(), Since { number: 1, version });
        });
    }

    fn leave(&self, object: &ObjectRef) {
        self.view.send_modify(|view| drop(Arc::make_mut(view).reports.remove(object)));
    }

    fn shows(&self, object: &ObjectRef) -> String {
        self.api.object(&path(object)).unwrap()["status"].to_string()
    }

    fn writes(&self) -> usize {
        self.api.served("/status").len()
    }

    fn events(&self, method: &Method) -> Vec<serde_json::Value> {
        let served = self.api.served(EVENTS).into_iter().filter(|served| served.method == *method);
        served.map(|served| served.body).collect()
    }
}

struct Controller {
    stop: CancellationToken,
    task: JoinSet<()>,
    metrics: Arc<Metrics>,
}

impl Controller {
    async fn stop(mut self) {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap();
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.text().unwrap().lines().any(|text| text == line)
    }
}

fn ingress(name: &str) -> ObjectRef {
    ObjectRef::new("Ingress", "d", name)
}

fn route(name: &str) -> ObjectRef {
    ObjectRef::new("WsRoute", "d", name)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn one_of_two_writes_and_the_other_takes_over() {
    let cluster = Cluster::new();
    let one = cluster.controller("one");
    pass(3).await;
    let other = cluster.controller("other");
    cluster.apply(&ingress("i"), 1, &[]);
    cluster.apply(&route("r"), 1, &["a remark"]);
    pass(3).await;
    assert!(cluster.shows(&ingress("i")).contains(r#""ip":"192.0.2.1""#));
    let status = cluster.shows(&route("r"));
    assert!(status.contains(r#""reason":"Programmed","status":"True""#), "{status}");
    assert_eq!((cluster.writes(), cluster.events(&Method::POST).len()), (2, 3));
    let status = cluster.api.served("/status");
    let manager = "fieldManager=longhaul.dev%2Flonghaul.longhaul";
    assert!(
        status.iter().all(|served| served.query.contains(manager) && served.query.contains("force=true"))
    );
    pass(600).await;
    assert_eq!(cluster.writes(), 2, "nothing is written that is there");
    one.stop().await;
    pass(5).await;
    assert_eq!(cluster.writes(), 2, "nor taken back by one that stops, nor written again by the next");
    assert_eq!(cluster.events(&Method::POST).len(), 4, "the Warning is tried, and is there");
    assert!(other.counts("longhaul_controller_events_total{result=\"known\"} 1"));
    cluster.apply(&route("r"), 2, &[]);
    pass(3).await;
    assert_eq!(cluster.writes(), 3);
    assert!(other.counts("longhaul_controller_status_writes_total{result=\"written\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_stays_is_told_for_as_long_as_it_does() {
    let cluster = Cluster::new();
    let _one = cluster.controller("one");
    cluster.apply(&ingress("i"), 1, &["no such Service"]);
    pass(5).await;
    let created = cluster.events(&Method::POST);
    let warning = created.iter().find(|event| event["type"] == "Warning").unwrap();
    assert_eq!(
        (&warning["note"], &warning["regarding"]["uid"]),
        (&"no such Service".into(), &"uid-i".into())
    );
    pass(4 * 3_600).await;
    let counted = cluster.events(&Method::PATCH);
    assert!((6..=12).contains(&counted.len()), "{}", counted.len());
    assert_eq!(counted.last().unwrap()["series"]["count"], counted.len() + 1);
    // The API server forgets it all the same; it is told anew.
    let name = warning["metadata"]["name"].as_str().unwrap();
    cluster.api.remove(&format!("{EVENTS}/{name}"));
    pass(3_600).await;
    assert!(cluster.api.object(&format!("{EVENTS}/{name}")).is_some());
    cluster.apply(&ingress("i"), 2, &[]);
    pass(5).await;
    let counted = cluster.events(&Method::PATCH).len();
    pass(4 * 3_600).await;
    assert_eq!(cluster.events(&Method::PATCH).len(), counted);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_is_withdrawn_without_force() {
    let cluster = Cluster::new();
    let _one = cluster.controller("one");
    cluster.apply(&ingress("i"), 1, &[]);
    pass(3).await;
    cluster.leave(&ingress("i"));
    pass(3).await;
    assert_eq!(cluster.shows(&ingress("i")), "{}");
    let last = cluster.api.served("/status").pop().unwrap();
    assert!(last.body.get("status").is_none(), "{}", last.body);
    assert!(!last.query.contains("force"), "{}", last.query);
    pass(600).await;
    assert_eq!(cluster.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn writes_keep_to_their_rate() {
    let cluster = Cluster::new();
    let one = cluster.controller("one");
    pass(3).await;
    for index in 0..400 {
        cluster.apply(&route(&format!("r{index}")), 1, &[]);
    }
    pass(10).await;
    let writes = cluster.writes();
    assert!((245..=255).contains(&writes), "a burst of 50, and 20 in a second: {writes}");
    pass(10).await;
    assert_eq!(cluster.writes(), 400);
    assert!(one.counts("longhaul_controller_status_writes_total{result=\"written\"} 400"));
    assert!(one.counts("longhaul_controller_leader 1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_does_not_hold_up_the_rest() {
    let cluster = Cluster::new();
    cluster.api.mood(ROUTES, Mood::Refusing(403, "Forbidden"));
    cluster.api.mood(&format!("{INGRESSES}/stuck"), Mood::Stalled);
    let one = cluster.controller("one");
    cluster.apply(&route("r"), 1, &[]);
    cluster.apply(&ingress("stuck"), 1, &[]);
    cluster.apply(&ingress("i"), 1, &["a remark"]);
    pass(20).await;
    assert!(cluster.shows(&ingress("i")).contains("192.0.2.1"));
    assert_eq!(cluster.events(&Method::POST).len(), 4);
    cluster.api.mood(EVENTS, Mood::Refusing(403, "Forbidden"));
    cluster.api.mood(ROUTES, Mood::Well);
    cluster.api.mood(INGRESSES, Mood::Well);
    cluster.api.mood(&format!("{INGRESSES}/stuck"), Mood::Well);
    cluster.apply(&ingress("late"), 1, &["a remark"]);
    pass(60).await;
    assert!(cluster.shows(&route("r")).contains("Programmed"));
    assert!(cluster.shows(&ingress("stuck")).contains("192.0.2.1"));
    assert_eq!(cluster.events(&Method::POST).len(), 4);
    cluster.api.mood(EVENTS, Mood::Well);
    pass(300).await;
    assert_eq!(cluster.events(&Method::POST).len(), 6);
    cluster.api.remove(&path(&ingress("late")));
    cluster.apply(&ingress("gone"), 1, &[]);
    cluster.api.remove(&path(&ingress("gone")));
    pass(10).await;
    one.stop().await;
}
