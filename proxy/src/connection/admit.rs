//! Whether a request that has a route may use it. Whoever refuses first is who the client hears of.

use snapshot::{Redirect, Serves};
use tokio::time::Instant;

use super::refusal::Answer;
use super::{Asking, Connection};
use crate::access::{Entry, ProofAsked};
use crate::auth::{Granted, Kind};
use crate::forward;
use crate::table::{Action, Challenge, Route};
use crate::tls::clients::{self, Unfit};
use crate::upstream::Choice;

impl Connection {
    /// Among whom its endpoint is chosen, or why not, in this order: requests in the clear are sent to https; a client whose certificate is none of
    /// those that the host asks for is refused; a closed route serves nobody; then the lists of clients and of origins; what a browser asks before a request from another
    /// origin is answered, since it sends no credentials with that; who is meant to go elsewhere is sent there; last,
    /// who must prove that he may come in does so.
    pub(super) async fn admit<'r>(
        &self,
        (asking, kind): (&Asking, Kind),
        route: &'r Route,
        has_certificate: bool,
    ) -> Result<(Choice<'r>, Granted), Answer> {
        self.over_tls(asking, route, has_certificate)?;
        certified(asking, route)?;
        if let Action::Broken(reason) = &route.action {
            tracing::debug!(route = %route.id, reason, "a closed route was asked for");
            return Err(Answer::BROKEN);
        }
        let proof = if route.auth.is_some() { ProofAsked::Yes } else { ProofAsked::No };
        let entry = route.access.entry(asking.client, proof);
        if entry == Entry::Refused {
            return Err(Answer::CLIENT_KEPT_OUT);
        }
        let opens = kind == Kind::Handshake;
        if opens && !route.access.lets_open(&asking.head) {
            return Err(Answer::ORIGIN_KEPT_OUT);
        }
        if is_preflight(asking, route) {
            return Err(Answer::PREFLIGHT);
        }
        if let Action::Redirect(to) = &route.action {
            let scheme = forward::client_scheme(&asking.head, &asking.peer());
            return Err(Answer::elsewhere(&asking.head, scheme, to));
        }
        // Pages have a root; a WebSocket is opened where it was asked for.
        if let Some(root) = route.app_root.as_deref().filter(|_| !opens && asking.head.path == "/") {
            return Err(Answer::to_root(root));
        }
        let choice = route.choice(&asking.head, asking.client, Instant::now()).map_err(|_| Answer::BROKEN)?;
        let granted = match &route.auth {
            Some(auth) if entry == Entry::WithProof => auth.check(asking, &self.home, kind).await?,
            Some(_) | None => Granted::default(),
        };
        Ok((choice, granted))
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

/// Challenges for the host's own certificate are answered in the clear, to clients that have none.
fn certified(asking: &Asking, route: &Route) -> Result<(), Answer> {
    match clients::judge(asking.clients.as_deref(), asking.session.as_ref()) {
        Ok(()) => Ok(()),
        Err(Unfit::Misdirected) => Err(Answer::MISDIRECTED),
        Err(Unfit::InTheClear) if route.challenge == Challenge::Alone => Ok(()),
        Err(Unfit::InTheClear) => Err(Answer::CERTIFICATE_NEEDED),
        Err(Unfit::Name) => Err(Answer::CERTIFICATE_KEPT_OUT),
    }
}

fn is_preflight(asking: &Asking, route: &Route) -> bool {
    route.serves == Serves::Everything
        && route.fields.as_deref().is_some_and(|fields| fields.is_preflight(&asking.head))
}

/// Challenges are answered in the clear (RFC 8555 §8.3).
fn is_acme(path: &str) -> bool {
    path.starts_with("/.well-known/acme-challenge/")
}
