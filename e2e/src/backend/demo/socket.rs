//! The demo backend's WebSockets: echo, and a chat in which everybody hears everybody else.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::{Body, Shared, last_segment, whoami};

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// Accepts a WebSocket handshake, where the request is one.
pub(super) fn upgrade(request: &mut Request<Incoming>, shared: &Arc<Shared>) -> Option<Response<Body>> {
    let asks = request.headers().get(UPGRADE).is_some_and(|token| token.as_bytes() == b"websocket");
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    let accept = derive_accept_key(key.as_bytes());
    let subprotocol = first_subprotocol(request);
    let (first, kind) = match last_segment(request.uri()) {
        "chat" => (None, Kind::Chat),
        "whoami" => (Some(whoami(request, &shared.name)), Kind::Echo),
        _ => (None, Kind::Echo),
    };
    let upgraded = hyper::upgrade::on(request);
    let tunnel_shared = shared.clone();
    shared.tunnels.spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let io = TokioIo::new(upgraded);
        let mut stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let talk = async {
            match kind {
                Kind::Echo => echo(&mut stream, first).await,
                Kind::Chat => chat(&mut stream, &tunnel_shared).await,
            }
        };
        // A socket that ends without a Close is no event for a demo.
        if tunnel_shared.leaving.run_until_cancelled(talk).await.is_none() {
            let _ = leave(&mut stream).await;
        }
    });
    Some(switching_protocols(&accept, subprotocol))
}

enum Kind {
    Echo,
    Chat,
}

fn first_subprotocol(request: &Request<Incoming>) -> Option<HeaderValue> {
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').next()?.trim()).ok()
}

fn switching_protocols(accept: &str, subprotocol: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

async fn echo(stream: &mut Stream, first: Option<String>) -> Result<(), Error> {
    if let Some(first) = first {
        stream.send(Message::text(first)).await?;
    }
    while let Some(message) = stream.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => stream.send(message).await?,
            // The library answers these itself.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

/// Says goodbye, and waits for the answer.
async fn leave(stream: &mut Stream) -> Result<(), Error> {
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "the backend leaves".into() };
    stream.close(Some(goodbye)).await?;
    while stream.next().await.transpose()?.is_some() {}
    Ok(())
}

async fn chat(stream: &mut Stream, shared: &Shared) -> Result<(), Error> {
    let mut others = shared.chat.subscribe();
    let welcome = format!("* you are talking to {}; {} here", shared.name, shared.chat.receiver_count());
    stream.send(Message::text(welcome)).await?;
    loop {
        tokio::select! {
            said = stream.next() => match said {
                Some(Ok(Message::Text(text))) => {
                    // It comes back to its author as well, from the channel. Without listeners nothing is lost.
                    let _ = shared.chat.send(text.as_str().into());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            heard = others.recv() => match heard {
                Ok(text) => stream.send(Message::Text(Utf8Bytes::from(text.as_ref()))).await?,
                Err(RecvError::Lagged(missed)) => {
                    stream.send(Message::text(format!("* you missed {missed} messages"))).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}
