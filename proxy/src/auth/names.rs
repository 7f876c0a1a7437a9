//! Names of authentication services to addresses.
//!
//! Asked of the operating system, which reads `/etc/hosts` and the search list of `/etc/resolv.conf` as people expect it
//! of names in a cluster, and tells no times to live: so an answer is believed for [`FRESH`], and while there is none,
//! the one before it for [`STALE`].

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snapshot::LocalTargets;
use tokio::time::Instant;

/// So long an answer is believed.
const FRESH: Duration = Duration::from_secs(10);
/// So long it serves while there is no better one.
const STALE: Duration = Duration::from_mins(5);
/// Names that are known at once. There are as many as routes name; more than these are asked for each time.
const MOST: usize = 1024;
/// Addresses of one name.
const MOST_ADDRESSES: usize = 8;

/// The names that are known.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<Box<str>, Known>>,
}

/// What is known of a name. Held while it is asked for, so that a storm asks once.
type Known = Arc<tokio::sync::Mutex<Option<(Instant, Vec<IpAddr>)>>>;

impl Names {
    /// Where a host is, at least one address. A host may be an address, that of IPv6 in brackets.
    pub(super) async fn find(
        &self,
        host: &str,
        port: u16,
        local: LocalTargets,
    ) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let found = match bare.parse() {
            Ok(address) => vec![address],
            Err(_) => self.ask(host).await?,
        };
        let may = |address: &IpAddr| local == LocalTargets::Allowed || !is_local(*address);
        let allowed: Vec<_> =
            found.into_iter().filter(may).map(|address| SocketAddr::new(address, port)).collect();
        if allowed.is_empty() {
            return Err(io::Error::other("it has no address, or only ones of this very machine"));
        }
        Ok(allowed)
    }

    async fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.known(name);
        let mut known = known.lock().await;
        let age = known.as_ref().map(|(since, _)| since.elapsed());
        if let (Some((_, addresses)), Some(true)) = (&*known, age.map(|age| age < FRESH)) {
            return Ok(addresses.clone());
        }
        // On a thread for blocking work.
        match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => {
                let found: Vec<_> = found.map(|address| address.ip()).take(MOST_ADDRESSES).collect();
                *known = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            Err(error) => match (&*known, age.is_some_and(|age| age < STALE)) {
                (Some((_, addresses)), true) => Ok(addresses.clone()),
                _ => Err(error),
            },
        }
    }

    fn known(&self, name: &str) -> Known {
        let mut all = self.lock();
        if let Some(known) = all.get(name) {
            return known.clone();
        }
        if all.len() >= MOST {
            // Who is being asked for stays.
            all.retain(|_, known| match known.try_lock() {
                Ok(known) => known.as_ref().is_some_and(|(since, _)| since.elapsed() < FRESH),
                Err(_) => true,
            });
        }
        let known = Known::default();
        if all.len() < MOST {
            all.insert(name.into(), known.clone());
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Known>> {
        // A map of cells, whole after any panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is this machine, or what only this machine sees: so the keys of clouds are kept at 169.254.169.254.
fn is_local(address: IpAddr) -> bool {
    let listed = match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()
        }
    };
    listed || is_own(address)
}

/// Whether the way there begins where it ends. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let way = UdpSocket::bind(any).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    way.is_ok_and(|from| from.ip().to_canonical() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_of_this_machine_are_found_in_standalone_mode_only() {
        let names = Names::default();
        for host in [
            "127.0.0.1",
            "[::1]",
            "localhost",
            "169.254.169.254",
            "0.0.0.0",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(names.find(host, 80, LocalTargets::Refused).await.is_err(), "{host}");
        }
        let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        if let Ok(own) = own {
            let host = own.ip().to_string();
            assert!(names.find(&host, 80, LocalTargets::Refused).await.is_err(), "{host}");
        }
        let found = names.find("127.0.0.1", 80, LocalTargets::Allowed).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        assert!(!names.find("localhost", 80, LocalTargets::Allowed).await.unwrap().is_empty());
        assert!(names.find("192.0.2.1", 80, LocalTargets::Refused).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_a_while_and_the_last_one_while_there_is_none() {
        let names = Names::default();
        // RFC 6761: no resolver knows it.
        let (name, address) = ("auth.invalid", "192.0.2.7".parse::<IpAddr>().unwrap());
        *names.known(name).lock().await = Some((Instant::now(), vec![address]));
        let find = || names.find(name, 80, LocalTargets::Refused);
        assert!(find().await.is_ok());
        tokio::time::advance(FRESH).await;
        assert!(find().await.is_ok(), "stale, but there is no better one");
        tokio::time::advance(STALE).await;
        assert!(find().await.is_err());
    }

    #[tokio::test]
    async fn what_is_known_is_bounded() {
        let names = Names::default();
        for number in 0..3000 {
            drop(names.known(&number.to_string()));
        }
        assert!(names.lock().len() <= MOST);
    }
}
