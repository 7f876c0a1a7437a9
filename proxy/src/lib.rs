//! Longhaul's data plane: the process that faces the clients.
//!
//! ```text
//! telemetry <─ Tunnel <─ dial <─ pick <─ handshake <─ connection <─ worker <─ acceptor   Table::build <─ feed
//!                                └── table.select(head) ── ArcSwap<Table> <──┘
//! ```
//!
//! - [`feed`] brings snapshots from the controller, [`table`] makes of each an immutable [`table::Table`], and a
//!   change of routes is a pointer swap: no tunnel notices.
//! - [`acceptor`] deals sockets to [`worker`]s, one thread a core. A [`connection`](worker) reads heads with our own
//!   strict parser ([`head`], [`body`]) and leads each to a [`tunnel`], a plain request (hyper), or a refusal.
//! - [`tunnel`] is one poll function over two [`leg`]s, with [`frames`] walked and nothing buffered while idle.
//! - [`pulse`] tells whether the threads still turn, for liveness.
//! - [`proxy_protocol`] reads who a load balancer says that a client is.
//! - The crate [`routing`] says which route a request gets, and who may come in.
//! - [`drain`] closes tunnels politely when the proxy leaves; [`close`] has the reasons and codes.
//!
//! Invariant: no Kubernetes code is linked here, and the process holds no credentials but the private keys that it
//! serves. Peers' bytes never panic.

pub mod acceptor;
pub mod admin;
pub mod affinity;
pub mod args;
pub mod auth;
pub mod body;
pub mod close;
mod connection;
pub mod dial;
pub mod drain;
pub mod feed;
pub mod fields;
pub mod forward;
pub mod frames;
pub mod handshake;
pub mod head;
mod http;
pub mod leg;
pub mod proxy_protocol;
pub mod pulse;
mod run;
pub mod scratch;
mod socket;
pub mod table;
pub mod telemetry;
pub mod tls;
pub mod tunnel;
pub mod upstream;
pub mod upstream_tls;
pub mod worker;

pub use routing::{access, networks, path_regex};
pub use run::run;

/// Every allocation of the proxy and of its tests: measured at half of what glibc takes for a tunnel.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
