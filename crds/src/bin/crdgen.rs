//! Prints the `CustomResourceDefinition` of WsRoute: `cargo run -p crds --bin crdgen > crds/wsroutes.yaml`.

#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", crds::wsroute::manifest());
}
