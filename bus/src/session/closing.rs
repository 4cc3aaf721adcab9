//! The end of a connection: the last words, in the words of whatever it is spoken over.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::tcp::OwnedReadHalf;

use super::{End, Session};
use crate::client::Client;
use crate::delivery::Desk;

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
            get_through(&self.client, &self.read, &self.desk).await;
            // Only now, as nothing may follow it.
            if wire.close(end.farewell()) {
                self.client.out().residue = true;
                get_through(&self.client, &self.read, &self.desk).await;
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
            let _ = tokio::time::timeout(LINGER, hear_out(&self.read)).await;
        }
    }
}

/// Waits until everything queued for a connection is on its way, or its socket is broken.
pub(crate) async fn get_through(client: &Client, read: &OwnedReadHalf, desk: &Mutex<Desk>) {
    client.flush(&mut desk.lock().pool);
    while client.out().has_unsent() {
        if read.as_ref().writable().await.is_err() {
            return;
        }
        client.unblock();
        client.flush(&mut desk.lock().pool);
        // A writer of another worker may be at it.
        tokio::task::yield_now().await;
    }
}

/// Reads until the other side has closed as well.
pub(crate) async fn hear_out(read: &OwnedReadHalf) {
    let mut scrap = [0u8; 1024];
    loop {
        if read.readable().await.is_err() {
            return;
        }
        match read.try_read(&mut scrap) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
        }
    }
}
