//! One connection, from INFO to its end: a task that reads, parses, delivers and writes.
//!
//! A turn is one read: all its frames are handled where they lie in the worker's inbox, what they
//! cause is queued to the receivers, and at the end of the turn every touched receiver is flushed.
//! Nothing is handed to another task on the way; a turn contains no `await`.

pub(crate) mod closing;
mod command;
mod end;
mod opening;
mod seat;
mod tap;
mod traced;

use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BufMut as _;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep};

use crate::auth::{Doorway, Expiry, Identity, Verdict};
use crate::client::{Client, Kind, signal};
use crate::delivery::Desk;
use crate::hub::Hub;
use crate::parser::{Parser, Rules};
use crate::protocol::frame;
use crate::settings::Settings;
use crate::trace::{self, Who};
use crate::wire::{Decoded, Wire};
use crate::worker::{Arrival, Door};
use command::{Break, Talk};
pub(crate) use end::End;

/// A publisher waits at most this often, this long, per turn for a receiver that cannot keep up.
const STALLS: usize = 5;
const STALL: Duration = Duration::from_millis(2);
/// How much is read at once from one whose bytes make much work, so that the others of its worker do not
/// wait long; from anybody else the whole inbox.
const SHORT_READ: usize = 64 << 10;
/// How old the measure of a round trip may become.
const ROUND_TRIP_AGE: Duration = Duration::from_secs(3600);
/// Payloads that lack more than this are read into their own buffer rather than through the inbox.
const DIRECT: usize = 32 << 10;

/// A connection's own side.
#[derive(Debug)]
pub(crate) struct Session {
    door: Door,
    /// When its JWT ends.
    expires: Option<(Instant, Expiry)>,
    hub: Arc<Hub>,
    desk: Arc<Mutex<Desk>>,
    client: Arc<Client>,
    read: OwnedReadHalf,
    parser: Parser,
    talk: Talk,
    nonce: Option<String>,
    blocked: bool,
    timer: Pin<Box<Sleep>>,
    next_ping: Instant,
    /// When it was last pinged.
    pinged: Option<Instant>,
    /// Until when it must have said who it is, or begun to speak where it need not say that.
    auth_until: Option<Instant>,
    /// INFO has been sent.
    greeted: bool,
}

/// What woke a session.
enum Event {
    Turn(Turn),
    Timer,
    Signal(u32),
    Writable,
}

/// How a turn ended.
enum Turn {
    /// All that came is handled.
    Done,
    /// So it is, and there is probably more.
    Full,
    /// The rest waits until others have had their turn.
    Paused,
    /// The rest waits until the client is known.
    Connect(Box<[u8]>),
    End(End),
}

// === impl Session ===

impl Session {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// The socket is broken already.
    pub(crate) fn new(hub: Arc<Hub>, desk: Arc<Mutex<Desk>>, arrival: Arrival) -> io::Result<Self> {
        let Arrival {
            socket, peer, door, ..
        } = arrival;
        socket.set_nodelay(true)?;
        let (read, write) = socket.into_split();
        let settings = hub.settings();
        let Settings { limits, .. } = &*settings;
        let users = settings.users_of(door);
        let client = Arc::new(Client::new(
            hub.next_id(),
            Kind::Client,
            peer,
            Some(Arc::new(Wire::new(write))),
            Arc::clone(hub.accounts.global()),
            &hub.memory,
            limits.max_pending,
        ));
        let parser = Parser::new(Rules {
            max_control_line: limits.max_control_line,
            max_payload: limits.max_payload,
            headers: false,
            connect_only: users.required(),
        });
        let now = Instant::now();
        let auth_until = users
            .are_known()
            .then(|| now + settings.security.auth_timeout(false));
        let next_ping = now + settings.ping_interval(door);
        client.set_misses(!limits.stall_producers);
        let mut talk = Talk::new(Arc::clone(&hub), Arc::clone(&client), Arc::clone(&settings));
        if let Some(identity) = users.no_auth() {
            talk.join(hub.accounts.get_or_create(&identity.account));
            talk.become_user(Arc::clone(identity));
        }
        let nonce = users.needs_nonce().then(|| {
            let bytes: [u8; 11] = rand::rng().random();
            URL_SAFE_NO_PAD.encode(bytes)
        });
        let timer = Box::pin(tokio::time::sleep_until(auth_until.unwrap_or(next_ping)));
        let mut session = Session {
            door,
            expires: None,
            hub,
            desk,
            client,
            read,
            parser,
            talk,
            nonce,
            blocked: false,
            timer,
            next_ping,
            pinged: None,
            auth_until,
            greeted: false,
        };
        session.apply_limits();
        Ok(session)
    }

    /// Serves the client until it or we have had enough, whatever happens.
    ///
    /// Boxed, and the futures of what is rare as well: an idle connection is mostly its future, and a future
    /// is as large as the largest thing that may happen in it.
    pub(crate) async fn run(mut self: Box<Self>) {
        let (hub, client) = (Arc::clone(&self.hub), Arc::clone(&self.client));
        let desk = Arc::clone(&self.desk);
        if AssertUnwindSafe(self.converse())
            .catch_unwind()
            .await
            .is_err()
        {
            // The defect is ours and the hook has reported it; the others go on.
            desk.lock().recover();
            Box::pin(hub.leave(&client, &End::Defect)).await;
            End::Defect.log(&client, "");
            client.out().close();
        }
    }

    async fn converse(&mut self) {
        let end = if self.hub.admit(&self.client) {
            tracing::debug!("{} - Client connection created", Who(&self.client));
            let end = match self.open().await {
                Ok(()) => self.serve().await,
                Err(end) => end,
            };
            // What it has said goes out before it is gone.
            self.desk.lock().flush();
            end
        } else {
            if self.speaks_in_clear() {
                self.greet();
            }
            End::TooManyConnections
        };
        Box::pin(self.hub.leave(&self.client, &end)).await;
        end.log(&self.client, self.talk.claimed_name());
        Box::pin(self.farewell(&end)).await;
        self.client.out().close();
    }

    async fn serve(&mut self) -> End {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            match event {
                Event::Turn(turn) => {
                    let busy = matches!(turn, Turn::Full | Turn::Paused);
                    if let Err(end) = self.settle(turn).await {
                        return end;
                    }
                    if busy {
                        // Let the driver and the other connections of this worker have their turn.
                        tokio::task::yield_now().await;
                    }
                }
                Event::Signal(signals) => {
                    // First: what is told is what counts from now on.
                    if signals & signal::SETTINGS != 0
                        && let Err(end) = Box::pin(self.apply_settings()).await
                    {
                        return end;
                    }
                    // Who is sent away is told before where to go.
                    if signals & signal::INFO != 0 {
                        let mut desk = self.desk.lock();
                        self.talk.inform(&mut desk);
                        desk.flush();
                    }
                    if signals & signal::END != 0 {
                        return self.client.take_end().unwrap_or(End::Shutdown);
                    }
                    if signals & signal::BLOCKED != 0 {
                        self.blocked = true;
                        self.arm_timer();
                    }
                    if signals & signal::FLUSH != 0 {
                        self.client.flush(&mut self.desk.lock().pool);
                    }
                }
                Event::Writable => {
                    self.blocked = false;
                    self.client.unblock();
                    self.client.flush(&mut self.desk.lock().pool);
                }
                Event::Timer => {
                    if let Err(end) = self.tick() {
                        return end;
                    }
                }
            }
        }
    }

    /// Waits for the next thing to do; reads and handles frames itself, so that the inbox is not held
    /// across a wait.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.client.waker.register(cx.waker());
        let signals = self.client.take_signals();
        if signals != 0 {
            return Poll::Ready(Event::Signal(signals));
        }
        if self.blocked && self.read.as_ref().poll_write_ready(cx).is_ready() {
            return Poll::Ready(Event::Writable);
        }
        // Before reading: one who always has something to say is not exempt from deadlines.
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Timer);
        }
        self.poll_turn(cx).map(Event::Turn)
    }

    /// One read and all that follows from it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let Session {
            desk,
            parser,
            read,
            talk,
            ..
        } = self;
        if std::mem::take(&mut talk.paused) {
            return Poll::Ready(resume(parser, talk, &mut desk.lock()));
        }
        if talk.more {
            return Poll::Ready(decode(parser, talk, &mut desk.lock(), &[]));
        }
        let missing = parser.missing();
        if missing > DIRECT && !talk.is_coded() {
            return poll_direct(parser, read, missing, cx).map(|read| match read {
                Ok(0) => Turn::End(End::ClientClosed),
                Ok(count) if count < missing => {
                    talk.note_unfinished(parser.kept(), false);
                    talk.publish_counts();
                    Turn::Done
                }
                Ok(_) => handle(parser, talk, &mut desk.lock(), &[]),
                Err(error) => Turn::End(End::Read(error)),
            });
        }
        let mut desk = desk.lock();
        let mut inbox = std::mem::take(&mut desk.inbox);
        if inbox.is_empty() {
            // A turn that panicked took it along.
            inbox = Desk::inbox();
        }
        let room = match inbox.len() {
            len if talk.was_laborious() => len.min(SHORT_READ),
            len => len,
        };
        let mut buffer = ReadBuf::new(&mut inbox[..room]);
        let polled = Pin::new(read).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        let turn = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Turn::End(End::Read(error))),
            Poll::Ready(Ok(())) if count == 0 => Poll::Ready(Turn::End(End::ClientClosed)),
            Poll::Ready(Ok(())) => {
                let turn = if talk.is_coded() {
                    decode(parser, talk, &mut desk, &inbox[..count])
                } else {
                    handle(parser, talk, &mut desk, &inbox[..count])
                };
                Poll::Ready(match turn {
                    Turn::Done if count == room => Turn::Full,
                    turn => turn,
                })
            }
        };
        desk.inbox = inbox;
        turn
    }

    /// What is left to do after a turn and may take a while.
    async fn settle(&mut self, mut turn: Turn) -> Result<(), End> {
        loop {
            let congested = self.desk.lock().congested.take();
            if let Some(receiver) = congested {
                self.hub.monitor.stalls.fetch_add(1, Ordering::Relaxed);
                Box::pin(wait_for(&receiver)).await;
            }
            match turn {
                Turn::Done | Turn::Full => {
                    if !self.parser.rules.connect_only {
                        self.auth_until = None;
                    }
                    return Ok(());
                }
                Turn::Paused => {
                    self.talk.paused = true;
                    return Ok(());
                }
                Turn::End(end) => return Err(end),
                Turn::Connect(json) => {
                    let again = self.client.about().connected;
                    Box::pin(self.connect(&json)).await?;
                    if again {
                        // To look at credentials takes a while, and there may be many.
                        tokio::task::yield_now().await;
                    }
                    turn = resume(&mut self.parser, &mut self.talk, &mut self.desk.lock());
                }
            }
        }
    }

    /// `CONNECT`: who is it, and how does it want to talk?
    async fn connect(&mut self, json: &[u8]) -> Result<(), End> {
        let options = &mut self.talk.options;
        let introduced = options.update(json).map_err(End::BadConnect)?;
        {
            // Even of those who are refused, one wants to know who they say they are.
            let mut about = self.client.about();
            let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
            about.claims = shared(&options.nkey).or_else(|| shared(&options.user));
            about.name = shared(&options.name);
            about.lang = shared(&options.lang);
            about.version = shared(&options.version);
        }
        let again = self.talk.known;
        if !again {
            // From the greeting to the answer: until a ping is answered, the best there is.
            let rtt = self.client.started.elapsed();
            self.client.set_rtt(rtt.unwrap_or_default());
            self.ping_soon();
        }
        let settings = Arc::clone(&self.talk.settings);
        let identity = if again && !introduced {
            // It only changes how it wants to talk.
            self.talk.identity.clone()
        } else {
            self.identify(&settings).await?
        };
        let checked = identity.is_some();
        self.take_seat(identity)?;
        self.auth_until = None;
        let options = &mut self.talk.options;
        if options.names_account {
            return Err(End::Refused);
        }
        if !(0..=1).contains(&options.protocol) {
            return Err(End::BadProtocol);
        }
        if options.no_responders && !options.headers {
            return Err(End::NoRespondersNeedsHeaders);
        }
        self.talk.anonymous = options.is_anonymous() && !settings.maps_users(self.door);
        if checked {
            options.forget_secrets();
        }
        self.hub.joined(&self.client);
        self.talk.known = true;
        self.parser.rules.connect_only = false;
        self.parser.rules.headers = options.headers;
        self.client.out().headers = options.headers;
        self.client.echo.store(options.echo, Ordering::Relaxed);
        if options.verbose {
            self.send(frame::OK);
        }
        Ok(())
    }

    /// Finds out who the client is by what it has said so far; nobody in particular where nobody is asked.
    async fn identify(&mut self, settings: &Settings) -> Result<Option<Arc<Identity>>, End> {
        let handshake = self.client.handshake();
        let maps_certificates = settings.maps_users(self.door);
        let options = &mut self.talk.options;
        let greeting = handshake.and_then(|handshake| handshake.websocket.as_ref());
        if let Some(greeting) = greeting {
            options.fill_in(&greeting.cookies);
        }
        let doorway = Doorway {
            nonce: self.nonce.as_deref().unwrap_or_default(),
            address: self.client.peer.ip(),
            way: self.door.way(),
            maps_certificates,
            certificate: handshake.and_then(|handshake| handshake.peer.as_ref()),
        };
        match settings.users_of(self.door).check(options, &doorway) {
            Verdict::Open => Ok(None),
            Verdict::Known(identity) => Ok(Some(identity)),
            Verdict::Refused => Err(End::Refused),
            Verdict::Slow(check) => {
                let checked = async {
                    let _permit = self.hub.slow_checks.acquire().await.ok()?;
                    tokio::task::spawn_blocking(move || check.run())
                        .await
                        .ok()?
                };
                let checked = tokio::time::timeout(settings.limits.auth_timeout, checked).await;
                let identity = checked.map_err(|_| End::AuthTimeout)?;
                identity.ok_or(End::Refused).map(Some)
            }
        }
    }

    /// The timer has rung: somebody is late, or a ping is due.
    fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let limits = self.talk.settings.limits.clone();
        if self.auth_until.is_some_and(|until| until <= now) {
            return Err(End::AuthTimeout);
        }
        if let Some((_, expiry)) = self.expires.filter(|(at, _)| *at <= now) {
            return Err(match expiry {
                Expiry::User => End::UserExpired,
                Expiry::Account => End::AccountExpired,
            });
        }
        if let Some(since) = self.client.stuck_since()
            && since.elapsed() >= limits.write_deadline
        {
            return Err(End::SlowConsumerDeadline);
        }
        if self.next_ping <= now {
            self.next_ping = now + self.talk.settings.ping_interval(self.door);
            let active = self.talk.was_active();
            // Even one who is never silent is asked now and then, to measure the round trip.
            let is_due = self.pinged.is_none_or(|at| now - at > ROUND_TRIP_AGE);
            if is_due || !active {
                if self.talk.pings_out >= limits.ping_max {
                    return Err(End::Stale);
                }
                self.pinged = Some(now);
                self.talk.pings_out += 1;
                // The first answer is to the first of them.
                self.talk
                    .pinged_at
                    .get_or_insert_with(std::time::Instant::now);
                self.send(frame::PING);
            }
        }
        self.arm_timer();
        Ok(())
    }

    /// Has the first ping sent soon, and not to all at once who have come together.
    fn ping_soon(&mut self) {
        let settings = &self.talk.settings;
        let first = settings.limits.first_ping;
        let wait = first.min(settings.ping_interval(self.door));
        let delay = wait.mul_f64(rand::rng().random_range(0.0..0.2));
        self.next_ping = Instant::now() + wait + delay;
        self.arm_timer();
    }

    fn arm_timer(&mut self) {
        let mut next = self
            .auth_until
            .map_or(self.next_ping, |until| until.min(self.next_ping));
        if let Some((at, _)) = self.expires {
            next = next.min(at);
        }
        if let Some(since) = self.client.stuck_since() {
            let deadline = Instant::from_std(since) + self.talk.settings.limits.write_deadline;
            next = next.min(deadline.max(Instant::now() + Duration::from_millis(1)));
        }
        self.timer.as_mut().reset(next);
    }

    fn send(&self, frame: &[u8]) {
        let mut desk = self.desk.lock();
        self.client.send(frame, &mut desk.pool);
        self.client.flush(&mut desk.pool);
    }
}

/// Gives a receiver that is slow but alive some time.
async fn wait_for(receiver: &Client) {
    for _ in 0..STALLS {
        tokio::time::sleep(STALL).await;
        if !receiver.is_congested() {
            return;
        }
    }
}

/// Hands the input to the parser, its operations to the client's side, and the results to the sockets.
fn handle(parser: &mut Parser, talk: &mut Talk, desk: &mut Desk, input: &[u8]) -> Turn {
    let traced = trace::is_on();
    let before = parser.kept() + input.len();
    let fed = parser.feed(input, |_, op| {
        if traced {
            trace::incoming(&talk.client, &op, talk.settings.limits.max_traced);
        }
        talk.handle(desk, &op)
    });
    let kept = parser.kept();
    talk.note_unfinished(kept, kept < before);
    talk.publish_counts();
    talk.end_turn(input.len(), desk.end_turn());
    match fed {
        Ok(None) => Turn::Done,
        Ok(Some(Break::Connect(json))) => Turn::Connect(json),
        Ok(Some(Break::Pause)) => Turn::Paused,
        Ok(Some(Break::End(end))) => Turn::End(end),
        Err(violation) => Turn::End(End::Violation(violation)),
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
    let decoded = talk.client.decode(input, &mut plain, &mut desk.pool);
    let turn = if plain.is_empty() {
        Turn::Done
    } else {
        handle(parser, talk, desk, &plain)
    };
    desk.plain = plain;
    talk.more = matches!(decoded, Ok(Decoded::More));
    let end = match decoded {
        Ok(Decoded::Open | Decoded::More) => None,
        Ok(Decoded::PeerClosed) => Some(End::ClientClosed),
        Err(error) => Some(End::Codec(error)),
    };
    match (turn, end) {
        (Turn::Done, None) if talk.more => Turn::Full,
        (Turn::Done, Some(end)) => Turn::End(end),
        (turn, end) => {
            // Only when all is done that came before.
            talk.afterwards = end;
            turn
        }
    }
}

/// Reads the rest of a large payload straight into its buffer.
fn poll_direct(
    parser: &mut Parser,
    read: &mut OwnedReadHalf,
    missing: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ready!(read.as_ref().poll_read_ready(cx))?;
    let mut target = parser.unfinished().limit(missing);
    match read.try_read_buf(&mut target) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // The readiness was stale; ask again, to be woken.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        result => Poll::Ready(result),
    }
}
