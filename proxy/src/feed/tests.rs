//! The feed against a controller made of the contract's frames, over a real socket; the last-good file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Weak;

use bytes::{Bytes, BytesMut};
use rustls::crypto::aws_lc_rs;
use snapshot::frame::{self, PROTOCOL, Quarantined, ToController, ToProxy};
use snapshot::{Action, Host, HostPattern, Key, ObjectRef, PathMatch, RouteId, Section, Snapshot};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::head::Head;

/// A test that waits so long waits for ever.
const STUCK: Duration = Duration::from_secs(30);

/// How long the tests' feeds wait for a controller that has begun something.
const PATIENCE: Duration = Duration::from_millis(300);

fn host(name: &str) -> Key {
    Key::Host(HostPattern::Exact(name.into()))
}

/// A route that answers 503 with its own name as the reason.
fn route(name: &str) -> snapshot::Route {
    let owner = ObjectRef { kind: "Ingress".into(), namespace: "d".into(), name: name.into() };
    let id = RouteId { owner, rule: String::new(), matched: "/".into() };
    snapshot::Route::new(id, PathMatch::Prefix("/".into()), Action::Broken(name.into()))
}

/// A snapshot of these hosts, each with one route.
fn snapshot(hosts: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for name in hosts {
        snapshot.insert(host(name), &Section::Host(Host { tls: None, routes: vec![route(name)] }));
    }
    snapshot
}

fn number(number: u64) -> Generation {
    Generation { epoch: 7, number }
}

fn empty_table() -> Arc<ArcSwap<Table>> {
    Arc::new(ArcSwap::from_pointee(Table::empty(Arc::new(aws_lc_rs::default_provider()))))
}

/// A feed that runs, and the folder with its socket and file.
struct Running {
    folder: TempDir,
    table: Arc<ArcSwap<Table>>,
    state: watch::Receiver<FeedState>,
    ready: watch::Receiver<bool>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(folder: TempDir) -> Self {
        let config = FeedConfig {
            last_good: Some(folder.path().join("last-good")),
            storage: Storage::AnyDisk,
            patience: PATIENCE,
            judge_interval: PATIENCE,
            ..FeedConfig::new(folder.path().join("feed.sock"))
        };
        let (table, shutdown) = (empty_table(), CancellationToken::new());
        let feed = Feed::new(config, table.clone()).unwrap();
        let (state, ready, mut tasks) = (feed.state(), feed.ready(), JoinSet::new());
        tasks.spawn(feed.run(shutdown.clone()));
        Self { folder, table, state, ready, shutdown, tasks }
    }

    fn listen(&self) -> UnixListener {
        let path = self.folder.path().join("feed.sock");
        drop(std::fs::remove_file(&path));
        UnixListener::bind(path).unwrap()
    }

    fn hosts(&self) -> usize {
        self.table.load().hosts()
    }

    async fn state(&mut self, wanted: impl FnMut(&FeedState) -> bool) -> FeedState {
        timeout(STUCK, self.state.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        timeout(STUCK, self.tasks.join_next()).await.unwrap().unwrap().unwrap();
        self.folder
    }
}

/// The controller's end of one connection.
struct Controller {
    stream: UnixStream,
    received: BytesMut,
    /// What the proxy said that it holds.
    hello: (Generation, snapshot::Digest),
}

impl Controller {
    async fn accept(listener: &UnixListener) -> Self {
        let mut controller = Self::accept_silently(listener).await;
        controller.send([ToProxy::Welcome { protocol: PROTOCOL, version: "test".into() }]).await;
        controller
    }

    /// Reads the greeting and does not answer.
    async fn accept_silently(listener: &UnixListener) -> Self {
        let (stream, _) = timeout(STUCK, listener.accept()).await.unwrap().unwrap();
        let hello = (Generation::default(), Snapshot::default().digest());
        let mut controller = Self { stream, received: BytesMut::new(), hello };
        match controller.receive().await {
            Some(ToController::Hello { protocol: PROTOCOL, generation, digest, .. }) => {
                controller.hello = (generation, digest);
            }
            other => panic!("{other:?}"),
        }
        controller
    }

    async fn send(&mut self, frames: impl IntoIterator<Item = ToProxy>) {
        for frame in frames {
            let mut out = BytesMut::new();
            frame::encode(&frame, &mut out);
            self.stream.write_all(&out).await.unwrap();
        }
    }

    /// Nothing: the proxy hung up.
    async fn receive(&mut self) -> Option<ToController> {
        loop {
            if let Some(frame) = frame::decode(&mut self.received).unwrap() {
                return Some(frame);
            }
            if timeout(STUCK, self.stream.read_buf(&mut self.received)).await.unwrap().ok()? == 0 {
                return None;
            }
        }
    }

    /// Publishes and returns what the proxy quarantined, or why it refused.
    async fn publish(
        &mut self,
        generation: Generation,
        held: Option<&Snapshot>,
        next: &Snapshot,
    ) -> Result<Vec<Quarantined>, String> {
        self.send(frame::generation(generation, held, next)).await;
        self.answer(generation).await
    }

    async fn answer(&mut self, wanted: Generation) -> Result<Vec<Quarantined>, String> {
        match self.receive().await {
            Some(ToController::Applied { generation, quarantined }) if generation == wanted => {
                Ok(quarantined)
            }
            Some(ToController::Refused { generation, reason }) if generation == wanted => Err(reason),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn generations_are_applied_and_acknowledged() {
    let mut running = Running::start();
    assert!(!*running.ready.borrow());
    // The socket appears after the feed began to look for it.
    let mut controller = Controller::accept(&running.listen()).await;
    assert_eq!(controller.hello, (Generation::default(), Snapshot::default().digest()));
    let (one, two) = (snapshot(&["a"]), snapshot(&["a", "b"]));
    assert_eq!(controller.publish(number(1), None, &one).await, Ok(vec![]));
    assert!(*running.ready.borrow_and_update());
    assert_eq!((running.table.load().generation(), running.hosts()), (number(1), 1));
    let live = running.table.load().select(&Head::get("a", "/"), [127, 0, 0, 1].into()).unwrap().live.clone();
    assert_eq!(live.idle(), Some(Duration::from_hours(1)));
    let mut two = two;
    let mut edited = route("a");
    edited.timeouts.idle = snapshot::Millis(0);
    two.insert(host("a"), &Section::Host(Host { tls: None, routes: vec![edited] }));
    assert_eq!(controller.publish(number(2), Some(&one), &two).await, Ok(vec![]));
    assert_eq!(live.idle(), None, "what open tunnels follow was brought up to date before the answer");
    assert_eq!((running.table.load().digest(), running.hosts()), (two.digest(), 2));
    let state = running.state(|state| state.applied == 2).await;
    assert!(state.connected && state.generation == number(2) && state.last_applied.is_some());
    assert_eq!((state.refused, state.quarantined), (0, 0));
    // An empty world is a world.
    assert_eq!(controller.publish(number(3), Some(&two), &Snapshot::default()).await, Ok(vec![]));
    assert_eq!(running.hosts(), 0);
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_a_full_generation_mends_it() {
    let running = Running::start();
    let mut controller = Controller::accept(&running.listen()).await;
    let (one, two, other) = (snapshot(&["a"]), snapshot(&["a", "b"]), snapshot(&["c"]));
    controller.publish(number(5), None, &one).await.unwrap();
    // A gap, a step back within the epoch, a wrong digest, a section that breaks off.
    assert!(controller.publish(number(6), Some(&other), &two).await.is_err());
    assert!(controller.publish(number(4), Some(&one), &two).await.is_err());
    let mut wrong: Vec<_> = frame::generation(number(6), Some(&one), &two).collect();
    *wrong.last_mut().unwrap() = ToProxy::Commit { digest: other.digest() };
    controller.send(wrong).await;
    assert!(controller.answer(number(6)).await.is_err());
    let part = |name: &str| ToProxy::Section {
        key: host(name),
        part: snapshot::frame::Part(Bytes::from_static(b"x")),
        last: false,
    };
    let begin = frame::generation(number(6), Some(&one), &two).next().unwrap();
    let commit = ToProxy::Commit { digest: two.digest() };
    controller.send([begin, part("x"), part("y"), part("z"), commit]).await;
    // Refused once, although three of its frames do not belong.
    assert!(controller.answer(number(6)).await.is_err());
    assert_eq!((running.table.load().generation(), running.hosts()), (number(5), 1));
    assert_eq!(controller.publish(number(7), None, &two).await, Ok(vec![]));
    assert_eq!(running.hosts(), 2);
    assert_eq!(running.state.borrow().refused, 4);
    running.stop().await;
}

#[tokio::test]
async fn a_new_epoch_is_believed_on_a_new_connection() {
    let mut running = Running::start();
    let listener = running.listen();
    let mut controller = Controller::accept(&listener).await;
    let (one, two) = (snapshot(&["a"]), snapshot(&["b"]));
    controller.publish(number(50), None, &one).await.unwrap();
    drop(controller);
    running.state(|state| !state.connected).await;
    assert_eq!(running.hosts(), 1, "a lost connection costs nothing");
    let mut controller = Controller::accept(&listener).await;
    assert_eq!(controller.hello, (number(50), one.digest()));
    let first = Generation { epoch: 8, number: 1 };
    // Equal digest: only the name is new.
    controller.publish(first, Some(&one), &one).await.unwrap();
    assert_eq!(running.table.load().generation(), first);
    controller.publish(Generation { epoch: 8, number: 2 }, Some(&one), &two).await.unwrap();
    assert_eq!(running.table.load().digest(), two.digest());
    running.stop().await;
}

/// A feed that serves host `a`, and its listener, which nobody is connected to any more.
async fn serving() -> (Running, UnixListener, Snapshot) {
    let mut running = Running::start();
    let (listener, one) = (running.listen(), snapshot(&["a"]));
    Controller::accept(&listener).await.publish(number(1), None, &one).await.unwrap();
    running.state(|state| !state.connected).await;
    (running, listener, one)
}

/// Whatever a connection went through: the table is the same, and the next connection works.
async fn unharmed((running, listener, one): (Running, UnixListener, Snapshot)) {
    assert_eq!((running.table.load().generation(), running.hosts()), (number(1), 1));
    let mut controller = Controller::accept(&listener).await;
    assert_eq!(controller.hello, (number(1), one.digest()));
    controller.publish(number(2), Some(&one), &snapshot(&["a", "b"])).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn garbage_ends_the_connection_only() {
    let serving = serving().await;
    // A length that no frame has; a frame that does not decode.
    for garbage in [&[0xFF; 64][..], &[0, 0, 0, 2, 0xFF, 0xFF]] {
        let mut controller = Controller::accept(&serving.1).await;
        controller.stream.write_all(garbage).await.unwrap();
        assert_eq!(controller.receive().await, None);
    }
    unharmed(serving).await;
}

#[tokio::test]
async fn frames_out_of_place_end_the_connection_only() {
    let serving = serving().await;
    for stray in [ToProxy::Commit { digest: serving.2.digest() }, ToProxy::Gone { key: host("a") }] {
        let mut controller = Controller::accept(&serving.1).await;
        controller.send([stray]).await;
        assert_eq!(controller.receive().await, None);
    }
    unharmed(serving).await;
}

#[tokio::test]
async fn a_controller_that_greets_wrongly_is_left() {
    let serving = serving().await;
    let mut controller = Controller::accept_silently(&serving.1).await;
    controller.send([ToProxy::Welcome { protocol: PROTOCOL + 1, version: "next".into() }]).await;
    assert_eq!(controller.receive().await, None);
    let mut controller = Controller::accept_silently(&serving.1).await;
    controller.send(frame::generation(number(2), None, &Snapshot::default())).await;
    assert_eq!(controller.receive().await, None);
    assert!(!serving.0.state.borrow().connected);
    unharmed(serving).await;
}

#[tokio::test]
async fn a_controller_that_is_stuck_is_left() {
    let serving = serving().await;
    // Before Welcome, in the middle of a frame, in the middle of a generation.
    let mut controller = Controller::accept_silently(&serving.1).await;
    assert_eq!(controller.receive().await, None);
    let mut controller = Controller::accept(&serving.1).await;
    controller.stream.write_all(&[0, 0, 1]).await.unwrap();
    assert_eq!(controller.receive().await, None);
    let mut controller = Controller::accept(&serving.1).await;
    controller.send(frame::generation(number(2), None, &snapshot(&["b"])).take(1)).await;
    assert_eq!(controller.receive().await, None);
    unharmed(serving).await;
}

#[tokio::test]
async fn a_controller_without_news_is_not_left() {
    let running = Running::start();
    let (mut controller, one) = (Controller::accept(&running.listen()).await, snapshot(&["a"]));
    controller.publish(number(1), None, &one).await.unwrap();
    // The one thing that only time can tell: nothing happens for longer than a stuck controller is waited
    // for.
    timeout(2 * PATIENCE, controller.receive()).await.unwrap_err();
    controller.publish(number(2), Some(&one), &Snapshot::default()).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn what_is_quarantined_is_told_each_time_and_fits_a_frame() {
    let running = Running::start();
    let mut controller = Controller::accept(&running.listen()).await;
    let mut bad = snapshot(&["good"]);
    for at in 0..2_000 {
        bad.insert_encoded(host(&format!("{at}-{}", "x".repeat(100))), Bytes::from_static(&[0xFF]));
    }
    let told = controller.publish(number(1), None, &bad).await.unwrap();
    assert!((100..2_000).contains(&told.len()), "{}", told.len());
    assert_eq!(running.state.borrow().quarantined, 2_000);
    let mut few = snapshot(&["good"]);
    few.insert_encoded(host("bad"), Bytes::from_static(&[0xFF]));
    let told = controller.publish(number(2), None, &few).await.unwrap();
    assert_eq!(told.iter().map(|section| &section.key).collect::<Vec<_>>(), [&host("bad")]);
    let mut more = few.clone();
    more.remove(&host("good"));
    let again = controller.publish(number(3), Some(&few), &more).await.unwrap();
    assert_eq!(again, told, "told although nothing of it changed");
    running.stop().await;
}

#[tokio::test]
async fn what_expires_is_told_without_being_asked() {
    let mut running = Running::start();
    let mut controller = Controller::accept(&running.listen()).await;
    // Enough for the first acknowledgement, and soon over.
    let not_after =
        SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed() + 2;
    let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let pair = snapshot::Certificate::Pair {
        chain: vec![made.cert.der().to_vec().into()],
        key: snapshot::PrivateKey::new(&made.signing_key.serialize_der()),
        not_after,
    };
    let key = Key::Certificate(snapshot::CertificateKey { namespace: "d".into(), secret: "c".into() });
    let mut one = snapshot(&["a"]);
    one.insert(key.clone(), &Section::Certificate(pair));
    assert_eq!(controller.publish(number(1), None, &one).await, Ok(vec![]));
    let told = controller.answer(number(1)).await.unwrap();
    assert_eq!((told.len(), &told[0].key), (1, &key));
    assert!(told[0].reason.contains("expired"), "{told:?}");
    running.state(|state| state.quarantined == 1).await;
    // The next generation is put together from the same sections, and another connection is told again.
    let two = {
        let mut two = one.clone();
        two.insert(host("b"), &Section::Host(Host { tls: None, routes: vec![route("b")] }));
        two
    };
    assert_eq!(controller.publish(number(2), Some(&one), &two).await, Ok(told.clone()));
    drop(controller);
    let mut controller = Controller::accept(&running.listen()).await;
    assert_eq!(controller.publish(number(3), Some(&two), &two).await, Ok(told));
    running.stop().await;
}

#[tokio::test]
async fn five_hundred_changes_leave_one_table_and_few_writes() {
    let begun = Instant::now();
    let mut running = Running::start();
    let mut controller = Controller::accept(&running.listen()).await;
    let mut held = snapshot(&["a"]);
    controller.publish(number(1), None, &held).await.unwrap();
    let mut tables: Vec<Weak<Table>> = vec![];
    for at in 2..=500 {
        tables.push(Arc::downgrade(&running.table.load_full()));
        let next = snapshot(&["a", &format!("host-{}", at % 7)]);
        controller.publish(number(at), Some(&held), &next).await.unwrap();
        held = next;
    }
    assert_eq!(tables.iter().filter(|table| table.strong_count() > 0).count(), 0);
    let state = running.state(|state| state.written > 0).await;
    assert!(state.written <= begun.elapsed().as_secs() + 2, "{state:?} in {:?}", begun.elapsed());
    // The last one is written before the feed leaves.
    let path = running.stop().await;
    let file = LastGoodFile::new(&path.path().join("last-good"), Storage::AnyDisk).unwrap();
    let loaded = file.load().unwrap().unwrap();
    assert_eq!((loaded.generation, loaded.received), (number(500), held));
}

#[tokio::test]
async fn a_restarted_proxy_serves_what_the_one_before_it_served() {
    let running = Running::start();
    let mut controller = Controller::accept(&running.listen()).await;
    let good = snapshot(&["a", "b"]);
    controller.publish(number(1), None, &good).await.unwrap();
    let mut received = good.clone();
    received.insert_encoded(host("b"), Bytes::from_static(&[0xFF; 4]));
    received.insert_encoded(host("c"), Bytes::from_static(&[0xFF; 5]));
    assert_eq!(controller.publish(number(2), Some(&good), &received).await.unwrap().len(), 2);
    let folder = running.stop().await;
    let mode = std::fs::metadata(folder.path().join("last-good")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.path().join("last-good.new").exists());

    let running = Running::start_in(folder);
    assert!(*running.ready.borrow());
    {
        let table = running.table.load();
        assert_eq!((table.generation(), table.digest()), (number(2), received.digest()));
        let reason =
            |host: &str| match &table.select(&Head::get(host, "/"), [127, 0, 0, 1].into()).unwrap().action {
                crate::table::Action::Broken(reason) => reason.clone(),
                crate::table::Action::Forward(_) | crate::table::Action::Redirect(_) => {
                    panic!("these hosts forward nothing")
                }
            };
        assert_eq!((reason("a"), reason("b")), ("a".into(), "b".into()), "b is served in its last good form");
        assert_ne!(reason("c"), "c");
        let quarantined: Vec<_> = table.quarantined().into_iter().map(|section| section.key).collect();
        assert_eq!(quarantined, [host("b"), host("c")]);
    }
    // The controller hears what it need not send again.
    let mut controller = Controller::accept(&running.listen()).await;
    assert_eq!(controller.hello, (number(2), received.digest()));
    assert_eq!(controller.publish(number(3), Some(&received), &received).await.unwrap().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_is_damaged_is_ignored_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last-good");
    let file = LastGoodFile::new(&path, Storage::AnyDisk).unwrap();
    assert!(file.load().unwrap().is_none());
    let (served, received) = (snapshot(&["a"]), snapshot(&["a", "b"]));
    assert!(!file.save(Generation::default(), &served, &received).unwrap(), "nothing is served yet");
    assert!(file.save(number(1), &served, &received).unwrap());
    assert!(!file.save(number(1), &served, &received).unwrap(), "the file has it");
    let whole = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        LastGoodFile::new(&path, Storage::AnyDisk).unwrap().load()
    };
    let loaded = load(&whole).unwrap().unwrap();
    assert_eq!((loaded.served, loaded.received), (served, received));
    for cut in 0..whole.len() {
        assert!(load(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(load(&[&whole[..], b"more"].concat()).is_err());
    // One bit: an error, or at the least no panic. (The greeting's version is nobody's business.)
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        drop(load(&bent));
    }
    let mut other = BytesMut::new();
    frame::encode(&ToProxy::Welcome { protocol: PROTOCOL + 1, version: String::new() }, &mut other);
    assert!(matches!(load(&other), Err(LastGoodError::Protocol { found, .. }) if found == PROTOCOL + 1));

    std::fs::write(&path, b"garbage").unwrap();
    let running = Running::start_in(folder);
    assert!(!*running.ready.borrow());
    let mut controller = Controller::accept(&running.listen()).await;
    controller.publish(number(1), None, &snapshot(&["a"])).await.unwrap();
    let folder = running.stop().await;
    let file = LastGoodFile::new(&folder.path().join("last-good"), Storage::AnyDisk).unwrap();
    assert_eq!(file.load().unwrap().unwrap().generation, number(1));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_nothing() {
    let mut running = Running::start();
    // A folder in the file's place cannot be replaced by it, whoever one is.
    std::fs::create_dir(running.folder.path().join("last-good")).unwrap();
    let mut controller = Controller::accept(&running.listen()).await;
    controller.publish(number(1), None, &snapshot(&["a"])).await.unwrap();
    let state = running.state(|state| state.unwritten).await;
    assert_eq!((state.written, running.hosts()), (0, 1));
    let folder = running.stop().await;
    assert!(!folder.path().join("last-good.new").exists(), "no half of a file with keys is left");
}

#[test]
fn private_keys_are_kept_off_disks() {
    let open = |path: &Path, storage| LastGoodFile::new(path, storage).map(drop);
    // procfs is everywhere and is neither tmpfs nor ramfs.
    let elsewhere = Path::new("/proc/self/last-good");
    let error = open(elsewhere, Storage::MemoryOnly).unwrap_err();
    assert!(matches!(error, LastGoodError::OnDisk(_)) && error.to_string().contains("tmpfs"), "{error}");
    assert!(open(elsewhere, Storage::AnyDisk).is_ok());
    let missing = open(Path::new("/proc/self/missing/last-good"), Storage::AnyDisk).unwrap_err();
    assert!(matches!(missing, LastGoodError::Io { .. }), "{missing}");
    let memory = Path::new("/dev/shm");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    if mounts.lines().any(|line| line.contains(" /dev/shm tmpfs ")) {
        assert!(open(&memory.join("last-good"), Storage::MemoryOnly).is_ok());
    }
}

#[test]
fn the_socket_must_belong_to_root_or_to_us() {
    use super::session::may_feed;
    assert!(may_feed(0, 1000) && may_feed(1000, 1000) && may_feed(0, 0));
    assert!(!may_feed(1001, 1000) && !may_feed(1000, 0));
}

#[test]
fn the_wait_between_attempts_grows_and_is_never_the_same() {
    let waits: Vec<_> = (0..40).map(backoff).collect();
    assert!(waits.iter().all(|wait| (SHORTEST_WAIT / 2..=LONGEST_WAIT).contains(wait)), "{waits:?}");
    assert!(waits[0] <= SHORTEST_WAIT && waits[39] >= LONGEST_WAIT / 2);
    let late: std::collections::BTreeSet<_> = (0..20).map(|_| backoff(30)).collect();
    assert!(late.len() > 10, "{late:?}");
    assert_eq!(backoff(u32::MAX).max(LONGEST_WAIT), LONGEST_WAIT);
}
