//! What is measured.

mod connections;
mod requests;
mod streams;
mod stuck;
mod subjects;

use super::Scale;
use super::peers::Peer;
use super::sample::Sample;

/// One thing to measure.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether the bare sockets can do it as well.
    pub(crate) bare: bool,
    pub(crate) run: fn(&Peer, Scale) -> anyhow::Result<Vec<Sample>>,
}

const fn case(
    name: &'static str,
    about: &'static str,
    bare: bool,
    run: fn(&Peer, Scale) -> anyhow::Result<Vec<Sample>>,
) -> Case {
    Case {
        name,
        about,
        bare,
        run,
    }
}

/// All of them, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    case("pub-16", "publish without interest, 16 B", true, |p, s| {
        streams::unheard(p, s.of(4_000_000), 16, 0.5)
    }),
    case(
        "pub-256",
        "publish without interest, 256 B",
        true,
        |p, s| streams::unheard(p, s.of(2_000_000), 256, 0.5),
    ),
    case(
        "pub-4096",
        "publish without interest, 4 KiB",
        true,
        |p, s| streams::unheard(p, s.of(300_000), 4096, 0.7),
    ),
    case("1to1-16", "one to one, 16 B", true, |p, s| {
        streams::fan_out(p, s.of(2_000_000), 1, 16, 0.5)
    }),
    case("1to1-256", "one to one, 256 B", true, |p, s| {
        streams::fan_out(p, s.of(1_000_000), 1, 256, 0.5)
    }),
    case("1to1-4096", "one to one, 4 KiB", true, |p, s| {
        streams::fan_out(p, s.of(150_000), 1, 4096, 0.7)
    }),
    case(
        "1to8-16",
        "one to eight, 16 B; per delivery",
        true,
        |p, s| streams::fan_out(p, s.of(400_000), 8, 16, 0.5),
    ),
    case(
        "1to8-256",
        "one to eight, 256 B; per delivery",
        true,
        |p, s| streams::fan_out(p, s.of(200_000), 8, 256, 0.5),
    ),
    case("1to64-16", "one to 64, 16 B; per delivery", true, |p, s| {
        streams::fan_out(p, s.of(60_000), 64, 16, 0.5)
    }),
    case(
        "1to64-256",
        "one to 64, 256 B; per delivery",
        true,
        |p, s| streams::fan_out(p, s.of(25_000), 64, 256, 0.5),
    ),
    case("4to4-256", "four pairs, 256 B", false, |p, s| {
        streams::pairs(p, s.of(1_000_000), 4, 256, 0.5)
    }),
    case(
        "queue-256",
        "a queue group of four, 256 B",
        false,
        |p, s| streams::queue(p, s.of(600_000), 4, 256, 0.5),
    ),
    case(
        "route-16",
        "one to one over a route, 16 B; CPU of both servers",
        false,
        |p, s| streams::over_route(p, s.of(1_000_000), 16, 0.6),
    ),
    case(
        "route-256",
        "one to one over a route, 256 B; CPU of both servers",
        false,
        |p, s| streams::over_route(p, s.of(500_000), 256, 0.6),
    ),
    case(
        "route-4096",
        "one to one over a route, 4 KiB; CPU of both servers",
        false,
        |p, s| streams::over_route(p, s.of(75_000), 4096, 0.7),
    ),
    case("req-1", "request and reply, one at a time", true, |p, s| {
        requests::measure(p, 1, s.of(20_000))
    }),
    case(
        "req-64",
        "request and reply, 64 requesters",
        true,
        |p, s| requests::measure(p, 64, s.of(1_000)),
    ),
    case(
        "subs-10k",
        "10 000 subjects with a subscription each, random publishes",
        false,
        |p, s| subjects::random(p, 10_000, s.of(500_000), 0.5),
    ),
    case(
        "subs-100k",
        "100 000 subjects with a subscription each, random publishes",
        false,
        |p, s| subjects::random(p, 100_000, s.of(500_000), 0.2),
    ),
    case(
        "churn",
        "1 000 subjects, quiet and while another client subscribes and unsubscribes",
        false,
        subjects::churn,
    ),
    case(
        "idle",
        "memory of a connection that only pings",
        false,
        connections::idle,
    ),
    case(
        "sub-memory",
        "memory of a subscription, 100 000 of them",
        false,
        subjects::memory,
    ),
    case(
        "connect",
        "connect, INFO, CONNECT, PING, PONG, close; four threads",
        false,
        connections::come_and_go,
    ),
    case(
        "stuck",
        "256 B to 16 subscribers, then one of them stops reading",
        false,
        stuck::measure,
    ),
];
