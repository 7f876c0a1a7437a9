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

use crate::telemetry::Telemetry;
use crate::worker::{Arrival, Worker};

/// While no descriptor is free there is no event to wait for: closing one raises none.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

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
        let accepting = Accepting { listening, workers, telemetry, stopped };
        let thread = thread::Builder::new().name("acceptor".into()).spawn(move || accepting.run())?;
        Ok(Self { stop, thread })
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
}

impl Accepting {
    fn run(&self) {
        let mut exhausted = false;
        loop {
            let sockets =
                self.listening.iter().map(|listening| PollFd::new(&listening.socket, PollFlags::IN));
            let mut waiting = vec![PollFd::new(&self.stopped, PollFlags::IN)];
            // While there is no descriptor to accept into, listeners would be ready for ever.
            waiting.extend(sockets.filter(|_| !exhausted));
            match poll(&mut waiting, exhausted.then_some(&PAUSE)) {
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
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load()) else { return };
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
