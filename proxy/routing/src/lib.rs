//! Which route of a snapshot a request gets, and whom a route lets in.
//!
//! The proxy decides by this for every request, and the controller explains by it what the proxy would decide: so there
//! is one answer. What is chosen among is the caller's: [`hosts::Hosts`] and [`paths::Paths`] hold whatever is put into
//! them, and a request is whatever tells its parts ([`Request`]).
//!
//! - [`hosts`]: exact names before wildcards before none.
//! - [`paths`]: exact paths before the longest prefix before shorter ones, regular expressions where they belong.
//! - [`conditions`]: headers, query parameters, subprotocols, clients.
//! - [`canary`]: which requests say themselves whether they are a canary's.
//! - [`access`]: lists of clients and of origins.
//! - [`text`]: paths, authorities, tokens and query parameters as all of the above compare them.
//!
//! Invariant: no IO, no clock, no chance. Nothing in a request can make it panic.

pub mod access;
pub mod canary;
pub mod conditions;
pub mod hosts;
pub mod networks;
pub mod path_regex;
pub mod paths;
mod request;
pub mod text;

pub use request::{Malformed, Request, Sketch};
