//! Questions to pods that answer by the real admin server, to some that do not, and to strangers.

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use translate::Kind;

use super::*;
use crate::admin::{Admin, Listening, Pages};
use crate::overview::Overview;
use crate::publish::{Proxies, Proxy};
use crate::reconcile::{Since, View};
use crate::source;

fn version(generation: i64) -> Version {
    Version { uid: "u".into(), generation, annotations: 0 }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::WsRoute.as_str(), "d", name)
}

/// A pod that answers as in the cluster, over the values that it is given.
struct Pod {
    view: watch::Sender<Arc<View>>,
    proxies: watch::Sender<Proxies>,
    address: SocketAddr,
    _others: (watch::Sender<Arc<source::Said>>, watch::Sender<Option<crate::publish::Published>>),
    _server: JoinSet<()>,
}

impl Pod {
    async fn start(name: &str) -> Self {
        let (said, view) = (watch::Sender::default(), watch::Sender::default());
        let (published, proxies) = (watch::Sender::default(), watch::Sender::default());
        let overview =
            Overview::new(said.subscribe(), view.subscribe(), published.subscribe(), proxies.subscribe());
        let listening = Listening::open("127.0.0.1:0".parse().unwrap(), Pages::Observe).await.unwrap();
        let address = listening.address();
        let admin = Admin::new(overview, Arc::new(Metrics::new())).answering_as(name.into());
        let mut server = JoinSet::new();
        server.spawn(admin.serve(listening));
        Self { view, proxies, address, _others: (said, published), _server: server }
    }

    fn publish(&self, name: &str, version: Version, number: u64) {
        self.view.send_modify(|view| {
            let since = Since { number, version: Some(version) };
            Arc::make_mut(view).since.insert(object(name), since);
        });
    }

    fn acknowledge(&self, number: u64) {
        let applied = Some(snapshot::frame::Generation { epoch: 1, number });
        let proxy = Proxy { applied, ..Proxy::default() };
        self.proxies.send_replace(Proxies::from([(1, proxy)]));
    }
}

struct Setup {
    wanted: watch::Sender<Wanted>,
    heard: watch::Receiver<Heard>,
    peers: watch::Sender<Peers>,
    metrics: Arc<Metrics>,
    _asker: JoinSet<()>,
}

fn start(pods: &[(&str, SocketAddr)]) -> Setup {
    let peer =
        |(name, address): &(&str, SocketAddr)| ((*name).to_owned(), Peer { address: *address, node: None });
    let (wanted, heard) = (watch::Sender::default(), watch::Sender::default());
    let peers = watch::Sender::new(Some(Arc::new(pods.iter().map(peer).collect())));
    let metrics = Arc::new(Metrics::new());
    let asker = Asker {
        pod: "me".into(),
        peers: peers.subscribe(),
        wanted: wanted.subscribe(),
        heard: heard.clone(),
        metrics: metrics.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(asker.run());
    Setup { wanted, heard: heard.subscribe(), peers, metrics, _asker: tasks }
}

impl Setup {
    async fn hears(&mut self, pod: &str, name: &str, version: &Version, state: State) -> Holding {
        let told = |heard: &Heard| heard.get(pod)?.of(&object(name), version).cloned();
        let as_expected = |heard: &Heard| told(heard).is_some_and(|holding| holding.state == state);
        let heard =
            timeout(Duration::from_secs(20), self.heard.wait_for(as_expected)).await.unwrap().unwrap();
        told(&heard).unwrap()
    }
}

#[tokio::test]
async fn others_are_asked_until_they_hold_it() {
    let pod = Pod::start("other").await;
    let mut setup = start(&[("me", "127.0.0.1:1".parse().unwrap()), ("other", pod.address)]);
    setup.wanted.send_replace(Arc::new([(object("a"), version(2))].into()));
    setup.hears("other", "a", &version(2), State::NoProxy).await;
    pod.acknowledge(6);
    pod.publish("a", version(1), 3);
    setup.hears("other", "a", &version(2), State::Pending).await;
    pod.publish("a", version(2), 7);
    let holding = setup.hears("other", "a", &version(2), State::Pending).await;
    assert_eq!((holding.serving, holding.proxies), (0, 1));
    pod.acknowledge(7);
    setup.hears("other", "a", &version(2), State::Held).await;
    // What was held is not asked again, and stays although the pod's proxy goes.
    pod.proxies.send_replace(Proxies::new());
    let both = [(object("a"), version(2)), (object("b"), version(1))];
    setup.wanted.send_replace(Arc::new(both.into()));
    setup.hears("other", "b", &version(1), State::NoProxy).await;
    setup.hears("other", "a", &version(2), State::Held).await;
    // Another version is another question.
    setup.wanted.send_replace(Arc::new([(object("a"), version(3))].into()));
    setup.hears("other", "a", &version(3), State::NoProxy).await;
    setup.wanted.send_replace(Wanted::default());
    setup.heard.wait_for(|heard| heard["other"].holdings.is_empty()).await.unwrap();
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_known_by_name() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stranger = Pod::start("stranger").await;
    let addresses = [("deaf", silent.local_addr().unwrap()), ("wrong", stranger.address)];
    let mut setup = start(&addresses);
    setup.wanted.send_replace(Arc::new([(object("a"), version(1))].into()));
    let both = |heard: &Heard| heard.len() == 2 && heard.values().all(|said| said.silent);
    timeout(Duration::from_secs(20), setup.heard.wait_for(both)).await.unwrap().unwrap();
    // Its place is taken by one that answers; the other one goes.
    let pod = Pod::start("deaf").await;
    let peer = Peer { address: pod.address, node: None };
    setup.peers.send_replace(Some(Arc::new([("deaf".to_owned(), peer)].into())));
    setup.hears("deaf", "a", &version(1), State::NoProxy).await;
    assert!(!setup.heard.borrow().contains_key("wrong"));
    pod.acknowledge(1);
    pod.publish("a", version(1), 1);
    setup.hears("deaf", "a", &version(1), State::Held).await;
    setup.wanted.send_replace(Arc::new([(object("b"), version(1))].into()));
    setup.hears("deaf", "b", &version(1), State::Pending).await;
    let text = setup.metrics.text().unwrap();
    assert!(text.contains("longhaul_controller_peers 1\n"), "{text}");
    assert!(text.contains("longhaul_controller_peers_answering 1\n"), "{text}");
}

#[test]
fn many_objects_are_asked_about_in_parts() {
    let wanted: Wanted = Arc::new((0..2 * MOST).map(|n| (object(&format!("o{n}")), version(1))).collect());
    let asked = open(None, &wanted);
    assert_eq!(asked.len(), 2 * MOST);
    let longest = Asked {
        kind: "WsRoute".into(),
        namespace: "n".repeat(63),
        name: "n".repeat(253),
        version: Version { uid: "u".repeat(36), generation: i64::MAX, annotations: u64::MAX },
    };
    let question = Question { objects: vec![longest; MOST] };
    assert!(serde_json::to_vec(&question).unwrap().len() < MAX_BODY, "a question of the longest names fits");
}
