//! Connections themselves.

use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow};

use crate::bus::Scale;
use crate::bus::peers::Peer;
use crate::bus::sample::Sample;
use crate::bus::server::Server;
use crate::bus::wire::Connection;

/// What a connection costs that has said hello and nothing since.
pub(super) fn idle(peer: &Peer, scale: Scale) -> anyhow::Result<Vec<Sample>> {
    let count = scale.of(6_000);
    let server = Server::start(peer)?;
    // The first connections make what all of them share.
    let first = (0..8)
        .map(|_| Connection::open(server.port))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let before = server.settled_memory()?;
    let crowd = (0..count)
        .map(|number| {
            Connection::open(server.port).with_context(|| {
                format!("connection {number} of {count} (`ulimit -n` must allow as many)")
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bytes = server.settled_memory()? - before;
    drop((first, crowd));
    Ok(vec![
        Sample::less("KiB a connection", bytes / 1024.0 / count as f64, None).within(5.0),
    ])
}

/// Connections that come, say hello and go.
pub(super) fn come_and_go(peer: &Peer, scale: Scale) -> anyhow::Result<Vec<Sample>> {
    const THREADS: usize = 4;
    let each = scale.of(1_000);
    let server = Server::start(peer)?;
    let port = server.port;
    let turn = |each: usize| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope
                        .spawn(move || (0..each).try_for_each(|_| Connection::open(port).map(drop)))
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
        })
    };
    turn(each / 10 + 1)?;
    let (cpu, started) = (server.cpu()?, Instant::now());
    turn(each)?;
    let (cpu, seconds) = (server.cpu()? - cpu, started.elapsed().as_secs_f64());
    let count = (THREADS * each) as u64;
    Ok(vec![
        Sample::cpu(cpu, count, Some(0.5)),
        Sample::rate(count, seconds),
    ])
}
