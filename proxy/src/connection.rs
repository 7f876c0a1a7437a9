//! One client connection: each head leads to a tunnel, a plain request, or a refusal.
//!
//! Every head passes our own strict parser, pipelined ones too. An upgrade never enters an HTTP library: when it is
//! agreed, this task ends and a tunnel takes over the legs and whatever was read ahead. Nothing of the connection
//! stays alive behind a tunnel.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use snapshot::{ListenerName, Serves};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::auth::{Granted, Kind};
use crate::dial::{self, Answered, DialError};
use crate::fields::Additions;
use crate::forward::{self, Outgoing, Peer};
use crate::handshake::{self, Asked, Offer};
use crate::head::{Head, Refusal, RequestParser};
use crate::leg::Leg;
use crate::table::{Route, Scheme};
use crate::telemetry::{AccessLog, RequestSummary, TunnelRecord};
use crate::tls::clients::{Clients, Session};
use crate::tunnel::{Opening, Tunnel};
use crate::upstream::{Choice, Picked};
use crate::worker::{Arrival, Home};
use crate::{http, socket, tls};

mod admit;
mod announced;
mod refusal;
mod relay;
#[cfg(test)]
mod tests;

use refusal::Answer;

/// A head is complete so long after its first byte, a TLS handshake after its connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A connection without a request under way is kept so long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Read ahead of what was asked for, and no more.
pub(crate) const MOST_AHEAD: usize = 64 * 1024;
/// How long a connection is drained after its last answer, so that the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// A head that took longer than [`HEAD_TIME`].
const LATE_HEAD: Refusal = Refusal::request(408, "the request head did not arrive in time");

const SET_COOKIE: &str = "Set-Cookie";

/// What records say where no status was sent: nginx' number for it.
pub(crate) const CLIENT_LEFT: u16 = 499;

/// One client connection between two requests.
pub(crate) struct Connection {
    pub(crate) home: Arc<Home>,
    pub(crate) leg: Leg,
    /// Read and not used yet.
    pub(crate) ahead: BytesMut,
    /// Who connected, or who that says it does it for.
    peer: SocketAddr,
    listener: ListenerName,
    /// Of TLS.
    session: Option<Session>,
}

/// One request, and what is known of who asks.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) head: Head,
    pub(crate) client: IpAddr,
    pub(crate) socket_peer: IpAddr,
    pub(crate) trusted: bool,
    pub(crate) id: String,
    pub(crate) tls: bool,
    pub(crate) port: u16,
    pub(crate) began: Instant,
    /// Of its connection, where that is TLS.
    pub(crate) session: Option<Session>,
    /// What its host asks of clients' certificates.
    pub(crate) clients: Option<Arc<Clients>>,
}

/// What comes after a request.
pub(crate) enum Next {
    /// Another request may follow.
    Request,
    /// The connection ends when the client has had time to read the answer.
    Close,
    /// The client has gone, or can make nothing of more bytes.
    Gone,
    /// The tunnel is agreed.
    Tunnel(Leg, Box<Opening>),
}

enum Read {
    Head(Box<Head>),
    Refused(Refusal),
    Over,
}

/// Serves a connection to its end, or to the beginning of its tunnel.
pub(crate) async fn serve(home: Arc<Home>, arrival: Arrival) {
    let shared = home.shared.clone();
    let _open = shared.telemetry.connection_open();
    let life = async {
        if let Some(connection) = Connection::establish(home, arrival).await {
            connection.run().await;
        }
    };
    tokio::select! {
        () = life => {}
        () = shared.ending.cancelled() => {}
    }
}

impl Asking {
    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer {
            client: self.client,
            socket_peer: self.socket_peer,
            trusted: self.trusted,
            scheme: if self.tls { "https" } else { "http" },
            port: self.port,
            request_id: &self.id,
            certificate: self
                .clients
                .as_ref()
                .zip(self.session.as_ref())
                .map(|(clients, session)| clients.shown(session)),
        }
    }

    /// What its answer gets beside, or in place of, what the upstream says.
    pub(crate) fn additions<'a>(&'a self, route: &'a Route) -> Additions<'a> {
        route.additions(&self.head, forward::client_scheme(&self.head, &self.peer()))
    }

    /// The same of an answer that an endpoint gave, with the cookie that names it where the client needs one.
    pub(crate) fn additions_from<'a>(
        &'a self,
        (route, granted): (&'a Route, &'a Granted),
        choice: &Choice<'_>,
        picked: &Picked,
    ) -> Additions<'a> {
        let mut additions = self.additions(route).granted(granted);
        additions.always.extend(self.cookie(route, choice, picked).map(|cookie| (SET_COOKIE, cookie.into())));
        additions
    }

    /// The cookie that names the endpoint that served a client, where it needs one.
    pub(crate) fn cookie(&self, route: &Route, choice: &Choice<'_>, picked: &Picked) -> Option<String> {
        let scheme = forward::client_scheme(&self.head, &self.peer());
        route.affinity.as_ref()?.set_cookie(choice, picked, scheme)
    }

    /// The beginning of a record; the caller fills in how it ended.
    pub(crate) fn summary<'a>(&'a self, route: Option<&'a Route>, status: u16) -> RequestSummary<'a> {
        RequestSummary {
            client: self.client,
            tls: self.tls,
            method: self.head.method.as_str(),
            host: &self.head.host,
            target: &self.head.target,
            id: &self.id,
            route: route.map(|route| &*route.id),
            endpoint: None,
            status,
            refusal: None,
            sent: 0,
            took: self.began.elapsed(),
            access_log: route.map_or(AccessLog::Written, |route| route.access_log),
        }
    }
}

impl Connection {
    async fn establish(home: Arc<Home>, arrival: Arrival) -> Option<Self> {
        let Arrival { stream, peer, listener } = arrival;
        let mut stream = TcpStream::from_std(stream).ok()?;
        socket::prepare(&stream);
        let mut ahead = BytesMut::new();
        let peer = announced::peer(&home, listener, peer, &mut stream, &mut ahead).await?;
        let (leg, session) = match listener {
            ListenerName::Http => (Leg::Plain(stream), None),
            ListenerName::Https => {
                let accepted = timeout(HEAD_TIME, tls::accept(&home.shared.table, stream, &mut ahead)).await;
                let result = match &accepted {
                    Ok(Ok(accepted)) => accepted.label(),
                    Ok(Err(refusal)) => refusal.label(),
                    Err(_) => "timeout",
                };
                home.shared.telemetry.tls_handshake(result);
                match accepted {
                    Ok(Ok(tls::Accepted::Tls(leg, session))) => (leg, Some(session)),
                    Ok(Ok(tls::Accepted::InTheClear(leg))) => (leg, None),
                    Ok(Err(refusal)) => {
                        tracing::debug!(client = %peer, error = %refusal, "TLS handshake refused");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
        };
        Some(Self { home, leg, ahead, peer, listener, session })
    }

    async fn run(mut self) {
        let mut first = true;
        loop {
            let next = match self.read_head(first).await {
                Read::Head(head) if self.is_in_the_wrong_place() => self.send_to_tls(*head).await,
                Read::Head(head) => self.serve_one(*head).await,
                Read::Refused(refusal) => self.refuse_head(refusal).await,
                Read::Over => return,
            };
            first = false;
            match next {
                Next::Request => {}
                Next::Close => return self.linger().await,
                Next::Gone => return,
                Next::Tunnel(upstream, opening) => {
                    let tunnel = Tunnel::new(self.leg, upstream, *opening);
                    self.home.tasks.spawn(tunnel);
                    return;
                }
            }
        }
    }

    async fn read_head(&mut self, first: bool) -> Read {
        let leaving = self.home.shared.leaving.clone();
        let mut parser = RequestParser::default();
        let mut deadline = Instant::now() + if first { HEAD_TIME } else { KEEP_ALIVE };
        let mut begun = false;
        loop {
            match parser.parse(&self.ahead) {
                Ok(Some((head, length))) => {
                    self.ahead.advance(length);
                    return Read::Head(Box::new(head));
                }
                Ok(None) => {}
                Err(refusal) => return Read::Refused(refusal),
            }
            if !begun && parser.has_begun(&self.ahead) {
                begun = true;
                deadline = Instant::now() + HEAD_TIME;
            }
            let read = tokio::select! {
                // What is there is answered, and who was accepted last may still ask.
                biased;
                read = timeout_at(deadline, self.leg.append(&mut self.ahead, usize::MAX)) => read,
                () = leaving.cancelled(), if !begun && !first => return Read::Over,
            };
            match read {
                Ok(Ok(count)) if count > 0 => {}
                Err(_) if begun => {
                    return Read::Refused(LATE_HEAD);
                }
                _ => return Read::Over,
            }
        }
    }

    /// A request in the clear came to the TLS port.
    fn is_in_the_wrong_place(&self) -> bool {
        self.listener == ListenerName::Https && matches!(self.leg, Leg::Plain(_))
    }

    /// Answers such a request: whatever it asks for is to be had over TLS.
    async fn send_to_tls(&mut self, mut head: Head) -> Next {
        head.keep_alive = false;
        let port = self.home.shared.public_https_port;
        let answer = Answer::redirect(&head, port);
        let (client, socket_peer) = (self.peer.ip().to_canonical(), self.peer.ip());
        let (trusted, tls, id, began) = (false, false, new_id(), Instant::now());
        let (session, clients) = (None, None);
        let asking = Asking { head, client, socket_peer, trusted, id, tls, port, began, session, clients };
        self.refuse(&asking, None, answer).await
    }

    async fn serve_one(&mut self, head: Head) -> Next {
        let shared = self.home.shared.clone();
        let socket_peer = self.peer.ip();
        let tls = self.listener == ListenerName::Https;
        let (route, has_certificate, trusted, client, clients, generation);
        {
            let table = shared.table.load();
            let proxies = table.trusted_proxies(self.listener);
            trusted = proxies.iter().any(|net| net.contains(&socket_peer.to_canonical()));
            client = forward::client_address(socket_peer, &head.fields, proxies);
            route = table.select(&head, client).cloned();
            has_certificate = table.has_certificate(&head.host);
            clients = table.clients(&head.host, if tls { Scheme::Https } else { Scheme::Http }).cloned();
            generation = table.generation().number;
        }
        let id = forward::request_id(&head.fields, trusted).unwrap_or_else(new_id);
        let port = if tls { shared.public_https_port } else { shared.public_http_port };
        let (began, session) = (Instant::now(), self.session.clone());
        let asking = Asking { head, client, socket_peer, trusted, id, tls, port, began, session, clients };
        let asked = handshake::examine(&asking.head);
        if let Asked::Refuse(refusal) = asked {
            return self.refuse(&asking, route.as_deref(), Answer::from(refusal)).await;
        }
        let Some(route) = route else {
            let answer = if generation == 0 { Answer::NOT_READY } else { Answer::NO_ROUTE };
            return self.refuse(&asking, None, answer).await;
        };
        let kind = if matches!(asked, Asked::WebSocket(_)) { Kind::Handshake } else { Kind::Page };
        let (choice, granted) = match self.admit((&asking, kind), &route, has_certificate).await {
            Ok(admitted) => admitted,
            Err(answer) => return self.refuse(&asking, Some(&route), answer).await,
        };
        match asked {
            Asked::WebSocket(offer) => self.upgrade(&asking, &route, (choice, &granted), offer).await,
            _ if route.serves == Serves::WebSocketOnly => {
                self.refuse(&asking, Some(&route), Answer::WEBSOCKET_ONLY).await
            }
            _ => http::serve(self, asking, &route, (choice, &granted)).await,
        }
    }

    async fn upgrade(
        &mut self,
        asking: &Asking,
        route: &Route,
        (choice, granted): (Choice<'_>, &Granted),
        offer: Offer,
    ) -> Next {
        let telemetry = self.home.shared.telemetry.clone();
        let mut request = Vec::with_capacity(1024);
        let outgoing = Outgoing { replaced: granted.replacing(route), ..route.outgoing(&asking.head) };
        handshake::request(&outgoing, &asking.peer(), &mut request);
        let answered = {
            let shaking = dial::shake_hands(choice, route, asking.tls, &telemetry, (&request, &offer));
            tokio::select! {
                answered = shaking => answered,
                () = watch(&mut self.leg, &mut self.ahead) => return self.abandoned(asking, route),
            }
        };
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => return self.refuse_dial(asking, route, &error).await,
        };
        if answered.head.status != 101 {
            return self.relay_answer(asking, (route, choice, granted), answered).await;
        }
        let Answered { leg, head, ahead, picked } = answered;
        let mut response = Vec::with_capacity(512);
        let additions = asking.additions_from((route, granted), &choice, &picked);
        handshake::response(&head, &additions, &mut response);
        if self.write(route, &response).await.is_err() {
            return self.abandoned(asking, route);
        }
        telemetry.handshake_done(asking.began.elapsed());
        let Asking { head, client, id, .. } = asking;
        let record = match route.access_log {
            AccessLog::Written => TunnelRecord::new(*client, &head.host, &head.target, id),
            AccessLog::Silent => TunnelRecord::silent(),
        };
        let ahead = [std::mem::take(&mut self.ahead).freeze(), ahead.freeze()];
        let live = route.live.clone();
        Next::Tunnel(leg, Box::new(Opening { live, picked, record, telemetry, ahead }))
    }

    /// The client left before it was answered.
    fn abandoned(&self, asking: &Asking, route: &Route) -> Next {
        self.home.shared.telemetry.request_done(&asking.summary(Some(route), CLIENT_LEFT));
        Next::Gone
    }

    /// Answers for an upstream that could not be used.
    pub(crate) async fn refuse_dial(&mut self, asking: &Asking, route: &Route, error: &DialError) -> Next {
        self.refuse(asking, Some(route), Answer::from(error)).await
    }

    /// Answers a body that is not well-formed.
    pub(crate) async fn refuse_body(&mut self, asking: &Asking, route: &Route, refusal: Refusal) -> Next {
        self.refuse(asking, Some(route), Answer::from(refusal)).await
    }

    /// Writes towards the client, at most for the route's `send` without an end.
    pub(crate) async fn write(&mut self, route: &Route, bytes: &[u8]) -> io::Result<()> {
        let written = dial::limited(route.timeouts.send, self.leg.write_all(bytes)).await;
        written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends our direction and lets the client read what it was sent: data that is unread when a socket is closed
    /// resets the connection, and a reset may overtake the answer (RFC 9112 §9.6).
    async fn linger(mut self) {
        let ended = timeout(LINGER, async {
            std::future::poll_fn(|cx| self.leg.poll_close_write(cx)).await?;
            loop {
                self.ahead.clear();
                if self.leg.append(&mut self.ahead, usize::MAX).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        });
        // However it ended, the connection is over.
        let _ = ended.await;
    }
}

/// Reads ahead while something else is waited for. Ready when the client has gone.
pub(crate) async fn watch(leg: &mut Leg, ahead: &mut BytesMut) {
    while Leg::has_room(ahead, MOST_AHEAD) {
        if !matches!(leg.append(ahead, MOST_AHEAD).await, Ok(count) if count > 0) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// 60 random bits: unlikely enough to meet again within the life of a log, and kept as long as a tunnel.
fn new_id() -> String {
    format!("{:015x}", fastrand::u64(..) >> 4)
}
