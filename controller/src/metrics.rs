//! The controller's metrics, in OpenMetrics text. Labels are bounded by the objects; nothing is told per request.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One number for each kind of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySeverity {
    severity: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySecret {
    namespace: String,
    secret: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

/// What became of a write of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWrite {
    /// It says what it should.
    Written,
    /// It was taken back, of an object that left our class.
    Withdrawn,
    /// The object is gone.
    Gone,
    /// It failed and is tried again.
    Failed,
}

impl StatusWrite {
    const ALL: [Self; 4] = [Self::Written, Self::Withdrawn, Self::Gone, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Withdrawn => "withdrawn",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// What became of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventWrite {
    /// It was created.
    Created,
    /// It was there and is counted on.
    Refreshed,
    /// It was there, and fresh.
    Known,
    /// It waits for its turn: there are many.
    Delayed,
    /// It was given up: what it tells of was over before its turn came, or its object has too many.
    Dropped,
    /// It failed and is tried again.
    Failed,
}

impl EventWrite {
    const ALL: [Self; 6] =
        [Self::Created, Self::Refreshed, Self::Known, Self::Delayed, Self::Dropped, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Refreshed => "refreshed",
            Self::Known => "known",
            Self::Delayed => "delayed",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    translations: Counter,
    translation_seconds: Histogram,
    translation_panics: Counter,
    bytes_sent: Counter,
    objects: Family<ByKind, Gauge>,
    generation: Gauge,
    sections: Family<ByKind, Gauge>,
    proxies: Gauge,
    proxies_current: Gauge,
    quarantined: Gauge,
    diagnostics: Family<BySeverity, Gauge>,
    certificate_expiry: Family<BySecret, Gauge>,
    leader: Gauge,
    status_writes: Family<ByResult, Counter>,
    events: Family<ByResult, Counter>,
    peers: Gauge,
    peers_answering: Gauge,
}

/// What is counted when somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Objects in the store, by kind.
    pub objects: Vec<(String, usize)>,
    /// The newest generation; 0 before the first.
    pub generation: u64,
    /// Sections of the snapshot, by kind.
    pub sections: Vec<(String, usize)>,
    /// Proxies on the socket.
    pub proxies: usize,
    /// Those of them that serve the newest generation.
    pub proxies_current: usize,
    /// Sections that proxies could not build.
    pub quarantined: usize,
    /// Diagnostics, by severity.
    pub diagnostics: Vec<(String, usize)>,
    /// Namespace and name of a Secret, and when its certificate expires, in seconds since the Unix epoch.
    pub certificates: Vec<(String, String, i64)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let mut metrics = Self {
            registry: Registry::with_prefix("longhaul_controller"),
            translations: Counter::default(),
            translation_seconds: Histogram::new(buckets),
            translation_panics: Counter::default(),
            bytes_sent: Counter::default(),
            objects: Family::default(),
            generation: Gauge::default(),
            sections: Family::default(),
            proxies: Gauge::default(),
            proxies_current: Gauge::default(),
            quarantined: Gauge::default(),
            diagnostics: Family::default(),
            certificate_expiry: Family::default(),
            leader: Gauge::default(),
            status_writes: Family::default(),
            events: Family::default(),
            peers: Gauge::default(),
            peers_answering: Gauge::default(),
        };
        metrics.register();
        metrics.register_cluster();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("translations", "Translations of all objects", self.translations.clone());
        registry.register(
            "translation_seconds",
            "How long a translation took",
            self.translation_seconds.clone(),
        );
        registry.register(
            "translation_panics",
            "Translations that panicked; the snapshot before each stayed",
            self.translation_panics.clone(),
        );
        registry.register(
            "socket_sent_bytes",
            "Bytes sent to proxies, all connections together",
            self.bytes_sent.clone(),
        );
        registry.register("objects", "Objects known, by kind", self.objects.clone());
        registry.register("generation", "The newest generation; 0 before the first", self.generation.clone());
        registry.register("sections", "Sections of the snapshot, by kind", self.sections.clone());
        registry.register("proxies_connected", "Proxies on the socket", self.proxies.clone());
        registry.register(
            "proxies_current",
            "Proxies that acknowledged the newest generation",
            self.proxies_current.clone(),
        );
        registry.register(
            "sections_quarantined",
            "Sections that a proxy could not build, all proxies together",
            self.quarantined.clone(),
        );
        registry.register(
            "diagnostics",
            "What is wrong or worth knowing, by severity",
            self.diagnostics.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of a Secret expires",
            self.certificate_expiry.clone(),
        );
    }

    /// What there is only with an API server.
    fn register_cluster(&mut self) {
        // Each result from the start: a series that appears with its first increase hides that increase.
        for result in StatusWrite::ALL {
            drop(self.status_writes.get_or_create(&ByResult { result: result.label() }));
        }
        for result in EventWrite::ALL {
            drop(self.events.get_or_create(&ByResult { result: result.label() }));
        }
        let registry = &mut self.registry;
        registry.register("leader", "1 while this replica writes status and Events", self.leader.clone());
        registry.register(
            "status_writes",
            "Writes of objects' status, by what became of them",
            self.status_writes.clone(),
        );
        registry.register("events", "Events, by what became of them", self.events.clone());
        registry.register("peers", "Other Longhaul pods that are Ready", self.peers.clone());
        registry.register(
            "peers_answering",
            "Those of them that answered when asked last",
            self.peers_answering.clone(),
        );
    }

    /// Whether this replica leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A write of status ended.
    pub fn status_write(&self, result: StatusWrite) {
        self.status_writes.get_or_create(&ByResult { result: result.label() }).inc();
    }

    /// Something became of an Event.
    pub fn event(&self, result: EventWrite) {
        self.events.get_or_create(&ByResult { result: result.label() }).inc();
    }

    /// Other pods that there are, and how many of them answer.
    pub fn peers(&self, known: usize, answering: usize) {
        self.peers.set(level(known));
        self.peers_answering.set(level(answering));
    }

    /// The counter of bytes on the socket, for whoever sends them.
    pub fn bytes_sent(&self) -> Counter {
        self.bytes_sent.clone()
    }

    /// A translation ended.
    pub fn translation(&self, took: Duration) {
        self.translations.inc();
        self.translation_seconds.observe(took.as_secs_f64());
    }

    /// It ended with a panic.
    pub fn translation_panicked(&self) {
        self.translation_panics.inc();
    }

    /// Sets what is counted at the time of asking.
    pub fn set(&self, levels: &Levels) {
        let by_kind = |family: &Family<ByKind, Gauge>, counts: &[(String, usize)]| {
            family.clear();
            for (kind, count) in counts {
                family.get_or_create(&ByKind { kind: kind.clone() }).set(level(*count));
            }
        };
        by_kind(&self.objects, &levels.objects);
        by_kind(&self.sections, &levels.sections);
        self.generation.set(i64::try_from(levels.generation).unwrap_or(i64::MAX));
        self.proxies.set(level(levels.proxies));
        self.proxies_current.set(level(levels.proxies_current));
        self.quarantined.set(level(levels.quarantined));
        self.diagnostics.clear();
        for (severity, count) in &levels.diagnostics {
            self.diagnostics.get_or_create(&BySeverity { severity: severity.clone() }).set(level(*count));
        }
        self.certificate_expiry.clear();
        for (namespace, secret, expiry) in &levels.certificates {
            let labels = BySecret { namespace: namespace.clone(), secret: secret.clone() };
            self.certificate_expiry.get_or_create(&labels).set(*expiry);
        }
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn level(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
