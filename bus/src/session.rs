//! One client's connection, from INFO to its end: who it is, how long it may take, and what it is told.

mod closing;
mod command;
mod end;
mod opening;
mod seat;
mod tap;
mod traced;

use std::future::{Future as _, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use rand::Rng as _;
use tokio::time::Instant;

use crate::auth::{Doorway, Expiry, Identity, Verdict};
use crate::client::{Client, Kind, signal};
use crate::doors::{Arrival, Door};
use crate::hub::Hub;
use crate::link::{Event, Link, Turn};
use crate::parser::Rules;
use crate::place::Place;
use crate::protocol::frame;
use crate::settings::Settings;
use crate::socket;
use crate::trace::Who;
use crate::wire::Wire;
use crate::worker::Berth;
use command::Talk;
pub(crate) use end::End;

/// How old the measure of a round trip may become.
const ROUND_TRIP_AGE: Duration = Duration::from_secs(3600);

/// A connection's own side.
#[derive(Debug)]
pub(crate) struct Session {
    door: Door,
    /// When its JWT ends.
    expires: Option<(Instant, Expiry)>,
    hub: Arc<Hub>,
    link: Link<Talk>,
    nonce: Option<String>,
    next_ping: Instant,
    /// When it was last pinged.
    pinged: Option<Instant>,
    /// Until when it must have said who it is, or begun to speak where it need not say that.
    auth_until: Option<Instant>,
    /// INFO has been sent.
    greeted: bool,
}

// === impl Session ===

impl Session {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// The socket is broken already.
    pub(crate) fn new(hub: Arc<Hub>, berth: Berth, arrival: Arrival) -> io::Result<Self> {
        let Arrival {
            socket, peer, door, ..
        } = arrival;
        socket.set_nodelay(true)?;
        let (incoming, outgoing) = socket::split(socket, &berth.watch)?;
        let settings = hub.settings();
        let Settings { limits, .. } = &*settings;
        let users = settings.users_of(door);
        let client = Arc::new(Client::new(
            hub.next_id(),
            Kind::Client,
            peer,
            Some(Arc::new(Wire::new(outgoing))),
            Arc::clone(hub.accounts.global()),
            &hub.memory,
            limits.max_pending,
        ));
        let rules = Rules {
            max_control_line: limits.max_control_line,
            max_payload: limits.max_payload,
            headers: false,
            connect_only: users.required(),
        };
        let now = Instant::now();
        let auth_until = users
            .are_known()
            .then(|| now + settings.security.auth_timeout(false));
        let next_ping = now + settings.ping_interval(door);
        client.set_misses(!limits.stall_producers);
        let desk = Arc::clone(&berth.desk);
        let mut talk = Talk::new(
            Arc::clone(&hub),
            Arc::clone(&client),
            Arc::clone(&settings),
            Place::at(berth),
        );
        if let Some(identity) = users.no_auth() {
            talk.join(hub.accounts.get_or_create(&identity.account));
            talk.become_user(Arc::clone(identity));
        }
        let nonce = users.needs_nonce().then(|| {
            let bytes: [u8; 11] = rand::rng().random();
            URL_SAFE_NO_PAD.encode(bytes)
        });
        let mut session = Session {
            door,
            expires: None,
            hub,
            link: Link::new(desk, client, incoming, rules, talk),
            nonce,
            next_ping,
            pinged: None,
            auth_until,
            greeted: false,
        };
        session.apply_limits();
        session.arm_timer();
        Ok(session)
    }

    /// Serves the client until it or we have had enough, whatever happens. Returns itself when it should go on
    /// elsewhere, and where; there, `moved_to` is the worker it has come to.
    ///
    /// Boxed, and the futures of what is rare as well: an idle connection is mostly its future, and a future
    /// is as large as the largest thing that may happen in it.
    pub(crate) async fn run(
        mut self: Box<Self>,
        moved_to: Option<Berth>,
    ) -> Option<(Box<Self>, Berth)> {
        let (hub, client) = (Arc::clone(&self.hub), Arc::clone(&self.link.client));
        let lives_at = moved_to.as_ref().map(|berth| &berth.desk);
        let desk = Arc::clone(lives_at.unwrap_or(&self.link.desk));
        let served = AssertUnwindSafe(self.converse(moved_to)).catch_unwind();
        if let Ok(elsewhere) = served.await {
            return elsewhere.map(|berth| (self, berth));
        }
        // The defect is ours and the hook has reported it; the others go on.
        desk.lock().recover();
        Box::pin(hub.leave(&client, &End::Defect)).await;
        End::Defect.log(&client, "");
        client.out().close();
        None
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    async fn converse(&mut self, moved_to: Option<Berth>) -> Option<Berth> {
        let come = match moved_to {
            Some(berth) => self.link.move_to(&berth),
            None => self.come_in().await,
        };
        let served = match come {
            Ok(()) => self.serve().await,
            Err(end) => Err(end),
        };
        let end = match served {
            Ok(berth) => return Some(berth),
            Err(end) => end,
        };
        // What it has said goes out before it is gone.
        self.link.desk.lock().flush();
        self.leave(&end).await;
        end.log(&self.link.client, self.link.talk.claimed_name());
        Box::pin(self.farewell(&end)).await;
        self.link.client.out().close();
        None
    }

    async fn come_in(&mut self) -> Result<(), End> {
        if !self.hub.admit(&self.link.client) {
            if self.speaks_in_clear() {
                self.greet();
            }
            return Err(End::TooManyConnections);
        }
        tracing::debug!("{} - Client connection created", Who(&self.link.client));
        self.open().await
    }

    /// Gives up all it had, which may take long; what others' turns have kept back does not wait for it.
    async fn leave(&self, end: &End) {
        let mut leaving = Box::pin(self.hub.leave(&self.link.client, end));
        poll_fn(|cx| {
            self.link.desk.lock().flush();
            leaving.as_mut().poll(cx)
        })
        .await;
    }

    /// Serves it until it should live elsewhere, or ends.
    async fn serve(&mut self) -> Result<Berth, End> {
        loop {
            let event = poll_fn(|cx| self.link.poll_event(cx)).await;
            match event {
                Event::Turn(turn) => self.settle(turn).await?,
                Event::Signal(signals) => self.obey(signals).await?,
                Event::Timer => self.tick()?,
            }
            if self.link.is_at_rest()
                && let Some(berth) = self.link.talk.place.elsewhere(&self.hub.post)
            {
                self.hub.monitor.moves.fetch_add(1, Ordering::Relaxed);
                return Ok(berth);
            }
        }
    }

    async fn obey(&mut self, signals: u32) -> Result<(), End> {
        // First: what is told is what counts from now on.
        if signals & signal::SETTINGS != 0 {
            Box::pin(self.apply_settings()).await?;
        }
        // Who is sent away is told before where to go.
        if signals & signal::INFO != 0 {
            let mut desk = self.link.desk.lock();
            self.link.talk.inform(&mut desk);
            desk.flush();
        }
        if signals & signal::END != 0 {
            return Err(self.link.client.take_end().unwrap_or(End::Shutdown));
        }
        if signals & signal::BLOCKED != 0 {
            self.link.blocked = true;
            self.arm_timer();
        }
        if signals & signal::FLUSH != 0 {
            self.link.flush();
        }
        Ok(())
    }

    /// What is left to do after a turn and may take a while.
    async fn settle(&mut self, mut turn: Turn) -> Result<(), End> {
        let is_busy = loop {
            self.link.wait_for_receiver().await;
            let is_busy = turn.is_busy();
            let Some(json) = self.link.conclude(turn)? else {
                break is_busy;
            };
            let again = self.link.client.about().connected;
            Box::pin(self.connect(&json)).await?;
            if again {
                // To look at credentials takes a while, and there may be many.
                tokio::task::yield_now().await;
            }
            turn = self.link.resume();
        };
        if !self.link.parser.rules.connect_only {
            self.auth_until = None;
        }
        if is_busy {
            // Let the driver and the other connections of this worker have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// `CONNECT`: who is it, and how does it want to talk?
    async fn connect(&mut self, json: &[u8]) -> Result<(), End> {
        let options = &mut self.link.talk.options;
        let introduced = options.update(json).map_err(End::BadConnect)?;
        {
            // Even of those who are refused, one wants to know who they say they are.
            let mut about = self.link.client.about();
            let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
            about.claims = shared(&options.nkey).or_else(|| shared(&options.user));
            about.name = shared(&options.name);
            about.lang = shared(&options.lang);
            about.version = shared(&options.version);
        }
        let again = self.link.talk.known;
        if !again {
            // From the greeting to the answer: until a ping is answered, the best there is.
            let rtt = self.link.client.started.elapsed();
            self.link.client.set_rtt(rtt.unwrap_or_default());
            self.ping_soon();
        }
        let settings = Arc::clone(&self.link.talk.settings);
        let identity = if again && !introduced {
            // It only changes how it wants to talk.
            self.link.talk.identity.clone()
        } else {
            self.identify(&settings).await?
        };
        let checked = identity.is_some();
        self.take_seat(identity)?;
        self.auth_until = None;
        let options = &mut self.link.talk.options;
        if options.names_account {
            return Err(End::Refused);
        }
        if !(0..=1).contains(&options.protocol) {
            return Err(End::BadProtocol);
        }
        options.headers &= settings.config.headers;
        if options.no_responders && !options.headers {
            return Err(End::NoRespondersNeedsHeaders);
        }
        self.link.talk.anonymous = options.is_anonymous() && !settings.maps_users(self.door);
        if checked {
            options.forget_secrets();
        }
        self.hub.joined(&self.link.client);
        self.link.talk.known = true;
        self.link.parser.rules.connect_only = false;
        self.link.parser.rules.headers = options.headers;
        self.link.client.out().headers = options.headers;
        self.link.client.echo.store(options.echo, Ordering::Relaxed);
        if options.verbose {
            self.link.send(frame::OK);
        }
        Ok(())
    }

    /// Finds out who the client is by what it has said so far; nobody in particular where nobody is asked.
    async fn identify(&mut self, settings: &Settings) -> Result<Option<Arc<Identity>>, End> {
        let handshake = self.link.client.handshake();
        let maps_certificates = settings.maps_users(self.door);
        let options = &mut self.link.talk.options;
        let greeting = handshake.and_then(|handshake| handshake.websocket.as_ref());
        if let Some(greeting) = greeting {
            options.fill_in(&greeting.cookies);
        }
        let doorway = Doorway {
            nonce: self.nonce.as_deref().unwrap_or_default(),
            address: self.link.client.peer.ip(),
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
        let limits = self.link.talk.settings.limits.clone();
        if self.auth_until.is_some_and(|until| until <= now) {
            return Err(End::AuthTimeout);
        }
        if let Some((_, expiry)) = self.expires.filter(|(at, _)| *at <= now) {
            return Err(match expiry {
                Expiry::User => End::UserExpired,
                Expiry::Account => End::AccountExpired,
            });
        }
        if self.link.is_stuck_for(limits.write_deadline) {
            return Err(End::SlowConsumerDeadline);
        }
        if self.next_ping <= now {
            self.next_ping = now + self.link.talk.settings.ping_interval(self.door);
            let active = self.link.talk.was_active();
            // Even one who is never silent is asked now and then, to measure the round trip.
            let is_due = self.pinged.is_none_or(|at| now - at > ROUND_TRIP_AGE);
            if is_due || !active {
                if self.link.talk.pings_out >= limits.ping_max {
                    return Err(End::Stale);
                }
                self.pinged = Some(now);
                self.link.talk.pings_out += 1;
                // The first answer is to the first of them.
                self.link
                    .talk
                    .pinged_at
                    .get_or_insert_with(std::time::Instant::now);
                self.link.send(frame::PING);
            }
        }
        self.arm_timer();
        Ok(())
    }

    /// Has the first ping sent soon, and not to all at once who have come together.
    fn ping_soon(&mut self) {
        let settings = &self.link.talk.settings;
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
        let deadline = self.link.talk.settings.limits.write_deadline;
        self.link.arm_timer(next, deadline);
    }
}
