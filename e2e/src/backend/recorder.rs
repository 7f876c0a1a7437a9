//! A backend that writes down what reaches it, to the byte, and answers as scripted: rightly or wrongly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::{PATIENCE, switching_protocols};

/// What the backend does once it has received a whole request head.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Reads on and says nothing.
    Silence,
    /// Sends these bytes and reads on.
    Bytes(Vec<u8>),
    /// Sends these bytes and ends the connection.
    Last(Vec<u8>),
    /// Sends these bytes and resets the connection.
    Reset(Vec<u8>),
    /// Accepts the WebSocket handshake, with these bytes right behind the 101, and reads on.
    Upgrade(Vec<u8>),
    /// A 101 whose `Sec-WebSocket-Accept` belongs to another key.
    WrongAccept,
}

impl Answer {
    /// A plain answer with a length, after which the connection may be used again.
    pub fn ok(body: &str) -> Self {
        let length = body.len();
        Self::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
    }
}

/// A running recorder. It ends when dropped.
pub struct Recorder {
    address: SocketAddr,
    records: watch::Receiver<Vec<Vec<u8>>>,
    _accepting: JoinSet<()>,
}

impl Recorder {
    /// Starts one that gives every request the same answer.
    pub async fn start(answer: Answer) -> Result<Self> {
        Self::start_with(move |_| answer.clone()).await
    }

    /// Starts one that chooses its answer by the request's head.
    pub async fn start_with(choose: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, records) = watch::channel(Vec::new());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::new(choose), sender));
        Ok(Self { address, records, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection has sent so far, in the order in which they came.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.records.borrow().clone()
    }

    /// Everything received so far on all connections, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.records.borrow().concat()).into_owned()
    }

    /// Waits until the records satisfy a condition, and returns them.
    pub async fn wait_for(&self, mut condition: impl FnMut(&[Vec<u8>]) -> bool) -> Result<Vec<Vec<u8>>> {
        let mut records = self.records.clone();
        let waited = timeout(PATIENCE, records.wait_for(|records| condition(records))).await;
        let seen = || format!("the recorder has {:?} and nothing more comes", self.text());
        Ok(waited.with_context(seen)?.context("the recorder has ended")?.clone())
    }
}

type Choose = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

async fn accept(listener: TcpListener, choose: Choose, records: watch::Sender<Vec<Vec<u8>>>) {
    let mut connections = JoinSet::new();
    let records = Arc::new(records);
    while let Ok((stream, _)) = listener.accept().await {
        let mut index = 0;
        records.send_modify(|records| {
            index = records.len();
            records.push(Vec::new());
        });
        connections.spawn(converse(stream, index, choose.clone(), records.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(
    stream: TcpStream,
    index: usize,
    choose: Choose,
    records: Arc<watch::Sender<Vec<Vec<u8>>>>,
) {
    // How a peer ends its connection is the test's matter; what arrived before is recorded.
    let _ = answer_heads(stream, &choose, |bytes| {
        records.send_modify(|records| records[index].extend_from_slice(bytes));
    })
    .await;
}

async fn answer_heads(
    mut stream: TcpStream,
    choose: &Choose,
    mut record: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut unread = Vec::new();
    let mut switched = false;
    loop {
        let before = unread.len();
        if stream.read_buf(&mut unread).await? == 0 {
            return Ok(());
        }
        record(&unread[before..]);
        while let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n")
            && !switched
        {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            let answer = choose(&head);
            switched = matches!(answer, Answer::Upgrade(_) | Answer::WrongAccept);
            if give(&mut stream, &answer, &head).await? == Then::End {
                return Ok(());
            }
        }
        if switched {
            unread.clear();
        }
    }
}

#[derive(PartialEq, Eq)]
enum Then {
    ReadOn,
    End,
}

async fn give(stream: &mut TcpStream, answer: &Answer, head: &str) -> io::Result<Then> {
    match answer {
        Answer::Silence => {}
        Answer::Bytes(bytes) => stream.write_all(bytes).await?,
        Answer::Last(bytes) => {
            stream.write_all(bytes).await?;
            stream.shutdown().await?;
            return Ok(Then::End);
        }
        Answer::Reset(bytes) => {
            stream.write_all(bytes).await?;
            stream.set_zero_linger()?;
            return Ok(Then::End);
        }
        Answer::Upgrade(behind) => {
            let mut bytes = switching_protocols(head).unwrap_or_else(|error| error.to_string()).into_bytes();
            bytes.extend_from_slice(behind);
            stream.write_all(&bytes).await?;
        }
        Answer::WrongAccept => {
            let other_key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
            let bytes = switching_protocols(&format!("\r\n{other_key}\r\n\r\n")).unwrap_or_default();
            stream.write_all(bytes.as_bytes()).await?;
        }
    }
    Ok(Then::ReadOn)
}
