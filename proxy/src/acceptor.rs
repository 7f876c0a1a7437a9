//! The one accepting thread: it deals sockets to the least loaded worker.
//!
//! One acceptor and not SO_REUSEPORT, which leaves long-lived tunnels badly spread for ever and resets what was not
//! accepted yet when a listener closes. When file descriptors run out, accepting pauses without spinning; before the
//! listeners close, what waits in their queues is accepted.

use std::io::{self, PipeReader, PipeWriter};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use snapshot::ListenerName;

use crate::pulse::Pulse;
use crate::telemetry::Telemetry;
use crate::worker::{Arrival, Worker};

/// While no descriptor is free there is no event to wait for: closing one raises none.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How long to wait for connections before the pulse beats again.
const ROUND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Accepted at one listener before the other has its turn.
const TURN: usize = 256;

/// A socket that listens, and what for.
#[derive(Debug)]
pub struct Listening {
    /// Non-blocking.
    pub socket: TcpListener,
    /// What comes in by it.
    pub name: ListenerName,
}

/// The accepting thread.
#[derive(Debug)]
pub struct Acceptor {
    /// Its other end is closed when this is dropped, which the thread notices.
    stop: PipeWriter,
    pulse: Pulse,
    thread: thread::JoinHandle<()>,
}

impl Acceptor {
    /// Starts the thread.
    pub fn start(
        listening: Vec<Listening>,
        workers: Arc<Vec<Worker>>,
        telemetry: Arc<Telemetry>,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let pulse = Pulse::default();
        let accepting = Accepting { listening, workers, telemetry, stopped, pulse: pulse.clone() };
        let thread = thread::Builder::new().name("acceptor".into()).spawn(move || accepting.run())?;
        Ok(Self { stop, pulse, thread })
    }

    /// Beats with every round.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Accepts what is waiting, closes the listeners, and ends the thread. Blocks until then.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the accepting thread panicked");
        }
    }
}

struct Accepting {
    listening: Vec<Listening>,
    workers: Arc<Vec<Worker>>,
    telemetry: Arc<Telemetry>,
    stopped: PipeReader,
    pulse: Pulse,
}

impl Accepting {
    fn run(&self) {
        let mut exhausted = false;
        loop {
            self.pulse.beat();
            let sockets =
                self.listening.iter().map(|listening| PollFd::new(&listening.socket, PollFlags::IN));
            let mut waiting = vec![PollFd::new(&self.stopped, PollFlags::IN)];
            // While there is no descriptor to accept into, listeners would be ready for ever.
            waiting.extend(sockets.filter(|_| !exhausted));
            match poll(&mut waiting, Some(if exhausted { &PAUSE } else { &ROUND })) {
                Ok(_) | Err(Errno::INTR | Errno::NOMEM) => {}
                Err(error) => return tracing::error!(%error, "cannot wait for connections"),
            }
            let stopped = !waiting[0].revents().is_empty();
            exhausted = self.listening.iter().any(|listening| !self.accept(listening));
            if stopped {
                // Whoever is in the queue has been told that the connection stands.
                while !exhausted && self.listening.iter().any(|listening| waits(&listening.socket)) {
                    exhausted = self.listening.iter().any(|listening| !self.accept(listening));
                }
                return;
            }
        }
    }

    /// Accepts what waits at one listener, up to [`TURN`]. False: there are no descriptors left.
    fn accept(&self, listening: &Listening) -> bool {
        for _ in 0..TURN {
            match accept_one(&listening.socket) {
                Ok((stream, peer)) => self.deal(Arrival { stream, peer, listener: listening.name }),
                Err(Errno::WOULDBLOCK) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.telemetry.accept_paused();
                    return false;
                }
                // A connection that broke before it was accepted (accept(2), "Error handling").
                Err(error) => tracing::debug!(%error, "a connection was lost in the queue"),
            }
        }
        true
    }

    fn deal(&self, arrival: Arrival) {
        self.telemetry.connection_accepted();
        // One that has no room may never have it again: it is waited for only when all are like that.
        let rank = |worker: &&Worker| (worker.inbox.capacity() == 0, worker.load());
        let alive = self.workers.iter().filter(|worker| worker.is_alive());
        let Some(worker) = alive.min_by_key(rank) else {
            return tracing::error!("no worker is left, and a connection is lost");
        };
        if worker.inbox.blocking_send(arrival).is_err() {
            tracing::error!("a worker is gone, and a connection with it");
        }
    }
}

fn waits(listener: &TcpListener) -> bool {
    let mut waiting = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

fn accept_one(listener: &TcpListener) -> Result<(std::net::TcpStream, SocketAddr), Errno> {
    let (fd, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(Errno::INVAL)?;
    Ok((fd.into(), SocketAddr::try_from(peer)?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use crate::worker::tests::without_thread;

    use super::*;

    fn listening() -> (Vec<Listening>, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (vec![Listening { socket, name: ListenerName::Http }], address)
    }

    #[test]
    fn it_has_a_pulse_though_nobody_comes() {
        let acceptor = Acceptor::start(listening().0, Arc::default(), Telemetry::new()).unwrap();
        let pulse = acceptor.pulse();
        let more = |beats: u64| {
            (0..500).any(|_| {
                thread::sleep(std::time::Duration::from_millis(10));
                pulse.beats() > beats
            })
        };
        assert!(more(0) && more(pulse.beats()));
        acceptor.stop();
        assert!(!more(pulse.beats()));
    }

    #[test]
    fn a_worker_that_died_or_is_stuck_gets_nothing_while_another_is_there() {
        let (dead, stuck) = (without_thread(1).0, without_thread(1));
        let (good, mut arrivals, _orders) = without_thread(1);
        let (listening, address) = listening();
        let stream = TcpStream::connect(address).unwrap();
        stuck.0.inbox.try_send(Arrival { stream, peer: address, listener: ListenerName::Http }).unwrap();
        // The others have less to carry.
        let _carried = [good.carry(), good.carry()];
        assert!(dead.load() < stuck.0.load() && stuck.0.load() < good.load());
        let acceptor =
            Acceptor::start(listening, Arc::new(vec![dead, stuck.0, good]), Telemetry::new()).unwrap();
        let peer = arrivals.blocking_recv().unwrap().peer;
        assert_ne!(peer, address);
        acceptor.stop();
    }
}
