//! One core's thread: its runtime, its connections, the registry of its tunnels, one sweep a second.
//!
//! Both sockets of a tunnel live on one thread, so that nothing wakes another. Workers share the table, the counters
//! and the endpoints' in-flight counts, and nothing else; orders reach them as messages.

use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use snapshot::ListenerName;
use std::net::SocketAddr;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Names, Passwords};
use crate::close::CloseReason;
use crate::connection;
use crate::http::Pool;
use crate::pulse::Pulse;
use crate::table::Table;
use crate::telemetry::Telemetry;
use crate::upstream_tls;

pub(crate) mod registry;

/// Accepted sockets that wait for their worker. The acceptor waits where there is no room.
const INBOX: usize = 1024;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The table of the moment.
    pub table: Arc<ArcSwap<Table>>,
    /// Metrics and records.
    pub telemetry: Arc<Telemetry>,
    /// Compares passwords.
    pub passwords: Passwords,
    /// Where authentication services are.
    pub names: Names,
    /// How those are spoken to whose address is `https`.
    pub auth_tls: Arc<upstream_tls::Policy>,
    /// The port that redirects and forwarding fields name for the plain listener.
    pub public_http_port: u16,
    /// The same for the TLS listener.
    pub public_https_port: u16,
    /// Cancelled when the proxy stops accepting: connections end with the response that is under way.
    pub leaving: CancellationToken,
    /// Cancelled when what is no tunnel has had its time: connections end as they are.
    pub ending: CancellationToken,
}

/// What the connections of one worker share.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) shared: Arc<Shared>,
    /// Owns every task of this worker.
    pub(crate) tasks: TaskTracker,
    pub(crate) pool: Pool,
}

/// A socket that was accepted.
#[derive(Debug)]
pub struct Arrival {
    /// Non-blocking.
    pub stream: std::net::TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: ListenerName,
}

/// What a worker can be told.
#[derive(Debug)]
pub enum Order {
    /// How many tunnels are open?
    Count(oneshot::Sender<usize>),
    /// Close one of the tunnels that are not closing yet. The answer is how many there were.
    CloseOne(CloseReason, oneshot::Sender<usize>),
    /// Close all tunnels, and those that open later.
    CloseAll(CloseReason, oneshot::Sender<usize>),
}

/// The handle of a worker. Its thread ends when the inbox is closed and its last task has ended.
#[derive(Debug)]
pub struct Worker {
    /// Where accepted sockets go.
    pub inbox: mpsc::Sender<Arrival>,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
    /// Beats with every sweep.
    pub pulse: Pulse,
    tasks: TaskTracker,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// Starts the thread.
    pub fn start(index: usize, shared: Arc<Shared>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (inbox, arrivals) = mpsc::channel(INBOX);
        let (orders, received) = mpsc::channel(16);
        let tasks = TaskTracker::new();
        let home = Arc::new(Home { shared, tasks: tasks.clone(), pool: Pool::default() });
        let pulse = Pulse::default();
        let beating = pulse.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(work(&home, &beating, arrivals, received)))?;
        Ok(Self { inbox, orders, pulse, tasks, thread })
    }

    /// Its thread runs. After a panic it does not, and nothing that is sent to it is ever looked at.
    pub fn is_alive(&self) -> bool {
        !self.inbox.is_closed()
    }

    /// Connections and tunnels that it carries or is about to.
    pub fn load(&self) -> usize {
        self.tasks.len() + (self.inbox.max_capacity() - self.inbox.capacity())
    }

    /// Lets the thread end when its work is done, and waits for that.
    pub fn join(self) -> thread::Result<()> {
        drop((self.inbox, self.orders));
        self.thread.join()
    }
}

async fn work(
    home: &Arc<Home>,
    pulse: &Pulse,
    mut arrivals: mpsc::Receiver<Arrival>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut sweeps = interval(registry::SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepting = true;
    loop {
        tokio::select! {
            Some(order) = orders.recv() => obey(order),
            arrival = arrivals.recv(), if accepting => match arrival {
                Some(arrival) => drop(home.tasks.spawn(connection::serve(home.clone(), arrival))),
                None => {
                    accepting = false;
                    home.tasks.close();
                    home.pool.clear();
                }
            },
            _ = sweeps.tick() => {
                pulse.beat();
                registry::sweep();
                home.pool.sweep();
            }
            () = home.tasks.wait(), if !accepting => return,
        }
    }
}

fn obey(order: Order) {
    // Who asked may have left meanwhile.
    match order {
        Order::Count(answer) => drop(answer.send(registry::count())),
        Order::CloseOne(reason, answer) => drop(answer.send(registry::close(1, reason))),
        Order::CloseAll(reason, answer) => drop(answer.send(registry::close_all(reason))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use crate::pulse::Vigil;

    use super::*;

    /// What a worker shares, with nothing in it.
    pub(crate) fn shared() -> Arc<Shared> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Arc::new(Shared {
            auth_tls: upstream_tls::public(provider.clone(), []).unwrap(),
            table: Table::served_from(provider),
            telemetry: Telemetry::new(),
            passwords: Passwords::new(),
            names: Names::default(),
            public_http_port: 80,
            public_https_port: 443,
            leaving: CancellationToken::new(),
            ending: CancellationToken::new(),
        })
    }

    /// The handle of a worker of whose thread nothing is left but the other ends, or not even they.
    pub(crate) fn without_thread(room: usize) -> (Worker, mpsc::Receiver<Arrival>, mpsc::Receiver<Order>) {
        let ((inbox, arrivals), (orders, received)) = (mpsc::channel(room), mpsc::channel(16));
        let (pulse, tasks, thread) = (Pulse::default(), TaskTracker::new(), thread::spawn(|| {}));
        (Worker { inbox, orders, pulse, tasks, thread }, arrivals, received)
    }

    impl Worker {
        /// Has it carry something more, as long as this is held.
        pub(crate) fn carry(&self) -> impl Sized + use<> {
            self.tasks.token()
        }
    }

    fn wait_for_beat(pulse: &Pulse) {
        let (before, patience) = (pulse.beats(), 2_000);
        for _ in 0..patience {
            if pulse.beats() > before {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no beat came");
    }

    #[test]
    fn a_worker_that_is_stuck_has_no_pulse_and_one_that_idles_has() {
        let idle = Worker::start(0, shared()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (pulse, (release, released)) = (Pulse::default(), std::sync::mpsc::sync_channel::<()>(0));
        let home = Arc::new(Home { shared: shared(), tasks: TaskTracker::new(), pool: Pool::default() });
        let ((inbox, arrivals), (_orders, received)) = (mpsc::channel(1), mpsc::channel(1));
        let (stuck, beating) = (home.tasks.clone(), pulse.clone());
        let handle = runtime.handle().clone();
        let worker = thread::spawn(move || runtime.block_on(work(&home, &beating, arrivals, received)));
        wait_for_beat(&pulse);
        let (enter, entered) = std::sync::mpsc::sync_channel(0);
        stuck.spawn_on(
            async move {
                enter.send(()).unwrap();
                // As a task that never gives its thread back.
                released.recv().unwrap_err();
            },
            &handle,
        );
        entered.recv().unwrap();
        let threads = [("idle".to_owned(), idle.pulse.clone()), ("stuck".to_owned(), pulse.clone())];
        let mut vigil = Vigil::over(threads);
        for ticks in 1..=61 {
            if ticks % 20 == 1 {
                wait_for_beat(&idle.pulse);
            }
            let longest = vigil.tick();
            assert_eq!((&*longest.thread, longest.ticks), ("stuck", ticks));
        }
        drop(release);
        wait_for_beat(&pulse);
        drop(inbox);
        worker.join().unwrap();
        idle.join().unwrap();
    }
}
