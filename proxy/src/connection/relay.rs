//! An upstream's answer to a handshake that is no 101: passed to the client, and never a tunnel.

use std::io;

use bytes::{Buf, BytesMut};

use crate::auth::Granted;
use crate::body::{Delimiter, Output, write_chunk, write_last_chunk};
use crate::dial::{Answered, limited};
use crate::forward;
use crate::head::{Framing, ResponseFraming, Version};
use crate::leg::Leg;
use crate::scratch;
use crate::table::Route;
use crate::upstream::Choice;

use super::{Asking, Connection, Next};

impl Connection {
    /// Passes head and body on. The upstream's connection is not used again.
    pub(super) async fn relay_answer(
        &mut self,
        asking: &Asking,
        (route, choice, granted): (&Route, Choice<'_>, &Granted),
        answered: Answered,
    ) -> Next {
        let Answered { leg, head, ahead, picked } = answered;
        // Without a length the client's connection ends with the body, as the upstream's does.
        let delimited = head.framing != ResponseFraming::UntilClose;
        let keep_alive = asking.head.keep_alive && delimited && !self.home.shared.leaving.is_cancelled();
        let mut out = format!("HTTP/1.1 {} {}\r\n", head.status, head.reason).into_bytes();
        let additions = asking.additions_from((route, granted), &choice, &picked);
        forward::response_fields(&head, &additions, &mut out);
        if head.framing == ResponseFraming::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if !keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        debug_assert_eq!(asking.head.version, Version::Http11, "only HTTP/1.1 upgrades");
        let sent = self.relay_body(route, &head.framing, (leg, ahead), out).await;
        let mut summary = asking.summary(Some(route), head.status);
        summary.endpoint = Some(picked.address());
        summary.sent = *sent.as_ref().unwrap_or(&0);
        self.home.shared.telemetry.request_done(&summary);
        match sent {
            Err(_) => {
                // A body that was cut must not look whole.
                self.leg.reset();
                Next::Gone
            }
            Ok(_) if keep_alive => Next::Request,
            Ok(_) => Next::Close,
        }
    }

    async fn relay_body(
        &mut self,
        route: &Route,
        framing: &ResponseFraming,
        (mut leg, mut ahead): (Leg, BytesMut),
        mut out: Vec<u8>,
    ) -> io::Result<u64> {
        let mut sent = 0;
        let mut delimiter = match framing {
            ResponseFraming::None => Some(Delimiter::new(Framing::None)),
            ResponseFraming::Length(length) => Some(Delimiter::new(Framing::Length(*length))),
            ResponseFraming::Chunked => Some(Delimiter::new(Framing::Chunked)),
            ResponseFraming::UntilClose => None,
        };
        let chunked = *framing == ResponseFraming::Chunked;
        loop {
            let ended = match &mut delimiter {
                Some(delimiter) => take(delimiter, chunked, &mut ahead, &mut out, &mut sent)?,
                None => {
                    sent += ahead.len() as u64;
                    out.extend_from_slice(&ahead);
                    ahead.clear();
                    false
                }
            };
            self.write(route, &out).await?;
            out.clear();
            if ended {
                return Ok(sent);
            }
            let read = limited(route.timeouts.request, leg.append(&mut ahead, scratch::SCRATCH)).await;
            if read.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))? == 0 {
                return if delimiter.is_none() { Ok(sent) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

/// Moves what there is of a delimited body into `out`, in canonical form. True: it is complete.
fn take(
    delimiter: &mut Delimiter,
    chunked: bool,
    ahead: &mut BytesMut,
    out: &mut Vec<u8>,
    sent: &mut u64,
) -> io::Result<bool> {
    loop {
        let step =
            delimiter.next(ahead).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let ended = match step.output {
            Output::NeedMore => {
                ahead.advance(step.consumed);
                return Ok(false);
            }
            Output::Data(range) => {
                *sent += range.len() as u64;
                if chunked {
                    write_chunk(&ahead[range], out);
                } else {
                    out.extend_from_slice(&ahead[range]);
                }
                false
            }
            // Trailers of a refusal say nothing that a WebSocket client looks at.
            Output::Trailers(_) => false,
            Output::End => true,
        };
        ahead.advance(step.consumed);
        if ended {
            if chunked {
                write_last_chunk(&[], out);
            }
            return Ok(true);
        }
    }
}
