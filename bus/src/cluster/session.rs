//! One route, from the first INFO to its end: who the peer is, how long it may take, and what it is told.

use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::Rng as _;
use tokio::time::Instant;

use super::dialler::Dialled;
use super::end::{self, RouteEnd};
use super::info::{Gossip, RouteConnect};
use super::node::{self, Node};
use super::parser::Rules;
use super::relief::{GRACE, Relief};
use super::route::Route;
use super::talk::Talk;
use super::{credentials, dial::Outcome};
use crate::client::{Client, Kind, signal};
use crate::config;
use crate::doors::Arrival;
use crate::hub::Hub;
use crate::link::{Event, Link, Turn};
use crate::protocol::frame;
use crate::session::End;
use crate::socket;
use crate::wire::Wire;
use crate::worker::Berth;

/// When a peer is pinged first.
const FIRST_PING: Duration = Duration::from_secs(1);
/// How often it waits once more for a peer that still uses it: longer than that waits with a [`Relief`].
const SETTLED: u32 = 90;
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
/// A route's own side.
#[derive(Debug)]
pub(crate) struct RouteSession {
    link: Link<Talk>,
    dialled: Option<Box<Dialled>>,
    /// Where it was dialled because that is configured.
    configured: Option<config::RouteUrl>,
    /// What the peer has said to be let in.
    said: Option<RouteConnect>,
    next_ping: Instant,
    /// When the peer must have shown itself: by a handshake, by CONNECT, by INFO.
    patient_until: Option<(Instant, Wait)>,
    settle_at: Option<Instant>,
    settled: u32,
    /// Whether it has asked the peer, before it ends, if all has come.
    asked: bool,
    /// The connection that this one replaces.
    relief: Option<Relief>,
}

/// What a peer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Handshake,
    Connect,
    Info,
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
        berth: &Berth,
        arrival: Arrival,
    ) -> io::Result<Self> {
        let Arrival {
            socket,
            peer,
            dialled,
            ..
        } = arrival;
        socket.set_nodelay(true)?;
        let (incoming, outgoing) = socket::split(socket, &berth.watch)?;
        let wire = Wire::new(outgoing);
        let settings = hub.settings();
        if let Some(tls) = &settings.route_tls {
            if dialled.is_none() && !tls.acceptor.admits(std::time::Instant::now()) {
                return Err(io::Error::other("TLS handshakes are begun too fast"));
            }
            let codec = tls.codec(dialled.as_deref());
            wire.set_codec(Box::new(codec.map_err(io::Error::other)?));
        }
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
        client.out().headers = settings.config.headers;
        let route = Arc::new(Route::new(
            Arc::clone(&client),
            dialled.is_some(),
            dialled.as_ref().is_some_and(|dialled| dialled.configured),
            dialled
                .as_ref()
                .map_or(Gossip::Default, |dialled| dialled.gossip),
        ));
        let rules = Rules {
            max_control_line: config
                .max_control_line
                .unwrap_or(CONTROL_LINE)
                .max(limits.max_control_line),
            // A peer's clients may send more than ours may; what nobody could be sent is refused.
            max_payload: limits.max_payload.max(limits.max_pending.min(MAX_PAYLOAD)),
            connect_only: dialled.is_none(),
        };
        let now = Instant::now();
        let mut session = RouteSession {
            link: Link::new(
                Arc::clone(&berth.desk),
                client,
                incoming,
                rules,
                Talk::new(route, hub, node),
            ),
            configured: dialled
                .as_ref()
                .filter(|dialled| dialled.configured)
                .map(|dialled| dialled.url.clone()),
            said: None,
            dialled,
            next_ping: now + FIRST_PING,
            patient_until: None,
            settle_at: None,
            settled: 0,
            asked: false,
            relief: None,
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
            Arc::clone(&self.link.talk.node),
            Arc::clone(&self.link.talk.hub),
            Arc::clone(&self.link.talk.route),
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
                self.link.talk.joining = joining;
                (Some(url), Some(outcome))
            }
            None => (None, None),
        };
        node.open(&hub, &route);
        // A reload while it was being dialled may have taken it out of the configuration.
        self.link.client.raise(signal::SETTINGS);
        tracing::info!(
            "{} - rid:{} - Route connection created",
            self.link.client.peer,
            self.link.client.id
        );
        let served = AssertUnwindSafe(self.serve(greeting)).catch_unwind().await;
        // Its subscriptions go before anything else: what cannot be delivered should go elsewhere.
        let end = served.unwrap_or(End::Defect);
        node.close(&hub, &route, &end).await;
        self.link.talk.joining = None;
        end::log(&end, self.link.client.id, self.link.client.peer);
        let was_used = self.link.talk.is_introduced();
        if matches!(end, End::Defect) {
            self.link.desk.lock().recover();
        } else {
            self.farewell(&end).await;
        }
        self.link.client.out().close();
        if let Some(tell) = outcome {
            let _: Result<(), Outcome> = tell.send(end::outcome(&end, was_used));
        }
    }

    async fn serve(&mut self, url: Option<config::RouteUrl>) -> End {
        // From here on it hears when they are replaced; that may have been just before.
        if let Err(end) = self.apply_settings().await {
            return end;
        }
        if let Err(end) = self.link.begin() {
            return end;
        }
        self.greet(url.as_ref());
        self.arm_timer();
        loop {
            let event = poll_fn(|cx| self.link.poll_event(cx)).await;
            let done = match event {
                Event::Turn(turn) => self.settle(turn).await,
                Event::Signal(signals) => self.obey(signals).await,
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
        } = &self.link.talk;
        let mut words = url.map(|url| node.greeting(hub, url)).unwrap_or_default();
        words.extend_from_slice(&node.info(hub, route.gossip).frame());
        if route.dialled {
            // Answered when the peer has taken all this in, and has told its own.
            words.extend_from_slice(frame::PING);
        }
        self.link.talk.words = Some(words);
        let mut desk = self.link.desk.lock();
        self.link.talk.greet(&mut desk);
        desk.flush();
    }

    /// What the peer is waited for first, in clear.
    fn first_wait(&self, now: Instant) -> Option<(Instant, Wait)> {
        if self.link.talk.route.dialled {
            return Some((now + INTRODUCTION, Wait::Info));
        }
        let settings = self.link.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let timeout = config.map_or(Duration::from_secs(2), |config| {
            config.authorization.timeout
        });
        Some((now + timeout, Wait::Connect))
    }

    /// What is left to do after a turn and may take a while.
    async fn settle(&mut self, mut turn: Turn) -> Result<(), End> {
        let is_busy = loop {
            self.link.wait_for_receiver().await;
            let is_busy = turn.is_busy();
            let Some(json) = self.link.conclude(turn)? else {
                break is_busy;
            };
            self.connect(&json).await?;
            turn = self.link.resume();
        };
        self.note_progress();
        if is_busy {
            // Let the driver and the other connections of this worker have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What has come may end a wait, or begin one.
    fn note_progress(&mut self) {
        if self.link.talk.has_greeted()
            && self
                .patient_until
                .is_some_and(|(_, wait)| wait == Wait::Handshake)
        {
            self.patient_until = self.first_wait(Instant::now());
            self.arm_timer();
        }
        if self.link.talk.is_introduced()
            && self
                .patient_until
                .is_some_and(|(_, wait)| wait == Wait::Info)
        {
            self.patient_until = None;
        }
        if self.link.talk.spare.is_some() && self.settle_at.is_none() {
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
        let node = &self.link.talk.node;
        node.agree(&said.cluster, said.cluster_dynamic, self.link.client.id)
            .map_err(End::Route)?;
        self.said = Some(said);
        self.link.parser.rules.connect_only = false;
        self.patient_until = Some((Instant::now() + INTRODUCTION, Wait::Info));
        self.arm_timer();
        Ok(())
    }

    /// Whether the peer may come in, by its certificate or by what it has said.
    async fn check(&self, said: &RouteConnect) -> Result<(), End> {
        let hub = &self.link.talk.hub;
        let cluster = hub.settings().config.cluster.clone().unwrap_or_default();
        let shown = || self.link.client.wire()?.handshake().peer;
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
        let settings = self.link.talk.hub.settings();
        let routes = settings.config.cluster.as_ref().map(|it| &it.routes);
        if let Some(url) = &self.configured
            && !routes.is_some_and(|routes| routes.contains(url))
        {
            return Err(End::Route(RouteEnd::Removed));
        }
        if let Some(said) = &self.said {
            self.check(said).await?;
        }
        self.link.talk.apply_settings();
        Ok(())
    }

    async fn obey(&mut self, signals: u32) -> Result<(), End> {
        if signals & signal::END != 0 {
            return Err(self.link.client.take_end().unwrap_or(End::Shutdown));
        }
        if signals & signal::SETTINGS != 0 {
            self.apply_settings().await?;
        }
        if signals & signal::BLOCKED != 0 {
            self.link.blocked = true;
            self.arm_timer();
        }
        if signals & signal::SETTLE != 0 {
            // The other one is in use, and alive.
            self.link.talk.spare = Some(u64::MAX);
            self.settle_at = Some(Instant::now() + GRACE);
            self.arm_timer();
        }
        if signals & signal::FLUSH != 0 {
            self.link.flush();
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
        if self.link.is_stuck_for(self.write_deadline()) {
            return Err(End::SlowConsumerDeadline);
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle_at = None;
            if let Some(heard) = self.link.talk.spare.take() {
                let Talk { node, route, .. } = &self.link.talk;
                let settled = node.settle(route, heard);
                // The peer still tells its interest here: it shall have told it on the other one
                // before this one ends, or what is published meanwhile is lost. So would be what is
                // still on its way to it.
                let ends = settled.is_err();
                let used = self.link.client.subscription_count() > 0;
                if ends && !used && !std::mem::replace(&mut self.asked, true) {
                    route.ask();
                }
                if ends && (used || route.awaits_answer()) && self.settled < SETTLED {
                    self.settled += 1;
                    self.link.talk.spare = Some(u64::MAX);
                    self.settle_at = Some(now + GRACE);
                } else {
                    let old = settled.map_err(End::Route)?;
                    self.relief = old.map(|old| Relief::begin(old, now));
                }
            }
        }
        if let Some(relief) = &mut self.relief
            && relief.go_on(&self.link.talk.node, now).is_done()
        {
            self.relief = None;
        }
        self.link.held = self.relief.as_ref().is_some_and(Relief::holds);
        if self.next_ping <= now {
            let interval = node::ping_interval(&self.link.talk.hub);
            let jitter = interval.mul_f64(rand::rng().random_range(0.0..0.2));
            self.next_ping = now + interval + jitter;
            if self.link.talk.is_introduced() {
                self.ping()?;
            }
        }
        self.arm_timer();
        Ok(())
    }

    fn ping(&mut self) -> Result<(), End> {
        let settings = self.link.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let own = config.and_then(|config| config.ping_max);
        if self.link.talk.pings_out >= own.unwrap_or(settings.limits.ping_max) {
            return Err(End::Stale);
        }
        self.link.talk.pings_out += 1;
        self.link.talk.route.note_asked();
        self.link.talk.pinged_at = Some(std::time::Instant::now());
        self.link.send(frame::PING);
        Ok(())
    }

    fn write_deadline(&self) -> Duration {
        let settings = self.link.talk.hub.settings();
        let config = settings.config.cluster.as_ref();
        let own = config.and_then(|config| config.write_deadline);
        own.unwrap_or(settings.limits.write_deadline)
    }

    fn arm_timer(&mut self) {
        let now = Instant::now();
        let mut next = self.next_ping;
        if let Some((until, _)) = self.patient_until {
            next = next.min(until);
        }
        if let Some(at) = self.settle_at {
            next = next.min(at);
        }
        if let Some(relief) = &self.relief {
            next = next.min(relief.next(now));
        }
        self.link.arm_timer(next, self.write_deadline());
    }

    /// Says why, if there is anything to say, and lets it get through.
    async fn farewell(&mut self, end: &End) {
        let Some(text) = end::text(end).filter(|_| self.link.talk.has_greeted()) else {
            return;
        };
        self.link.send(format!("-ERR '{text}'\r\n").as_bytes());
        if tokio::time::timeout(FAREWELL, self.link.get_through())
            .await
            .is_err()
        {
            return;
        }
        // The last holder of the write half shuts it down.
        self.link.client.out().close();
        let _ = tokio::time::timeout(FAREWELL, self.link.hear_out()).await;
    }
}

/// Largest message taken from a peer, whatever is configured.
const MAX_PAYLOAD: usize = 64 << 20;
