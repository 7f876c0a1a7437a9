//! Longhaul's API vocabulary: what users write and what they are told.
//!
//! [`wsroute::WsRoute`] and the table of Ingress [`annotations`] are two spellings of one model, the all-optional
//! [`policy::PolicyPatch`]. What is wrong with an object is said as a [`diagnostic::Diagnostic`], never as a log
//! line or an early return.
//!
//! Invariant: this crate is pure. It knows no API client, no runtime, no clock, and nothing of snapshots.

pub mod annotations;
pub mod diagnostic;
pub mod duration;
pub mod grammar;
pub mod network;
pub mod origin;
pub mod policy;
pub mod quantity;
pub mod reference;
pub mod tls;
pub mod wspolicy;
pub mod wsroute;
