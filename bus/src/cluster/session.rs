//! One route, from the first INFO to its end: a task that reads, parses, delivers and writes, like that of
//! a client's connection, and by the same rules: what one read brings is handled without a wait.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};

use super::dialler::Dialled;
use super::end::{self, RouteEnd};
use super::info::{Gossip, RouteConnect};
use super::node::{self, Node};
use super::parser::{Parser, Rules};
use super::route::Route;
use super::talk::{Break, Talk};
use super::{credentials, dial::Outcome};
use crate::client::{Client, Kind, signal};
use crate::config;
use crate::delivery::Desk;
use crate::hub::Hub;
use crate::protocol::frame;
use crate::session::{End, closing};
use crate::wire::{Decoded, Wire};
use crate::worker::Arrival;

/// When a peer is pinged first.
const FIRST_PING: Duration = Duration::from_secs(1);
/// How long a second connection to a peer waits for the first one to end, or to prove alive.
const GRACE: Duration = Duration::from_millis(700);
/// How often it waits once more for a peer that still uses it.
const SETTLED: u32 = 4;
/// A peer may take this long to say who it is, once it has been let in.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// How long the last words to a peer may take to get onto the wire, and for how long what it still sends
/// is read, so that it hears them.
const FAREWELL: Duration = Duration::from_millis(500);
/// A peer's lines are longer than a client's: they name an account, and all queue groups that have a member
/// here. Clients choose the names, and must not be able to end a route by that.
const CONTROL_LINE: usize = 2 << 20;
/// A peer gets this much more room than a client before it is cut off: many depend on it.
const PATIENCE: usize = 4;
/// How often, and how long at a time, a turn waits for a receiver that cannot keep up.
const STALLS: usize = 5;
const STALL: Duration = Duration::from_millis(2);

/// A route's own side.
#[derive(Debug)]
pub(crate) struct RouteSession {
    desk: Arc<Mutex<Desk>>,
    client: Arc<Client>,
    read: OwnedReadHalf,
    parser: Parser,
    talk: Talk,
    dialled: Option<Box<Dialled>>,
    /// Where it was dialled because that is configured.
    configured: Option<config::RouteUrl>,
    /// What the peer has said to be let in.
    said: Option<RouteConnect>,
    coded: bool,
    /// Whether the parser has more of what has been read already.
    paused: bool,
    blocked: bool,
    timer: Pin<Box<Sleep>>,
    next_ping: Instant,
    /// When the peer must have shown itself: by a handshake, by CONNECT, by INFO.
    patient_until: Option<(Instant, Wait)>,
    settle_at: Option<Instant>,
    settled: u32,
    /// Whether the peer is to be told next that it hears all by another connection.
    withdraws: bool,
}

/// What a peer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Handshake,
    Connect,
    Info,
}

enum Event {
    Turn(Turn),
    Timer,
    Signal(u32),
    Writable,
}

enum Turn {
    Done,
    Full,
    Paused,
    Connect(Box<[u8]>),
    End(End),
}

// === impl RouteSession ===

impl RouteSession {
    /// Takes over a socket, accepted or dialled.
    ///
    /// # Errors
    /// The socket is broken already.
    pub(crate) fn new(
        hub: Arc<Hub>,
        node: Arc<Node>,
        desk: Arc<Mutex<Desk>>,
        arrival: Arrival,
    ) -> io::Result<Self> {
        let Arrival {
            socket,
            peer,
            dialled,
            ..
        } = arrival;
        socket.set_nodelay(true)?;
        let (read, write) = socket.into_split();
        let wire = Wire::new(write);
        let settings = hub.settings();
        if let Some(tls) = &settings.route_tls {
            if dialled.is_none() && !tls.acceptor.admits(std::time::Instant::now()) {
                return Err(io::Error::other("TLS handshakes are begun too fast"));
            }
            let codec = tls.codec(dialled.as_deref());
            wire.set_codec(Box::new(codec.map_err(io::Error::other)?));
        }
        let coded = wire.is_coded();
        let limits = &settings.limits;
        let config = settings.config.cluster.clone().unwrap_or_default();
        let client = Arc::new(Client::new(
            hub.next_id(),
            Kind::Route,
            peer,
            Some(Arc::new(wire)),
            Arc::clone(hub.accounts.global()),
            &hub.memory,
            config
                .max_pending
                .unwrap_or_else(|| limits.max_pending.saturating_mul(PATIENCE)),
        ));
        client.out().headers = true;
        let route = Arc::new(Route::new(
            Arc::clone(&client),
            dialled.is_some(),
            dialled.as_ref().is_some_and(|dialled| dialled.configured),
            dialled
                .as_ref()
                .map_or(Gossip::Default, |dialled| dialled.gossip),
        ));
        let parser = Parser::new(Rules {
            max_control_line: config
                .max_control_line
                .unwrap_or(CONTROL_LINE)
                .max(limits.max_control_line),
            // A peer's clients may send more than ours may; what nobody could be sent is refused.
            max_payload: limits.max_payload.max(limits.max_pending.min(MAX_PAYLOAD)),
            connect_only: dialled.is_none(),
        });
        let now = Instant::now();
        let mut session = RouteSession {
            desk,
            client,
            read,
            parser,
            talk: Talk::new(route, hub, node),
            configured: dialled
                .as_ref()
                .filter(|dialled| dialled.configured)
                .map(|dialled| dialled.url.clone()),
            said: None,
            dialled,
            coded,
            paused: false,
            blocked: false,
            timer: Box::pin(tokio::time::sleep_until(now)),
            next_ping: now + FIRST_PING,
            patient_until: None,
            settle_at: None,
            settled: 0,
            withdraws: false,
        };
        let handshake = settings
            .route_tls
            .as_ref()
            .map(|tls| match session.dialled {
                Some(_) => tls.connector.timeout,
                None => tls.acceptor.timeout,
            });
        session.patient_until = match handshake {
            Some(timeout) => Some((now + timeout, Wait::Handshake)),
            None => session.first_wait(now),
        };
        Ok(session)
    }

    /// Serves the peer until it or we have had enough, whatever happens.
    pub(crate) async fn run(mut self) {
        let (node, hub, route) = (
            Arc::clone(&self.talk.node),
            Arc::clone(&self.talk.hub),
            Arc::clone(&self.talk.route),
        );
        let outcome = self.dialled.take();
        let (greeting, outcome) = match outcome {
            Some(dialled) => {
                let Dialled {
                    url,
                    outcome,
                    joining,
                    ..
                } = *dialled;
                self.talk.joining = joining;
                (Some(url), Some(outcome))
            }
            None => (None, None),
        };
        node.open(&hub, &route);
        // A reload while it was being dialled may have taken it out of the configuration.
        self.client.raise(signal::SETTINGS);
        tracing::info!(
            "{} - rid:{} - Route connection created",
            self.client.peer,
            self.client.id
        );
        let served = AssertUnwindSafe(self.serve(greeting)).catch_unwind().await;
        // Its subscriptions go before anything else: what cannot be delivered should go elsewhere.
        let end = served.unwrap_or(End::Defect);
        node.close(&hub, &route, &end).await;
        self.talk.joining = None;
        end::log(&end, self.client.id, self.client.peer);
        let was_used = self.talk.is_introduced();
        if matches!(end, End::Defect) {
            self.desk.lock().recover();
        } else {
            self.farewell(&end).await;
        }
        self.client.out().close();
        if let Some(tell) = outcome {
            let _: Result<(), Outcome> = tell.send(end::outcome(&end, was_used));
        }
    }

    async fn serve(&mut self, url: Option<config::RouteUrl>) -> End {
        // From here on it hears when they are replaced; that may have been just before.
        if let Err(end) = self.apply_settings().await {
            return end;
        }
        if self.coded {
            // A client's codec speaks first, and says so only when it is asked.
            let begun = self
                .client
                .decode(&[], &mut Vec::new(), &mut self.desk.lock().pool);
            if let Err(error) = begun {
                return End::Codec(error);
            }
        }
        self.greet(url.as_ref());
        self.arm_timer();
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            let done = match event {
                Event::Turn(turn) => {
                    let busy = matches!(turn, Turn::Full | Turn::Paused);
                    let done = self.settle_turn(turn).await;
                    if busy {
                        // Let the driver and the other connections of this worker have their turn.
                        tokio::task::yield_now().await;
                    }
                    done
                }
                Event::Signal(signals) => self.obey(signals).await,
                Event::Writable => {
                    self.blocked = false;
                    self.client.unblock();
                    self.client.flush(&mut self.desk.lock().pool);
                    Ok(())
                }
                Event::Timer => self.tick(),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Says who this server is, as soon as the handshake is over.
    fn greet(&mut self, url: Option<&config::RouteUrl>) {
        let Talk {
            hub, node, route, ..
        } = &self.talk;
        let mut words = url.map(|url| node.greeting(hub, url)).unwrap_or_default();
        words.extend_from_slice(&node.info(hub, route.gossip).frame());
        if route.dialled {
            // Answered when the peer has taken all this in, and has told its own.
            words.extend_from_slice(frame::PING);
        }
        self.talk.words = Some(words);
        let mut desk = self.desk.lock();
        self.talk.greet(&mut desk);
        desk.flush();
    }

    /// What the peer is waited for first, in clear.
    fn first_wait(&self, now: Instant) -> Option<(Instant, Wait)> {
        if self.talk.route.dialled {
            return Some((now + INTRODUCTION, Wait::Info));
        }
        let settings = self.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let timeout = config.map_or(Duration::from_secs(2), |config| {
            config.authorization.timeout
        });
        Some((now + timeout, Wait::Connect))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.client.waker.register(cx.waker());
        let signals = self.client.take_signals();
        if signals != 0 {
            return Poll::Ready(Event::Signal(signals));
        }
        if self.blocked && self.read.as_ref().poll_write_ready(cx).is_ready() {
            return Poll::Ready(Event::Writable);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Timer);
        }
        self.poll_turn(cx).map(Event::Turn)
    }

    /// One read and all that follows from it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let desk = &mut *self.desk.lock();
        if std::mem::take(&mut self.paused) {
            let turn = resume(&mut self.parser, &mut self.talk, desk);
            return Poll::Ready(turn);
        }
        let mut inbox = std::mem::take(&mut desk.inbox);
        if inbox.is_empty() {
            // A turn that panicked took it along.
            inbox = Desk::inbox();
        }
        let mut buffer = ReadBuf::new(&mut inbox);
        let polled = Pin::new(&mut self.read).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        let (parser, talk) = (&mut self.parser, &mut self.talk);
        let turn = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Turn::End(End::Read(error))),
            Poll::Ready(Ok(())) if count == 0 => Poll::Ready(Turn::End(End::ClientClosed)),
            Poll::Ready(Ok(())) => {
                let turn = if self.coded {
                    decode(parser, talk, desk, &inbox[..count])
                } else {
                    handle(parser, talk, desk, &inbox[..count])
                };
                Poll::Ready(match turn {
                    Turn::Done if count == inbox.len() => Turn::Full,
                    turn => turn,
                })
            }
        };
        desk.inbox = inbox;
        turn
    }

    /// What is left to do after a turn and may take a while.
    async fn settle_turn(&mut self, mut turn: Turn) -> Result<(), End> {
        loop {
            let congested = self.desk.lock().congested.take();
            if let Some(receiver) = congested {
                for _ in 0..STALLS {
                    tokio::time::sleep(STALL).await;
                    if !receiver.is_congested() {
                        break;
                    }
                }
            }
            self.note_progress();
            match turn {
                Turn::Done | Turn::Full => return Ok(()),
                Turn::Paused => {
                    self.paused = true;
                    return Ok(());
                }
                Turn::End(end) => return Err(end),
                Turn::Connect(json) => {
                    self.connect(&json).await?;
                    let desk = &mut *self.desk.lock();
                    turn = resume(&mut self.parser, &mut self.talk, desk);
                }
            }
        }
    }

    /// What has come may end a wait, or begin one.
    fn note_progress(&mut self) {
        if self.talk.has_greeted()
            && self
                .patient_until
                .is_some_and(|(_, wait)| wait == Wait::Handshake)
        {
            self.patient_until = self.first_wait(Instant::now());
            self.arm_timer();
        }
        if self.talk.is_introduced()
            && self
                .patient_until
                .is_some_and(|(_, wait)| wait == Wait::Info)
        {
            self.patient_until = None;
        }
        if self.talk.spare.is_some() && self.settle_at.is_none() {
            self.settle_at = Some(Instant::now() + GRACE);
            self.arm_timer();
        }
    }

    /// `CONNECT`: is it a peer, and one of this cluster?
    async fn connect(&mut self, json: &[u8]) -> Result<(), End> {
        let said: RouteConnect =
            serde_json::from_slice(json).map_err(|error| End::Route(RouteEnd::BadJson(error)))?;
        if said.lang.is_some_and(|lang| !lang.is_empty()) {
            return Err(End::Route(RouteEnd::WrongPort));
        }
        if let Some(gateway) = said.gateway.filter(|name| !name.is_empty()) {
            return Err(End::Route(RouteEnd::Gateway(gateway)));
        }
        let said = RouteConnect {
            lang: None,
            gateway: None,
            ..said
        };
        self.check(&said).await?;
        let node = &self.talk.node;
        node.agree(&said.cluster, said.cluster_dynamic, self.client.id)
            .map_err(End::Route)?;
        self.said = Some(said);
        self.parser.rules.connect_only = false;
        self.patient_until = Some((Instant::now() + INTRODUCTION, Wait::Info));
        self.arm_timer();
        Ok(())
    }

    /// Whether the peer may come in, by its certificate or by what it has said.
    async fn check(&self, said: &RouteConnect) -> Result<(), End> {
        let hub = &self.talk.hub;
        let cluster = hub.settings().config.cluster.clone().unwrap_or_default();
        let shown = || self.client.wire()?.handshake().peer;
        let let_in = if let Some(named) = credentials::by_certificate(&cluster, shown) {
            named
        } else if credentials::are_slow(&cluster.authorization) {
            let _permit = hub.slow_checks.acquire().await.map_err(|_| End::Shutdown)?;
            let (wanted, said) = (cluster.authorization, said.clone());
            let timeout = wanted.timeout;
            let check = tokio::task::spawn_blocking(move || credentials::check(&wanted, &said));
            let checked = tokio::time::timeout(timeout, check).await;
            checked.map_err(|_| End::AuthTimeout)?.unwrap_or(false)
        } else {
            credentials::check(&cluster.authorization, said)
        };
        if let_in { Ok(()) } else { Err(End::Refused) }
    }

    /// The settings have been replaced: it may have to go.
    async fn apply_settings(&mut self) -> Result<(), End> {
        let settings = self.talk.hub.settings();
        let routes = settings.config.cluster.as_ref().map(|it| &it.routes);
        if let Some(url) = &self.configured
            && !routes.is_some_and(|routes| routes.contains(url))
        {
            return Err(End::Route(RouteEnd::Removed));
        }
        if let Some(said) = &self.said {
            self.check(said).await?;
        }
        self.talk.apply_settings();
        Ok(())
    }

    async fn obey(&mut self, signals: u32) -> Result<(), End> {
        if signals & signal::END != 0 {
            return Err(self.client.take_end().unwrap_or(End::Shutdown));
        }
        if signals & signal::SETTINGS != 0 {
            self.apply_settings().await?;
        }
        if signals & signal::BLOCKED != 0 {
            self.blocked = true;
            self.arm_timer();
        }
        if signals & signal::SETTLE != 0 {
            // The other one is in use, and alive.
            self.withdraws = true;
            self.talk.spare = Some(u64::MAX);
            self.settle_at = Some(Instant::now() + GRACE);
            self.arm_timer();
        }
        if signals & signal::FLUSH != 0 {
            self.client.flush(&mut self.desk.lock().pool);
        }
        Ok(())
    }

    /// The timer has rung: somebody is late, or a ping is due.
    fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if let Some((until, wait)) = self.patient_until
            && until <= now
        {
            return Err(match wait {
                Wait::Handshake => End::Route(RouteEnd::Handshake),
                Wait::Connect => End::AuthTimeout,
                Wait::Info => End::Route(RouteEnd::Unknown),
            });
        }
        if let Some(since) = self.client.stuck_since()
            && since.elapsed() >= self.write_deadline()
        {
            return Err(End::SlowConsumerDeadline);
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle_at = None;
            if let Some(heard) = self.talk.spare.take() {
                let Talk { node, route, .. } = &self.talk;
                let withdraws = std::mem::take(&mut self.withdraws);
                if withdraws {
                    node.interest.withdraw(&self.client);
                }
                let settled = node.settle(route, heard);
                // The peer still tells its interest here: it shall have told it on the other one
                // before this one ends, or what is published meanwhile is lost.
                if settled.is_err()
                    && (withdraws || self.client.subscription_count() > 0)
                    && self.settled < SETTLED
                {
                    self.settled += 1;
                    self.talk.spare = Some(u64::MAX);
                    self.settle_at = Some(now + GRACE);
                } else {
                    settled.map_err(End::Route)?;
                }
            }
        }
        if self.next_ping <= now {
            let interval = node::ping_interval(&self.talk.hub);
            let jitter = interval.mul_f64(rand::rng().random_range(0.0..0.2));
            self.next_ping = now + interval + jitter;
            if self.talk.is_introduced() {
                self.ping()?;
            }
        }
        self.arm_timer();
        Ok(())
    }

    fn ping(&mut self) -> Result<(), End> {
        let settings = self.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let own = config.and_then(|config| config.ping_max);
        if self.talk.pings_out >= own.unwrap_or(settings.limits.ping_max) {
            return Err(End::Stale);
        }
        self.talk.pings_out += 1;
        self.talk.pinged_at = Some(std::time::Instant::now());
        self.send(frame::PING);
        Ok(())
    }

    fn write_deadline(&self) -> Duration {
        let settings = self.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let own = config.and_then(|config| config.write_deadline);
        own.unwrap_or(settings.limits.write_deadline)
    }

    fn arm_timer(&mut self) {
        let mut next = self.next_ping;
        if let Some((until, _)) = self.patient_until {
            next = next.min(until);
        }
        if let Some(at) = self.settle_at {
            next = next.min(at);
        }
        if let Some(since) = self.client.stuck_since() {
            let deadline = Instant::from_std(since) + self.write_deadline();
            next = next.min(deadline.max(Instant::now() + Duration::from_millis(1)));
        }
        self.timer.as_mut().reset(next);
    }

    fn send(&self, frame: &[u8]) {
        let mut desk = self.desk.lock();
        self.client.send(frame, &mut desk.pool);
        self.client.flush(&mut desk.pool);
    }

    /// Says why, if there is anything to say, and lets it get through.
    async fn farewell(&mut self, end: &End) {
        let Some(text) = end::text(end).filter(|_| self.talk.has_greeted()) else {
            return;
        };
        self.send(format!("-ERR '{text}'\r\n").as_bytes());
        let sent = closing::get_through(&self.client, &self.read, &self.desk);
        if tokio::time::timeout(FAREWELL, sent).await.is_err() {
            return;
        }
        // The last holder of the write half shuts it down.
        self.client.out().close();
        let _ = tokio::time::timeout(FAREWELL, closing::hear_out(&self.read)).await;
    }
}

/// Largest message taken from a peer, whatever is configured.
const MAX_PAYLOAD: usize = 64 << 20;

/// Hands the input to the parser, its operations to the peer's side, and the results to the sockets.
fn handle(parser: &mut Parser, talk: &mut Talk, desk: &mut Desk, input: &[u8]) -> Turn {
    let before = parser.kept() + input.len();
    let fed = parser.feed(input, |_, op| -> ControlFlow<Break> {
        talk.handle(desk, op)
    });
    let kept = parser.kept();
    let client = &talk.route.client;
    let pressed = client.out().note_unfinished(kept, kept < before);
    if pressed {
        talk.hub.relieve();
    }
    talk.publish_counts();
    desk.end_turn();
    desk.flush();
    match fed {
        Ok(None) => Turn::Done,
        Ok(Some(Break::Pause)) => Turn::Paused,
        Ok(Some(Break::Connect(json))) => Turn::Connect(json),
        Ok(Some(Break::End(end))) => Turn::End(end),
        Err(violation) => Turn::End(End::Route(RouteEnd::Violation(violation))),
    }
}

/// Goes on where the last turn was interrupted.
fn resume(parser: &mut Parser, talk: &mut Talk, desk: &mut Desk) -> Turn {
    match handle(parser, talk, desk, &[]) {
        Turn::Done => talk.afterwards.take().map_or(Turn::Done, Turn::End),
        turn => turn,
    }
}

/// Has the codec read the input, then goes on as if that had come.
fn decode(parser: &mut Parser, talk: &mut Talk, desk: &mut Desk, input: &[u8]) -> Turn {
    let mut plain = std::mem::take(&mut desk.plain);
    plain.clear();
    let client = &talk.route.client;
    let decoded = client.decode(input, &mut plain, &mut desk.pool);
    // Before what the peer has said is answered.
    talk.greet(desk);
    let turn = if plain.is_empty() {
        desk.flush();
        Turn::Done
    } else {
        handle(parser, talk, desk, &plain)
    };
    desk.plain = plain;
    let end = match decoded {
        Ok(Decoded::Open | Decoded::More) => None,
        Ok(Decoded::PeerClosed) => Some(End::ClientClosed),
        Err(error) => Some(End::Codec(error)),
    };
    match (turn, end) {
        (Turn::Done, Some(end)) => Turn::End(end),
        (turn, end) => {
            talk.afterwards = end;
            turn
        }
    }
}
