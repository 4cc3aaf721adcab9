//! The broker beside genuine nats-servers, in one run, taking turns.
//!
//! Each measurement starts a fresh server, warms it up, and counts the CPU time that the server process
//! (not the clients) spends in the measured interval. Rounds alternate the order of the servers, so that a
//! machine that gets slower or faster on the way is the same for all.

#![allow(
    clippy::cast_possible_truncation,
    reason = "counts and nanoseconds of a benchmark that ends within minutes"
)]

pub(crate) mod bare;
mod cases;
mod flow;
mod peers;
mod sample;
mod server;
mod table;
mod wire;

use std::time::Instant;

use anyhow::{Context as _, ensure};

use cases::CASES;
use peers::Peer;
use table::Table;

/// What `bus` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each case is measured
    #[arg(long)]
    rounds: Option<usize>,
    /// One round of a fifth of the load: to see that everything works, not to quote
    #[arg(long)]
    quick: bool,
    /// Only cases whose name begins like this; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Only these servers: cupola-bus, 2.9.10, 2.15.1, bare, or NAME=PATH for any other; may be repeated
    #[arg(long = "peer", value_name = "NAME[=PATH]")]
    peers: Vec<String>,
    /// Where the broker to measure is
    #[arg(long, value_name = "PATH")]
    cupola_bus: Option<std::path::PathBuf>,
    /// Names the cases and ends
    #[arg(long)]
    list: bool,
}

/// How much load a measurement makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    divisor: usize,
}

// === impl Scale ===

impl Scale {
    /// That part of `full` which is asked for.
    pub(crate) fn of(self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}

/// Measures and prints the table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for case in CASES {
            println!("{:<14} {}", case.name, case.about);
        }
        return Ok(());
    }
    let wanted: Vec<_> = CASES
        .iter()
        .filter(|case| {
            args.cases.is_empty() || args.cases.iter().any(|name| case.name.starts_with(name))
        })
        .collect();
    ensure!(
        !wanted.is_empty(),
        "no case is called {:?}; `--list` names them",
        args.cases
    );
    raise_descriptor_limit()?;
    let peers = peers::find(&args.peers, args.cupola_bus.as_deref())?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 });
    let scale = Scale {
        divisor: if args.quick { 5 } else { 1 },
    };
    let mut table = Table::new(&peers);
    let started = Instant::now();
    for case in wanted {
        for round in 0..rounds {
            let mut order: Vec<(usize, &Peer)> = peers.iter().enumerate().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (column, peer) in order {
                if peer.is_bare() && !case.bare {
                    continue;
                }
                let samples = (case.run)(peer, scale)
                    .with_context(|| format!("case {} with {}", case.name, peer.name))?;
                table.add(case.name, column, samples);
            }
        }
        eprintln!("{:>5.0} s  {}", started.elapsed().as_secs_f64(), case.name);
    }
    table.print();
    Ok(())
}

/// Allows as many connections as the system lets us have.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of open files")
}
