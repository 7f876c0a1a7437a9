//! The leader's questions to the other pods: about what is not Programmed yet, and about nothing else, so that the
//! cost follows the change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crds::diagnostic::ObjectRef;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::held::{Answer, Asked, MAX_BODY, MOST, Question};
use super::{Peer, Peers};
use crate::metrics::Metrics;
use crate::programmed::{Holding, State};
use crate::version::Version;

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);

/// The pause between two rounds while answers change.
const SHORTEST: Duration = Duration::from_millis(200);

/// The longest pause: while nothing changes.
const LONGEST: Duration = Duration::from_secs(2);

/// Objects of which somebody wants to know who holds them, in these versions.
pub type Wanted = Arc<BTreeMap<ObjectRef, Version>>;

/// What the other pods said of what is wanted, by the pod's name.
pub type Heard = BTreeMap<String, Arc<Said>>;

/// What one pod said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// It did not answer the last question.
    pub silent: bool,
    /// What its proxies hold, in the version that was asked for.
    pub holdings: BTreeMap<ObjectRef, (Version, Holding)>,
}

impl Said {
    /// What it said of this version.
    pub fn of(&self, object: &ObjectRef, version: &Version) -> Option<&Holding> {
        let (said_of, holding) = self.holdings.get(object)?;
        (said_of == version).then_some(holding)
    }
}

/// Why a pod did not answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("no answer within {QUESTION:?}")]
    Late,
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("another pod answers: {0:?}")]
    Stranger(String),
    #[error("the answer is about {0} objects instead of {1}")]
    Count(usize, usize),
}

/// Asks the other pods.
#[derive(Debug)]
pub struct Asker {
    /// The name of this pod: it is not asked.
    pub pod: String,
    /// Which pods there are.
    pub peers: watch::Receiver<Peers>,
    /// What to ask about.
    pub wanted: watch::Receiver<Wanted>,
    /// What they say.
    pub heard: watch::Sender<Heard>,
    /// Where is counted who answers.
    pub metrics: Arc<Metrics>,
}

impl Asker {
    /// Asks whenever something is wanted, until nobody wants to know any more.
    pub async fn run(mut self) {
        let mut pause = SHORTEST;
        loop {
            let (peers, wanted) =
                (self.peers.borrow_and_update().clone(), self.wanted.borrow_and_update().clone());
            let others = peers.iter().flat_map(|peers| &**peers).filter(|(name, _)| **name != self.pod);
            let others: BTreeMap<_, _> = others.map(|(name, peer)| (name.clone(), peer.clone())).collect();
            self.forget(&others, &wanted);
            let asked = self.round(&others, &wanted).await;
            pause = match asked {
                Round::News | Round::Nothing => SHORTEST,
                Round::Same => (pause * 3 / 2).min(LONGEST),
            };
            let next = Instant::now() + pause;
            let changed = tokio::select! {
                changed = self.peers.changed() => changed,
                changed = self.wanted.changed() => changed,
                () = sleep_until(next), if asked != Round::Nothing => continue,
            };
            if changed.is_err() {
                return;
            }
            pause = SHORTEST;
        }
    }

    /// Drops what is wanted no more, and pods that went.
    fn forget(&self, others: &BTreeMap<String, Peer>, wanted: &Wanted) {
        self.heard.send_if_modified(|heard| {
            let before = heard.clone();
            heard.retain(|pod, _| others.contains_key(pod));
            for said in heard.values_mut() {
                let is_wanted = |object: &ObjectRef, version: &Version| wanted.get(object) == Some(version);
                if !said.holdings.iter().all(|(object, (version, _))| is_wanted(object, version)) {
                    let said = Arc::make_mut(said);
                    said.holdings.retain(|object, (version, _)| is_wanted(object, version));
                }
            }
            *heard != before
        });
        let silent = self.heard.borrow().values().filter(|said| said.silent).count();
        self.metrics.peers(others.len(), others.len() - silent);
    }

    /// Asks every pod about what it is not known to hold.
    async fn round(&self, others: &BTreeMap<String, Peer>, wanted: &Wanted) -> Round {
        let heard = self.heard.borrow().clone();
        let questions = others.iter().filter_map(|(pod, peer)| {
            let open = open(heard.get(pod).map(|said| &**said), wanted);
            (!open.is_empty()).then_some((pod, peer.address, open))
        });
        let mut asking: FuturesUnordered<_> = questions
            .map(|(pod, address, open)| async move { (pod, ask(address, pod, open).await) })
            .collect();
        let mut round = if asking.is_empty() { Round::Nothing } else { Round::Same };
        while let Some((pod, answer)) = asking.next().await {
            if self.take(pod, answer, wanted) {
                round = Round::News;
            }
        }
        round
    }

    /// Takes in what a pod said. Says whether it is news.
    fn take(&self, pod: &str, answer: Result<Vec<(ObjectRef, Holding)>, AskError>, wanted: &Wanted) -> bool {
        let known = self.heard.borrow().get(pod).cloned().unwrap_or_default();
        let mut said = Said::clone(&known);
        match answer {
            Ok(holdings) => {
                said.silent = false;
                for (object, holding) in holdings {
                    if let Some(version) = wanted.get(&object) {
                        said.holdings.insert(object, (version.clone(), holding));
                    }
                }
            }
            Err(error) => {
                if !known.silent {
                    tracing::warn!(
                        pod,
                        "the Longhaul pod {pod} does not tell what its proxies hold: {error}"
                    );
                }
                said.silent = true;
                // What is not known to be held is not known at all now.
                said.holdings.retain(|_, (_, holding)| holding.state == State::Held);
            }
        }
        if known.silent && !said.silent {
            tracing::info!(pod, "the Longhaul pod {pod} answers again");
        }
        let differs = said != *known;
        if differs {
            self.heard.send_modify(|heard| drop(heard.insert(pod.into(), Arc::new(said))));
        }
        differs
    }
}

/// What a round of questions led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// There was nothing to ask.
    Nothing,
    /// Everything is as before.
    Same,
    News,
}

/// What is wanted and not known to be held by a pod: what a proxy has acknowledged once, it keeps.
fn open(said: Option<&Said>, wanted: &Wanted) -> Vec<Asked> {
    let held = |object: &ObjectRef, version: &Version| {
        let holding = said.and_then(|said| said.of(object, version));
        holding.is_some_and(|holding| holding.state == State::Held)
    };
    let open = wanted.iter().filter(|(object, version)| !held(object, version));
    open.map(|(object, version)| Asked::about(object, version)).collect()
}

async fn ask(
    address: SocketAddr,
    pod: &str,
    objects: Vec<Asked>,
) -> Result<Vec<(ObjectRef, Holding)>, AskError> {
    let mut answers = Vec::with_capacity(objects.len());
    for part in objects.chunks(MOST) {
        let question = Question { objects: part.to_vec() };
        let answer = timeout(QUESTION, exchange(address, &question)).await.map_err(|_| AskError::Late)??;
        if answer.pod != pod {
            return Err(AskError::Stranger(answer.pod));
        }
        if answer.objects.len() != part.len() {
            return Err(AskError::Count(answer.objects.len(), part.len()));
        }
        answers.extend(part.iter().map(Asked::object).zip(answer.objects));
    }
    Ok(answers)
}

/// One question on a connection of its own: they are few, and pods come and go.
async fn exchange(address: SocketAddr, question: &Question) -> Result<Answer, AskError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri("/peers/held")
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(question)?)))
        .expect("the parts are constants and an address");
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(AskError::Body)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests;
