//! Leaving politely: the phases of a shutdown, and the one coordinator of paced closes.
//!
//! On SIGTERM load balancers are told at once, while accepting goes on for the shutdown delay: routers notice late.
//! Then accepting stops and tunnels are closed evenly over the drain period, so that clients do not come back in one
//! wave. The proxy leaves when its last tunnel has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval};

use crate::close::CloseReason;
use crate::worker::{Order, Worker};

/// How often closes are ordered: often enough that no batch is a wave.
const PACE: Duration = Duration::from_millis(50);

/// Where in its life the proxy is. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepts, and says so.
    #[default]
    Serving,
    /// Accepts still, and tells load balancers to look elsewhere.
    Announcing,
    /// Accepts nothing more; tunnels are being closed.
    Draining,
}

/// The phase of the moment, for whoever reports or follows it.
pub type Phases = watch::Sender<Phase>;

/// Closes all tunnels of all workers, spread evenly over `period`. Returns when the last close was ordered.
pub async fn close_over(period: Duration, reason: CloseReason, workers: &Arc<Vec<Worker>>) {
    let total = count(workers).await;
    let began = Instant::now();
    let (mut ordered, mut turn) = (0, 0);
    let mut paces = interval(PACE);
    'pacing: while ordered < total && began.elapsed() < period {
        paces.tick().await;
        // Rounded up: the first goes at once.
        let due = (total as u128 * began.elapsed().as_micros()).div_ceil(period.as_micros());
        let due = usize::try_from(due).unwrap_or(total).clamp(1, total);
        while ordered < due {
            let closed = close(workers, &mut turn, reason).await;
            if closed == 0 {
                // Those that are missing have ended by themselves.
                break 'pacing;
            }
            ordered += closed;
        }
    }
    // What was opened meanwhile, what a short period left, and what is still being agreed.
    for worker in workers.iter() {
        ask(worker, |answer| Order::CloseAll(reason, answer)).await;
    }
}

/// Tunnels that are open.
async fn count(workers: &[Worker]) -> usize {
    let mut total = 0;
    for worker in workers {
        total += ask(worker, Order::Count).await;
    }
    total
}

/// Orders one close, of the next worker that has an open tunnel.
async fn close(workers: &[Worker], turn: &mut usize, reason: CloseReason) -> usize {
    for _ in 0..workers.len() {
        let worker = &workers[*turn % workers.len()];
        *turn += 1;
        let closed = ask(worker, |answer| Order::CloseOne(reason, answer)).await;
        if closed > 0 {
            return closed;
        }
    }
    0
}

/// A worker that does not answer has no tunnels.
async fn ask(worker: &Worker, order: impl FnOnce(oneshot::Sender<usize>) -> Order) -> usize {
    let (answer, answered) = oneshot::channel();
    if worker.orders.send(order(answer)).await.is_err() {
        return 0;
    }
    answered.await.unwrap_or(0)
}
