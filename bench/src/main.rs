//! Benchmarks that anyone can repeat: `make bench-platform`.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures and waits until the machine is quiet"
)]

mod figures;
mod memory;
mod platform;

use clap::Parser;

#[derive(Debug, Parser)]
enum Args {
    /// How long starts, pushes and restarts of a whole platform take, and how much memory it needs
    Platform {
        /// How often each is measured
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Platform { rounds } => platform::run(rounds),
    }
}
