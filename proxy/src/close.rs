//! Why a tunnel ended, and what its two peers are told.
//!
//! Every tunnel ends with exactly one [`CloseReason`]. It is settled when closing begins, and it is the label of
//! the metric and a field of the access record.

use std::fmt;

/// The two peers of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who opened the tunnel.
    Client,
    /// The endpoint it leads to.
    Upstream,
}

impl Side {
    /// The peer at the other end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }

    /// 0 for the client, 1 for the upstream: for pairs kept in arrays.
    pub fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Upstream => 1,
        }
    }
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client sent Close or FIN first.
    ClientClosed,
    /// The upstream sent Close or FIN first.
    UpstreamClosed,
    /// The client's connection broke.
    ClientReset,
    /// The upstream's connection broke.
    UpstreamReset,
    /// No bytes either way for the route's `idle`.
    IdleTimeout,
    /// A write towards this side made no progress for the route's `send`.
    SendTimeout(Side),
    /// The proxy is leaving.
    Shutdown,
    /// A fault of the proxy's own.
    Internal,
}

/// What a peer is told when the proxy closes a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// A Close frame with this code.
    Close(u16),
    /// A reset: the peer is dead or stuck.
    Reset,
}

impl CloseReason {
    /// Every label, so that metrics begin at zero.
    pub const LABELS: [&str; 8] = [
        "client_closed",
        "upstream_closed",
        "client_reset",
        "upstream_reset",
        "idle_timeout",
        "send_timeout",
        "shutdown",
        "internal",
    ];

    /// The metric's label and the access record's field.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::UpstreamClosed => "upstream_closed",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::SendTimeout(_) => "send_timeout",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }

    /// Who ended it.
    pub fn initiator(self) -> &'static str {
        match self {
            Self::ClientClosed | Self::ClientReset | Self::SendTimeout(Side::Client) => "client",
            Self::UpstreamClosed | Self::UpstreamReset | Self::SendTimeout(Side::Upstream) => "upstream",
            Self::IdleTimeout | Self::Shutdown | Self::Internal => "proxy",
        }
    }

    /// What one side is told where the proxy closes. Codes are those of RFC 6455 §7.4.1 and its registry; 1012,
    /// Service Restart, tells clients to come back. Not asked for closes that pass on what a peer did.
    pub fn farewell(self, side: Side) -> Farewell {
        match (self, side) {
            (Self::SendTimeout(stuck), side) if stuck == side => Farewell::Reset,
            (Self::Shutdown, Side::Client) => Farewell::Close(1012),
            (Self::Internal, _) => Farewell::Close(1011),
            _ => Farewell::Close(1001),
        }
    }

    /// The text of the Close frame.
    pub fn text(self) -> &'static str {
        match self {
            Self::Shutdown => "service restart",
            Self::IdleTimeout => "idle timeout",
            Self::SendTimeout(_) => "the other side is stuck",
            Self::Internal => "internal error",
            Self::ClientClosed | Self::UpstreamClosed | Self::ClientReset | Self::UpstreamReset => "",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_known_label() {
        let reasons = [
            CloseReason::ClientClosed,
            CloseReason::UpstreamClosed,
            CloseReason::ClientReset,
            CloseReason::UpstreamReset,
            CloseReason::IdleTimeout,
            CloseReason::SendTimeout(Side::Client),
            CloseReason::Shutdown,
            CloseReason::Internal,
        ];
        assert_eq!(reasons.map(CloseReason::label), CloseReason::LABELS);
    }

    #[test]
    fn a_stuck_side_is_reset_and_the_other_told() {
        let reason = CloseReason::SendTimeout(Side::Upstream);
        assert_eq!(reason.farewell(Side::Upstream), Farewell::Reset);
        assert_eq!(reason.farewell(Side::Client), Farewell::Close(1001));
    }

    #[test]
    fn a_shutdown_tells_clients_to_come_back() {
        assert_eq!(CloseReason::Shutdown.farewell(Side::Client), Farewell::Close(1012));
        assert_eq!(CloseReason::Shutdown.farewell(Side::Upstream), Farewell::Close(1001));
    }
}
