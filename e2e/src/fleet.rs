//! Many clients that stay: each opens a WebSocket, sends and receives on it now and then, and opens the next one at once
//! when it ends. What becomes of them all is in one [`Tally`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Socket, Target};

/// How often a client says something. Not what a test waits for: only so that no tunnel is idle.
const BEAT: Duration = Duration::from_secs(1);

/// How long a client that was refused leaves it at that.
const PAUSE: Duration = Duration::from_millis(200);

/// Handshakes that are under way at the start.
const AT_ONCE: usize = 32;

/// Clients.
pub struct Fleet {
    tally: watch::Receiver<Tally>,
    _clients: JoinSet<()>,
}

/// What became of clients so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Tunnels that are open now, by the backend at their end.
    pub open: BTreeMap<String, usize>,
    /// Handshakes that succeeded.
    pub opened: usize,
    /// Texts that came back as they were sent.
    pub echoes: usize,
    /// How tunnels ended: `Close CODE`, or what the client was told in place of one.
    pub endings: BTreeMap<String, usize>,
    /// The most tunnels that a single client has lost.
    pub most_lost: usize,
    /// Handshakes that failed, and why.
    pub refused: Vec<String>,
}

impl Tally {
    /// Tunnels that are open now.
    pub fn now_open(&self) -> usize {
        self.open.values().sum()
    }

    /// Tunnels that have ended.
    pub fn ended(&self) -> usize {
        self.endings.values().sum()
    }
}

impl Fleet {
    /// Starts clients, and waits until each has its tunnel and has used it.
    pub async fn start(target: &Target, path: &str, count: usize) -> Result<Self> {
        let (sender, tally) = watch::channel(Tally::default());
        let sender = Arc::new(sender);
        let doors = Arc::new(Semaphore::new(AT_ONCE));
        let mut clients = JoinSet::new();
        for number in 0..count {
            let client = Client {
                target: target.clone(),
                path: path.to_owned(),
                number,
                tally: sender.clone(),
                doors: doors.clone(),
                lost: 0,
            };
            clients.spawn(client.live());
        }
        let mut fleet = Self { tally, _clients: clients };
        fleet.until("all tunnels open", |tally| tally.now_open() == count && tally.echoes >= count).await?;
        Ok(fleet)
    }

    /// What became of them so far.
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Waits until it is so, for two minutes at most.
    pub async fn until(&mut self, what: &str, is_so: impl FnMut(&Tally) -> bool) -> Result<Tally> {
        if let Ok(tally) = timeout(Duration::from_mins(2), self.tally.wait_for(is_so)).await {
            return Ok(tally.context("clients are there")?.clone());
        }
        bail!("{what}: not so, but {:#?}", self.tally())
    }

    /// Waits until every client has used its tunnel after this moment.
    pub async fn used(&mut self) -> Result<Tally> {
        let before = self.tally();
        // A client may do so twice before another one does; three times is enough for all.
        let wanted = before.echoes + 3 * before.now_open();
        self.until("every tunnel used", |tally| tally.echoes >= wanted).await
    }
}

struct Client {
    target: Target,
    path: String,
    number: usize,
    tally: Arc<watch::Sender<Tally>>,
    doors: Arc<Semaphore>,
    lost: usize,
}

impl Client {
    async fn live(mut self) {
        loop {
            let opened = {
                // Nobody closes it.
                let _turn = self.doors.acquire().await.ok();
                self.target.websocket(&self.path).await
            };
            match opened {
                Ok(socket) => self.stay(socket).await,
                Err(error) => {
                    let refused = format!("client {}: {error:#}", self.number);
                    self.tally.send_modify(|tally| tally.refused.push(refused));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn stay(&mut self, mut socket: Socket) {
        let backend = socket.backend().to_owned();
        self.tally.send_modify(|tally| {
            tally.opened += 1;
            *tally.open.entry(backend.clone()).or_default() += 1;
        });
        let ending = match self.talk(&mut socket).await {
            Ok(close) => close,
            Err(error) => format!("{error:#}"),
        };
        self.lost += 1;
        self.tally.send_modify(|tally| {
            if let Some(open) = tally.open.get_mut(&backend) {
                *open -= 1;
            }
            *tally.endings.entry(ending).or_default() += 1;
            tally.most_lost = tally.most_lost.max(self.lost);
        });
    }

    /// Sends and receives until the connection is over, and says how it ended.
    async fn talk(&self, socket: &mut Socket) -> Result<String> {
        let stream = socket.stream();
        let mut beats = interval_at(Instant::now(), BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut received, mut ending) = (0_u64, 0_u64, None);
        loop {
            tokio::select! {
                // One text at a time, and none after a Close.
                _ = beats.tick(), if ending.is_none() && sent == received => {
                    sent += 1;
                    stream.send(Message::text(format!("{} {sent}", self.number))).await.context("sending")?;
                }
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        received += 1;
                        if text != format!("{} {received}", self.number) {
                            bail!("{text:?} came where text {received} was due");
                        }
                        self.tally.send_modify(|tally| tally.echoes += 1);
                    }
                    Some(Ok(Message::Close(frame))) => {
                        ending = Some(match frame {
                            Some(frame) => format!("Close {}", u16::from(frame.code)),
                            None => "Close".to_owned(),
                        });
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error).context(ending.unwrap_or_default()),
                    None => return Ok(ending.unwrap_or_else(|| "an end without a Close".to_owned())),
                }
            }
        }
    }
}
