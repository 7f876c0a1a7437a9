//! Who is let in by a route, asked for each handshake and each plain request before anybody reaches an endpoint.
//!
//! Whatever goes wrong lets nobody in. No name, password, hash or token is ever logged.

mod basic;
mod external;
mod names;
mod password;
mod template;

use std::sync::Arc;

use snapshot::{SetCookie, UpstreamId};

use crate::connection::Asking;
use crate::forward::Replaced;
use crate::table::Route;
use crate::upstream::Upstream;
use crate::worker::Home;

pub use basic::Basic;
pub use external::External;
pub use names::Names;
pub use password::Passwords;

/// How a client proves that it may come in.
#[derive(Debug)]
pub enum Auth {
    /// By a user name and a password.
    Basic(Basic),
    /// By what an authentication service says.
    External(Box<External>),
}

/// What is asked for. A page can be sent elsewhere; no WebSocket client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Handshake,
    Page,
}

/// Who was let in: what the upstream is told of it.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    fields: Vec<(Box<str>, Vec<u8>)>,
    /// What the client is to keep, and when it is told.
    cookies: (SetCookie, Vec<String>),
}

/// Why a client is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has not proved that it may: what WWW-Authenticate asks for.
    Challenge(String),
    /// Too many others prove it just now.
    Busy,
    /// The service's answer is for the client: its status, and some of its fields.
    Answered(u16, Vec<(&'static str, Vec<u8>)>),
    /// The service does not say.
    Unavailable,
}

impl Auth {
    /// That of a section, or what is wrong with it. `upstream` is where endpoints are found.
    pub fn new(auth: &snapshot::Auth) -> Result<Self, String> {
        match auth {
            snapshot::Auth::Basic(basic) => Basic::new(basic).map(Self::Basic),
            snapshot::Auth::External(external) => External::new(external).map(Box::new).map(Self::External),
        }
    }

    /// The Service whose endpoints are asked.
    pub(crate) fn upstream(&self) -> Option<&UpstreamId> {
        match self {
            Self::Basic(_) => None,
            Self::External(external) => external.upstream(),
        }
    }

    /// Takes the endpoints of the [`Auth::upstream`].
    pub(crate) fn bind(&mut self, upstream: Arc<Upstream>) {
        match self {
            Self::Basic(_) => {}
            Self::External(external) => external.bind(upstream),
        }
    }

    /// Fields that only the service sets for the upstream, in lower case.
    pub fn passed(&self) -> &[Box<str>] {
        match self {
            Self::Basic(_) => &[],
            Self::External(external) => external.passed(),
        }
    }

    /// Lets a request in, or says why not.
    pub(crate) async fn check(
        &self,
        asking: &Asking,
        home: &Arc<Home>,
        kind: Kind,
    ) -> Result<Granted, Denied> {
        match self {
            Self::Basic(basic) => {
                basic.check(&asking.head, &home.shared.passwords).await.map(|()| Granted::default())
            }
            Self::External(external) => external.check(asking, home, kind).await,
        }
    }
}

impl Granted {
    /// What goes upstream by this route.
    pub(crate) fn replacing<'a>(&'a self, route: &'a Route) -> Replaced<'a> {
        Replaced { with: &self.fields, ..Replaced::of(route) }
    }

    /// Cookies that go with an answer of this status.
    pub(crate) fn cookies(&self, status: u16) -> &[String] {
        match &self.cookies {
            (SetCookie::WithSuccess, _) if status >= 400 => &[],
            (_, cookies) => cookies,
        }
    }
}
