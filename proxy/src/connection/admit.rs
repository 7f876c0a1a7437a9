//! Whether a request that has a route may use it. Whoever refuses first is who the client hears of.

use snapshot::Redirect;

use super::refusal::Answer;
use super::{Asking, Connection};
use crate::auth::{Granted, Kind};
use crate::forward;
use crate::table::{Action, Route};
use crate::upstream::Weighted;

impl Connection {
    /// The backends, or why not, in this order: requests in the clear are sent to https; a closed route serves
    /// nobody; who must prove that he may come in does so.
    pub(super) async fn admit<'r>(
        &self,
        (asking, kind): (&Asking, Kind),
        route: &'r Route,
        has_certificate: bool,
    ) -> Result<(&'r [Weighted], Granted), Answer> {
        self.over_tls(asking, route, has_certificate)?;
        let backends = match &route.action {
            Action::Forward(backends) => backends,
            Action::Broken(reason) => {
                tracing::debug!(route = %route.id, reason, "a closed route was asked for");
                return Err(Answer::BROKEN);
            }
        };
        let granted = match &route.auth {
            Some(auth) => auth.check(asking, &self.home, kind).await?,
            None => Granted::default(),
        };
        Ok((backends, granted))
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
