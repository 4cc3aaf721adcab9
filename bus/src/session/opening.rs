//! The beginning of a connection: TLS, the upgrade to a websocket, INFO. Whatever takes place before a
//! client can say who it is has a deadline, and there is a bound on how many are at it.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::client::signal;
use crate::config::HandshakeFirst;
use crate::doors::Door;
use crate::security::WebsocketDoor;
use crate::settings::Settings;
use crate::wire::stack::Stack;
use crate::wire::tls::Acceptor;
use crate::wire::websocket::WebsocketCodec;
use crate::wire::{CodecError, Decoded};

use super::{End, Session};

/// What is read at a time. A ClientHello or an upgrade request fits; a certificate may take two.
const READ: usize = 4 << 10;
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

// === impl Session ===

impl Session {
    /// Brings the connection to where CONNECT can be heard.
    ///
    /// # Errors
    /// It does not come so far.
    pub(super) async fn open(&mut self) -> Result<(), End> {
        let settings = Arc::clone(&self.link.talk.settings);
        if self.door == Door::Clients && settings.security.tls.is_none() {
            self.greet();
            return Ok(());
        }
        let hub = Arc::clone(&self.hub);
        let _under_way = hub.handshakes.begin(&self.link.client);
        // Apart, so that connections in clear need no room for it.
        Box::pin(self.open_secured(&settings)).await
    }

    async fn open_secured(&mut self, settings: &Settings) -> Result<(), End> {
        let security = &settings.security;
        // What came along with the last bytes of a handshake.
        let mut early = Vec::new();
        // Signals that are not about handshakes; they are raised again.
        let mut later = 0;
        match (self.door, &security.websocket, &security.tls) {
            (Door::Clients, _, Some(tls)) => {
                let mixed = security.allow_non_tls;
                self.secure(tls, mixed, &mut early, &mut later).await?;
            }
            (Door::Websocket, Some(door), _) => {
                self.upgrade(door, &mut early, &mut later).await?;
            }
            _ => {}
        }
        let handshake = self.link.client.wire().map(|wire| wire.handshake());
        self.link
            .client
            .set_handshake(handshake.unwrap_or_default());
        if !self.greeted {
            self.greet();
        }
        if self.auth_until.is_some() {
            let websocket = self.door == Door::Websocket;
            self.auth_until = Some(Instant::now() + security.auth_timeout(websocket));
            self.arm_timer();
        }
        if later != 0 {
            self.link.client.raise(later);
        }
        if early.is_empty() {
            return Ok(());
        }
        let desk = Arc::clone(&self.link.desk);
        let turn = self.link.handle(&mut desk.lock(), &early);
        drop(early);
        self.settle(turn).await
    }

    /// Whether the first thing a client of this door hears is in clear.
    pub(super) fn speaks_in_clear(&self) -> bool {
        let tls = self.link.talk.settings.security.tls.as_ref();
        self.door == Door::Clients && tls.is_none_or(|tls| tls.first == HandshakeFirst::No)
    }

    /// Sends INFO.
    pub(super) fn greet(&mut self) {
        self.greeted = true;
        let info = self.hub.info(&self.link.client, self.nonce.clone());
        self.link.send(&info.frame());
    }

    /// TLS on the door for clients, before or after INFO.
    async fn secure(
        &mut self,
        tls: &Acceptor,
        mixed: bool,
        early: &mut Vec<u8>,
        later: &mut u32,
    ) -> Result<(), End> {
        let start = Instant::now();
        let until = start + tls.timeout;
        let first = match tls.first {
            HandshakeFirst::No => false,
            HandshakeFirst::Yes => true,
            HandshakeFirst::Auto(wait) => {
                let byte = self.first_byte(until.min(start + wait), later).await?;
                byte == Some(TLS_HANDSHAKE)
            }
        };
        if !first {
            self.greet();
            match self.first_byte(until, later).await? {
                Some(TLS_HANDSHAKE) => {}
                _ if mixed => return Ok(()),
                Some(_) => return Err(End::TlsRequired),
                None => return Err(End::TlsTimeout),
            }
        }
        if !tls.admits(std::time::Instant::now()) {
            return Err(End::TlsRate);
        }
        self.link
            .talk_through(Box::new(tls.accept().map_err(handshake_error)?));
        let done = timeout_at(until, self.shake_hands(early, later)).await;
        done.unwrap_or(Err(End::TlsTimeout))
    }

    /// TLS, if it has it, and the upgrade on the door for websockets.
    async fn upgrade(
        &mut self,
        door: &WebsocketDoor,
        early: &mut Vec<u8>,
        later: &mut u32,
    ) -> Result<(), End> {
        let until = Instant::now() + door.timeout;
        let websocket = WebsocketCodec::new(Arc::clone(&door.upgrader));
        match &door.tls {
            None => self.link.talk_through(Box::new(websocket)),
            Some(tls) if !tls.admits(std::time::Instant::now()) => return Err(End::TlsRate),
            Some(tls) => {
                let tls = tls.accept().map_err(handshake_error)?;
                self.link.talk_through(Box::new(Stack::new(tls, websocket)));
            }
        }
        let done = timeout_at(until, self.shake_hands(early, later)).await;
        done.unwrap_or(Err(End::UpgradeTimeout))
    }

    /// The first byte the client sends, which stays where it is; `None` when it sends none in time.
    async fn first_byte(&mut self, until: Instant, later: &mut u32) -> Result<Option<u8>, End> {
        let peek = poll_fn(|cx| {
            if let Err(end) = self.look_around(cx, later) {
                return Poll::Ready(Err(end));
            }
            let mut byte = [0];
            match self.link.incoming.poll_peek(cx, &mut byte) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(End::Read(error))),
                Poll::Ready(Ok(0)) => Poll::Ready(Err(End::ClientClosed)),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(byte[0])),
            }
        });
        match timeout_at(until, peek).await {
            Err(_) => Ok(None),
            Ok(byte) => byte.map(Some),
        }
    }

    /// Reads and answers until the codec is ready.
    async fn shake_hands(&mut self, early: &mut Vec<u8>, later: &mut u32) -> Result<(), End> {
        let mut buffer = vec![0; READ];
        loop {
            let count = poll_fn(|cx| self.poll_read(cx, &mut buffer, later)).await?;
            if count == 0 {
                return Err(End::ClientClosed);
            }
            let step = self.step(later).await?;
            let decoded = {
                let mut desk = self.link.desk.lock();
                // What others' turns have kept back does not wait for this.
                desk.flush();
                self.link
                    .client
                    .decode(&buffer[..count], early, &mut desk.pool)
            };
            drop(step);
            match decoded.map_err(handshake_error)? {
                Decoded::Open => {}
                Decoded::More => self.link.more = true,
                Decoded::PeerClosed => return Err(End::ClientClosed),
            }
            if self.link.client.wire().is_none_or(|wire| wire.is_ready()) {
                return Ok(());
            }
        }
    }

    /// Waits for its turn to go on with a handshake: each step of one can take a millisecond of the worker.
    async fn step(&mut self, later: &mut u32) -> Result<OwnedSemaphorePermit, End> {
        let steps = Arc::clone(&self.link.desk.lock().handshake_steps);
        let mut acquiring = pin!(steps.acquire_owned());
        let permit = poll_fn(|cx| {
            if let Err(end) = self.look_around(cx, later) {
                return Poll::Ready(Err(end));
            }
            acquiring.as_mut().poll(cx).map_err(|_| End::Shutdown)
        })
        .await?;
        // Whoever waits already, for whatever else, has his turn before.
        tokio::task::yield_now().await;
        Ok(permit)
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        later: &mut u32,
    ) -> Poll<Result<usize, End>> {
        if let Err(end) = self.look_around(cx, later) {
            return Poll::Ready(Err(end));
        }
        self.link.incoming.poll_read(cx, buffer).map_err(End::Read)
    }

    /// What a wait is interrupted by: signals, and a socket that has room again.
    fn look_around(&mut self, cx: &mut Context<'_>, later: &mut u32) -> Result<(), End> {
        loop {
            self.link.client.waker.register(cx.waker());
            let signals = self.link.client.take_signals();
            if signals & signal::END != 0 {
                return Err(self.link.client.take_end().unwrap_or(End::Shutdown));
            }
            self.link.blocked |= signals & signal::BLOCKED != 0;
            *later |= signals & !signal::BLOCKED;
            if !self.link.poll_room(cx) {
                return Ok(());
            }
        }
    }
}

fn handshake_error(error: CodecError) -> End {
    match error {
        CodecError::Tls(error) => End::TlsHandshake(error),
        other => End::Codec(other),
    }
}
