//! Translation from outside: golden cases and properties.

// Everything here is a test, helpers too.
#![allow(clippy::panic, clippy::unwrap_used)]

mod coverage;
mod following;
mod golden;
mod manifests;
mod properties;
mod same_policy;
