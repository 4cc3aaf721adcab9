//! The end of a connection: the last words, in the words of whatever it is spoken over.

use std::io;
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
        let Some(wire) = self.client.wire() else {
            // Cut off: nothing gets through any more.
            return;
        };
        let can_speak = self.greeted && wire.is_ready();
        let text = end.text().filter(|_| can_speak);
        if text.is_none() && !wire.is_coded() {
            return;
        }
        if let Some(text) = text {
            self.send(format!("-ERR '{text}'\r\n").as_bytes());
        }
        let said = async {
            self.get_through().await;
            // Only now, as nothing may follow it.
            if wire.close(end.farewell()) {
                self.client.out().residue = true;
                self.get_through().await;
            }
        };
        if tokio::time::timeout(FAREWELL, said).await.is_err() {
            return;
        }
        let refused = text.is_some() || matches!(end, End::TlsHandshake(_) | End::Codec(_));
        drop(wire);
        // The last holder of the write half shuts it down.
        self.client.out().close();
        if refused {
            let _ = tokio::time::timeout(LINGER, self.hear_out()).await;
        }
    }

    /// Waits until everything is on its way, or the socket is broken.
    async fn get_through(&self) {
        self.client.flush(&mut self.desk.lock().pool);
        while self.client.out().has_unsent() {
            if self.read.as_ref().writable().await.is_err() {
                return;
            }
            self.client.unblock();
            self.client.flush(&mut self.desk.lock().pool);
            // A writer of another worker may be at it.
            tokio::task::yield_now().await;
        }
    }

    /// Reads until the client has closed as well.
    async fn hear_out(&self) {
        let mut scrap = [0u8; 1024];
        loop {
            if self.read.readable().await.is_err() {
                return;
            }
            match self.read.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
