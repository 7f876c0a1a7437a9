//! The decisions of one candidate: what to ask of the Lease next, and whether it leads. No client, no clock: `now` is
//! passed in, and is this machine's own.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{DEADLINE, DURATION, LOOK, RENEW};

/// The Lease as the API server held it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Goes back as it came, for labels are not ours to take away; an update of another version is refused.
    pub(super) metadata: Box<ObjectMeta>,
    pub(super) spec: LeaseSpec,
}

impl Record {
    /// Nobody once it was given back.
    pub(super) fn holder(&self) -> Option<&str> {
        holder(&self.spec)
    }
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// What a holder counts on; another version of this program may have another one.
fn duration(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds > 0).map_or(DURATION, Duration::from_secs)
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Move {
    /// Nothing before then.
    Wait(Instant),
    /// Read it.
    Look,
    /// There is none: create it.
    Create,
    /// Nobody has it, or it ran out: put ourselves into it.
    Take(Record),
    /// It is ours: say that we are there.
    Renew(Record),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The Lease as it is now.
    Lease(Record),
    /// There is none.
    Missing,
    /// It is not what we took it for any more.
    Lost,
    /// It had its effect, or not, or will have it later.
    Unknown,
}

/// What is known of the Lease now.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// Nothing that can be built on.
    Nothing,
    Missing,
    Lease(Record),
}

/// What the Lease said when it was seen to change last.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    spec: LeaseSpec,
    at: Instant,
}

/// One candidate.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    identity: String,
    known: Known,
    /// When it was looked at last.
    looked: Option<Instant>,
    /// Outlives a look that fails, and a Lease that is deleted.
    observed: Option<Observed>,
    /// When the last renewal that succeeded began.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, known: Known::Nothing, looked: None, observed: None, renewed: None }
    }

    /// What to do at this time.
    pub(super) fn next(&self, now: Instant) -> Move {
        let record = match &self.known {
            Known::Nothing => return Move::Look,
            Known::Missing => None,
            Known::Lease(record) => match record.holder() {
                None => return Move::Take(record.clone()),
                Some(holder) if holder == self.identity => return self.renewal(now, record),
                Some(_) => Some(record),
            },
        };
        // Whoever held a Lease that was deleted may still believe in it.
        let end = self.others_end().filter(|end| now < *end);
        match (end, record) {
            (None, Some(record)) => Move::Take(record.clone()),
            (None, None) => Move::Create,
            (Some(_), _) if self.looked.is_none_or(|looked| now >= looked + LOOK / 2) => Move::Look,
            (Some(end), _) => Move::Wait(end.min(now + LOOK)),
        }
    }

    fn renewal(&self, now: Instant, record: &Record) -> Move {
        match self.renewed {
            Some(renewed) if now < renewed + RENEW => Move::Wait(renewed + RENEW),
            _ => Move::Renew(record.clone()),
        }
    }

    /// When the lease of another one runs out.
    fn others_end(&self) -> Option<Instant> {
        let Observed { spec, at } = self.observed.as_ref()?;
        let other = holder(spec).is_some_and(|holder| holder != self.identity);
        other.then(|| *at + duration(spec))
    }

    /// Takes in what came of a move that began at `began`.
    pub(super) fn answered(&mut self, step: &Move, answer: Answer, began: Instant, now: Instant) {
        self.looked = Some(now);
        self.known = match answer {
            Answer::Lease(record) => {
                let ours = record.holder() == Some(&*self.identity);
                if !ours {
                    self.renewed = None;
                } else if matches!(step, Move::Create | Move::Take(_) | Move::Renew(_)) {
                    self.renewed = Some(began);
                }
                // Counted from the answer: what it tells of happened before that.
                if self.observed.as_ref().is_none_or(|observed| observed.spec != record.spec) {
                    self.observed = Some(Observed { spec: record.spec.clone(), at: now });
                }
                Known::Lease(record)
            }
            Answer::Missing => Known::Missing,
            Answer::Lost | Answer::Unknown => Known::Nothing,
        };
    }

    /// Until when this one leads, as of its last renewal.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + DEADLINE)
    }

    /// Who holds it, as seen last.
    pub(super) fn holder(&self) -> Option<&str> {
        holder(&self.observed.as_ref()?.spec)
    }
}

#[cfg(test)]
mod tests;
