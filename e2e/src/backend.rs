//! Backends to put behind the proxy.
//!
//! [`demo`] is a friendly one, for people and for most tests; [`recorder`] keeps exact bytes and answers wrongly on
//! purpose; [`secured`] puts TLS in front of either. A test that wants to play the backend itself uses [`crate::wire::Upstream`].

pub mod demo;
pub mod recorder;
pub mod secured;

/// The response header in which a demo backend names itself.
pub const NAME_HEADER: &str = "x-backend";
