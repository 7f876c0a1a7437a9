//! The election between replicas, over a server in memory and with time that is paused.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::memory_api::{MemoryApi, Mood};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/longhaul/leases/longhaul";

struct Replica {
    leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
    idle: CancellationToken,
    metrics: Arc<Metrics>,
    task: JoinSet<()>,
}

impl Replica {
    fn start(api: &MemoryApi, identity: &str) -> Self {
        let standing =
            Standing { namespace: "longhaul".into(), name: "longhaul".into(), identity: identity.into() };
        let metrics = Arc::new(Metrics::new());
        let (elector, leadership) = Elector::new(api.client(), standing, metrics.clone());
        let (stop, idle, mut task) = (CancellationToken::new(), CancellationToken::new(), JoinSet::new());
        task.spawn(elector.run(stop.clone(), idle.clone()));
        Self { leadership, stop, idle, metrics, task }
    }

    fn leads(&self) -> bool {
        self.leadership.borrow().left().is_some()
    }

    async fn led(&mut self) {
        self.leadership.wait_for(|leadership| leadership.left().is_some()).await.unwrap();
    }

    async fn unled(&mut self) {
        self.leadership.wait_for(|leadership| leadership.left().is_none()).await.unwrap();
    }
}

fn holder(api: &MemoryApi) -> Value {
    api.object(PATH).unwrap()["spec"]["holderIdentity"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_stays_leader() {
    let api = MemoryApi::default();
    let mut one = Replica::start(&api, "one");
    one.led().await;
    let other = Replica::start(&api, "other");
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(one.leads() && !other.leads());
    }
    assert_eq!(
        (holder(&api), &api.object(PATH).unwrap()["spec"]["leaseTransitions"]),
        ("one".into(), &0.into())
    );
    assert_eq!(other.leadership.borrow().holder.as_deref(), Some("one"));
    assert!(one.metrics.text().unwrap().contains("longhaul_controller_leader 1\n"));
    assert!(other.metrics.text().unwrap().contains("longhaul_controller_leader 0\n"));
    let renewals = api.served("/leases/").iter().filter(|served| served.method == "PUT").count();
    assert!((12..=16).contains(&renewals), "about one in {RENEW:?}: {renewals} in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_there_before_is_taken_at_once_and_keeps_its_labels() {
    let api = MemoryApi::default();
    let metadata = json!({"name": "longhaul", "labels": {"helm": "owns"}, "annotations": {"a": "b"}});
    api.put(PATH, json!({"metadata": metadata}));
    let mut one = Replica::start(&api, "one");
    one.led().await;
    tokio::time::sleep(RENEW * 3).await;
    one.idle.cancel();
    one.stop.cancel();
    one.unled().await;
    one.task.join_next().await.unwrap().unwrap();
    let lease = api.object(PATH).unwrap();
    assert_eq!((&lease["spec"]["leaseTransitions"], holder(&api)), (&0.into(), Value::Null));
    assert_eq!(
        (&lease["metadata"]["labels"]["helm"], &lease["metadata"]["annotations"]["a"]),
        (&"owns".into(), &"b".into())
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_gives_it_back_once_nothing_is_written_any_more() {
    let api = MemoryApi::default();
    let mut one = Replica::start(&api, "one");
    one.led().await;
    let mut other = Replica::start(&api, "other");
    one.stop.cancel();
    one.unled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(holder(&api), "one", "something is still being written");
    let given_back = Instant::now();
    one.idle.cancel();
    one.task.join_next().await.unwrap().unwrap();
    assert_eq!(holder(&api), Value::Null);
    other.led().await;
    assert!(given_back.elapsed() < 2 * LOOK, "{:?}", given_back.elapsed());
    assert_eq!(api.object(PATH).unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_replaced_within_its_duration_and_never_meets_the_next() {
    let api = MemoryApi::default();
    let mut one = Replica::start(&api, "one");
    one.led().await;
    let mut other = Replica::start(&api, "other");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let hung = Instant::now();
    // All that is left of it is what others believe: it does nothing any more.
    one.task.abort_all();
    let until = one.leadership.borrow().left().unwrap();
    assert!(until <= DEADLINE);
    other.led().await;
    assert!(hung.elapsed() > until && hung.elapsed() <= DURATION + LOOK, "{:?}", hung.elapsed());
    assert!(!one.leads(), "the value itself says when it ends");
}

#[tokio::test(start_paused = true)]
async fn without_answers_leadership_ends_at_its_deadline_and_comes_back() {
    let api = MemoryApi::default();
    let mut one = Replica::start(&api, "one");
    one.led().await;
    let begun = Instant::now();
    for mood in [Mood::Stalled, Mood::Mute, Mood::Refusing(403, "Forbidden"), Mood::Refusing(500, "Internal")]
    {
        api.mood(PATH, mood.clone());
        one.unled().await;
        assert!(!one.leads());
        assert!(begun.elapsed() <= 4 * (DEADLINE + RENEW) + Duration::from_secs(200), "{mood:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!one.leads());
        api.mood(PATH, Mood::Well);
        timeout(Duration::from_mins(1), one.led()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn permission_that_is_refused_is_asked_for_ever_more_rarely() {
    let api = MemoryApi::default();
    let leases = "/apis/coordination.k8s.io";
    api.mood(leases, Mood::Refusing(403, "Forbidden"));
    let mut one = Replica::start(&api, "one");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!one.leads());
    assert!((20..=40).contains(&api.asked()), "{} times in ten minutes", api.asked());
    api.mood(leases, Mood::Well);
    timeout(PAUSES.1 * 2, one.led()).await.unwrap();
    // To be allowed to read it is not enough.
    api.mood(&format!("PUT {leases}"), Mood::Refusing(403, "Forbidden"));
    one.unled().await;
    let before = api.asked();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!((40..=80).contains(&(api.asked() - before)), "{} times in ten minutes", api.asked() - before);
}

/// One keeps losing its answers, one its requests; a third one comes and goes.
#[tokio::test(start_paused = true)]
async fn never_two_at_any_time() {
    let api = MemoryApi::default();
    let mut replicas = ["a", "b", "c"].map(|name| Replica::start(&api, name));
    let moods = [Mood::Well, Mood::Mute, Mood::Well, Mood::Stalled, Mood::Refusing(409, "Conflict")];
    let mut led = 0;
    for step in 0..3_000_u32 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if step % 70 == 0 {
            api.mood(PATH, moods[(step / 70) as usize % moods.len()].clone());
        }
        if step % 500 == 499 {
            let who = (step / 500) as usize % 3;
            replicas[who].stop.cancel();
            replicas[who].idle.cancel();
            replicas[who] = Replica::start(&api, &format!("new-{step}"));
        }
        let leaders = replicas.iter().filter(|replica| replica.leads()).count();
        assert!(leaders <= 1, "at step {step}");
        led += leaders;
    }
    assert!(led > 1_000, "somebody leads most of the time: {led}");
}
