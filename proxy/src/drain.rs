//! Leaving politely: the phases of a shutdown, and the one coordinator of paced closes.
//!
//! On SIGTERM load balancers are told at once, while accepting goes on for the shutdown delay: routers notice late.
//! Then accepting stops and tunnels are closed evenly over the drain period, so that clients do not come back in one
//! wave. The proxy leaves when its last tunnel has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval, timeout};

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

/// How long a worker may take to answer, before the tunnels of the others no longer wait for it.
const ANSWER: Duration = Duration::from_secs(5);

/// Closes all tunnels of all workers, spread evenly over `period`. Returns when the last close was ordered. A worker that
/// is stuck is told like the others, and waited for once.
pub async fn close_over(period: Duration, reason: CloseReason, workers: &Arc<Vec<Worker>>) {
    let (total, answering) = count(workers).await;
    let began = Instant::now();
    let (mut ordered, mut turn) = (0, 0);
    let mut paces = interval(PACE);
    'pacing: while ordered < total && began.elapsed() < period {
        paces.tick().await;
        // Rounded up: the first goes at once.
        let due = (total as u128 * began.elapsed().as_micros()).div_ceil(period.as_micros());
        let due = usize::try_from(due).unwrap_or(total).clamp(1, total);
        while ordered < due {
            let closed = close(&answering, &mut turn, reason).await;
            if closed == 0 {
                // Those that are missing have ended by themselves.
                break 'pacing;
            }
            ordered += closed;
        }
    }
    // What was opened meanwhile, what a short period left, and what is still being agreed.
    for worker in answering {
        ask(worker, |answer| Order::CloseAll(reason, answer)).await;
    }
    for worker in workers.iter() {
        // Again for most. Whoever comes to itself later finds the order.
        let (answer, _) = oneshot::channel();
        let _ = worker.orders.try_send(Order::CloseAll(reason, answer));
    }
}

/// Tunnels that are open, and the workers that say so.
async fn count(workers: &[Worker]) -> (usize, Vec<&Worker>) {
    let (mut total, mut answering) = (0, Vec::new());
    for worker in workers {
        match ask(worker, Order::Count).await {
            Some(count) => {
                total += count;
                answering.push(worker);
            }
            None => tracing::error!("a worker does not answer: leaving without it"),
        }
    }
    (total, answering)
}

/// Orders one close, of the next worker that has an open tunnel.
async fn close(workers: &[&Worker], turn: &mut usize, reason: CloseReason) -> usize {
    for _ in 0..workers.len() {
        let worker = workers[*turn % workers.len()];
        *turn += 1;
        let closed = ask(worker, |answer| Order::CloseOne(reason, answer)).await.unwrap_or(0);
        if closed > 0 {
            return closed;
        }
    }
    0
}

/// `None`: the worker does not answer.
async fn ask(worker: &Worker, order: impl FnOnce(oneshot::Sender<usize>) -> Order) -> Option<usize> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        worker.orders.send(order(answer)).await.ok()?;
        answered.await.ok()
    };
    timeout(ANSWER, asked).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use crate::worker::tests::without_thread;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_keeps_no_other_from_leaving() {
        let (stuck, _arrivals, mut unread) = without_thread(1);
        let (dead, ..) = without_thread(1);
        let (good, _good_arrivals, mut orders) = without_thread(1);
        let (workers, began) = (Arc::new(vec![stuck, dead, good]), Instant::now());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = 100;
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Count(answer) => answer.send(open).unwrap(),
                    Order::CloseOne(_, answer) => {
                        let closed = usize::from(open > 0);
                        open -= closed;
                        answer.send(closed).unwrap();
                    }
                    Order::CloseAll(_, answer) => answer.send(std::mem::take(&mut open)).unwrap(),
                }
                if open == 0 {
                    return began.elapsed();
                }
            }
            panic!("tunnels are left");
        });
        let period = Duration::from_secs(10);
        close_over(period, CloseReason::Shutdown, &workers).await;
        let took = tasks.join_next().await.unwrap().unwrap();
        assert!(took >= period && took < period + 2 * ANSWER, "{took:?}: evenly, and hardly later");
        unread.close();
        let mut left = Vec::new();
        while let Some(order) = unread.recv().await {
            left.push(order);
        }
        assert!(matches!(left.last(), Some(Order::CloseAll(..))), "{left:?}");
    }
}
