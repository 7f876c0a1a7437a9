//! Who may come in: by the client's network, and for browsers by the page that asks.

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::origin::Origin;

/// What one layer says about who may come in. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPatch {
    /// Networks of clients that are let in; all others are not.
    pub allow: Option<Guard<Vec<IpNet>>>,
    /// Networks of clients that are kept out, whatever is allowed.
    pub deny: Option<Guard<Vec<IpNet>>>,
    /// Origins of pages that may open WebSockets.
    pub origins: Option<Guard<Vec<Origin>>>,
    /// Whether the lists of networks and a proof are both needed. Said by annotations only.
    pub satisfy: Option<Satisfy>,
}

/// Which of the lists of networks and the proof of who one is are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Satisfy {
    /// Both.
    #[default]
    All,
    /// One of them.
    Any,
}

/// A setting that keeps somebody out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard<T> {
    /// It reads.
    Holds(T),
    /// It does not read, so nobody is let in, unless a layer above says something else in its place.
    Unreadable,
}

/// As what it holds: a text in its place says that it does not read.
impl<T: Serialize> Serialize for Guard<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Holds(value) => value.serialize(serializer),
            Self::Unreadable => serializer.serialize_str("unreadable: nobody is let in"),
        }
    }
}

impl AccessPatch {
    /// Lays `over` on top of this layer.
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            allow: over.allow.or(self.allow),
            deny: over.deny.or(self.deny),
            origins: over.origins.or(self.origins),
            satisfy: over.satisfy.or(self.satisfy),
        }
    }
}
