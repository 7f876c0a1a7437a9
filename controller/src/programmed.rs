//! Whether proxies serve an object as it is now: of one pod, and of all of them together as the condition
//! `Programmed`.
//!
//! A pod tells what its own proxies acknowledged; nobody concludes it for another pod.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use translate::{Condition, Report};

use crate::publish::{Proxies, Proxy};

/// The most pods that a message names.
const NAMED: usize = 5;

/// Where a pod's proxies stand with one version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// All of them together.
    pub state: State,
    /// Proxies that serve it.
    pub serving: usize,
    /// Proxies that there are.
    pub proxies: usize,
    /// Why it is rejected. Empty while it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// See [`Holding::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// All serve it.
    Held,
    /// Some have not acknowledged it yet.
    Pending,
    /// Some could not build a part of it, or refuse the generation.
    Rejected,
    /// There is none.
    NoProxy,
}

impl Holding {
    /// Of proxies with an object whose present version is part of every generation from `since` on. `rejected` is
    /// what one of them said of a part of it.
    pub fn of(proxies: &Proxies, since: u64, rejected: Option<&str>) -> Self {
        let serves = |proxy: &&Proxy| proxy.applied.is_some_and(|applied| applied.number >= since);
        let serving = proxies.values().filter(serves).count();
        let refused = proxies.values().find_map(|proxy| proxy.refused.as_deref().filter(|_| !serves(&proxy)));
        let (state, reason) = match rejected.or(refused) {
            _ if proxies.is_empty() => (State::NoProxy, ""),
            Some(reason) => (State::Rejected, reason),
            None if serving < proxies.len() => (State::Pending, ""),
            None => (State::Held, ""),
        };
        Self { state, serving, proxies: proxies.len(), reason: reason.into() }
    }

    /// Of a pod that has not taken the version in yet.
    pub fn unseen(proxies: &Proxies) -> Self {
        let state = if proxies.is_empty() { State::NoProxy } else { State::Pending };
        Self { state, serving: 0, proxies: proxies.len(), reason: String::new() }
    }
}

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod<'a> {
    /// Its name; `None` where there is one only and nobody has to be told which.
    pub name: Option<&'a str>,
    /// What it answers; `None` while it does not.
    pub holding: Option<&'a Holding>,
}

/// The condition `Programmed` of an object, from every pod that counts.
pub fn condition(pods: &[Pod<'_>]) -> Condition {
    if pods.is_empty() {
        return because(Reason::NoProxy, "no Longhaul pod is Ready".into());
    }
    let rejected = pods.iter().find_map(|pod| {
        let holding = pod.holding.filter(|holding| holding.state == State::Rejected)?;
        Some(match pod.name {
            Some(name) => format!("{name}: {}", holding.reason),
            None => holding.reason.clone(),
        })
    });
    let is = |pod: &Pod<'_>, state| pod.holding.is_some_and(|holding| holding.state == state);
    if pods.iter().all(|pod| is(pod, State::NoProxy)) {
        return because(Reason::NoProxy, "no proxy is connected".into());
    }
    if let Some(why) = rejected {
        return because(Reason::Rejected, why);
    }
    if pods.iter().all(|pod| is(pod, State::Held)) {
        return because(Reason::Programmed, count(pods));
    }
    because(Reason::Pending, format!("{}{}", count(pods), laggards(pods)))
}

/// The condition while nobody can tell which pods count.
pub fn unknown(why: &str) -> Condition {
    because(Reason::Pending, why.into())
}

/// The condition of an object that was taken so: one that is not accepted is never programmed, whoever holds it.
pub fn of_report(report: &Report, pods: &[Pod<'_>]) -> Condition {
    not_accepted(report).unwrap_or_else(|| condition(pods))
}

/// The condition of an object that is not accepted: nothing of it is served as it asks.
pub fn not_accepted(report: &Report) -> Option<Condition> {
    let accepted = report.conditions.iter().find(|condition| condition.type_ == "Accepted")?;
    let message = || format!("it is not accepted: {}", accepted.reason);
    (!accepted.status).then(|| because(Reason::Rejected, message()))
}

/// The words of `Programmed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Programmed,
    Pending,
    Rejected,
    NoProxy,
}

fn because(reason: Reason, message: String) -> Condition {
    let status = reason == Reason::Programmed;
    Condition { type_: "Programmed".into(), status, reason: format!("{reason:?}"), message }
}

/// `2/3 proxies`. A pod that does not answer, or has no proxy, lacks one.
fn count(pods: &[Pod<'_>]) -> String {
    let proxies = |pod: &Pod<'_>| pod.holding.map_or(1, |holding| holding.proxies.max(1));
    let serving: usize = pods.iter().filter_map(|pod| pod.holding).map(|holding| holding.serving).sum();
    format!("{serving}/{} proxies", pods.iter().map(proxies).sum::<usize>())
}

fn laggards(pods: &[Pod<'_>]) -> String {
    let lagging = pods.iter().filter_map(|pod| {
        let why = match pod.holding.map(|holding| holding.state) {
            Some(State::Held) => return None,
            Some(State::NoProxy) => "has no proxy",
            Some(State::Pending | State::Rejected) => "is not there yet",
            None => "does not answer",
        };
        Some(format!("{} {why}", pod.name?))
    });
    let lagging: Vec<_> = lagging.collect();
    let mut text = String::new();
    for (index, one) in lagging.iter().take(NAMED).enumerate() {
        let between = if index == 0 { "; " } else { ", " };
        // Writing to a text never fails.
        let _ = write!(text, "{between}{one}");
    }
    if lagging.len() > NAMED {
        let _ = write!(text, ", and {} more", lagging.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use snapshot::frame::Generation;

    use super::*;

    fn proxy(number: u64) -> Proxy {
        Proxy { applied: Some(Generation { epoch: 1, number }), ..Proxy::default() }
    }

    fn text(condition: &Condition) -> String {
        assert_eq!(condition.status, condition.reason == "Programmed");
        format!("{}: {}", condition.reason, condition.message)
    }

    #[test]
    fn programmed_follows_what_proxies_acknowledge() {
        let refusing = Proxy { refused: Some("odd".into()), ..proxy(1) };
        let cases: Vec<(Vec<Proxy>, Option<&str>, &str)> = vec![
            (vec![], None, "NoProxy: no proxy is connected"),
            (vec![], Some("bad"), "NoProxy: no proxy is connected"),
            (vec![proxy(2)], None, "Programmed: 1/1 proxies"),
            (vec![proxy(3), proxy(2)], None, "Programmed: 2/2 proxies"),
            (vec![proxy(3), proxy(1)], None, "Pending: 1/2 proxies"),
            (vec![Proxy::default()], None, "Pending: 0/1 proxies"),
            (vec![proxy(2)], Some("bad"), "Rejected: bad"),
            (vec![proxy(2), refusing], None, "Rejected: odd"),
        ];
        for (proxies, rejected, expected) in cases {
            let proxies: Proxies = (0..).zip(proxies).collect();
            let holding = Holding::of(&proxies, 2, rejected);
            assert_eq!(text(&condition(&[Pod { name: None, holding: Some(&holding) }])), expected);
        }
    }

    #[test]
    fn every_pod_counts_and_those_that_lag_are_named() {
        let holding = |state, serving, proxies| {
            let reason = if state == State::Rejected { "odd" } else { "" }.to_owned();
            Some(Holding { state, serving, proxies, reason })
        };
        let held = || holding(State::Held, 1, 1);
        let cases = [
            (vec![held(), held(), held()], "Programmed: 3/3 proxies"),
            (vec![held(), held(), None], "Pending: 2/3 proxies; pod-2 does not answer"),
            (
                vec![held(), holding(State::Pending, 1, 2), holding(State::NoProxy, 0, 0)],
                "Pending: 2/4 proxies; pod-1 is not there yet, pod-2 has no proxy",
            ),
            (vec![], "NoProxy: no Longhaul pod is Ready"),
            (vec![holding(State::NoProxy, 0, 0); 2], "NoProxy: no proxy is connected"),
            (vec![held(), None, holding(State::Rejected, 1, 1)], "Rejected: pod-2: odd"),
            (
                vec![None; 7],
                "Pending: 0/7 proxies; pod-0 does not answer, pod-1 does not answer, pod-2 does not answer, pod-3 \
                 does not answer, pod-4 does not answer, and 2 more",
            ),
        ];
        for (holdings, expected) in cases {
            let names: Vec<_> = (0..holdings.len()).map(|index| format!("pod-{index}")).collect();
            let pods = names.iter().zip(&holdings);
            let pods: Vec<_> =
                pods.map(|(name, holding)| Pod { name: Some(name), holding: holding.as_ref() }).collect();
            assert_eq!(text(&condition(&pods)), expected);
        }
    }
}
