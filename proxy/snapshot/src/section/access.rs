//! Who may come in.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Who may come in. An empty list asks for nothing. Networks are masked, and those of IPv4 are written as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Networks of clients that are let in; others get 403.
    pub allow: Vec<IpNet>,
    /// Networks of clients that get 403 whatever is allowed.
    pub deny: Vec<IpNet>,
    /// Origins of pages that may open WebSockets; others get 403.
    pub origins: Vec<OriginMatch>,
    /// Whether a client needs to be of these networks and to prove who it is.
    pub satisfy: Satisfy,
}

/// Which of the two a client needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Satisfy {
    /// Both.
    #[default]
    All,
    /// Who is allowed by name of a network needs no proof, and who has one may be of any network.
    Any,
}

/// What the Origin field of a handshake may say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OriginMatch {
    /// The host and port that the request is for, by any scheme.
    SameHost,
    /// `null`.
    Null,
    /// A scheme, a host and a port.
    Of {
        /// In lower case.
        scheme: String,
        /// In lower case. `*` stands for one or more characters of one of its labels.
        host: String,
        /// The port.
        port: OriginPort,
    },
}

/// The port of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OriginPort {
    /// This one. Absent: the scheme stands for none, and none is written.
    Exactly(Option<u16>),
    /// Any.
    Any,
}
