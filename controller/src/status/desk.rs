//! Which objects are to be looked at again, and what is then to be written and said of each. It follows what changes,
//! at the cost of the change: an object is judged when its report, its version or its live status differ, and, until
//! proxies hold it everywhere, whenever somebody says something about that.
//!
//! No client and no clock: what happens is told to it, with the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crds::diagnostic::ObjectRef;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use translate::{Condition, EventType, Kind, Report};

use super::plan::{self, Facts};
use crate::addresses::Addresses;
use crate::events::{Regarding, Saying};
use crate::live::{Live, LiveStatus, Lives};
use crate::pace::Backoff;
use crate::peers::Peers;
use crate::peers::ask::{Heard, Wanted};
use crate::programmed::{self, Holding, Pod, State};
use crate::publish::Proxies;
use crate::reconcile::{Since, View};
use crate::version::Version;

/// So long a new version may take to be programmed before anybody is told that it is not yet.
const GRACE: Duration = Duration::from_millis(500);

/// The shortest time between two writes that differ in messages only.
const MESSAGES: Duration = Duration::from_secs(2);

/// What was written is believed so long without the watch showing it.
const CATCH_UP: Duration = Duration::from_secs(5);

/// A version that is older needs no Event any more that says that it is programmed: it got one.
const OLD: Duration = Duration::from_mins(30);

/// The shortest and the longest pause after the status of one object could not be written.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Write {
    pub(super) object: ObjectRef,
    pub(super) uid: String,
    /// What it is to say; `None`: what we said is taken back.
    pub(super) status: Option<LiveStatus>,
}

/// What is to be done about one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) write: Option<Write>,
    pub(super) events: Events,
}

/// What Events are to say of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Events {
    /// What they say now.
    #[default]
    AsBefore,
    /// Nothing: it is not ours.
    Nothing,
    /// This, and nothing else.
    These(Regarding, Vec<Saying>),
}

/// A version of an object, as this replica saw it come.
#[derive(Clone, Debug)]
struct Seen {
    /// When. `None`: it was there from the start.
    at: Option<Instant>,
    /// It was said that it is programmed.
    announced: bool,
}

/// A write that succeeded.
#[derive(Clone, Debug)]
struct Written {
    uid: String,
    at: Instant,
    /// What it was to say.
    wish: Option<LiveStatus>,
    /// What the status said afterwards.
    status: LiveStatus,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    /// The name of this pod.
    pod: String,
    view: Arc<View>,
    lives: Lives,
    proxies: Proxies,
    /// Objects of which a proxy of this pod could not build a part.
    rejected: BTreeMap<ObjectRef, String>,
    /// The pods that count; `None`: this one alone.
    peers: Option<Peers>,
    heard: Heard,
    /// Where clients reach the proxies; `None`: where the reports say.
    addresses: Option<Addresses>,
    seen: BTreeMap<ObjectRef, Seen>,
    /// Objects that are accepted and not programmed yet, and their versions.
    unsettled: BTreeMap<ObjectRef, Version>,
    written: BTreeMap<ObjectRef, Written>,
    failing: BTreeMap<ObjectRef, (Backoff, Instant)>,
    due: BTreeSet<ObjectRef>,
    later: BTreeSet<(Instant, ObjectRef)>,
}

impl Desk {
    /// Of this pod. `peers` and `addresses` are `None` where nobody will ever tell.
    pub(super) fn new(pod: String, peers: Option<Peers>, addresses: Option<Addresses>) -> Self {
        Self {
            pod,
            view: Arc::default(),
            lives: Lives::new(),
            proxies: Proxies::new(),
            rejected: BTreeMap::new(),
            peers,
            heard: Heard::new(),
            addresses,
            seen: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            written: BTreeMap::new(),
            failing: BTreeMap::new(),
            due: BTreeSet::new(),
            later: BTreeSet::new(),
        }
    }

    /// This replica leads from now on: whatever another one wrote meanwhile is looked at.
    pub(super) fn begin(&mut self) {
        self.unsettled.clear();
        self.written.clear();
        self.failing.clear();
        self.later.clear();
        self.seen.values_mut().for_each(|seen| seen.announced = false);
        self.due = self.view.reports.keys().chain(self.lives.keys()).cloned().collect();
    }

    pub(super) fn take_view(&mut self, view: Arc<View>, now: Instant) {
        let at = (self.view.number > 0).then_some(now);
        for object in differing(&self.view.since, &view.since).filter(is_ours) {
            match view.since.get(&object) {
                Some(_) => drop(self.seen.insert(object.clone(), Seen { at, announced: false })),
                None => drop(self.seen.remove(&object)),
            }
            self.due.insert(object);
        }
        self.due.extend(differing(&self.view.reports, &view.reports));
        self.view = view;
    }

    pub(super) fn take_lives(&mut self, lives: Lives) {
        self.due.extend(differing(&self.lives, &lives));
        self.lives = lives;
    }

    pub(super) fn take_proxies(&mut self, proxies: Proxies, rejected: BTreeMap<ObjectRef, String>) {
        let differs = |(object, why): &(&ObjectRef, &String)| {
            let (one, other) = (self.rejected.get(object), rejected.get(object));
            one != Some(why) || other != Some(why)
        };
        let changed = self.rejected.iter().chain(&rejected).filter(differs);
        let changed: Vec<_> = changed.map(|(object, _)| object.clone()).collect();
        self.due.extend(changed);
        (self.proxies, self.rejected) = (proxies, rejected);
        self.due_unsettled();
    }

    pub(super) fn take_peers(&mut self, peers: Peers) {
        self.peers = Some(peers);
        self.due_unsettled();
    }

    pub(super) fn take_heard(&mut self, heard: Heard) {
        self.heard = heard;
        self.due_unsettled();
    }

    pub(super) fn take_addresses(&mut self, addresses: Addresses) {
        self.addresses = Some(addresses);
        self.due.extend(self.view.reports.keys().cloned());
    }

    fn due_unsettled(&mut self) {
        self.due.extend(self.unsettled.keys().cloned());
    }

    /// What the other pods are to be asked about.
    pub(super) fn wanted(&self) -> Wanted {
        Arc::new(self.unsettled.clone())
    }

    /// Whether that is this still.
    pub(super) fn wants(&self, wanted: &Wanted) -> bool {
        self.unsettled == **wanted
    }

    /// Makes this one due.
    pub(super) fn again(&mut self, object: ObjectRef) {
        self.due.insert(object);
    }

    /// The next object to judge.
    pub(super) fn next(&mut self, now: Instant) -> Option<ObjectRef> {
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            self.due.extend(self.later.pop_first().map(|(_, object)| object));
        }
        self.due.pop_first()
    }

    /// When there will be one to judge if nothing happens before.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        if self.due.is_empty() { self.later.first().map(|(at, _)| *at) } else { Some(now) }
    }

    /// What is to be done about an object.
    pub(super) fn judge(&mut self, object: &ObjectRef, now: Instant, clock: Timestamp) -> Verdict {
        let Some(live) = self.lives.get(object).cloned() else {
            self.forget(object);
            return Verdict { write: None, events: Events::Nothing };
        };
        let status = self.status(object, &live, now);
        // An object that translation has not seen as it is now will be judged again when it has.
        let since = self.view.since.get(object).cloned();
        let Some((since, version)) = since.and_then(|since| {
            let version = since.version.clone()?;
            let same = version.uid == live.uid && Some(version.generation) == live.generation;
            same.then_some((since, version))
        }) else {
            return Verdict::default();
        };
        match self.view.reports.get(object).filter(|report| !report.silent).cloned() {
            None => {
                self.unsettled.remove(object);
                Verdict { write: self.withdrawal(object, &live, &status, now), events: Events::Nothing }
            }
            Some(report) if report.generation != live.generation => Verdict::default(),
            Some(report) => {
                let case = Case { object, live, status, report, since, version, now, clock };
                self.judge_ours(&case)
            }
        }
    }

    fn judge_ours(&mut self, case: &Case<'_>) -> Verdict {
        let programmed = self.programmed(case);
        let accepted = programmed::not_accepted(&case.report).is_none();
        let (settled, announced) = (self.settled(case), self.announced(case));
        if accepted && !(programmed.status || settled && programmed.reason != REJECTED) {
            self.unsettled.insert(case.object.clone(), case.version.clone());
        } else {
            self.unsettled.remove(case.object);
        }
        let mut sayings = warnings(&case.report);
        if accepted && programmed.reason == REJECTED {
            sayings.push(saying(EventType::Warning, REJECTED, "Program", &programmed.message));
        }
        if accepted && programmed.status && !announced {
            if let Some(seen) = self.seen.get_mut(case.object) {
                seen.announced = true;
            }
            let note = format!("served by {}", programmed.message);
            let key = format!("{:?}", case.version);
            sayings.push(Saying { key, ..saying(EventType::Normal, "Programmed", "Program", &note) });
        }
        let regarding = Regarding { object: case.object.clone(), uid: case.live.uid.clone() };
        Verdict { write: self.write(case, &programmed), events: Events::These(regarding, sayings) }
    }

    /// The condition as it should be: what was true of this generation stays so while nobody rejects it.
    fn programmed(&self, case: &Case<'_>) -> Condition {
        let rejected = self.rejected.get(case.object).map(String::as_str);
        let own = Holding::of(&self.proxies, case.since.number, rejected);
        let now = programmed::not_accepted(&case.report)
            .unwrap_or_else(|| self.by_all_pods(case.object, &case.version, &own));
        match plan::settled(&case.status, &case.report) {
            Some(before) if now.reason != REJECTED => Condition {
                type_: before.type_.clone(),
                status: true,
                reason: before.reason.clone(),
                message: before.message.clone(),
            },
            _ => now,
        }
    }

    fn by_all_pods(&self, object: &ObjectRef, version: &Version, own: &Holding) -> Condition {
        let peers = match &self.peers {
            None => return programmed::condition(&[Pod { name: None, holding: Some(own) }]),
            Some(None) => return programmed::unknown("the other Longhaul pods are not known yet"),
            Some(Some(peers)) => peers,
        };
        let not_asked = Holding { state: State::Pending, serving: 0, proxies: 1, reason: String::new() };
        let pods = peers.keys().map(|name| {
            let said = self.heard.get(name);
            let holding = match said.and_then(|said| said.of(object, version)) {
                _ if *name == self.pod => Some(own),
                Some(holding) => Some(holding),
                None if said.is_some_and(|said| said.silent) => None,
                None => Some(&not_asked),
            };
            Pod { name: Some(name), holding }
        });
        programmed::condition(&pods.collect::<Vec<_>>())
    }

    /// Nobody has to be asked any more whether it is programmed.
    fn settled(&self, case: &Case<'_>) -> bool {
        match case.status {
            LiveStatus::WsRoute(_) => plan::settled(&case.status, &case.report).is_some(),
            LiveStatus::Ingress(_) => self.announced(case),
        }
    }

    /// It was said by an Event that this version is programmed, by this replica or, as far as can be told, before.
    fn announced(&self, case: &Case<'_>) -> bool {
        let Some(seen) = self.seen.get(case.object) else { return true };
        let from_before = match (seen.at, &case.status) {
            (Some(at), _) => case.now >= at + OLD,
            (None, LiveStatus::WsRoute(_)) => plan::settled(&case.status, &case.report).is_some(),
            // An Ingress does not say so itself. One that shows our addresses was served before.
            (None, LiveStatus::Ingress(_)) => {
                case.live.claimed || self.addresses_of(&case.report).is_none_or(<[_]>::is_empty)
            }
        };
        seen.announced || from_before
    }

    fn addresses_of<'a>(&'a self, report: &'a Report) -> Option<&'a [crds::wsroute::Address]> {
        match &self.addresses {
            None => Some(&report.addresses),
            Some(addresses) => addresses.as_deref(),
        }
    }

    fn write(&mut self, case: &Case<'_>, programmed: &Condition) -> Option<Write> {
        let (object, now) = (case.object, case.now);
        let wish = plan::wish(&Facts {
            report: &case.report,
            live: &case.status,
            programmed,
            addresses: self.addresses_of(&case.report),
            now: case.clock,
        });
        if plan::says(&case.status, &wish) || self.vain(object, &case.live, Some(&wish)) {
            return None;
        }
        if plan::is_empty(&wish) {
            return self.withdrawal(object, &case.live, &case.status, now);
        }
        if let Some(until) = self.patience(case, programmed, &wish).filter(|until| now < *until) {
            self.later.insert((until, object.clone()));
            return None;
        }
        self.unless_failing(
            Write { object: object.clone(), uid: case.live.uid.clone(), status: Some(wish) },
            now,
        )
    }

    /// Until when a write waits that is likely to be followed by another one.
    fn patience(&self, case: &Case<'_>, programmed: &Condition, wish: &LiveStatus) -> Option<Instant> {
        if matches!(wish, LiveStatus::Ingress(_)) || programmed.reason != PENDING {
            return None;
        }
        let fresh = self.seen.get(case.object).and_then(|seen| seen.at).map(|at| at + GRACE);
        let reworded = self.written.get(case.object).map(|written| written.at + MESSAGES);
        let reworded = reworded.filter(|_| plan::says_but_for_messages(&case.status, wish));
        fresh.max(reworded)
    }

    /// What we wrote is taken back, of an object that is not ours any more or has nothing to show.
    fn withdrawal(
        &mut self,
        object: &ObjectRef,
        live: &Live,
        status: &LiveStatus,
        now: Instant,
    ) -> Option<Write> {
        if !live.claimed || plan::is_empty(status) || self.vain(object, live, None) {
            return None;
        }
        self.unless_failing(Write { object: object.clone(), uid: live.uid.clone(), status: None }, now)
    }

    fn unless_failing(&mut self, write: Write, now: Instant) -> Option<Write> {
        match self.failing.get(&write.object) {
            Some((_, until)) if now < *until => {
                self.later.insert((*until, write.object));
                None
            }
            _ => Some(write),
        }
    }

    /// This was written already, and led to what is there now: once more would lead to the same.
    fn vain(&self, object: &ObjectRef, live: &Live, wish: Option<&LiveStatus>) -> bool {
        self.written.get(object).is_some_and(|written| {
            written.uid == live.uid && written.wish.as_ref() == wish && written.status == live.status
        })
    }

    /// What the status says: the watch is a little behind our own writes.
    fn status(&mut self, object: &ObjectRef, live: &Live, now: Instant) -> LiveStatus {
        let Some(written) = self.written.get(object) else { return live.status.clone() };
        let caught_up = written.status == live.status;
        if written.uid == live.uid && !caught_up && now < written.at + CATCH_UP {
            self.later.insert((written.at + CATCH_UP, object.clone()));
            return written.status.clone();
        }
        if written.uid != live.uid || !caught_up || now >= written.at + CATCH_UP && self.as_wished(object) {
            self.written.remove(object);
        }
        live.status.clone()
    }

    fn as_wished(&self, object: &ObjectRef) -> bool {
        let written = self.written.get(object);
        written.is_some_and(|written| match &written.wish {
            Some(wish) => plan::says(&written.status, wish),
            None => plan::is_empty(&written.status),
        })
    }

    fn forget(&mut self, object: &ObjectRef) {
        self.unsettled.remove(object);
        self.written.remove(object);
        self.failing.remove(object);
    }

    /// A write succeeded, and the status says this now.
    pub(super) fn wrote(&mut self, write: Write, status: LiveStatus, now: Instant) {
        let Write { object, uid, status: wish } = write;
        self.failing.remove(&object);
        self.written.insert(object.clone(), Written { uid, at: now, wish, status });
        self.due.insert(object);
    }

    /// There is no such object any more. The watch will say so too.
    pub(super) fn gone(&mut self, object: &ObjectRef) {
        self.failing.remove(object);
    }

    /// A write failed. It is tried again later.
    pub(super) fn failed(&mut self, object: &ObjectRef, now: Instant) {
        let (backoff, until) =
            self.failing.entry(object.clone()).or_insert_with(|| (Backoff::new(PAUSES.0, PAUSES.1), now));
        *until = now + backoff.pause();
        self.later.insert((*until, object.clone()));
    }
}

/// One object that is ours, with all that is known of it.
struct Case<'a> {
    object: &'a ObjectRef,
    live: Arc<Live>,
    /// What its status says, our own last write included.
    status: LiveStatus,
    report: Arc<Report>,
    since: Since,
    version: Version,
    now: Instant,
    clock: Timestamp,
}

const REJECTED: &str = "Rejected";
const PENDING: &str = "Pending";

fn warnings(report: &Report) -> Vec<Saying> {
    let sayings =
        report.events.iter().map(|event| saying(event.type_, &event.reason, "Translate", &event.message));
    sayings.collect()
}

fn saying(type_: EventType, reason: &str, action: &'static str, note: &str) -> Saying {
    Saying { type_, reason: reason.into(), action, note: note.into(), key: note.into() }
}

fn is_ours(object: &ObjectRef) -> bool {
    [Kind::Ingress, Kind::WsRoute].iter().any(|kind| kind.as_str() == object.kind)
}

/// The objects that two maps do not tell the same of.
fn differing<V: Clone + PartialEq>(
    before: &OrdMap<ObjectRef, V>,
    after: &OrdMap<ObjectRef, V>,
) -> impl Iterator<Item = ObjectRef> {
    before.diff(after).map(|item| match item {
        DiffItem::Add(object, _)
        | DiffItem::Remove(object, _)
        | DiffItem::Update { new: (object, _), .. } => object.clone(),
    })
}

#[cfg(test)]
mod tests;
