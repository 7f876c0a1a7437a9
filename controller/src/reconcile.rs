//! The loop: changes into the store, the store through the translation, its outcome to proxies and people.
//!
//! The first change goes at once; while more come, the world is translated at most every [`PACE`]. Changes of
//! EndpointSlices alone go the short way: at most every [`ENDPOINT_PACE`], into the world that was translated last,
//! past whatever waits for its turn. A batch with anything else in it stays together. Nothing is published before
//! every kind is complete. A world that names Secrets of which nobody knows yet whether they exist waits for them: at the
//! start as long as it takes, later at most [`HOLD`], so that no route is seen without its certificate and no slow
//! read stops the others' changes. A translation that panics is said and counted, and leaves what was published as it is;
//! endpoints go on changing in the last world that was translated.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use imbl::{OrdMap, OrdSet};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use translate::{Change, Kind, Outcome, Report, Settings, Store, Translator};

use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::source::Batch;
use crate::version::Version;

/// The shortest time between two translations of the world.
pub const PACE: Duration = Duration::from_millis(100);

/// The shortest time until endpoints alone are translated again: what comes meanwhile goes together.
pub const ENDPOINT_PACE: Duration = Duration::from_millis(5);

/// How long a world is held back for what it names and nobody has read yet.
pub const HOLD: Duration = Duration::from_secs(2);

/// What translation reads of those kinds of which only that is kept.
pub type Wanted = OrdSet<ObjectRef>;

/// A translation that remembers the last one, to follow it at the cost of what changed.
pub type Translate = Box<dyn FnMut(&Store, &Settings) -> Outcome + Send>;

/// Begins a translation that remembers nothing: [`from_scratch`] but in tests.
pub type Begin = fn() -> Translate;

/// A [`Translator`] without a memory yet.
pub fn from_scratch() -> Translate {
    let mut translator = Translator::default();
    Box::new(move |store, settings| translator.translate(store, settings))
}

/// What the last translation said, for people. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How objects were taken.
    pub reports: OrdMap<ObjectRef, Arc<Report>>,
    /// What is wrong with objects.
    pub diagnostics: OrdSet<Diagnostic>,
    /// Every object in the store, and since when its present version is published.
    pub since: OrdMap<ObjectRef, Since>,
    /// The number of the generation that came of it; 0 before the first.
    pub number: u64,
    /// What was translated, so that it can be explained.
    pub store: Store,
    /// How.
    pub settings: Arc<Settings>,
}

/// Since when an object is published as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The first generation that its present version is part of.
    pub number: u64,
    /// Its present version, of objects from an API server.
    pub version: Option<Version>,
}

impl View {
    /// The first generation that an object's present version is part of.
    pub fn since(&self, object: &ObjectRef) -> u64 {
        self.since.get(object).map_or(0, |since| since.number)
    }
}

/// The owner of the store.
pub struct Reconciler {
    begin: Begin,
    /// `None` after a panic: what it remembered cannot be believed.
    translate: Option<Translate>,
    settings: Arc<Settings>,
    publisher: Publisher,
    metrics: Arc<Metrics>,
    view: watch::Sender<Arc<View>>,
    /// Everything that the source brought.
    store: Store,
    /// What was translated last, with the endpoints that came since. `None` before anything was.
    shown: Option<Store>,
    /// The store has changes for which `shown` has to wait.
    behind: bool,
    world: Waiting,
    endpoints: Waiting,
    reads: Reads,
    /// What there is to say while `shown` is behind, or cannot be translated itself.
    panicked: Option<Diagnostic>,
}

/// What a translation named that nobody has read yet.
#[derive(Debug, Default)]
struct Reads {
    /// Since when the world is held back for some of it.
    held: Option<Instant>,
    /// What is not waited for any more.
    given_up: OrdSet<ObjectRef>,
    wanted: watch::Sender<Wanted>,
}

impl Reads {
    /// Says what is wanted, and whether the world has to wait for it.
    fn must_wait(&mut self, outcome: &Outcome, now: Instant, is_first: bool) -> bool {
        self.wanted.send_if_modified(|known| {
            let differs = !known.ptr_eq(&outcome.wanted) && *known != outcome.wanted;
            known.clone_from(&outcome.wanted);
            differs
        });
        let unread = &outcome.unread;
        self.given_up = self.given_up.clone().intersection(unread.clone());
        if unread.len() == self.given_up.len() {
            self.held = None;
            return false;
        }
        let since = *self.held.get_or_insert(now);
        if is_first || now < since + HOLD {
            return true;
        }
        (self.held, self.given_up) = (None, unread.clone());
        false
    }

    /// When the world is held back no longer.
    fn until(&self) -> Option<Instant> {
        self.held.map(|since| since + HOLD)
    }
}

/// Changes that are not translated yet.
#[derive(Debug, Default)]
struct Waiting {
    due: bool,
    /// Objects that came, differ or went.
    touched: BTreeSet<ObjectRef>,
}

/// What is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The whole store.
    World,
    /// What is shown, with endpoints that changed.
    Endpoints,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("world", &self.world)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Reconciler {
    /// A reconciler with an empty store.
    pub fn new(begin: Begin, settings: Settings, publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        let (settings, view) = (Arc::new(settings), watch::Sender::default());
        Self {
            begin,
            translate: None,
            settings,
            publisher,
            metrics,
            view,
            store: Store::default(),
            shown: None,
            behind: false,
            world: Waiting::default(),
            endpoints: Waiting::default(),
            reads: Reads::default(),
            panicked: None,
        }
    }

    /// What the last translation said.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Runs until the source ends, which is told what is wanted of it.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Batch>, wanted: watch::Sender<Wanted>) {
        self.reads.wanted = wanted;
        let [mut world, mut endpoints] = [Instant::now(); 2];
        loop {
            // Nothing is due at the start: there it waits for what it wants.
            let held = self.reads.until().filter(|_| self.shown.is_some());
            let way = tokio::select! {
                biased;
                batch = changes.recv() => match batch {
                    Some(batch) => {
                        self.take(batch);
                        continue;
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(world), if self.world.due && self.store.synced() => Way::World,
                () = tokio::time::sleep_until(endpoints), if self.endpoints.due => Way::Endpoints,
                () = tokio::time::sleep_until(held.unwrap_or(world)), if held.is_some() => Way::World,
            };
            self = self.translate(way).await;
            endpoints = Instant::now() + ENDPOINT_PACE;
            if way == Way::World {
                world = Instant::now() + PACE;
            }
        }
    }

    /// Takes changes into the store, and those of endpoints alone into what is shown.
    fn take(&mut self, batch: Batch) {
        // Before anything is shown there is nothing that endpoints could change.
        let short = self.shown.is_some() && batch.iter().all(is_for_endpoints);
        let (mut differs, mut touched) = (false, Vec::new());
        for change in batch {
            if let Some(shown) = self.shown.as_mut().filter(|_| short && self.behind) {
                differs |= !shown.apply(change.clone()).is_empty();
            }
            let change = self.store.apply(change);
            differs |= !change.is_empty();
            touched.extend(change.objects);
        }
        let (way, other) = if short {
            (&mut self.endpoints, &mut self.world)
        } else {
            (&mut self.world, &mut self.endpoints)
        };
        way.due |= differs;
        for object in touched {
            // Its present version comes this way, whatever an earlier one did.
            other.touched.remove(&object);
            way.touched.insert(object);
        }
        self.behind |= differs && !short;
        if short && !self.behind {
            // Copied and not changed alike: two stores that share all they have are compared at no cost.
            self.shown = Some(self.store.clone());
        }
    }

    /// Translates on a thread of its own: it can take longer than anybody at the socket should wait.
    async fn translate(mut self, way: Way) -> Self {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        let (store, mut world) = match (way, &self.shown) {
            (Way::Endpoints, Some(shown)) => (shown.clone(), Waiting::default()),
            _ => (self.store.clone(), std::mem::take(&mut self.world)),
        };
        let settings = self.settings.clone();
        let mut translate = self.translate.take().unwrap_or_else(self.begin);
        let begun = Instant::now();
        let work = move || {
            // What a panicking translation remembered goes with it: no broken state survives.
            catch_unwind(AssertUnwindSafe(|| translate(&store, &settings)))
                .map(|outcome| (outcome, store, translate))
        };
        let done = tokio::task::spawn_blocking(work)
            .await
            .expect("the closure catches its panics and is never aborted");
        self.metrics.translation(begun.elapsed());
        match done {
            Ok((outcome, store, translate)) => {
                self.translate = Some(translate);
                let is_first = self.shown.is_none();
                if way == Way::World && self.reads.must_wait(&outcome, Instant::now(), is_first) {
                    self.world.touched.append(&mut world.touched);
                    self.endpoints = endpoints;
                    self.behind = true;
                    return self;
                }
                self.behind &= way == Way::Endpoints;
                self.panicked.take_if(|_| !self.behind);
                endpoints.touched.append(&mut world.touched);
                self.publish(outcome, &store, endpoints.touched);
                self.shown = Some(store);
            }
            Err(panic) => {
                self.world.touched.append(&mut world.touched);
                // The same again would come to the same; what is shown has a way of its own.
                endpoints.due &= way == Way::World;
                self.endpoints = endpoints;
                self.say_panic(&*panic);
            }
        }
        self
    }

    fn publish(&mut self, mut outcome: Outcome, store: &Store, touched: BTreeSet<ObjectRef>) {
        let number = self.publisher.publish(&outcome.snapshot);
        outcome.diagnostics.extend(self.panicked.clone());
        let mut since = self.view.borrow().since.clone();
        for object in touched {
            let Some(version) = store.object(&object).map(Version::of) else {
                since.remove(&object);
                continue;
            };
            // What differs in nothing that is read (its status, say) is published already.
            let same = |before: &Since| version.is_some() && before.version == version;
            if !since.get(&object).is_some_and(same) {
                since.insert(object, Since { number, version });
            }
        }
        self.view.send_replace(Arc::new(View {
            reports: outcome.reports,
            diagnostics: outcome.diagnostics,
            since,
            number,
            store: store.clone(),
            settings: self.settings.clone(),
        }));
    }

    fn say_panic(&mut self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text =
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".into());
        tracing::error!(panic = text, "the translation panicked; what was published before stays");
        self.metrics.translation_panicked();
        let mut view = View::clone(&self.view.borrow());
        let panicked = Diagnostic {
            object: ObjectRef::new("Controller", "", "longhaul"),
            field: String::new(),
            severity: Severity::Error,
            reason: "TranslationPanicked".into(),
            message: format!("the translation panicked: {text}; no change is served until it succeeds"),
            remedy: "undo the last change and report this as a defect".into(),
        };
        if let Some(before) = self.panicked.replace(panicked.clone()) {
            view.diagnostics.remove(&before);
        }
        view.diagnostics.insert(panicked);
        self.view.send_replace(Arc::new(view));
    }
}

/// Whether a change can go the short way.
fn is_for_endpoints(change: &Change) -> bool {
    match change {
        Change::Upsert(object) => object.kind() == Kind::EndpointSlice,
        Change::Delete(object) | Change::Absent(object) => object.kind == Kind::EndpointSlice.as_str(),
        Change::Replace(kind, _) => *kind == Kind::EndpointSlice,
        Change::Synced(_) | Change::OnDemand(_) => false,
    }
}

#[cfg(test)]
mod short_way;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::networking::v1::Ingress;
    use snapshot::{HostPattern, Key};
    use tokio::task::JoinSet;
    use translate::Object;

    use crate::publish::Published;

    use super::*;

    pub(super) fn service(name: &str) -> Object {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        Object::Service(Arc::new(service))
    }

    /// Each object becomes a host of its name; one named `panic` panics.
    fn hosts(store: &Store, _: &Settings) -> Outcome {
        let mut outcome = Outcome::default();
        for object in store.objects() {
            assert_ne!(object.name, "panic", "as asked");
            outcome.snapshot.insert_encoded(Key::Host(HostPattern::Exact(object.name)), vec![0].into());
        }
        outcome
    }

    pub(super) fn synced() -> Batch {
        Kind::ALL.into_iter().map(Change::Synced).collect()
    }

    pub(super) struct Setup {
        pub(super) changes: mpsc::Sender<Batch>,
        pub(super) publisher: Publisher,
        pub(super) view: watch::Receiver<Arc<View>>,
        wanted: watch::Receiver<Wanted>,
        metrics: Arc<Metrics>,
        _tasks: JoinSet<()>,
    }

    pub(super) fn start(begin: Begin) -> Setup {
        let metrics = Arc::new(Metrics::new());
        let publisher = Publisher::new(metrics.bytes_sent()).unwrap();
        let reconciler = Reconciler::new(begin, Settings::default(), publisher.clone(), metrics.clone());
        let (changes, receiver) = mpsc::channel(4);
        let view = reconciler.view();
        let mut tasks = JoinSet::new();
        let (sender, wanted) = watch::channel(Wanted::default());
        tasks.spawn(reconciler.run(receiver, sender));
        Setup { changes, publisher, view, wanted, metrics, _tasks: tasks }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_every_kind_is_complete() {
        let setup = start(|| Box::new(hosts));
        let mut published = setup.publisher.published();
        setup.changes.send(vec![Change::Upsert(service("a"))]).await.unwrap();
        let mut batch = synced();
        let last = batch.pop().unwrap();
        setup.changes.send(batch).await.unwrap();
        // The clock stands still while anything runs, so whatever is due has been done when it moves.
        tokio::time::sleep(10 * PACE).await;
        assert!(published.borrow().is_none());
        setup.changes.send(vec![Change::Upsert(service("b")), last]).await.unwrap();
        // Whatever was published too early would have been the first, and would have known one of them only.
        let both =
            |published: &Option<Published>| published.as_ref().is_some_and(|now| now.snapshot.len() == 2);
        let first = published.wait_for(both).await.unwrap().clone().unwrap();
        assert_eq!(first.generation.number, 1);
    }

    /// Wants a Secret for each Service, of the same name.
    fn with_secrets(store: &Store, settings: &Settings) -> Outcome {
        let mut outcome = hosts(store, settings);
        for object in store.objects().filter(|object| object.kind == "Service") {
            let secret = ObjectRef::new("Secret", "", &*object.name);
            if store.object(&secret).is_none() {
                outcome.unread.insert(secret.clone());
            }
            outcome.wanted.insert(secret);
        }
        outcome
    }

    fn secret(name: &str) -> Object {
        let mut secret = k8s_openapi::api::core::v1::Secret::default();
        secret.metadata.name = Some(name.into());
        Object::Secret(Arc::new(secret))
    }

    #[tokio::test(start_paused = true)]
    async fn a_world_waits_for_what_it_names_and_nobody_has_read_but_not_for_ever() {
        let mut setup = start(|| Box::new(with_secrets));
        let (mut published, mut wanted) = (setup.publisher.published(), setup.wanted.clone());
        setup.changes.send([vec![Change::Upsert(service("a"))], synced()].concat()).await.unwrap();
        wanted.wait_for(|wanted| wanted.len() == 1).await.unwrap();
        tokio::time::sleep(10 * HOLD).await;
        assert!(published.borrow().is_none(), "at the start as long as it takes");
        let changes = setup.changes.clone();
        let send = async |object| changes.send(vec![Change::Upsert(object)]).await.unwrap();
        let mut number = async |number| {
            let is = |published: &Option<Published>| {
                published.as_ref().is_some_and(|now| now.generation.number == number)
            };
            published.wait_for(is).await.unwrap();
        };
        send(secret("a")).await;
        number(1).await;
        // Later others wait a while only, and not again for the same.
        let begun = Instant::now();
        send(service("b")).await;
        number(2).await;
        assert!(begun.elapsed() >= HOLD && begun.elapsed() <= HOLD + 2 * PACE, "{:?}", begun.elapsed());
        let begun = Instant::now();
        send(service("a2")).await;
        send(secret("a2")).await;
        number(3).await;
        assert!(begun.elapsed() <= 2 * PACE, "{:?}", begun.elapsed());
        // What comes after all goes at once.
        let begun = Instant::now();
        send(secret("b")).await;
        let late = ObjectRef::new("Secret", "", "b");
        setup.view.wait_for(|view| view.since.contains_key(&late)).await.unwrap();
        assert!(begun.elapsed() <= 2 * PACE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_panic_costs_nothing_that_was_published() {
        // How many translations the present memory has seen.
        let mut setup = start(|| {
            let mut seen = 0;
            Box::new(move |store, settings| {
                seen += 1;
                let mut outcome = hosts(store, settings);
                let count = ObjectRef::new("Memory", "", seen.to_string());
                outcome.reports.insert(count, Arc::default());
                outcome
            })
        });
        let mut published = setup.publisher.published();
        setup.changes.send([vec![Change::Upsert(service("a"))], synced()].concat()).await.unwrap();
        published.wait_for(Option::is_some).await.unwrap();
        setup.changes.send(vec![Change::Upsert(service("panic"))]).await.unwrap();
        let said = |view: &Arc<View>| view.diagnostics.iter().any(|d| d.message.contains("as asked"));
        setup.view.wait_for(said).await.unwrap();
        assert_eq!(published.borrow().as_ref().unwrap().generation.number, 1);
        let panic = ObjectRef::new("Service", "", "panic");
        setup.changes.send(vec![Change::Delete(panic), Change::Upsert(service("b"))]).await.unwrap();
        let view = setup.view.wait_for(|view| view.diagnostics.is_empty()).await.unwrap().clone();
        assert_eq!(published.borrow().as_ref().unwrap().generation.number, 2);
        let since: Vec<_> = view.since.iter().map(|(object, since)| (&*object.name, since.number)).collect();
        assert_eq!(since, [("a", 1), ("b", 2)]);
        let memory: Vec<_> = view.reports.keys().map(|count| &*count.name).collect();
        assert_eq!(memory, ["1"], "what a panicking translation remembered is thrown away");
        setup.changes.send(vec![Change::Upsert(service("c"))]).await.unwrap();
        let view = setup.view.wait_for(|view| view.since.len() == 3).await.unwrap().clone();
        assert!(view.reports.contains_key(&ObjectRef::new("Memory", "", "2")), "a good one's is kept");
        setup.changes.send(vec![Change::Delete(ObjectRef::new("Service", "", "a"))]).await.unwrap();
        setup
            .view
            .wait_for(|view| view.since.keys().map(|object| &*object.name).eq(["b", "c"]))
            .await
            .unwrap();
        assert!(setup.metrics.text().unwrap().contains("longhaul_controller_translation_panics_total 1"));
    }

    fn ingress(generation: i64, label: &str) -> Object {
        let mut ingress = Ingress::default();
        ingress.metadata.name = Some("i".into());
        ingress.metadata.uid = Some("u".into());
        ingress.metadata.generation = Some(generation);
        ingress.metadata.labels = Some([("label".to_owned(), label.to_owned())].into());
        Object::Ingress(Arc::new(ingress))
    }

    #[tokio::test]
    async fn what_differs_in_nothing_that_is_read_is_published_already() {
        let mut setup = start(|| Box::new(hosts));
        setup.changes.send([vec![Change::Upsert(ingress(1, "a"))], synced()].concat()).await.unwrap();
        let object = ingress(1, "a").reference();
        setup.view.wait_for(|view| view.since(&object) == 1).await.unwrap();
        let batch = vec![Change::Upsert(ingress(1, "b")), Change::Upsert(service("b"))];
        setup.changes.send(batch).await.unwrap();
        let view = setup.view.wait_for(|view| view.number == 2).await.unwrap().clone();
        assert_eq!((view.since(&object), view.since(&service("b").reference())), (1, 2));
        let batch = vec![Change::Upsert(ingress(2, "b")), Change::Upsert(service("c"))];
        setup.changes.send(batch).await.unwrap();
        let view = setup.view.wait_for(|view| view.number == 3).await.unwrap().clone();
        assert_eq!(view.since(&object), 3);
        assert_eq!(view.since[&object].version, Version::of(&ingress(2, "a")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_goes_at_once_and_the_rest_together() {
        static TRANSLATIONS: AtomicUsize = AtomicUsize::new(0);
        let mut setup = start(|| {
            Box::new(|store, settings| {
                TRANSLATIONS.fetch_add(1, Ordering::Relaxed);
                hosts(store, settings)
            })
        });
        setup.changes.send(synced()).await.unwrap();
        let begun = Instant::now();
        setup.view.changed().await.unwrap();
        assert!(begun.elapsed() < PACE);
        for index in 0..20 {
            setup.changes.send(vec![Change::Upsert(service(&format!("s{index}")))]).await.unwrap();
        }
        setup.view.wait_for(|view| view.since.len() == 20).await.unwrap();
        assert!(begun.elapsed() >= PACE);
        assert_eq!(TRANSLATIONS.load(Ordering::Relaxed), 2);
    }
}
