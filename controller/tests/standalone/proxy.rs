//! A proxy as far as the socket is concerned: it holds a snapshot, applies generations, and answers as it is told.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use snapshot::frame::{self, Assembler, Base, Generation, PROTOCOL, Quarantined, ToController, ToProxy};
use snapshot::{HostPattern, Key, Section, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// No wait of a test ends by this; it only turns a hang into a failure.
pub(crate) const HANG: Duration = Duration::from_mins(1);

/// A client of the socket.
pub(crate) struct Proxy {
    stream: UnixStream,
    buffer: BytesMut,
    /// What it holds.
    pub(crate) generation: Generation,
    /// What it holds.
    pub(crate) snapshot: Snapshot,
}

/// One generation as it came over the socket.
pub(crate) struct Received {
    pub(crate) generation: Generation,
    pub(crate) base: Base,
    /// Keys of the sections that travelled.
    pub(crate) sections: Vec<Key>,
    /// Bytes of the frames.
    pub(crate) bytes: usize,
    next: Snapshot,
}

impl Received {
    /// Hosts that the generation has.
    pub(crate) fn hosts(&self) -> Vec<String> {
        hosts(&self.next)
    }
}

/// Exact hosts of a snapshot, with the service of their first route.
pub(crate) fn hosts(snapshot: &Snapshot) -> Vec<String> {
    let named = snapshot.iter().filter_map(|(key, _)| match key {
        Key::Host(HostPattern::Exact(name)) => {
            assert!(matches!(snapshot.section(key), Some(Ok(Section::Host(_)))));
            Some(name.clone())
        }
        _ => None,
    });
    named.collect()
}

impl Proxy {
    /// Connects without a word.
    pub(crate) async fn dial(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.expect("the controller listens");
        let (generation, snapshot) = (Generation::default(), Snapshot::default());
        Self { stream, buffer: BytesMut::new(), generation, snapshot }
    }

    /// Connects with nothing in hand.
    pub(crate) async fn connect(socket: &Path) -> Self {
        Self::connect_with(socket, Generation::default(), Snapshot::default()).await
    }

    /// Connects with what an earlier connection received.
    pub(crate) async fn connect_with(socket: &Path, generation: Generation, snapshot: Snapshot) -> Self {
        let mut proxy = Self::dial(socket).await;
        (proxy.generation, proxy.snapshot) = (generation, snapshot);
        proxy.greet(PROTOCOL).await;
        let welcome = proxy.read().await;
        assert!(matches!(welcome, Some(ToProxy::Welcome { protocol: PROTOCOL, .. })), "{welcome:?}");
        proxy
    }

    /// Says hello.
    pub(crate) async fn greet(&mut self, protocol: u32) {
        let (generation, digest) = (self.generation, self.snapshot.digest());
        self.send(&ToController::Hello { protocol, version: "test".into(), generation, digest }).await;
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &ToController) {
        let mut buffer = BytesMut::new();
        frame::encode(message, &mut buffer);
        self.send_bytes(&buffer).await;
    }

    /// Sends anything.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// The next frame; `None` at the connection's end.
    pub(crate) async fn read(&mut self) -> Option<ToProxy> {
        loop {
            if let Some(message) = frame::decode(&mut self.buffer).expect("frames decode") {
                return Some(message);
            }
            let read = tokio::time::timeout(HANG, self.stream.read_buf(&mut self.buffer));
            if !matches!(read.await.expect("an answer comes"), Ok(1..)) {
                return None;
            }
        }
    }

    /// Receives a whole generation, without an answer to it.
    pub(crate) async fn receive(&mut self) -> Received {
        let (mut assembler, mut sections, mut base, mut bytes) = (Assembler::default(), Vec::new(), None, 0);
        loop {
            let frame = self.read().await.expect("the connection stays open");
            let mut encoded = BytesMut::new();
            frame::encode(&frame, &mut encoded);
            bytes += encoded.len();
            match &frame {
                ToProxy::Begin { base: begun, .. } => base = Some(*begun),
                ToProxy::Section { key, last: true, .. } => sections.push(key.clone()),
                _ => {}
            }
            let held = (self.generation, &self.snapshot);
            if let Some((generation, next)) = assembler.push(frame, held).expect("generations fit") {
                let base = base.expect("a generation begins");
                return Received { generation, base, sections, bytes, next };
            }
        }
    }

    /// Serves a generation and says so.
    pub(crate) async fn apply(&mut self, received: Received, quarantined: Vec<Quarantined>) {
        (self.generation, self.snapshot) = (received.generation, received.next);
        self.send(&ToController::Applied { generation: self.generation, quarantined }).await;
    }

    /// Receives and serves the next generation.
    pub(crate) async fn follow(&mut self) -> (Base, Vec<Key>) {
        let received = self.receive().await;
        let told = (received.base, received.sections.clone());
        self.apply(received, Vec::new()).await;
        told
    }

    /// Follows until exactly these hosts are served.
    pub(crate) async fn follow_until(&mut self, expected: &[&str]) {
        while hosts(&self.snapshot) != expected {
            self.follow().await;
        }
    }
}
