//! Prints what many objects cost: `make scale`, or `scale NUMBER_OF_INGRESSES`.

#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let ingresses = match std::env::args().nth(1) {
        Some(number) => number.parse().context("the number of Ingresses")?,
        None => 10_000,
    };
    print!("{}", e2e::scale::measure(ingresses).await?);
    Ok(())
}
