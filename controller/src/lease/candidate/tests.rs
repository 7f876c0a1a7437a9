//! One candidate step by step, and three of them in a world that stalls, loses and delays.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the API server does to a Lease.
#[derive(Default)]
struct Server {
    lease: Option<Record>,
    version: u64,
}

impl Server {
    /// Carries out a move of a candidate, as an API server does: an update of an old version is refused.
    fn serve(&mut self, me: &str, step: &Move) -> Answer {
        let current = self.lease.clone();
        match (step, current) {
            (Move::Wait(_), _) => unreachable!("waiting asks for nothing"),
            (Move::Look, None) => Answer::Missing,
            (Move::Look, Some(record)) => Answer::Lease(record),
            (Move::Create, None) => self.put(me),
            (Move::Take(before) | Move::Renew(before), Some(current))
                if before.metadata.resource_version == current.metadata.resource_version =>
            {
                self.put(me)
            }
            _ => Answer::Lost,
        }
    }

    fn put(&mut self, holder: &str) -> Answer {
        self.version += 1;
        let record = record(holder, self.version);
        self.lease = Some(record.clone());
        Answer::Lease(record)
    }
}

fn record(holder: &str, version: u64) -> Record {
    let spec = LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(15),
        // Stands for the time of renewal, which differs with every update.
        lease_transitions: Some(i32::try_from(version).unwrap()),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() };
    Record { metadata: metadata.into(), spec }
}

/// What happens next in a world of candidates.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// Time passes for everybody.
    Pass(u64),
    /// A candidate begins its next move, unless one is on its way.
    Begin(usize),
    /// The server gets to a request, perhaps long after its candidate gave it up.
    Serve(usize),
    /// The candidate hears the answer.
    Hear(usize),
    /// The candidate gives up waiting.
    GiveUp(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..3_usize;
    prop_oneof![
        3 => prop_oneof![0..500_u64, 500..4_000_u64, 4_000..20_000_u64].prop_map(Happening::Pass),
        4 => who.clone().prop_map(Happening::Begin),
        4 => who.clone().prop_map(Happening::Serve),
        4 => who.clone().prop_map(Happening::Hear),
        1 => who.prop_map(Happening::GiveUp),
    ]
}

struct Player {
    name: String,
    candidate: Candidate,
    /// What it waits for: when it began, and the answer once the server gave one.
    waiting: Option<(u64, Instant, Move)>,
}

/// Requests outlive those who wait for them.
struct World {
    server: Server,
    now: Instant,
    players: Vec<Player>,
    /// By candidate, in the order in which they were sent.
    sent: BTreeMap<usize, Vec<(u64, Move)>>,
    answers: BTreeMap<u64, Answer>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let names = ["a", "b", "c"].map(String::from);
        let players =
            names.map(|name| Player { candidate: Candidate::new(name.clone()), name, waiting: None });
        Self {
            server: Server::default(),
            now: Instant::now(),
            players: players.into(),
            sent: BTreeMap::new(),
            answers: BTreeMap::new(),
            next: 0,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Happening::Begin(who) if self.players[who].waiting.is_none() => {
                let step = self.players[who].candidate.next(self.now);
                if !matches!(step, Move::Wait(_)) {
                    self.next += 1;
                    self.players[who].waiting = Some((self.next, self.now, step.clone()));
                    self.sent.entry(who).or_default().push((self.next, step));
                }
            }
            Happening::Begin(_) => {}
            Happening::Serve(who) => {
                let queue = self.sent.entry(who).or_default();
                if !queue.is_empty() {
                    let (id, step) = queue.remove(0);
                    let answer = self.server.serve(&self.players[who].name, &step);
                    self.answers.insert(id, answer);
                }
            }
            Happening::Hear(who) => {
                let Some((id, began, step)) = self.players[who].waiting.clone() else { return };
                if let Some(answer) = self.answers.remove(&id) {
                    self.players[who].waiting = None;
                    self.players[who].candidate.answered(&step, answer, began, self.now);
                }
            }
            Happening::GiveUp(who) => {
                if let Some((_, began, step)) = self.players[who].waiting.take() {
                    self.players[who].candidate.answered(&step, Answer::Unknown, began, self.now);
                }
            }
        }
    }

    fn leaders(&self) -> Vec<&str> {
        let leads = |player: &&Player| player.candidate.leads_until().is_some_and(|until| until > self.now);
        self.players.iter().filter(leads).map(|player| &*player.name).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whoever stalls, whatever is lost or late: never two, and once things go well again, one.
    #[test]
    fn never_two_and_in_the_end_one(happenings in prop::collection::vec(happening(), 0..150)) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            prop_assert!(world.leaders().len() <= 1, "{:?} after {happening:?}", world.leaders());
        }
        // All goes well from here on.
        for _ in 0..(2 * DURATION.as_secs()) {
            for who in 0..3 {
                world.happen(Happening::GiveUp(who));
                while world.sent.get(&who).is_some_and(|queue| !queue.is_empty()) {
                    world.happen(Happening::Serve(who));
                }
                for _ in 0..4 {
                    world.happen(Happening::Begin(who));
                    world.happen(Happening::Serve(who));
                    world.happen(Happening::Hear(who));
                    prop_assert!(world.leaders().len() <= 1);
                }
            }
            world.happen(Happening::Pass(1_000));
        }
        prop_assert_eq!(world.leaders().len(), 1);
    }
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

/// A candidate that has seen this.
fn having_seen(record: Record, now: Instant) -> Candidate {
    let mut candidate = Candidate::new("me".into());
    candidate.answered(&Move::Look, Answer::Lease(record), now, now);
    candidate
}

#[test]
fn a_holder_is_replaced_its_duration_after_it_was_last_seen_to_renew() {
    let start = Instant::now();
    let mut candidate = having_seen(record("other", 1), start);
    assert_eq!(candidate.next(at(start, 0)), Move::Wait(at(start, 2)));
    assert_eq!(candidate.next(at(start, 14)), Move::Look);
    // Seen again as it was: that is no renewal.
    candidate.answered(&Move::Look, Answer::Lease(record("other", 1)), at(start, 14), at(start, 14));
    assert_eq!(candidate.next(at(start, 14)), Move::Wait(at(start, 15)));
    assert_eq!(candidate.next(at(start, 15)), Move::Take(record("other", 1)));
    candidate.answered(&Move::Look, Answer::Lease(record("other", 2)), at(start, 14), at(start, 15));
    assert_eq!(candidate.next(at(start, 15)), Move::Wait(at(start, 17)));
    assert_eq!(candidate.next(at(start, 30)), Move::Take(record("other", 2)));
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let start = Instant::now();
    for nobody in [None, Some(String::new())] {
        let mut free = record("other", 3);
        free.spec.holder_identity = nobody;
        assert_eq!(having_seen(free.clone(), start).next(start), Move::Take(free));
    }
}

#[test]
fn a_lease_that_is_deleted_does_not_make_two() {
    let start = Instant::now();
    let mut candidate = having_seen(record("other", 1), start);
    candidate.answered(&Move::Look, Answer::Missing, at(start, 5), at(start, 5));
    assert_eq!(candidate.next(at(start, 5)), Move::Wait(at(start, 7)));
    candidate.answered(&Move::Look, Answer::Missing, at(start, 15), at(start, 15));
    assert_eq!(candidate.next(at(start, 15)), Move::Create);
    // Its holder need not wait, nor does who has seen no holder.
    let mut holder = having_seen(record("me", 1), start);
    holder.answered(&Move::Look, Answer::Missing, at(start, 1), at(start, 1));
    assert_eq!(holder.next(at(start, 1)), Move::Create);
}

#[test]
fn leadership_counts_from_the_beginning_of_the_renewal() {
    let start = Instant::now();
    let mut candidate = having_seen(record("me", 1), start);
    assert_eq!(candidate.leads_until(), None, "to see one's name is not to have renewed");
    let renew = candidate.next(start);
    assert_eq!(renew, Move::Renew(record("me", 1)));
    candidate.answered(&renew, Answer::Lease(record("me", 2)), start, at(start, 3));
    assert_eq!(candidate.leads_until(), Some(start + DEADLINE));
    assert_eq!(candidate.next(at(start, 3)), Move::Wait(start + RENEW));
    // A renewal whose answer is lost keeps what is left, and is looked into.
    candidate.answered(&Move::Renew(record("me", 2)), Answer::Unknown, at(start, 4), at(start, 7));
    assert_eq!(candidate.leads_until(), Some(start + DEADLINE));
    assert_eq!(candidate.next(at(start, 7)), Move::Look);
    candidate.answered(&Move::Look, Answer::Lease(record("me", 3)), at(start, 7), at(start, 7));
    assert_eq!(candidate.leads_until(), Some(start + DEADLINE));
    assert_eq!(candidate.next(at(start, 7)), Move::Renew(record("me", 3)));
    // Another one's name in it ends it.
    candidate.answered(&Move::Look, Answer::Lease(record("other", 4)), at(start, 8), at(start, 8));
    assert_eq!(candidate.leads_until(), None);
}
