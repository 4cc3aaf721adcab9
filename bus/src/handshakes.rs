//! Connections whose TLS handshake or upgrade is under way: many at a time, and of more the oldest has to go.
//!
//! A handshake takes an honest client a few round trips. Whoever begins thousands and leaves them standing
//! loses them to those who come later, and keeps nobody out.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::Client;
use crate::session::End;

/// So many at a time. Each may hold some 50 KiB.
const MOST: usize = 4096;

/// Those under way, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<BTreeMap<u64, Arc<Client>>>);

/// One that is under way as long as this lives.
pub(crate) struct UnderWay<'a> {
    all: &'a Handshakes,
    id: u64,
}

// === impl Handshakes ===

impl Handshakes {
    /// One begins; if there are too many, the oldest ends.
    pub(crate) fn begin(&self, client: &Arc<Client>) -> UnderWay<'_> {
        let oldest = {
            let mut all = self.0.lock();
            let full = all.len() >= MOST;
            let oldest = if full { all.pop_first() } else { None };
            all.insert(client.id, Arc::clone(client));
            oldest
        };
        if let Some((_, oldest)) = oldest {
            oldest.end(End::TooManyHandshakes);
        }
        UnderWay {
            all: self,
            id: client.id,
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::account::Accounts;
    use crate::client::Kind;
    use crate::memory::Memory;

    #[test]
    fn of_too_many_the_oldest_has_to_go() {
        let memory = Arc::new(Memory::new(0));
        let accounts = Accounts::new(&memory);
        let peer = "127.0.0.1:4000".parse().unwrap();
        let client = |id| {
            let account = Arc::clone(accounts.global());
            Arc::new(Client::new(
                id,
                Kind::Client,
                peer,
                None,
                account,
                &memory,
                0,
            ))
        };
        let handshakes = Handshakes::default();
        let clients: Vec<_> = (0..=MOST as u64).map(client).collect();
        let mut under_way: Vec<_> = clients[..MOST]
            .iter()
            .map(|client| handshakes.begin(client))
            .collect();
        // One that is over makes room.
        drop(under_way.pop());
        under_way.push(handshakes.begin(&clients[MOST - 1]));
        assert!(clients.iter().all(|client| client.take_end().is_none()));
        under_way.push(handshakes.begin(&clients[MOST]));
        assert!(matches!(
            clients[0].take_end(),
            Some(End::TooManyHandshakes)
        ));
        assert!(
            clients[1..]
                .iter()
                .all(|client| client.take_end().is_none())
        );
    }
}
