//! Longhaul end to end: what tests, scenarios and the demo stand on.
//!
//! - [`world`]: a folder of objects, the real controller and real proxies, and waiting for an edit to be served;
//! - [`process`]: child processes, their log lines, and what `/proc` tells of them;
//! - [`client`], [`fleet`], [`wire`], [`foreign`]: WebSockets and requests, hundreds of them that stay, bare bytes, and
//!   the programs of other people;
//! - [`backend`]: what stands behind the proxy;
//! - [`cluster`]: a real Kubernetes in a network namespace of its own, and Longhaul's programs in it;
//! - [`certificate`], [`objects`]: what objects are made of;
//! - [`metrics`]: what `/metrics` says; [`notes`]: what tests say beside passing;
//! - [`scale`]: many objects at once; [`reference`]: tables of the documentation; [`demo`]: `make demo`;
//! - [`chart`]: the Helm chart, rendered.
//!
//! Invariant: nothing here waits for time. It waits for a log line, an acknowledged generation or bytes, and gives
//! up after [`wire::PATIENCE`], which is always a failure. Nothing depends on this crate.

pub mod backend;
pub mod certificate;
pub mod chart;
pub mod client;
pub mod cluster;
pub mod demo;
pub mod fleet;
pub mod foreign;
pub mod metrics;
pub mod notes;
pub mod objects;
pub mod process;
pub mod reference;
pub mod relay;
pub mod scale;
pub mod wire;
pub mod world;
