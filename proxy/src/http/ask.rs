//! Questions of our own, without a body, over the same pooled connections as requests.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::timeout;

use super::body::RequestBody;
use super::open;
use super::pool::{Line, Sender};
use crate::dial::DialError;
use crate::leg::Leg;
use crate::worker::Home;

/// What is read of an answer's body, so that its connection can be used again.
const MOST_BODY: usize = 64 * 1024;
/// For so long.
const LONGEST_BODY: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Uri,
    /// Host among them.
    pub(crate) fields: HeaderMap,
}

impl Question {
    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::empty());
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.target);
        request.headers_mut().clone_from(&self.fields);
        request
    }
}

/// Asks at an address. `connect` is awaited where no connection waits. For the time that it takes the caller cares.
pub(crate) async fn ask(
    home: &Arc<Home>,
    line: Line,
    question: &Question,
    connect: impl Future<Output = Result<Leg, DialError>>,
) -> Result<(StatusCode, HeaderMap), DialError> {
    let address = line.address();
    while let Some(mut sender) = home.pool.take(&line) {
        match sender.try_send_request(question.request()).await {
            Ok(response) => return Ok(receive(home, response, sender)),
            Err(mut error) => {
                // The service had closed the idle connection: nothing was sent.
                if error.take_message().is_some() {
                    continue;
                }
                // It closed it as the question was on its way. What asks only may ask again, elsewhere than on another
                // connection of that age.
                if !question.method.is_safe() {
                    return Err(failed(address, &error.into_error()));
                }
                break;
            }
        }
    }
    let leg = connect.await?;
    let mut sender = open(home, leg, line).await.map_err(|error| failed(address, &error))?;
    let answered = sender.send_request(question.request()).await;
    let response = answered.map_err(|error| failed(address, &error))?;
    Ok(receive(home, response, sender))
}

/// Why no answer came over a connection that stood.
pub(super) fn failed(address: SocketAddr, error: &hyper::Error) -> DialError {
    if error.is_parse() {
        return DialError::Protocol(address, error.to_string());
    }
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.map_or(DialError::Terminated(address), |source| DialError::broken(address, source))
}

/// Nobody waits for the body, which says nothing to us.
fn receive(home: &Arc<Home>, response: Response<Incoming>, sender: Sender) -> (StatusCode, HeaderMap) {
    let (parts, body) = response.into_parts();
    let keeper = home.clone();
    home.tasks.spawn(async move {
        let read = timeout(LONGEST_BODY, Limited::new(body, MOST_BODY).collect()).await;
        if matches!(read, Ok(Ok(_))) {
            keeper.pool.give(sender);
        }
    });
    (parts.status, parts.headers)
}
