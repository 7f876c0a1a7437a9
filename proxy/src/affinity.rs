//! Clients that come back get the endpoint that they were at: by a cookie of ours, or by the sid of Engine.IO.
//!
//! A cookie comes before a sid, and both before whatever the route balances by. One that names nobody any more, or
//! that is not ours, counts as none: the client is balanced anew and gets another. Where all replicas hold the same
//! key they set and understand the same cookies. A replica without it sets none, and goes by the hash of the client's
//! address meanwhile, so that it agrees with others of its kind; so it does for sids that it has not learned.

mod engine_io;
mod seal;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use snapshot::{AffinityCookie, HashPart, Holds, OnFailure, Ring, SameSite};
use tokio::time::Instant;

pub(crate) use engine_io::Learner;
pub(crate) use seal::Seal;
use seal::Sealed;

use crate::head::{Head, Method, is_token};
use crate::table::{Forward, hash_of};
use crate::upstream::{Choice, LONGEST_SID, Picked, Pin, Seat, Upstream, Way};

/// The key of the moment: every route of every table of one line has the same place for it.
pub(crate) type SealPlace = Arc<ArcSwapOption<Seal>>;

/// Cookies of our name that are looked at; a client has more than one where paths lie within one another.
const MOST_COOKIES: usize = 8;

/// How clients of one route find their endpoint again.
#[derive(Debug)]
pub struct Affinity {
    cookie: Option<AffinityCookie>,
    engine_io: bool,
    ring: Ring,
    seal: SealPlace,
}

/// What a request says of where it belongs.
struct Said<'a> {
    seal: Option<Arc<Seal>>,
    cookies: Vec<Sealed>,
    sid: Option<std::borrow::Cow<'a, [u8]>>,
}

impl Affinity {
    /// That of a route whose settings were [checked](check).
    pub(crate) fn new(settings: snapshot::Affinity, ring: Ring, seal: SealPlace) -> Self {
        let snapshot::Affinity { cookie, engine_io } = settings;
        Self { cookie, engine_io, ring, seal }
    }

    /// Among whom a request's endpoint is chosen. `way` is how the route balances it, `client` who asks.
    pub(crate) fn choice<'a>(
        &self,
        forward: &'a Forward,
        (head, client, now): (&Head, IpAddr, Instant),
        way: Way,
    ) -> Choice<'a> {
        let said = self.said(head);
        let hashes = self.engine_io || (self.cookie.is_some() && said.seal.is_none());
        let way = match way {
            Way::LeastConnections | Way::RoundRobin if hashes => {
                let key = hash_of(&[HashPart::ClientAddress], head, client);
                key.map_or(way, |key| Way::Hash(key, self.ring))
            }
            // The key of a cookie to be.
            _ if self.holds() == Some(Holds::Key) && said.seal.is_some() => {
                Way::Hash(fastrand::u64(..), self.ring)
            }
            way => way,
        };
        let mut choice = forward.choice(head, way, &|upstream| self.cookie_seat(&said, upstream));
        if choice.pin.is_none()
            && let Some(sid) = &said.sid
        {
            choice.pin = forward.pin(&|upstream| upstream.session(sid, now));
        }
        // Everybody who has lost the way to one endpoint goes to the same other one, and back again later.
        if let Some(Seat::Seed(key, ring) | Seat::Key(key, ring)) = choice.pin.map(|pin| pin.seat)
            && self.cookie.as_ref().is_some_and(|cookie| cookie.on_failure == OnFailure::Keep)
        {
            choice.way = Way::Hash(key, ring);
        }
        choice
    }

    fn said<'a>(&self, head: &'a Head) -> Said<'a> {
        let seal = self.cookie.as_ref().and_then(|_| self.seal.load_full());
        let values = self.cookie.iter().flat_map(|cookie| head.cookies(&cookie.name));
        let cookies = match &seal {
            Some(seal) => values.take(MOST_COOKIES).filter_map(|value| seal.open(value)).collect(),
            None => Vec::new(),
        };
        let sid = self.engine_io.then(|| head.query_parameter("sid")).flatten();
        Said { seal, cookies, sid: sid.filter(|sid| (1..=LONGEST_SID).contains(&sid.len())) }
    }

    /// The endpoint of this upstream that a cookie names, where there is one and it is ready.
    fn cookie_seat(&self, said: &Said<'_>, upstream: &Upstream) -> Option<Seat> {
        let seal = said.seal.as_ref()?;
        let ours = said.cookies.iter().filter(|sealed| seal.is_of(sealed, upstream.id(), self.ring));
        let named = |sealed: &Sealed| match self.holds() {
            Some(Holds::Key) => Seat::Key(sealed.seed, self.ring),
            Some(Holds::Endpoint) | None => Seat::Seed(sealed.seed, self.ring),
        };
        ours.map(named).find(|seat| upstream.has(*seat))
    }

    fn holds(&self) -> Option<Holds> {
        Some(self.cookie.as_ref()?.holds)
    }

    /// What Set-Cookie says to a client that this endpoint serves, unless its cookie names that one already.
    /// `scheme` is the one by which the client came.
    pub(crate) fn set_cookie(&self, choice: &Choice<'_>, picked: &Picked, scheme: &str) -> Option<String> {
        let (cookie, seal) = (self.cookie.as_ref()?, self.seal.load_full()?);
        let seed = picked.seed(self.ring)?;
        if let Some(Pin { upstream, seat: seat @ (Seat::Seed(..) | Seat::Key(..)) }) = choice.pin {
            let here = upstream.id() == picked.upstream() && upstream.seed_at(seat, self.ring) == Some(seed);
            if here || cookie.on_failure == OnFailure::Keep {
                return None;
            }
        }
        let seed = match (cookie.holds, choice.way) {
            (Holds::Key, Way::Hash(key, _)) => key,
            _ => seed,
        };
        let value = seal.close(picked.upstream(), self.ring, seed);
        Some(line(cookie, &value, cookie.secure.unwrap_or(scheme == "https")))
    }

    /// Whether the answer to this request begins a session whose requests must come to the same endpoint. (One over a
    /// WebSocket alone has no other requests.)
    pub(crate) fn learns(&self, head: &Head) -> bool {
        let is = |name: &str, value: &[u8]| head.query_parameter(name).is_some_and(|said| *said == *value);
        self.engine_io
            && head.method == Method::Get
            && is("transport", b"polling")
            && head.query_parameter("sid").is_none()
    }
}

/// What is wrong with settings that would split a field or be no cookie, for people.
pub(crate) fn check(settings: &snapshot::Affinity) -> Result<(), String> {
    let Some(AffinityCookie { name, path, domain, .. }) = &settings.cookie else { return Ok(()) };
    let sound = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if !is_token(name.as_bytes()) || !path.starts_with('/') || !sound(path) {
        return Err("its affinity cookie has a name or path that no cookie has".to_owned());
    }
    match domain.as_deref().filter(|domain| domain.is_empty() || !sound(domain)) {
        Some(_) => Err("its affinity cookie has a domain that no cookie has".to_owned()),
        None => Ok(()),
    }
}

/// A cookie as RFC 6265 §4.1 writes it. No script has business with it: `HttpOnly` always.
fn line(cookie: &AffinityCookie, value: &str, secure: bool) -> String {
    let mut line = format!("{}={value}; Path={}", cookie.name, cookie.path);
    if let Some(domain) = &cookie.domain {
        let _ = write!(line, "; Domain={domain}");
    }
    if let Some(seconds) = cookie.max_age {
        let _ = write!(line, "; Max-Age={seconds}");
    }
    line.push_str(if secure { "; Secure; HttpOnly" } else { "; HttpOnly" });
    line.push_str(match cookie.same_site {
        None => "",
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
    });
    line
}
