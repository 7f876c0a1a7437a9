//! Whether a request that has a route may use it. Whoever refuses first is who the client hears of.

use snapshot::{Redirect, Serves};

use super::refusal::Answer;
use super::{Asking, Connection};
use crate::forward;
use crate::handshake::{self, Asked};
use crate::head::Head;
use crate::table::{Action, Route};
use crate::upstream::Choice;

impl Connection {
    /// Among whom its endpoint is chosen, or why not, in this order: requests in the clear are sent to https; a closed
    /// route serves nobody; what a browser asks before a request from another origin is answered, since it sends no
    /// credentials with that; who is meant to go elsewhere is sent there.
    pub(super) fn admit<'r>(
        &self,
        asking: &Asking,
        route: &'r Route,
        has_certificate: bool,
    ) -> Result<Choice<'r>, Answer> {
        self.over_tls(asking, route, has_certificate)?;
        match &route.action {
            Action::Forward(_) | Action::Redirect(_) if is_preflight(asking, route) => Err(Answer::PREFLIGHT),
            Action::Redirect(to) => {
                let scheme = forward::client_scheme(&asking.head, &asking.peer());
                Err(Answer::elsewhere(&asking.head, scheme, to))
            }
            Action::Forward(_) | Action::Broken(_) => {
                let choice = route.choice(&asking.head, asking.client).map_err(|reason| {
                    tracing::debug!(route = %route.id, reason, "a closed route was asked for");
                    Answer::BROKEN
                })?;
                match &route.app_root {
                    Some(root) if asking.head.path == "/" && !asks_for_a_websocket(&asking.head) => {
                        Err(Answer::to_root(root))
                    }
                    _ => Ok(choice),
                }
            }
        }
    }

    fn over_tls(&self, asking: &Asking, route: &Route, has_certificate: bool) -> Result<(), Answer> {
        let redirect = match route.redirect {
            Redirect::Never => false,
            Redirect::WithCertificate => has_certificate,
            Redirect::Always => true,
        };
        let in_the_clear = forward::client_scheme(&asking.head, &asking.peer()) == "http";
        if in_the_clear && redirect && !is_acme(&asking.head.path) {
            return Err(Answer::redirect(&asking.head, self.home.shared.public_https_port));
        }
        Ok(())
    }
}

/// Pages have a root; a WebSocket is opened where it was asked for.
fn asks_for_a_websocket(head: &Head) -> bool {
    matches!(handshake::examine(head), Asked::WebSocket(_))
}

fn is_preflight(asking: &Asking, route: &Route) -> bool {
    route.serves == Serves::Everything
        && route.fields.as_deref().is_some_and(|fields| fields.is_preflight(&asking.head))
}

/// Challenges are answered in the clear (RFC 8555 §8.3).
fn is_acme(path: &str) -> bool {
    path.starts_with("/.well-known/acme-challenge/")
}
