//! What must hold whatever happens at the same time, under random work of several threads and clients.
//!
//! The work follows from a seed, which a failure names; `CUPOLA_SEED=<number>` runs that one alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod deliveries;
mod plan;
mod reader;
mod sublist;
#[path = "../front_door/support.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

/// The seeds to run: the one that was asked for, or the first `count`. Each is named before its turn,
/// which is what one sees of a failure.
#[expect(clippy::print_stdout, reason = "shown for a test that fails")]
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let seeds = match std::env::var("CUPOLA_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    seeds.inspect(|seed| println!("seed {seed}"))
}
