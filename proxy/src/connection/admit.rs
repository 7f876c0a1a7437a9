//! Whether a request that has a route may use it. Whoever refuses first is who the client hears of.

use snapshot::Redirect;

use super::refusal::Answer;
use super::{Asking, Connection};
use crate::auth::{Granted, Kind};
use crate::forward;
use crate::table::Route;
use crate::upstream::Choice;

impl Connection {
    /// Among whom its endpoint is chosen, or why not, in this order: requests in the clear are sent to https; a closed
    /// route serves nobody; who must prove that he may come in does so.
    pub(super) async fn admit<'r>(
        &self,
        (asking, kind): (&Asking, Kind),
        route: &'r Route,
        has_certificate: bool,
    ) -> Result<(Choice<'r>, Granted), Answer> {
        self.over_tls(asking, route, has_certificate)?;
        let choice = route.choice(&asking.head, asking.client).map_err(|reason| {
            tracing::debug!(route = %route.id, reason, "a closed route was asked for");
            Answer::BROKEN
        })?;
        let granted = match &route.auth {
            Some(auth) => auth.check(asking, &self.home, kind).await?,
            None => Granted::default(),
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

/// Challenges are answered in the clear (RFC 8555 §8.3).
fn is_acme(path: &str) -> bool {
    path.starts_with("/.well-known/acme-challenge/")
}
