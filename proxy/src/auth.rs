//! Who is let in by a route, asked for each handshake and each plain request before anybody reaches an endpoint.
//!
//! Whatever goes wrong lets nobody in. No name, password, hash or token is ever logged.

mod basic;
mod password;

use crate::head::Head;

pub use basic::Basic;
pub use password::Passwords;

/// How a client proves that it may come in.
#[derive(Debug)]
pub enum Auth {
    /// By a user name and a password.
    Basic(Basic),
}

/// Why a client is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It has not proved that it may: what WWW-Authenticate asks for.
    Challenge(String),
    /// Too many others prove it just now.
    Busy,
}

impl Auth {
    /// That of a section, or what is wrong with it.
    pub fn new(auth: &snapshot::Auth) -> Result<Self, String> {
        match auth {
            snapshot::Auth::Basic(basic) => Basic::new(basic).map(Self::Basic),
        }
    }

    /// Lets a request in, or says why not.
    pub(crate) async fn check(&self, head: &Head, passwords: &Passwords) -> Result<(), Denied> {
        match self {
            Self::Basic(basic) => basic.check(head, passwords).await,
        }
    }
}
