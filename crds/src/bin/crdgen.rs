//! Prints the `CustomResourceDefinition` of WsRoute: `cargo run -p crds --bin crdgen > crds/wsroutes.yaml`; or that of
//! WsPolicy: `cargo run -p crds --bin crdgen wspolicies > crds/wspolicies.yaml`.

#![allow(clippy::print_stdout)]

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("wspolicies") => print!("{}", crds::wspolicy::manifest()),
        _ => print!("{}", crds::wsroute::manifest()),
    }
}
