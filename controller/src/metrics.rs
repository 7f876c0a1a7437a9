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
        };
        metrics.register();
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
