//! One subscriber that stops reading.

use crate::bus::Scale;
use crate::bus::flow::{Crowd, Publisher, Subscriber};
use crate::bus::peers::Peer;
use crate::bus::sample::Sample;
use crate::bus::server::Server;
use crate::bus::wire::{Connection, delivery_len};

const SUBJECT: &str = "bench.data";
const SIZE: usize = 256;
const SUBSCRIBERS: usize = 16;

/// The publisher's rate and the others' latency, without and with it. Enough is published for the stuck
/// one to be cut off on the way.
pub(super) fn measure(peer: &Peer, scale: Scale) -> anyhow::Result<Vec<Sample>> {
    let messages = scale.of(400_000).max(300_000);
    let mut well = run(peer, messages, SUBSCRIBERS, false)?;
    let mut ill = run(peer, messages, SUBSCRIBERS - 1, true)?;
    let p99 = (well.1.micros(99.0), ill.1.micros(99.0));
    Ok(vec![
        Sample::less("p99 of the others without it, µs", p99.0, None),
        Sample::less("p99 of the others with it, µs", p99.1, None),
        Sample::less("p99.9 of the others with it, µs", ill.1.micros(99.9), None),
        Sample::less("p99 with / without", p99.1 / p99.0, None).within(2.0),
        Sample::more("publishes without it, k/s", well.0, None),
        Sample::more("publishes with it, k/s", ill.0, None),
    ])
}

/// Publishes per second in thousands, and latencies of those who read.
fn run(
    peer: &Peer,
    messages: usize,
    readers: usize,
    stuck: bool,
) -> anyhow::Result<(f64, crate::bus::sample::Latencies)> {
    let server = Server::start(peer)?;
    let frame_len = delivery_len(SUBJECT, "1", SIZE);
    let mut crowd = Crowd {
        subscribers: (0..readers)
            .map(|_| Subscriber::new(&server, [format!("{SUBJECT} 1")].into_iter(), frame_len))
            .collect::<Result<_, _>>()?,
        publishers: vec![Publisher::of(&server, SUBJECT, SIZE)?],
        fan_out: readers as u64,
        stamped: true,
        ..Crowd::default()
    };
    crowd.phase(&server, messages / 20)?;
    let mut silent = stuck.then(|| Connection::open(server.port)).transpose()?;
    if let Some(silent) = &mut silent {
        silent.subscribe(&format!("{SUBJECT} 1"))?;
    }
    let phase = crowd.phase(&server, messages)?;
    Ok((
        phase.published as f64 / phase.seconds / 1e3,
        phase.latencies,
    ))
}
