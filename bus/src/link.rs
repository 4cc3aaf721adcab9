//! A connection's socket, whoever is at its other end: it waits, reads, decodes, and has what came handled.
//!
//! A turn is one read: all its frames are handled where they lie in the worker's inbox, what they cause is
//! queued to the receivers, and at the end of the turn every touched receiver is flushed. Nothing is handed
//! to another task on the way; a turn contains no `await`.

use std::future::{Future as _, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::client::Client;
use crate::delivery::Desk;
use crate::framing::{Grammar, Parser, Violation};
use crate::hub::Hub;
use crate::session::End;
use crate::socket::Incoming;
use crate::wire::{Codec, Decoded};
use crate::worker::Berth;
use crate::{memory, trace};

/// A publisher waits at most this often, this long, per turn for a receiver that cannot keep up.
const STALLS: usize = 5;
const STALL: Duration = Duration::from_millis(2);
/// How much is read at once from one whose bytes make much work, so that the others of its worker do not
/// wait long; from anybody else the whole inbox.
const SHORT_READ: usize = 64 << 10;
/// Payloads that lack more than this are read into their own buffer rather than through the inbox.
const DIRECT: usize = 32 << 10;

/// A socket, and what is said over it.
#[derive(Debug)]
pub(crate) struct Link<S: Side> {
    pub(crate) desk: Arc<Mutex<Desk>>,
    pub(crate) client: Arc<Client>,
    pub(crate) incoming: Incoming,
    pub(crate) parser: Parser<S::Rules>,
    pub(crate) talk: S,
    /// Whether the socket takes nothing at the moment.
    pub(crate) blocked: bool,
    /// Whether it is not read from for now.
    pub(crate) held: bool,
    timer: Pin<Box<Sleep>>,
    /// Whether what is read must be decoded first.
    coded: bool,
    /// Whether the codec has more of what has been read already.
    pub(crate) more: bool,
    /// Whether the parser has.
    paused: bool,
    /// Bytes that the codec keeps of what has come.
    kept_by_codec: usize,
    /// Whether that and the unfinished frame are so large that they are counted.
    holds: bool,
    /// How it ends when the parser has no more.
    afterwards: Option<End>,
}

/// This server's side of what is said: to clients, or to peers.
pub(crate) trait Side {
    /// The protocol.
    type Rules: Grammar;

    /// Does what is asked. By reference, as a copy of what the parser has just written would have to wait
    /// for it.
    fn handle(&mut self, desk: &mut Desk, op: &<Self::Rules as Grammar>::Op<'_>) -> Flow;

    /// Ends a turn in which `read` bytes came.
    fn end_turn(&mut self, desk: &mut Desk, read: usize);

    /// Writes what has come into the log, when that is wanted.
    fn trace(&self, _op: &<Self::Rules as Grammar>::Op<'_>) {}

    /// The codec has had its turn; nothing of what it made of it has been handled yet.
    fn decoded(&mut self, _desk: &mut Desk) {}

    /// Whether a read of usual length made so much work that a longer one would keep others waiting.
    fn is_laborious(&self) -> bool {
        false
    }

    /// How a connection ends on which this was said.
    fn violated(violation: Violation) -> End;

    fn hub(&self) -> &Hub;
}

/// What interrupts a turn.
#[derive(Debug)]
pub(crate) enum Break {
    /// A CONNECT, which may take a while to check.
    Connect(Box<[u8]>),
    /// There was so much to do that it is others' turn now.
    Pause,
    End(End),
}

/// Whether a turn goes on after an operation.
pub(crate) type Flow = ControlFlow<Break>;
pub(crate) const ON: Flow = ControlFlow::Continue(());

/// What has woken a connection's task.
pub(crate) enum Event {
    Turn(Turn),
    Timer,
    Signal(u32),
}

/// How a turn ended.
pub(crate) enum Turn {
    /// All that came is handled.
    Done,
    /// So it is, and there is probably more.
    Full,
    /// The rest waits until others have had their turn.
    Paused,
    /// The rest waits until the other side is known.
    Connect(Box<[u8]>),
    End(End),
}

// === impl Link ===

impl<S: Side> Link<S> {
    pub(crate) fn new(
        desk: Arc<Mutex<Desk>>,
        client: Arc<Client>,
        incoming: Incoming,
        rules: S::Rules,
        talk: S,
    ) -> Self {
        Link {
            desk,
            coded: client.wire().is_some_and(|wire| wire.is_coded()),
            client,
            incoming,
            parser: Parser::new(rules),
            talk,
            blocked: false,
            held: false,
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            more: false,
            paused: false,
            kept_by_codec: 0,
            holds: false,
            afterwards: None,
        }
    }

    /// From now on everything goes through a codec.
    pub(crate) fn talk_through(&mut self, codec: Box<dyn Codec>) {
        if let Some(wire) = self.client.wire() {
            wire.set_codec(codec);
        }
        self.coded = true;
    }

    /// Has the codec, if there is one, say what it has to say first: that of a client of TLS does so only
    /// when it is asked.
    pub(crate) fn begin(&mut self) -> Result<(), End> {
        if self.coded {
            let pool = &mut self.desk.lock().pool;
            let begun = self.client.decode(&[], &mut Vec::new(), pool);
            begun.map_err(End::Codec)?;
        }
        Ok(())
    }

    /// Queues a frame and sends what is queued. What others' turns have kept back goes out as well: a worker
    /// that is busy with this and the like has no turns to flush after.
    pub(crate) fn send(&self, frame: &[u8]) {
        let mut desk = self.desk.lock();
        self.client.send(frame, &mut desk.pool);
        self.client.flush(&mut desk.pool);
        desk.flush();
    }

    /// Sends what is queued.
    pub(crate) fn flush(&self) {
        self.client.flush(&mut self.desk.lock().pool);
    }

    /// Whether the socket has taken nothing for so long.
    pub(crate) fn is_stuck_for(&self, deadline: Duration) -> bool {
        let since = self.client.stuck_since();
        since.is_some_and(|since| since.elapsed() >= deadline)
    }

    /// Has the timer ring at `next`, or earlier if the socket does not get any further until then.
    pub(crate) fn arm_timer(&mut self, mut next: Instant, write_deadline: Duration) {
        if let Some(since) = self.client.stuck_since() {
            let deadline = Instant::from_std(since) + write_deadline;
            next = next.min(deadline.max(Instant::now() + Duration::from_millis(1)));
        }
        self.timer.as_mut().reset(next);
    }

    /// Whether nothing is under way that another worker would have to go on with.
    pub(crate) fn is_at_rest(&self) -> bool {
        !(self.blocked || self.held || self.more || self.paused) && self.afterwards.is_none()
    }

    /// Lives on this worker from now on, which is the one that this is called on.
    ///
    /// # Errors
    /// The system cannot watch its socket from there.
    pub(crate) fn move_to(&mut self, berth: &Berth) -> Result<(), End> {
        self.incoming.report_to(&berth.watch).map_err(End::Read)?;
        self.desk = Arc::clone(&berth.desk);
        self.timer = Box::pin(tokio::time::sleep_until(self.timer.deadline()));
        Ok(())
    }

    /// Waits for the next thing to do; reads and handles frames itself, so that the inbox is not held
    /// across a wait.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.client.waker.register(cx.waker());
        let signals = self.client.take_signals();
        if signals != 0 {
            return Poll::Ready(Event::Signal(signals));
        }
        self.poll_room(cx);
        // Before reading: one who always has something to say is not exempt from deadlines.
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Timer);
        }
        if self.held {
            return Poll::Pending;
        }
        self.poll_turn(cx).map(Event::Turn)
    }

    /// Goes on with writing if the socket has room again, and says whether it had. When that is used up as
    /// well, a signal tells.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        let has_room = self.blocked && self.incoming.poll_room(cx).is_ready();
        if has_room {
            self.blocked = false;
            self.client.unblock();
            self.flush();
        }
        has_room
    }

    /// One read and all that follows from it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if std::mem::take(&mut self.paused) {
            return Poll::Ready(self.resume());
        }
        let desk = Arc::clone(&self.desk);
        let desk = &mut *desk.lock();
        if self.more {
            return Poll::Ready(self.decode(desk, &[]));
        }
        let missing = self.parser.missing();
        if missing > DIRECT && !self.coded {
            let unfinished = self.parser.unfinished();
            let read = self.incoming.poll_append(cx, unfinished, missing);
            return read.map(|read| match read {
                Ok(0) => Turn::End(End::ClientClosed),
                Ok(_) => self.handle(desk, &[]),
                Err(error) => Turn::End(End::Read(error)),
            });
        }
        let mut inbox = std::mem::take(&mut desk.inbox);
        if inbox.is_empty() {
            // A turn that panicked took it along.
            inbox = Desk::inbox();
        }
        // What a codec makes of a read nobody knows.
        let room = if self.coded || self.talk.is_laborious() {
            inbox.len().min(SHORT_READ)
        } else {
            inbox.len()
        };
        let turn = match self.incoming.poll_read(cx, &mut inbox[..room]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Turn::End(End::Read(error))),
            Poll::Ready(Ok(0)) => Poll::Ready(Turn::End(End::ClientClosed)),
            Poll::Ready(Ok(count)) => {
                let turn = if self.coded {
                    self.decode(desk, &inbox[..count])
                } else {
                    self.handle(desk, &inbox[..count])
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

    /// Hands the input to the parser, its operations to this side, and the results to the sockets.
    pub(crate) fn handle(&mut self, desk: &mut Desk, input: &[u8]) -> Turn {
        let Link { parser, talk, .. } = self;
        let traced = trace::is_on();
        let before = parser.kept() + input.len();
        let fed = parser.feed(input, |_, op| {
            if traced {
                talk.trace(&op);
            }
            talk.handle(desk, &op)
        });
        let fresh = parser.kept() < before;
        self.count_unfinished(fresh);
        self.talk.end_turn(desk, input.len());
        match fed {
            Ok(None) => Turn::Done,
            Ok(Some(Break::Connect(json))) => Turn::Connect(json),
            Ok(Some(Break::Pause)) => Turn::Paused,
            Ok(Some(Break::End(end))) => Turn::End(end),
            Err(violation) => Turn::End(S::violated(violation)),
        }
    }

    /// Counts what is kept of what has come; it is something else than before if `fresh`.
    #[inline]
    fn count_unfinished(&mut self, fresh: bool) {
        let kept = self.parser.kept() + self.kept_by_codec;
        if kept >= memory::PAGE || self.holds {
            self.holds = kept >= memory::PAGE;
            let pressed = self.client.out().note_unfinished(kept, fresh);
            if pressed {
                self.talk.hub().relieve();
            }
        }
    }

    /// Goes on where the last turn was interrupted.
    pub(crate) fn resume(&mut self) -> Turn {
        let desk = Arc::clone(&self.desk);
        match self.handle(&mut desk.lock(), &[]) {
            Turn::Done => self.afterwards.take().map_or(Turn::Done, Turn::End),
            turn => turn,
        }
    }

    /// Has the codec read the input, then goes on as if that had come.
    fn decode(&mut self, desk: &mut Desk, input: &[u8]) -> Turn {
        let mut plain = std::mem::take(&mut desk.plain);
        plain.clear();
        let decoded = self.client.decode(input, &mut plain, &mut desk.pool);
        self.talk.decoded(desk);
        self.kept_by_codec = self.client.kept_by_codec();
        let turn = if plain.is_empty() {
            self.count_unfinished(false);
            // Whoever says nothing, and without a pause, keeps nothing back of what others say.
            desk.flush();
            Turn::Done
        } else {
            self.handle(desk, &plain)
        };
        desk.plain = plain;
        self.more = matches!(decoded, Ok(Decoded::More));
        let end = match decoded {
            Ok(Decoded::Open | Decoded::More) => None,
            Ok(Decoded::PeerClosed) => Some(End::ClientClosed),
            Err(error) => Some(End::Codec(error)),
        };
        match (turn, end) {
            (Turn::Done, None) if self.more => Turn::Full,
            (Turn::Done, Some(end)) => Turn::End(end),
            (turn, end) => {
                // Only when all is done that came before.
                self.afterwards = end;
                turn
            }
        }
    }

    /// Gives a receiver that could not keep up with this turn some time, if there was one.
    pub(crate) async fn wait_for_receiver(&self) {
        let congested = self.desk.lock().congested.take();
        if let Some(receiver) = congested {
            let monitor = &self.talk.hub().monitor;
            monitor.stalls.fetch_add(1, Ordering::Relaxed);
            Box::pin(wait_for(&receiver)).await;
        }
    }

    /// Ends a turn. `Some` when a CONNECT is to be looked at before it is [resumed](Self::resume).
    pub(crate) fn conclude(&mut self, turn: Turn) -> Result<Option<Box<[u8]>>, End> {
        match turn {
            Turn::Done | Turn::Full => Ok(None),
            Turn::Paused => {
                self.paused = true;
                Ok(None)
            }
            Turn::Connect(json) => Ok(Some(json)),
            Turn::End(end) => Err(end),
        }
    }

    /// Waits until everything queued is on its way, or the socket is broken.
    pub(crate) async fn get_through(&self) {
        self.flush();
        while self.client.out().has_unsent() {
            poll_fn(|cx| self.incoming.poll_room(cx)).await;
            self.client.unblock();
            self.flush();
            // A writer of another worker may be at it.
            tokio::task::yield_now().await;
        }
    }

    /// Reads until the other side has closed as well.
    pub(crate) async fn hear_out(&self) {
        loop {
            let heard = poll_fn(|cx| {
                let desk = &mut *self.desk.lock();
                // This is no turn, after which it would be sent what others' turns have kept back.
                desk.flush();
                self.incoming.poll_read(cx, &mut desk.inbox)
            });
            if !matches!(heard.await, Ok(1..)) {
                return;
            }
            // One who talks on and on would be heard on and on.
            tokio::task::yield_now().await;
        }
    }
}

// === impl Turn ===

impl Turn {
    /// Whether there is more to do at once.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Turn::Full | Turn::Paused)
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
