//! Benchmarks that anyone can repeat: `make bench-platform`, `make bench-bus`.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures and waits until the machine is quiet"
)]

mod bus;
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
    /// The broker beside genuine nats-servers: rate, CPU, latency, memory
    Bus(bus::Args),
    /// The least that must be done to move frames between sockets; `bus` starts it
    #[command(hide = true)]
    Bare {
        /// Where to listen, on loopback
        #[arg(long)]
        port: u16,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Platform { rounds } => platform::run(rounds),
        Args::Bus(args) => bus::run(&args),
        Args::Bare { port } => bus::bare::run(port),
    }
}
