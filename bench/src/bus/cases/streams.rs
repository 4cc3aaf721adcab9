//! Publishers at full rate.

use crate::bus::flow::{Crowd, Phase, Publisher, Subscriber};
use crate::bus::peers::Peer;
use crate::bus::sample::Sample;
use crate::bus::server::Server;
use crate::bus::wire::{Connection, delivery_len};

/// What everybody talks about.
const SUBJECT: &str = "bench.data";

/// Nobody listens.
pub(super) fn unheard(
    peer: &Peer,
    messages: usize,
    size: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let mut crowd = Crowd {
        publishers: vec![Publisher::of(&server, SUBJECT, size)?],
        ..Crowd::default()
    };
    let phase = crowd.measure(&server, messages)?;
    Ok(samples(&phase, phase.published, bar))
}

/// One publisher, and everybody gets everything.
pub(super) fn fan_out(
    peer: &Peer,
    messages: usize,
    receivers: usize,
    size: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let frame_len = delivery_len(SUBJECT, "1", size);
    let mut crowd = Crowd {
        subscribers: (0..receivers)
            .map(|_| Subscriber::new(&server, [format!("{SUBJECT} 1")].into_iter(), frame_len))
            .collect::<Result<_, _>>()?,
        publishers: vec![Publisher::of(&server, SUBJECT, size)?],
        fan_out: receivers as u64,
        ..Crowd::default()
    };
    let phase = crowd.measure(&server, messages)?;
    Ok(samples(&phase, phase.delivered, bar))
}

/// One publisher and one subscriber, each at a server of its own; the CPU time is that of both.
pub(super) fn over_route(
    peer: &Peer,
    messages: usize,
    size: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let [near, far] = Server::pair(peer)?;
    let frame_len = delivery_len(SUBJECT, "1", size);
    let subscriber = Subscriber::new(&far, [format!("{SUBJECT} 1")].into_iter(), frame_len)?;
    Connection::open(near.port)?.reaches(&mut Connection::open(far.port)?)?;
    let mut crowd = Crowd {
        subscribers: vec![subscriber],
        publishers: vec![Publisher::of(&near, SUBJECT, size)?],
        fan_out: 1,
        beside: Some(far),
        ..Crowd::default()
    };
    let phase = crowd.measure(&near, messages)?;
    Ok(samples(&phase, phase.delivered, bar))
}

/// As many publishers as subscribers, each pair with its own subject.
pub(super) fn pairs(
    peer: &Peer,
    messages: usize,
    pairs: usize,
    size: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let subjects: Vec<String> = (0..pairs).map(|n| format!("{SUBJECT}.{n}")).collect();
    let mut crowd = Crowd {
        fan_out: 1,
        ..Crowd::default()
    };
    for subject in &subjects {
        let frame_len = delivery_len(subject, "1", size);
        crowd.subscribers.push(Subscriber::new(
            &server,
            [format!("{subject} 1")].into_iter(),
            frame_len,
        )?);
        crowd
            .publishers
            .push(Publisher::of(&server, subject, size)?);
    }
    let phase = crowd.measure(&server, messages)?;
    Ok(samples(&phase, phase.delivered, bar))
}

/// One publisher, and each message is for one of a group.
pub(super) fn queue(
    peer: &Peer,
    messages: usize,
    members: usize,
    size: usize,
    bar: f64,
) -> anyhow::Result<Vec<Sample>> {
    let server = Server::start(peer)?;
    let frame_len = delivery_len(SUBJECT, "1", size);
    let mut crowd = Crowd {
        subscribers: (0..members)
            .map(|_| {
                Subscriber::new(
                    &server,
                    [format!("{SUBJECT} group 1")].into_iter(),
                    frame_len,
                )
            })
            .collect::<Result<_, _>>()?,
        publishers: vec![Publisher::of(&server, SUBJECT, size)?],
        fan_out: 1,
        ..Crowd::default()
    };
    let phase = crowd.measure(&server, messages)?;
    Ok(samples(&phase, phase.delivered, bar))
}

fn samples(phase: &Phase, messages: u64, bar: f64) -> Vec<Sample> {
    vec![
        Sample::cpu(phase.cpu, messages, Some(bar)),
        Sample::rate(messages, phase.seconds),
    ]
}
