//! After a 101: bytes, both ways, until both sides have said all.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional_with_sizes};

use super::client_io::ClientIo;
use super::exchange::Exchange;
use super::upstream::Upstream;

/// Buffer for each direction; larger ones made nothing faster.
const BUFFER_BYTES: usize = 8 * 1024;

/// An endpoint that speaks another protocol from now on.
#[derive(Debug)]
pub(super) struct Tunnel {
    upstream: Box<Upstream>,
    exchange: Exchange,
}

impl Tunnel {
    pub(super) fn new(upstream: Box<Upstream>, exchange: Exchange) -> Self {
        Self { upstream, exchange }
    }

    /// Carries bytes until both sides have closed; one that closes can still be written to.
    /// `early` is what the client sent behind the head of its request.
    pub(super) async fn run(self, mut client: ClientIo, early: Bytes) {
        let Self {
            upstream,
            mut exchange,
        } = self;
        let received = exchange.received();
        let Some((mut endpoint, late)) = upstream.into_socket().await else {
            exchange.cut_off();
            return;
        };
        if endpoint.write_all(&early).await.is_err() || client.write_all(&late).await.is_err() {
            return;
        }
        let carried =
            copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER_BYTES, BUFFER_BYTES);
        if let Ok((to_endpoint, to_client)) = carried.await {
            received.set(early.len() as u64 + to_endpoint);
            exchange.sent(late.len() + usize::try_from(to_client).unwrap_or(usize::MAX));
        }
    }
}
