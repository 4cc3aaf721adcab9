//! Who is a peer by which connection: the decisions, without the sockets.
//!
//! Two servers that dial each other at the same moment have two connections for a while. A genuine
//! nats-server keeps the one it met first and ends the other at once, so that two of them may end one each.
//! Here a second connection is kept as a *spare* for a moment: when the first one ends it takes its place,
//! and nothing is lost. When both live on, both servers come to the same choice: the one dialled by the
//! server with the smaller id stays; of two dialled by the same server that which it has chosen.

use std::collections::HashMap;
use std::sync::Arc;

/// Connections to one peer besides the one in use; more are refused.
const SPARES: usize = 4;
/// Peers at a time.
const PEERS: usize = 1024;

/// All peers and their connections.
#[derive(Debug)]
pub(crate) struct Mesh {
    own: Arc<str>,
    peers: HashMap<Box<str>, Peer>,
    last_number: u32,
}

#[derive(Debug)]
struct Peer {
    number: u32,
    active: Line,
    spares: Vec<Line>,
}

/// One connection: the number of its client, and who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    route: u64,
    dialled: bool,
}

/// What a connection is that has said whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// It leads to this very server.
    Own,
    /// The first one to this peer, which has this number from now on.
    First(u32),
    /// There is one already (its client's number); see what becomes of it.
    Spare { number: u32, active: u64 },
    /// There are too many.
    Refused,
}

/// What the end of a connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Nothing: it was not in use.
    Unused,
    /// This spare one is in use from now on.
    Heir(u64),
    /// The peer is gone.
    Last,
}

/// What becomes of a spare connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is in use by now.
    InUse,
    /// It must end.
    Ends,
    /// It is in use from now on, and this one is spare.
    Replaces(u64),
}

// === impl Mesh ===

impl Mesh {
    pub(crate) fn new(own: Arc<str>) -> Self {
        Mesh {
            own,
            peers: HashMap::new(),
            last_number: 0,
        }
    }

    /// Whether this server has a connection to a peer, or is that peer.
    pub(crate) fn knows(&self, peer: &str) -> bool {
        *self.own == *peer || self.peers.contains_key(peer)
    }

    /// Peers with a connection.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The number of the last peer that has joined.
    pub(crate) fn arrivals(&self) -> u32 {
        self.last_number
    }

    /// The connection in use to a peer.
    pub(crate) fn active_of(&self, peer: &str) -> Option<u64> {
        self.peers.get(peer).map(|peer| peer.active.route)
    }

    /// All connections to a peer.
    pub(crate) fn lines(&self, peer: &str) -> Vec<u64> {
        let peer = self.peers.get(peer).into_iter();
        peer.flat_map(|peer| std::iter::once(&peer.active).chain(&peer.spares))
            .map(|line| line.route)
            .collect()
    }

    /// The connections in use, one to each peer.
    pub(crate) fn active(&self) -> impl Iterator<Item = u64> + '_ {
        self.peers.values().map(|peer| peer.active.route)
    }

    /// A connection says that `peer` is at its other end.
    pub(crate) fn introduce(&mut self, peer: &str, route: u64, dialled: bool) -> Welcome {
        if *self.own == *peer {
            return Welcome::Own;
        }
        let line = Line { route, dialled };
        if let Some(known) = self.peers.get_mut(peer) {
            if known.spares.len() >= SPARES {
                return Welcome::Refused;
            }
            known.spares.push(line);
            return Welcome::Spare {
                number: known.number,
                active: known.active.route,
            };
        }
        if self.peers.len() >= PEERS {
            return Welcome::Refused;
        }
        self.last_number = self.last_number.wrapping_add(1);
        let number = self.last_number;
        let known = Peer {
            number,
            active: line,
            spares: Vec::new(),
        };
        self.peers.insert(peer.into(), known);
        Welcome::First(number)
    }

    /// A connection has ended.
    pub(crate) fn part(&mut self, peer: &str, route: u64) -> Departure {
        let Some(known) = self.peers.get_mut(peer) else {
            return Departure::Unused;
        };
        if known.active.route != route {
            known.spares.retain(|line| line.route != route);
            return Departure::Unused;
        }
        if known.spares.is_empty() {
            self.peers.remove(peer);
            return Departure::Last;
        }
        known.active = known.spares.remove(0);
        Departure::Heir(known.active.route)
    }

    /// A spare connection has waited long enough. `alive` tells whether the one in use has been heard of
    /// meanwhile, `chosen` whether the peer uses the spare one.
    pub(crate) fn settle(&mut self, peer: &str, route: u64, alive: bool, chosen: bool) -> Settled {
        let Some(known) = self.peers.get_mut(peer) else {
            return Settled::Ends;
        };
        if known.active.route == route {
            return Settled::InUse;
        }
        let Some(at) = known.spares.iter().position(|line| line.route == route) else {
            return Settled::Ends;
        };
        let spare = known.spares[at];
        // Who dials is known on both sides, and so is which id is smaller.
        let smaller = *self.own < *peer;
        let stays = if spare.dialled == known.active.dialled {
            chosen && !spare.dialled
        } else {
            spare.dialled == smaller
        };
        if alive && !stays {
            return Settled::Ends;
        }
        let old = std::mem::replace(&mut known.active, spare);
        known.spares[at] = old;
        Settled::Replaces(old.route)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mesh(own: &str) -> Mesh {
        Mesh::new(own.into())
    }

    #[test]
    fn a_server_that_meets_itself_hangs_up() {
        let mut a = mesh("A");
        assert_eq!(a.introduce("A", 1, true), Welcome::Own);
        assert!(a.knows("A") && !a.knows("B"));
        assert_eq!(a.len(), 0);
    }

    #[test]
    fn a_spare_one_takes_over() {
        let mut a = mesh("A");
        assert_eq!(a.introduce("B", 1, true), Welcome::First(1));
        let spare = Welcome::Spare {
            number: 1,
            active: 1,
        };
        assert_eq!(a.introduce("B", 2, false), spare);
        assert_eq!(a.part("B", 1), Departure::Heir(2));
        assert_eq!(a.settle("B", 2, true, false), Settled::InUse);
        assert_eq!(a.part("B", 2), Departure::Last);
        assert!(!a.knows("B"));
        assert_eq!(a.introduce("B", 3, true), Welcome::First(2));
    }

    #[test]
    fn the_second_of_one_direction_ends_unless_the_first_is_dead() {
        let mut a = mesh("A");
        a.introduce("B", 1, true);
        a.introduce("B", 2, true);
        assert_eq!(a.settle("B", 2, true, false), Settled::Ends);
        assert_eq!(a.part("B", 2), Departure::Unused);
        a.introduce("B", 3, true);
        assert_eq!(a.settle("B", 3, false, false), Settled::Replaces(1));
        assert_eq!(a.part("B", 1), Departure::Unused);
        assert_eq!(a.active().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn who_has_dialled_twice_chooses() {
        let (mut a, mut b) = (mesh("A"), mesh("B"));
        for (route, other) in [(1, 2), (2, 1)] {
            a.introduce("B", route, true);
            b.introduce("A", other, false);
        }
        assert_eq!(a.settle("B", 2, true, true), Settled::Ends);
        assert_eq!(b.settle("A", 1, true, false), Settled::Ends);
        assert_eq!(b.settle("A", 1, true, true), Settled::Replaces(2));
    }

    #[test]
    fn a_peer_cannot_pile_up_connections() {
        let mut a = mesh("A");
        for route in 0..20 {
            a.introduce("B", route, false);
        }
        assert_eq!(a.introduce("B", 99, false), Welcome::Refused);
    }

    proptest! {
        /// Two servers dial each other; whatever order they see it in, they keep the same connection.
        #[test]
        fn both_sides_keep_the_same_one(a_first in any::<bool>(), b_first in any::<bool>(), order in any::<[bool; 4]>()) {
            // Connection 1 is dialled by A, connection 2 by B.
            let (mut a, mut b) = (mesh("A"), mesh("B"));
            for one in if a_first { [1, 2] } else { [2, 1] } {
                a.introduce("B", one, one == 1);
            }
            for one in if b_first { [1, 2] } else { [2, 1] } {
                b.introduce("A", one, one == 2);
            }
            let mut open = vec![1, 2];
            // Each side settles its spare ones when it comes to it, and hears of ends.
            for turn in order.into_iter().chain([true, false, true, false]) {
                let (mesh, peer) = if turn { (&mut a, "B") } else { (&mut b, "A") };
                for route in open.clone() {
                    match mesh.settle(peer, route, true, false) {
                        Settled::Ends => open.retain(|one| *one != route),
                        Settled::InUse | Settled::Replaces(_) => {}
                    }
                }
                for gone in [1, 2].into_iter().filter(|one| !open.contains(one)) {
                    a.part("B", gone);
                    b.part("A", gone);
                }
            }
            prop_assert_eq!(&open, &[1]);
            prop_assert_eq!(a.active().collect::<Vec<_>>(), [1]);
            prop_assert_eq!(b.active().collect::<Vec<_>>(), [1]);
        }
    }
}
