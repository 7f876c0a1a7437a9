//! Leader election on a `coordination.k8s.io/v1` Lease: of all replicas, one writes status and Events.
//!
//! [`candidate`] decides, without a clock or a client of its own; [`Elector`] asks the API server for it. A holder
//! renews every [`RENEW`] and stops believing itself leader [`DEADLINE`] after its last successful renewal *began*;
//! others take the lease over [`DURATION`] after they saw it change last, by their own clock. So what lies between
//! the two is the room for a write that is still on its way. Clocks of different machines are never compared: the
//! times in the Lease are for people.
//!
//! What no lease can prevent: a process that is stopped between asking whether it leads and writing to its socket. So
//! a write must not harm when it comes late; ours are applied again, as they should be, by whoever leads.

mod candidate;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::core::Status;
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::complaint::Complaint;
use crate::metrics::Metrics;
use crate::pace::{Backoff, jittered};
use candidate::{Answer, Candidate, Move, Record};

/// How long a lease lasts after it was renewed last.
pub const DURATION: Duration = Duration::from_secs(15);

/// How long after the beginning of its last renewal a holder believes in it.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How often a holder renews.
pub const RENEW: Duration = Duration::from_secs(4);

/// How often others look, more or less: a lease that was given back is taken after this at the latest.
const LOOK: Duration = Duration::from_secs(2);

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(3);

/// How long those that write may take to come to an end before the lease is given back.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// The pause after somebody else was quicker.
const CONTEST: Duration = Duration::from_millis(250);

/// The shortest and the longest pause after a request that came to nothing.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whether this process may write, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The end of it, unless it is renewed. `None`: another one leads, or nobody.
    until: Option<Instant>,
    /// Who holds the lease, as far as is known.
    pub holder: Option<Arc<str>>,
}

impl Leadership {
    /// Held until then.
    pub fn until(until: Instant) -> Self {
        Self { until: Some(until), holder: None }
    }

    /// How much of it is left at this instant. `None`: nothing may be written. No write may take longer than this.
    pub fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// What is said while the Lease cannot be used.
const EFFECT: &str = "this replica writes no status and no Events";

/// Who stands for election, and where.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The Lease.
    pub name: String,
    /// The candidate: unique to this process, or two would lead.
    pub identity: String,
}

impl Standing {
    /// This process, in a pod: what runs in the pod after it is another candidate.
    pub fn of_pod(namespace: &str, name: &str, pod: &str) -> Result<Self, getrandom::Error> {
        let identity = format!("{pod}_{:016x}", getrandom::u64()?);
        Ok(Self { namespace: namespace.into(), name: name.into(), identity })
    }
}

/// Stands for election.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    standing: Standing,
    candidate: Candidate,
    leadership: watch::Sender<Leadership>,
    metrics: Arc<Metrics>,
    complaint: Complaint,
    /// What stands in the way is in the way of reading, too.
    blind: bool,
}

impl Elector {
    /// A candidate, and what comes of it.
    pub fn new(
        client: Client,
        standing: Standing,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Leadership>) {
        let (leadership, receiver) = watch::channel(Leadership::default());
        let api = Api::namespaced(client, &standing.namespace);
        let candidate = Candidate::new(standing.identity.clone());
        let (namespace, name) = (&standing.namespace, &standing.name);
        let complaint = Complaint::new(format!("the lease {namespace}/{name} cannot be used"));
        (Self { api, standing, candidate, leadership, metrics, complaint, blind: false }, receiver)
    }

    /// Stands until `stop`, and gives the lease back once `idle` says that nothing is being written any more.
    pub async fn run(mut self, stop: CancellationToken, idle: CancellationToken) {
        stop.run_until_cancelled(self.stand()).await;
        // Nothing new is begun from here on; what is on its way was bounded by the leadership that it saw.
        self.tell(Leadership::default());
        if timeout(LAST_WRITES, idle.cancelled()).await.is_err() {
            tracing::warn!("the lease is not given back: something is still being written");
            return;
        }
        self.give_back().await;
    }

    async fn stand(&mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let began = Instant::now();
            let pause = match self.candidate.next(began) {
                Move::Wait(until) => until.min(began + jittered(LOOK)),
                step => {
                    let took = self.step(&step, began).await;
                    self.tell(self.candidate_leads());
                    match took {
                        Took::Effect => {
                            if !matches!(step, Move::Look) {
                                backoff.reset();
                            }
                            began
                        }
                        Took::Contest => Instant::now() + jittered(CONTEST),
                        // Whoever leads has little time to lose.
                        Took::Nothing if self.leads() => Instant::now() + jittered(PAUSES.0),
                        Took::Nothing => Instant::now() + backoff.pause(),
                    }
                }
            };
            self.rest(pause).await;
        }
    }

    /// Waits; leadership that ends meanwhile is told at its end, not at the next step.
    async fn rest(&mut self, until: Instant) {
        if let Some(end) = self.candidate.leads_until()
            && end <= until
        {
            sleep_until(end).await;
            self.tell(self.candidate_leads());
        }
        sleep_until(until).await;
    }

    fn leads(&self) -> bool {
        self.candidate_leads().left().is_some()
    }

    fn candidate_leads(&self) -> Leadership {
        let holder = self.candidate.holder().map(Into::into);
        let until = self.candidate.leads_until().filter(|until| *until > Instant::now());
        Leadership { until, holder }
    }

    async fn step(&mut self, step: &Move, began: Instant) -> Took {
        // A renewal that lasts longer than what is left renews nothing that is believed in.
        let limit = self.candidate_leads().left().map_or(REQUEST, |left| left.min(REQUEST));
        let result = timeout(limit, self.ask(step)).await;
        let (answer, took) = match result {
            Ok(Ok(Some(lease))) => (Answer::Lease(record(lease)), Took::Effect),
            Ok(Ok(None)) => (Answer::Missing, Took::Effect),
            Ok(Err(Error::Api(status))) if is_contest(step, &status) => (Answer::Lost, Took::Contest),
            Ok(Err(error)) => {
                self.complaint.about(&error, EFFECT);
                (Answer::Unknown, Took::Nothing)
            }
            Err(_) => {
                self.complaint.say("the API server does not answer in time", EFFECT);
                (Answer::Unknown, Took::Nothing)
            }
        };
        let looked = matches!(step, Move::Look);
        match took {
            Took::Nothing => self.blind = looked,
            // That it can be read does not mean that it can be written.
            Took::Effect | Took::Contest if self.blind || !looked => self.complaint.over(),
            Took::Effect | Took::Contest => {}
        }
        self.candidate.answered(step, answer, began, Instant::now());
        took
    }

    async fn ask(&self, step: &Move) -> Result<Option<Lease>, Error> {
        let (name, parameters) = (&self.standing.name, PostParams::default());
        match step {
            Move::Wait(_) | Move::Look => self.api.get_opt(name).await,
            Move::Create => self.api.create(&parameters, &self.lease(None)).await.map(Some),
            Move::Take(record) | Move::Renew(record) => {
                self.api.replace(name, &parameters, &self.lease(Some(record))).await.map(Some)
            }
        }
    }

    /// The Lease with us as its holder, in place of this record.
    fn lease(&self, before: Option<&Record>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let ours = before.is_some_and(|before| before.holder() == Some(&*self.standing.identity));
        let mut lease = self.blank(before);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.standing.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now.clone());
        if !ours {
            spec.acquire_time = Some(now);
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        lease
    }

    fn blank(&self, before: Option<&Record>) -> Lease {
        if let Some(before) = before {
            return Lease { metadata: (*before.metadata).clone(), spec: Some(before.spec.clone()) };
        }
        let metadata = ObjectMeta {
            name: Some(self.standing.name.clone()),
            namespace: Some(self.standing.namespace.clone()),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(LeaseSpec::default()) }
    }

    /// So that the next one need not wait for its end.
    async fn give_back(&mut self) {
        if self.candidate.leads_until().is_none() {
            return;
        }
        match timeout(REQUEST, self.resign()).await {
            Ok(Ok(())) => tracing::info!(lease = self.standing.name, "the lease is given back"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be given back; it ends by itself"),
            Err(_) => tracing::warn!("the lease cannot be given back in time; it ends by itself"),
        }
    }

    async fn resign(&self) -> Result<(), Error> {
        // Read anew: the last renewal may have been given up on its way.
        let Some(lease) = self.api.get_opt(&self.standing.name).await? else { return Ok(()) };
        let record = record(lease);
        if record.holder() != Some(&*self.standing.identity) {
            return Ok(());
        }
        let mut lease = self.blank(Some(&record));
        lease.spec.get_or_insert_default().holder_identity = None;
        self.api.replace(&self.standing.name, &PostParams::default(), &lease).await.map(drop)
    }

    fn tell(&self, next: Leadership) {
        self.metrics.leader(next.left().is_some());
        self.leadership.send_if_modified(|leadership| {
            let (led, leads) = (leadership.until.is_some(), next.until.is_some());
            if !led && leads {
                tracing::info!(lease = self.standing.name, identity = self.standing.identity, "leading");
            } else if led && !leads {
                let holder = next.holder.as_deref();
                tracing::info!(lease = self.standing.name, holder, "not leading any more");
            } else if !leads && leadership.holder != next.holder {
                tracing::info!(
                    lease = self.standing.name,
                    holder = next.holder.as_deref(),
                    "another one leads"
                );
            }
            let differs = *leadership != next;
            *leadership = next;
            differs
        });
    }
}

/// Whether a request led anywhere.
#[derive(Clone, Copy)]
enum Took {
    Effect,
    /// The Lease was not as we took it for.
    Contest,
    Nothing,
}

fn is_contest(step: &Move, status: &Status) -> bool {
    let gone = status.is_not_found() && matches!(step, Move::Take(_) | Move::Renew(_));
    gone || status.is_conflict() || status.is_already_exists()
}

fn record(lease: Lease) -> Record {
    // Who manages which field is the API server's to know.
    let metadata = ObjectMeta { managed_fields: None, ..lease.metadata };
    Record { metadata: metadata.into(), spec: lease.spec.unwrap_or_default() }
}

#[cfg(test)]
mod tests;
