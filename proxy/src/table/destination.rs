//! Where a route's requests go: to its own backends, or to those of its canary.

use std::sync::Arc;

use routing::canary::Decider;
use snapshot::{UpstreamId, WeightedUpstream};

use crate::head::Head;
use crate::upstream::{Choice, Pin, Seat, Upstream, Way, Weighted};

/// Where to.
#[derive(Clone, Debug)]
pub struct Forward {
    backends: Vec<Weighted>,
    canary: Option<Canary>,
    /// One, or none.
    standby: Vec<Weighted>,
}

#[derive(Clone, Debug)]
struct Canary {
    decider: Decider,
    weight: u32,
    total: u32,
    backends: Vec<Weighted>,
    sticky: bool,
}

impl Forward {
    /// `referenced` is the cell of an upstream, which this refers to as often as it [names](Self::upstreams) it.
    pub(super) fn new(
        forward: snapshot::Forward,
        mut referenced: impl FnMut(&UpstreamId) -> Arc<Upstream>,
    ) -> Self {
        let mut weighted = |backends: Vec<WeightedUpstream>| -> Vec<_> {
            let each = backends.into_iter();
            each.map(|WeightedUpstream { upstream, weight }| Weighted {
                upstream: referenced(&upstream),
                weight,
            })
            .collect()
        };
        let snapshot::Forward { backends, canary, standby } = forward;
        let standby = standby.map(|upstream| WeightedUpstream { upstream, weight: 1 });
        let canary = canary.map(|canary| Canary {
            decider: Decider::new(canary.header, canary.cookie),
            weight: canary.weight,
            total: canary.total,
            backends: weighted(canary.backends),
            sticky: canary.sticky,
        });
        Self { backends: weighted(backends), canary, standby: weighted(standby.into_iter().collect()) }
    }

    /// The route's own backends.
    pub fn backends(&self) -> &[Weighted] {
        &self.backends
    }

    /// Every upstream that a request may go to, as often as this refers to it.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let canaries = self.canary.iter().flat_map(|canary| &canary.backends);
        self.backends.iter().chain(canaries).chain(&self.standby).map(|backend| &backend.upstream)
    }

    /// Among whom an endpoint is chosen for a request. `seat` is the one of an upstream that it belongs to already.
    pub(crate) fn choice(
        &self,
        head: &Head,
        way: Way,
        seat: &dyn Fn(&Upstream) -> Option<Seat>,
    ) -> Choice<'_> {
        let canaries = self.canary.as_ref();
        if canaries.is_none_or(|canary| canary.sticky)
            && let Some(pin) = self.pin(seat)
        {
            let of = |backends: &[Weighted]| {
                backends.iter().any(|backend| Arc::ptr_eq(&backend.upstream, pin.upstream))
            };
            let own = of(&self.backends) || of(&self.standby);
            let first = canaries.filter(|_| !own).map_or(&[][..], |canary| &canary.backends);
            return Choice { pin: Some(pin), among: [first, &self.backends, &self.standby], way };
        }
        let first = canaries.filter(|canary| canary.takes(head)).map_or(&[][..], |canary| &canary.backends);
        let group = if first.is_empty() { &self.backends } else { first };
        // Where there is a canary that clients do not stay at, who is meant is decided first.
        let pin = canaries.filter(|canary| !canary.sticky).and_then(|_| pin_among(group, seat));
        Choice { pin, among: [first, &self.backends, &self.standby], way }
    }

    /// The endpoint that a request belongs to already, wherever it is.
    pub(crate) fn pin(&self, seat: &dyn Fn(&Upstream) -> Option<Seat>) -> Option<Pin<'_>> {
        let canaries = self.canary.as_ref().map_or(&[][..], |canary| &canary.backends);
        [&self.backends, canaries, &self.standby].into_iter().find_map(|group| pin_among(group, seat))
    }
}

/// Whatever the weights say: they are about who comes for the first time.
fn pin_among<'a>(group: &'a [Weighted], seat: &dyn Fn(&Upstream) -> Option<Seat>) -> Option<Pin<'a>> {
    group.iter().find_map(|backend| Some(Pin { upstream: &backend.upstream, seat: seat(&backend.upstream)? }))
}

impl Canary {
    /// Whether this request is the canary's. Chance decides where the request does not.
    fn takes(&self, head: &Head) -> bool {
        self.decider.decide(head).unwrap_or_else(|| fastrand::u32(..self.total) < self.weight)
    }
}

#[cfg(test)]
mod tests {
    use snapshot::ValueMatch;

    use super::*;
    use crate::head::RequestParser;

    fn taken(canary: &Canary, lines: &str) -> Option<bool> {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (head, _) = RequestParser::default().parse(request.as_bytes()).unwrap().unwrap();
        canary.decider.decide(&head)
    }

    fn canary(value: Option<&str>, weight: u32, total: u32) -> Canary {
        let value = value.map(|value| ValueMatch::Exact(value.to_owned()));
        let header = Some(snapshot::CanaryHeader { name: "x-canary".into(), value });
        let decider = Decider::new(header, Some("canary".into()));
        Canary { decider, weight, total, backends: Vec::new(), sticky: true }
    }

    #[test]
    fn the_field_comes_before_the_cookie_and_the_cookie_before_chance() {
        let any = canary(None, 0, 100);
        for (lines, expected) in [
            ("", None),
            ("X-Canary: always\r\n", Some(true)),
            ("X-Canary: never\r\nCookie: canary=always\r\n", Some(false)),
            ("X-Canary: 1\r\nCookie: a=b; canary=always\r\n", Some(true)),
            ("X-Canary: 1\r\nCookie: canary=never\r\n", Some(false)),
            ("Cookie: canary=1\r\n", None),
        ] {
            assert_eq!(taken(&any, lines), expected, "{lines}");
        }
        let valued = canary(Some("blue"), 0, 100);
        assert_eq!(taken(&valued, "X-Canary: blue\r\n"), Some(true));
        assert_eq!(taken(&valued, "X-Canary: never\r\n"), None, "only the value counts");
        assert_eq!(taken(&valued, "X-Canary: always\r\nCookie: canary=never\r\n"), Some(false));
    }

    #[test]
    fn chance_keeps_to_the_weight() {
        let head = Head::get("a", "/");
        let count = |weight, total| {
            let canary = canary(None, weight, total);
            (0..20_000).filter(|_| canary.takes(&head)).count()
        };
        assert_eq!((count(0, 100), count(100, 100), count(300, 200)), (0, 20_000, 20_000));
        // 2,000 expected with a standard deviation of 42.
        assert!((1_800..2_200).contains(&count(20, 200)));
    }
}
