//! What is due and when, event by event; and that whatever happens comes to rest at the same.

use crds::wsroute::{Address, AddressKind, WsRouteStatus};
use proptest::prelude::*;
use snapshot::frame::Generation;

use super::*;
use crate::peers::Peer;
use crate::peers::ask::Said;
use crate::publish::Proxy;

const ME: &str = "pod-a";

/// A desk, and the world that it is told of.
struct World {
    desk: Desk,
    view: View,
    lives: Lives,
    now: Instant,
    clock: i64,
}

fn ingress(name: &str) -> ObjectRef {
    ObjectRef::new("Ingress", "d", name)
}

fn route(name: &str) -> ObjectRef {
    ObjectRef::new("WsRoute", "d", name)
}

fn version(generation: i64) -> Version {
    Version { uid: "u".into(), generation, annotations: 0 }
}

fn accepted(status: bool) -> Condition {
    let reason = if status { "Accepted" } else { "Conflicted" };
    Condition { type_: "Accepted".into(), status, reason: reason.into(), message: String::new() }
}

fn address(value: &str) -> Address {
    Address { kind: AddressKind::IPAddress, value: value.into() }
}

impl World {
    /// Of a controller that started a while ago and found nothing.
    fn new(peers: Option<Peers>, addresses: Option<Addresses>) -> Self {
        let desk = Desk::new(ME.into(), peers, addresses);
        let mut world = Self {
            desk,
            view: View::default(),
            lives: Lives::new(),
            now: Instant::now(),
            clock: 1_800_000_000,
        };
        world.view.number = 1;
        world.tell();
        world.acknowledge(1);
        world.desk.begin();
        world
    }

    fn tell(&mut self) {
        self.desk.take_view(Arc::new(self.view.clone()), self.now);
        self.desk.take_lives(self.lives.clone());
    }

    /// An object is applied, and translated into the next generation.
    fn apply(&mut self, object: &ObjectRef, generation: i64, accept: bool) -> u64 {
        let blank = match &*object.kind {
            "WsRoute" => LiveStatus::WsRoute(WsRouteStatus::default()),
            _ => LiveStatus::Ingress(Vec::new()),
        };
        let before = self.lives.get(object).cloned();
        let (status, claimed) = before.map_or((blank, false), |live| (live.status.clone(), live.claimed));
        let live = Live { uid: "u".into(), generation: Some(generation), status, claimed };
        self.lives.insert(object.clone(), Arc::new(live));
        self.view.number += 1;
        let since = Since { number: self.view.number, version: Some(version(generation)) };
        self.view.since.insert(object.clone(), since);
        let report = Report {
            generation: Some(generation),
            conditions: vec![accepted(accept)],
            addresses: vec![address("192.0.2.1")],
            ..Report::default()
        };
        self.view.reports.insert(object.clone(), Arc::new(report));
        self.tell();
        self.view.number
    }

    fn acknowledge(&mut self, number: u64) {
        let proxy = Proxy { applied: Some(Generation { epoch: 1, number }), ..Proxy::default() };
        self.desk.take_proxies(Proxies::from([(1, proxy)]), BTreeMap::new());
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.clock += i64::try_from(milliseconds / 1_000).unwrap();
    }

    /// Judges whatever is due.
    fn verdicts(&mut self) -> BTreeMap<ObjectRef, Verdict> {
        let clock = Timestamp::from_second(self.clock).unwrap();
        let mut verdicts = BTreeMap::new();
        while let Some(object) = self.desk.next(self.now) {
            let verdict = self.desk.judge(&object, self.now, clock);
            verdicts.insert(object, verdict);
        }
        verdicts
    }

    /// Judges what is due, and carries it out as the API server would. `seen`: the watch shows it at once.
    fn work(&mut self, seen: bool) -> Vec<Write> {
        let writes: Vec<_> = self.verdicts().into_values().filter_map(|verdict| verdict.write).collect();
        for write in writes.clone() {
            let live = self.lives[&write.object].clone();
            let status = write.status.clone().unwrap_or_else(|| match live.status {
                LiveStatus::Ingress(_) => LiveStatus::Ingress(Vec::new()),
                LiveStatus::WsRoute(_) => LiveStatus::WsRoute(WsRouteStatus::default()),
            });
            let claimed = write.status.is_some();
            self.desk.wrote(write.clone(), status.clone(), self.now);
            if seen {
                self.show(&write.object, status, claimed);
            }
        }
        writes
    }

    fn show(&mut self, object: &ObjectRef, status: LiveStatus, claimed: bool) {
        let live = Live { status, claimed, ..Live::clone(&self.lives[object]) };
        self.lives.insert(object.clone(), Arc::new(live));
        self.tell();
    }

    /// The words of the conditions that the writes of one object say.
    fn programmed(writes: &[Write]) -> Vec<String> {
        let conditions = writes.iter().filter_map(|write| match &write.status {
            Some(LiveStatus::WsRoute(status)) => {
                let programmed = status.conditions.iter().find(|one| one.type_ == plan::PROGRAMMED)?;
                Some(format!("{} {}: {}", programmed.status, programmed.reason, programmed.message))
            }
            _ => None,
        });
        conditions.collect()
    }
}

fn sayings(verdict: &Verdict) -> Vec<String> {
    let Events::These(_, sayings) = &verdict.events else { return vec![format!("{:?}", verdict.events)] };
    sayings.iter().map(|saying| format!("{:?} {}: {}", saying.type_, saying.reason, saying.note)).collect()
}

fn pods(names: &[&str]) -> Arc<BTreeMap<String, Peer>> {
    let peer = Peer { address: "192.0.2.9:1".parse().unwrap(), node: None };
    Arc::new(names.iter().map(|name| ((*name).to_owned(), peer.clone())).collect())
}

fn heard(pod: &str, object: &ObjectRef, generation: i64, state: State) -> Heard {
    let holding =
        Holding { state, serving: usize::from(state == State::Held), proxies: 1, reason: String::new() };
    let holdings = [(object.clone(), (version(generation), holding))].into();
    Heard::from([(pod.into(), Arc::new(Said { silent: false, holdings }))])
}

#[test]
fn a_route_that_is_programmed_quickly_is_written_once() {
    let mut world = World::new(None, None);
    let number = world.apply(&route("r"), 1, true);
    assert!(world.work(true).is_empty(), "nobody is told that it takes a moment");
    world.pass(100);
    world.acknowledge(number);
    let verdicts = world.verdicts();
    assert_eq!(sayings(&verdicts[&route("r")]), ["Normal Programmed: served by 1/1 proxies"]);
    world.desk.again(route("r"));
    assert_eq!(World::programmed(&world.work(true)), ["True Programmed: 1/1 proxies"]);
    assert!(world.work(true).is_empty() && world.desk.wanted().is_empty());
    // It is said once.
    world.desk.again(route("r"));
    assert_eq!(sayings(&world.verdicts()[&route("r")]), [""; 0]);
}

#[test]
fn a_route_that_takes_longer_says_so() {
    let mut world = World::new(None, None);
    let number = world.apply(&route("r"), 1, true);
    world.acknowledge(number - 1);
    assert!(world.work(true).is_empty());
    world.pass(500);
    assert_eq!(World::programmed(&world.work(true)), ["False Pending: 0/1 proxies"]);
    world.acknowledge(number);
    assert_eq!(World::programmed(&world.work(true)), ["True Programmed: 1/1 proxies"]);
}

#[test]
fn every_ready_pod_counts_and_one_that_joins_later_changes_nothing() {
    let mut world = World::new(Some(None), None);
    let number = world.apply(&route("r"), 1, true);
    world.acknowledge(number);
    world.pass(500);
    assert_eq!(
        World::programmed(&world.work(true)),
        ["False Pending: the other Longhaul pods are not known yet"]
    );
    world.pass(2_000);
    world.desk.take_peers(Some(pods(&[ME, "pod-b"])));
    assert_eq!(World::programmed(&world.work(true)), ["False Pending: 1/2 proxies; pod-b is not there yet"]);
    assert_eq!(world.desk.wanted().get(&route("r")), Some(&version(1)));
    world.desk.take_heard(heard("pod-b", &route("r"), 1, State::Pending));
    assert!(world.work(true).is_empty(), "that is no news");
    world
        .desk
        .take_heard(Heard::from([("pod-b".into(), Arc::new(Said { silent: true, ..Said::default() }))]));
    assert!(world.work(true).is_empty(), "what differs in words only waits a little");
    world.pass(2_000);
    assert_eq!(World::programmed(&world.work(true)), ["False Pending: 1/2 proxies; pod-b does not answer"]);
    world.desk.take_heard(heard("pod-b", &route("r"), 0, State::Held));
    world.pass(2_000);
    assert_eq!(
        World::programmed(&world.work(true)),
        ["False Pending: 1/2 proxies; pod-b is not there yet"],
        "it spoke of another version"
    );
    world.desk.take_heard(heard("pod-b", &route("r"), 1, State::Held));
    assert_eq!(World::programmed(&world.work(true)), ["True Programmed: 2/2 proxies"]);
    world.desk.take_peers(Some(pods(&[ME, "pod-b", "pod-c"])));
    world.desk.again(route("r"));
    assert!(world.work(true).is_empty());
    world.desk.take_proxies(Proxies::new(), BTreeMap::new());
    world.desk.again(route("r"));
    assert!(world.work(true).is_empty(), "nor does a proxy that is away for a moment");
    assert!(world.desk.wanted().is_empty());
    // The next generation is another matter.
    let number = world.apply(&route("r"), 2, true);
    world.acknowledge(number);
    world.desk.take_heard(heard("pod-b", &route("r"), 2, State::Held));
    world.pass(500);
    assert_eq!(World::programmed(&world.work(true)), ["False Pending: 2/3 proxies; pod-c is not there yet"]);
}

#[test]
fn what_a_proxy_rejects_is_not_programmed_any_more() {
    let mut world = World::new(None, None);
    for object in [route("r"), ingress("i")] {
        let number = world.apply(&object, 1, true);
        world.acknowledge(number);
    }
    assert_eq!(world.work(true).len(), 2);
    let proxies = world.desk.proxies.clone();
    let rejected = [route("r"), ingress("i")].map(|object| (object, "bad key".to_owned()));
    world.desk.take_proxies(proxies.clone(), rejected.into());
    let verdicts = world.verdicts();
    for object in [route("r"), ingress("i")] {
        assert_eq!(sayings(&verdicts[&object]), ["Warning Rejected: bad key"]);
    }
    world.desk.again(route("r"));
    assert_eq!(World::programmed(&world.work(true)), ["False Rejected: bad key"]);
    world.desk.take_proxies(proxies, BTreeMap::new());
    assert_eq!(World::programmed(&world.work(true)), ["True Programmed: 1/1 proxies"]);
}

#[test]
fn what_is_not_accepted_is_never_programmed() {
    let mut world = World::new(None, None);
    let number = world.apply(&route("r"), 1, false);
    world.acknowledge(number);
    assert_eq!(World::programmed(&world.work(true)), ["False Rejected: it is not accepted: Conflicted"]);
    assert!(world.desk.wanted().is_empty(), "nobody is asked about it");
    world.desk.again(route("r"));
    assert_eq!(sayings(&world.verdicts()[&route("r")]), [""; 0]);
}

#[test]
fn an_ingress_shows_addresses_and_is_announced_once() {
    let mut world = World::new(Some(Some(pods(&[ME, "pod-b"]))), Some(None));
    let number = world.apply(&ingress("i"), 1, true);
    world.acknowledge(number);
    assert!(world.work(true).is_empty(), "no address is known yet");
    world.desk.take_addresses(Some([address("203.0.113.7")].into()));
    let writes = world.work(true);
    assert_eq!(writes[0].status, Some(LiveStatus::Ingress(vec![address("203.0.113.7")])));
    assert_eq!(world.desk.wanted().len(), 1, "whether it is programmed is asked for its Event");
    world.desk.take_heard(heard("pod-b", &ingress("i"), 1, State::Held));
    assert_eq!(sayings(&world.verdicts()[&ingress("i")]), ["Normal Programmed: served by 2/2 proxies"]);
    world.desk.again(ingress("i"));
    assert_eq!(sayings(&world.verdicts()[&ingress("i")]), [""; 0]);
    assert!(world.desk.wanted().is_empty());
    world.desk.take_addresses(Some([].into()));
    assert_eq!(world.work(true)[0].status, None, "what is ours is taken back");
    // A change of annotations is another version of the same generation.
    let since = Since { number, version: Some(Version { annotations: 1, ..version(1) }) };
    world.view.since.insert(ingress("i"), since);
    world.tell();
    world.verdicts();
    assert_eq!(world.desk.wanted().len(), 1);
}

/// A restart, or a change of leader: what was said an hour ago is not said again.
#[test]
fn what_was_there_before_is_not_announced_again() {
    let first = |claimed: bool| {
        let mut world = World::new(None, None);
        world.desk = Desk::new(ME.into(), None, None);
        world.view = View::default();
        for object in [route("r"), ingress("i")] {
            world.apply(&object, 1, true);
        }
        // All of it is part of the first generation.
        world.view.number = 1;
        world.view.since = world
            .view
            .since
            .keys()
            .map(|object| (object.clone(), Since { number: 1, version: Some(version(1)) }))
            .collect();
        world.desk = Desk::new(ME.into(), None, None);
        if claimed {
            world.show(&ingress("i"), LiveStatus::Ingress(vec![address("192.0.2.1")]), true);
            let status = WsRouteStatus {
                conditions: vec![crds::wsroute::Condition {
                    type_: "Programmed".into(),
                    status: "True".into(),
                    observed_generation: Some(1),
                    ..crds::wsroute::Condition::default()
                }],
                ..WsRouteStatus::default()
            };
            world.show(&route("r"), LiveStatus::WsRoute(status), true);
        }
        world.tell();
        world.acknowledge(1);
        world.desk.begin();
        let verdicts = world.verdicts();
        [route("r"), ingress("i")].map(|object| sayings(&verdicts[&object]).len())
    };
    assert_eq!(first(false), [1, 1]);
    assert_eq!(first(true), [0, 0]);
}

#[test]
fn what_leaves_our_class_is_withdrawn_and_nothing_else_is() {
    let mut world = World::new(None, None);
    let number = world.apply(&ingress("i"), 1, true);
    world.acknowledge(number);
    world.work(true);
    assert!(world.lives[&ingress("i")].claimed);
    // It went to another class: the source tells first, translation follows.
    let live = Live { generation: Some(2), ..Live::clone(&world.lives[&ingress("i")]) };
    world.lives.insert(ingress("i"), Arc::new(live));
    world.view.reports.remove(&ingress("i"));
    world.tell();
    assert!(world.work(true).is_empty(), "translation has not seen it so");
    let since = Since { number: 9, version: Some(version(2)) };
    world.view.since.insert(ingress("i"), since);
    world.tell();
    let verdicts = world.verdicts();
    assert_eq!(verdicts[&ingress("i")].events, Events::Nothing);
    world.desk.again(ingress("i"));
    assert_eq!(world.work(true)[0].status, None);
    world.pass(60_000);
    world.desk.again(ingress("i"));
    assert!(world.work(true).is_empty());
    // What another one wrote is not ours to take.
    world.show(&ingress("i"), LiveStatus::Ingress(vec![address("198.51.100.1")]), false);
    assert!(world.work(true).is_empty());
    // An object that is gone needs nothing.
    world.lives.remove(&ingress("i"));
    world.view.since.remove(&ingress("i"));
    world.tell();
    assert!(world.work(true).is_empty());
}

#[test]
fn before_the_first_translation_nothing_is_withdrawn() {
    let mut world = World::new(None, None);
    world.desk = Desk::new(ME.into(), None, None);
    let status = LiveStatus::Ingress(vec![address("192.0.2.1")]);
    let live = Live { uid: "u".into(), generation: Some(1), status, claimed: true };
    let lives: Lives = [(ingress("i"), Arc::new(live))].into_iter().collect();
    world.desk.take_lives(lives.clone());
    world.desk.begin();
    world.lives = lives;
    assert!(world.work(true).is_empty());
}

#[test]
fn a_watch_that_lags_does_not_make_it_write_again() {
    let mut world = World::new(None, None);
    let number = world.apply(&route("r"), 1, true);
    world.acknowledge(number);
    let written = world.work(false);
    assert_eq!(written.len(), 1);
    for _ in 0..4 {
        world.pass(1_000);
        world.desk.again(route("r"));
        assert!(world.work(false).is_empty());
    }
    // It never came: somebody put it back.
    world.pass(2_000);
    assert_eq!(world.work(false).len(), 1);
    // A part that stays although it is not wished (another manager's) is not fought over.
    let Some(LiveStatus::WsRoute(mut status)) = written[0].status.clone() else { panic!("{written:?}") };
    let theirs = crds::wsroute::Condition { type_: "PartiallyInvalid".into(), ..Default::default() };
    status.conditions.push(theirs);
    let stays = LiveStatus::WsRoute(status);
    world.desk.wrote(written[0].clone(), stays.clone(), world.now);
    world.show(&route("r"), stays, true);
    for _ in 0..10 {
        world.pass(3_000);
        world.desk.again(route("r"));
        assert!(world.work(true).is_empty());
    }
}

#[test]
fn failures_are_tried_again_more_and_more_rarely() {
    let mut world = World::new(None, None);
    let number = world.apply(&route("r"), 1, true);
    world.acknowledge(number);
    let mut tries = 0;
    for _ in 0..600 {
        let verdicts = world.verdicts();
        if verdicts.get(&route("r")).is_some_and(|verdict| verdict.write.is_some()) {
            tries += 1;
            world.desk.failed(&route("r"), world.now);
            world.desk.again(route("r"));
        }
        world.pass(1_000);
    }
    assert!((6..=11).contains(&tries), "{tries} in ten minutes");
    world.pass(400_000);
    assert_eq!(world.work(true).len(), 1, "and then it succeeds");
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Apply(usize, bool),
    Acknowledge,
    Reject(usize),
    Peers(usize),
    Addresses(u8),
    Leave(usize),
    Work { seen: bool },
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let object = 0..3_usize;
    prop_oneof![
        (object.clone(), any::<bool>()).prop_map(|(object, accept)| Happening::Apply(object, accept)),
        Just(Happening::Acknowledge),
        object.clone().prop_map(Happening::Reject),
        (0..3_usize).prop_map(Happening::Peers),
        (0..3_u8).prop_map(Happening::Addresses),
        object.prop_map(Happening::Leave),
        any::<bool>().prop_map(|seen| Happening::Work { seen }),
        (0..8_000_u64).prop_map(Happening::Pass),
    ]
}

proptest! {
    /// Whatever happens in whatever order: it comes to rest, and what is written then is what a desk that has seen
    /// nothing of it would find written already.
    #[test]
    fn it_comes_to_rest_at_what_a_fresh_one_would_say(happenings in prop::collection::vec(happening(), 0..40)) {
        let objects = [route("a"), route("b"), ingress("c")];
        let mut world = World::new(Some(Some(pods(&[ME]))), Some(None));
        let mut generation = 0;
        for happening in happenings {
            match happening {
                Happening::Apply(index, accept) => {
                    generation += 1;
                    world.apply(&objects[index], generation, accept);
                }
                Happening::Acknowledge => world.acknowledge(world.view.number),
                Happening::Reject(index) => {
                    let proxies = world.desk.proxies.clone();
                    world.desk.take_proxies(proxies, [(objects[index].clone(), "bad".to_owned())].into());
                }
                Happening::Peers(count) => world.desk.take_peers(Some(pods(&[ME, "pod-b"][..count.min(2)]))),
                Happening::Addresses(last) => {
                    world.desk.take_addresses(Some([address(&format!("192.0.2.{last}"))].into()));
                }
                Happening::Leave(index) => {
                    world.view.reports.remove(&objects[index]);
                    world.tell();
                }
                Happening::Work { seen } => drop(world.work(seen)),
                Happening::Pass(milliseconds) => world.pass(milliseconds),
            }
        }
        for _ in 0..4 {
            world.pass(6_000);
            world.work(true);
        }
        world.pass(6_000);
        prop_assert_eq!(world.work(true), Vec::new(), "it goes on writing");
        let (peers, addresses) = (world.desk.peers.clone(), world.desk.addresses.clone());
        let mut fresh = Desk::new(ME.into(), peers, addresses);
        fresh.take_proxies(world.desk.proxies.clone(), world.desk.rejected.clone());
        world.desk = fresh;
        world.tell();
        world.desk.begin();
        prop_assert_eq!(world.work(true), Vec::new(), "a fresh one would write");
    }
}
