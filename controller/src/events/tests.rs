//! What is said when, how often it is repeated, and what a storm costs.

use std::collections::BTreeSet;

use super::*;

fn regarding(name: &str) -> Regarding {
    Regarding { object: ObjectRef::new("Ingress", "d", name), uid: format!("uid-{name}") }
}

fn warning(note: &str) -> Saying {
    Saying {
        type_: EventType::Warning,
        reason: "Broken".into(),
        action: "Translate",
        note: note.into(),
        key: note.into(),
    }
}

fn normal(key: &str) -> Saying {
    Saying { type_: EventType::Normal, key: key.into(), ..warning("served") }
}

fn recorder() -> Recorder {
    Recorder::new(Arc::new(Metrics::new()))
}

fn clock(start: Instant, now: Instant) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::try_from(now - start).unwrap()
}

/// Lets time pass from one due job to the next, and tells what is written when.
fn play(recorder: &mut Recorder, start: Instant, from: Instant, until: Instant) -> Vec<(Duration, Step)> {
    let (mut now, mut written) = (from, Vec::new());
    loop {
        match recorder.next(now) {
            Ok(job) => {
                written.push((now - start, job.step.clone()));
                let done = if matches!(job.step, Step::CountOn(_)) { Done::Counted } else { Done::Created };
                recorder.done(&job, &done, now, clock(start, now));
            }
            Err(Some(next)) if next <= until => now = next,
            Err(_) => return written,
        }
    }
}

fn count(recorder: &Recorder, result: &str) -> u64 {
    let text = recorder.metrics.text().unwrap();
    let line = format!("longhaul_controller_events_total{{result=\"{result}\"}} ");
    text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[test]
fn a_fault_that_stays_is_counted_on_before_the_api_server_forgets_it() {
    let (mut recorder, start) = (recorder(), Instant::now());
    recorder.set(&regarding("a"), vec![warning("w"), normal("v1")], start);
    let hours = Duration::from_hours(5);
    let written = play(&mut recorder, start, start, start + hours);
    let created = written.iter().filter(|(_, step)| matches!(step, Step::Create { .. })).count();
    assert_eq!(created, 2);
    let counts: Vec<_> = written
        .iter()
        .filter_map(|(at, step)| match step {
            Step::CountOn(count) => Some((*at, *count)),
            Step::Create { .. } => None,
        })
        .collect();
    assert!(counts.len() >= 8, "{counts:?}");
    let mut last = Duration::ZERO;
    for ((at, count), expected) in counts.iter().zip(2..) {
        assert_eq!(*count, expected);
        assert!(*at < last + Duration::from_mins(40), "{at:?} after {last:?}");
        last = *at;
    }
    // It is over.
    recorder.set(&regarding("a"), Vec::new(), start + hours);
    assert!(play(&mut recorder, start, start + hours, start + 2 * hours).is_empty());
    assert_eq!(recorder.next(start + 2 * hours), Err(None));
}

#[test]
fn one_that_is_there_already_is_counted_on_when_it_gets_old() {
    for (age, first) in [(Duration::from_mins(10), 14..=26), (Duration::from_mins(50), 0..=0)] {
        let (mut recorder, start) = (recorder(), Instant::now() + Duration::from_hours(1));
        recorder.set(&regarding("a"), vec![warning("w")], start);
        let job = recorder.next(start).unwrap();
        let clock = Timestamp::from_second(1_800_000_000).unwrap();
        let last = clock - SignedDuration::try_from(age).unwrap();
        recorder.done(&job, &Done::Existed(7, last), start, clock);
        let written = play(&mut recorder, start, start, start + Duration::from_hours(1));
        assert_eq!(written[0].1, Step::CountOn(8));
        assert!(first.contains(&(written[0].0.as_secs() / 60)), "{:?}", written[0].0);
    }
    // One that is said once is left alone.
    let (mut recorder, start) = (recorder(), Instant::now());
    recorder.set(&regarding("a"), vec![normal("v1")], start);
    let job = recorder.next(start).unwrap();
    recorder.done(&job, &Done::Existed(1, Timestamp::UNIX_EPOCH), start, Timestamp::now());
    assert_eq!(recorder.next(start), Err(None));
}

#[test]
fn one_that_is_gone_is_created_again() {
    let (mut recorder, start) = (recorder(), Instant::now());
    recorder.set(&regarding("a"), vec![warning("w")], start);
    let job = recorder.next(start).unwrap();
    recorder.done(&job, &Done::Created, start, Timestamp::now());
    let later = start + 2 * REFRESH;
    let job = recorder.next(later).unwrap();
    assert_eq!(job.step, Step::CountOn(2));
    recorder.done(&job, &Done::Missing, later, Timestamp::now());
    assert!(matches!(recorder.next(later).unwrap().step, Step::Create { .. }));
}

#[test]
fn names_come_from_what_is_said() {
    let (one, other) = (regarding("a"), regarding("b"));
    let anew = Regarding { uid: "another".into(), ..one.clone() };
    let names = [
        name(&one, &warning("w")),
        name(&one, &warning("x")),
        name(&one, &normal("w")),
        name(&one, &normal("x")),
        name(&other, &warning("w")),
        name(&anew, &warning("w")),
    ];
    assert_eq!(BTreeSet::from(names.clone()).len(), names.len());
    assert_eq!(names[0], name(&one, &warning("w")));
    assert_eq!(
        names[0], "a.4887815073740f17",
        "every replica and version of this program means the same one"
    );
    let long = Regarding {
        object: ObjectRef::new("Ingress", "d", format!("{}.b", "a".repeat(235))),
        uid: "u".into(),
    };
    let long = name(&long, &warning("w"));
    assert!(long.len() <= 253 && !long.contains(".."), "{long}");
}

#[test]
fn a_storm_is_told_slowly_and_what_is_over_before_is_not_told() {
    let (mut recorder, start) = (recorder(), Instant::now());
    for index in 0..1_000 {
        recorder.set(&regarding(&format!("i{index}")), vec![warning("w")], start);
    }
    let second = Duration::from_secs(1);
    let written = play(&mut recorder, start, start, start + 10 * second);
    assert_eq!(written.len(), 25 + 100, "a burst, and ten in a second");
    for index in 0..1_000 {
        recorder.set(&regarding(&format!("i{index}")), Vec::new(), start + 10 * second);
    }
    assert!(play(&mut recorder, start, start + 10 * second, start + 60 * second).is_empty());
    assert_eq!(count(&recorder, "created") + count(&recorder, "dropped"), 1_000);
    assert!(count(&recorder, "delayed") > 0);
}

#[test]
fn one_object_does_not_take_the_turns_of_all() {
    let (mut recorder, start) = (recorder(), Instant::now());
    let second = Duration::from_secs(1);
    // It says something else ten times a second.
    for tick in 0..600 {
        let now = start + second * tick / 10;
        recorder.set(&regarding("restless"), vec![warning(&tick.to_string())], now);
        if tick == 300 {
            recorder.set(&regarding("calm"), vec![warning("w")], now);
        }
        for (_, step) in play(&mut recorder, start, now, now) {
            let Step::Create { regarding, .. } = step else { continue };
            assert!(regarding.object.name != "calm" || tick == 300);
        }
    }
    assert!(count(&recorder, "created") <= 10 + 2 + 1, "{}", count(&recorder, "created"));
    let many = (0..MOST + 5).map(|n| warning(&n.to_string())).collect();
    recorder.set(&regarding("much"), many, start);
    assert_eq!(recorder.by_object[&regarding("much").object].names.len(), MOST);
}

#[test]
fn after_a_failure_everything_waits_a_while() {
    let (mut recorder, start) = (recorder(), Instant::now());
    recorder.set(&regarding("a"), vec![warning("w")], start);
    recorder.set(&regarding("b"), vec![warning("w")], start);
    let failed = || {
        let status = kube::core::Status::failure("no", "Forbidden").with_code(403);
        Done::Failed(Error::Api(status.boxed()))
    };
    let job = recorder.next(start).unwrap();
    recorder.done(&job, &failed(), start, Timestamp::now());
    let Err(Some(again)) = recorder.next(start) else { panic!("it goes on at once") };
    assert!(again >= start + PAUSES.0 / 2);
    let job = recorder.next(again).unwrap();
    recorder.done(&job, &Done::Impossible("bad".into()), again, Timestamp::now());
    let other = recorder.next(again).unwrap();
    assert_ne!(other.name, job.name);
    recorder.done(&other, &Done::Created, again, Timestamp::now());
    recorder.set(&regarding("a"), vec![warning("w")], again);
    recorder.set(&regarding("b"), vec![warning("w")], again);
    let Err(Some(next)) = recorder.next(again) else { panic!("what is impossible is tried again") };
    assert!(next > again + REFRESH / 2);
    recorder.clear();
    assert_eq!(recorder.next(next), Err(None));
}

#[test]
fn texts_are_cut_to_what_the_api_takes() {
    let saying = Saying { reason: "R".repeat(200), ..warning(&"é".repeat(2_000)) };
    let job = Job {
        name: "n".into(),
        namespace: "d".into(),
        step: Step::Create { regarding: regarding("a"), saying: saying.clone() },
    };
    let reporter = Reporter { controller: "example.com/a/b".into(), pod: "p".repeat(253) };
    let event = event(&job, &regarding("a"), &saying, &reporter);
    let length = |text: Option<String>| text.unwrap().len();
    assert!((1_020..=1_024).contains(&length(event.note)));
    assert_eq!((length(event.reason), length(event.reporting_instance)), (128, 128));
    assert_eq!(event.reporting_controller.unwrap(), "example.com/a-b");
    assert_eq!(event.regarding.unwrap().api_version.unwrap(), "networking.k8s.io/v1");
}
