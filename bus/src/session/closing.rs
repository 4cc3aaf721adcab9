//! The end of a connection: the last words, in the words of whatever it is spoken over.

use std::time::Duration;

use super::{End, Session};

/// How long the last words to a client may take to get onto the wire.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long what a refused client still sends is read, so that it hears why (closing a socket with
/// unread data resets it, and the text is lost).
const LINGER: Duration = Duration::from_millis(250);

// === impl Session ===

impl Session {
    /// Says why, if there is anything to say, and lets it get through.
    pub(super) async fn farewell(&mut self, end: &End) {
        let Some(wire) = self.link.client.wire() else {
            // Cut off: nothing gets through any more.
            return;
        };
        let can_speak = self.greeted && wire.is_ready();
        let text = end.text().filter(|_| can_speak);
        if text.is_none() && !wire.is_coded() {
            return;
        }
        if let Some(text) = text {
            self.link.send(format!("-ERR '{text}'\r\n").as_bytes());
        }
        let said = async {
            self.link.get_through().await;
            // Only now, as nothing may follow it.
            if wire.close(end.farewell()) {
                self.link.client.out().residue = true;
                self.link.get_through().await;
            }
        };
        if tokio::time::timeout(FAREWELL, said).await.is_err() {
            return;
        }
        let refused = text.is_some() || matches!(end, End::TlsHandshake(_) | End::Codec(_));
        drop(wire);
        // The last holder of the write half shuts it down.
        self.link.client.out().close();
        if refused {
            let _ = tokio::time::timeout(LINGER, self.link.hear_out()).await;
        }
    }
}
