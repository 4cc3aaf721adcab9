//! What all connections of a broker share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use rand::Rng as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::{Accounts, InterestWatch};
use crate::client::{Client, Kind, signal};
use crate::cluster::Node;
use crate::events::Events;
use crate::handshakes::Handshakes;
use crate::lookout::Post;
use crate::memory::Memory;
use crate::monitor::{self, Sample};
use crate::outbound::ChunkPool;
use crate::protocol::{self, Info};
use crate::session::End;
use crate::settings::Settings;
use crate::sublist::SublistStats;
use crate::subscription;
use crate::tap::Taps;
use crate::whereabouts::Whereabouts;
use crate::wire::Handshake;
use crate::worker::{self, Berth};

/// bcrypt checks at a time: each takes milliseconds of a core that messages need as well.
const SLOW_CHECKS: usize = 2;

/// The shared state of one broker.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) accounts: Accounts,
    /// What all connections together may make the broker keep.
    pub(crate) memory: Arc<Memory>,
    /// Held by the one who makes room.
    relieving: Mutex<()>,
    cluster: OnceLock<Arc<Node>>,
    pub(crate) taps: Taps,
    settings: RwLock<Arc<Settings>>,
    system_client: Arc<Client>,
    pub(crate) sessions: TaskTracker,
    pub(crate) slow_checks: Semaphore,
    pub(crate) handshakes: Handshakes,
    /// Where one worker looks out for work.
    pub(crate) post: Arc<Post<Berth>>,
    /// Where websockets are served.
    pub(crate) websocket_address: OnceLock<SocketAddr>,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    clients: Mutex<HashMap<u64, Arc<Client>>>,
    connections: AtomicUsize,
    last_id: AtomicU64,
    /// What clients and routes did that are gone.
    past: Mutex<Traffic>,
    past_routes: Mutex<Traffic>,
    slow_pending: AtomicU64,
    slow_deadline: AtomicU64,
    slow_routes: AtomicU64,
    /// Where clients can go.
    whereabouts: Whereabouts,
    /// The same for those on websockets.
    websocket_whereabouts: Whereabouts,
    /// Cancelled when this server begins to leave.
    pub(crate) lame_duck: CancellationToken,
    stale: AtomicU64,
    stale_routes: AtomicU64,
    reload: RwLock<Option<mpsc::Sender<()>>>,
    /// What monitoring keeps.
    pub(crate) monitor: monitor::State,
    /// What the server says itself, on its way to be said.
    pub(crate) events: Events,
}

/// Messages and bytes in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages received from clients.
    pub in_msgs: u64,
    /// Bytes of their payloads and headers.
    pub in_bytes: u64,
    /// Messages delivered to clients.
    pub out_msgs: u64,
    /// Bytes of their payloads and headers.
    pub out_bytes: u64,
}

/// The broker in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Connections now.
    pub connections: usize,
    /// Connections ever.
    pub total_connections: u64,
    /// Messages and bytes so far.
    pub traffic: Traffic,
    /// Clients and routes cut off because they did not keep up.
    pub slow_consumers: u64,
    /// Times a connection went to live with another worker.
    pub moves: u64,
    /// Subscriptions.
    pub subscriptions: SublistStats,
}

// === impl Hub ===

impl Hub {
    pub(crate) fn new(
        name: Option<String>,
        address: SocketAddr,
        settings: Settings,
        monitor: monitor::State,
    ) -> Self {
        let id = server_id();
        let post = Arc::new(Post::new(worker::may_stay_awake(&settings.config)));
        let events = Events::new(&id);
        let memory = Arc::new(Memory::new(settings.limits.max_memory));
        let accounts = Accounts::new(&memory);
        let account = accounts
            .system()
            .unwrap_or_else(|| Arc::clone(accounts.global()));
        let kind = Kind::System;
        let system_client = Client::new(0, kind, address, None, account, &memory, 0);
        Hub {
            name: name.unwrap_or_else(|| id.clone()),
            id,
            address,
            accounts,
            memory,
            relieving: Mutex::default(),
            cluster: OnceLock::new(),
            taps: Taps::default(),
            settings: RwLock::new(Arc::new(settings)),
            system_client: Arc::new(system_client),
            sessions: TaskTracker::new(),
            slow_checks: Semaphore::new(SLOW_CHECKS),
            handshakes: Handshakes::default(),
            post,
            websocket_address: OnceLock::new(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            clients: Mutex::default(),
            connections: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            past: Mutex::default(),
            past_routes: Mutex::default(),
            slow_pending: AtomicU64::new(0),
            slow_deadline: AtomicU64::new(0),
            slow_routes: AtomicU64::new(0),
            whereabouts: Whereabouts::default(),
            websocket_whereabouts: Whereabouts::default(),
            lame_duck: CancellationToken::new(),
            stale: AtomicU64::new(0),
            stale_routes: AtomicU64::new(0),
            reload: RwLock::new(None),
            monitor,
            events,
        }
    }

    /// What is in force now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Puts other settings into force and has every connection look at them.
    pub(crate) fn replace_settings(&self, settings: Settings) {
        self.memory.set_limit(settings.limits.max_memory);
        self.post.set_open(worker::may_stay_awake(&settings.config));
        *self.settings.write() = Arc::new(settings);
        self.monitor.reloaded();
        self.events.attach(self);
        for client in self.clients() {
            client.raise(signal::SETTINGS);
        }
        if let Some(node) = self.cluster() {
            node.changed.notify_waiters();
        }
    }

    /// Sets where clients find the other servers, and tells those who are here if that is news to them.
    pub(crate) fn set_peer_urls(&self, clients: Vec<String>, websockets: Vec<String>) {
        if self.monitor.is_stopping() {
            // Its routes end as well; the clients shall still know where to go instead.
            return;
        }
        let news = self.whereabouts.learn(clients);
        let websocket_news = self.websocket_whereabouts.learn(websockets);
        self.announce_if(|client| match client.is_on_websocket() {
            true => websocket_news,
            false => news,
        });
    }

    /// Sends INFO again to all clients that understand it.
    pub(crate) fn announce(&self) {
        self.announce_if(|_| true);
    }

    fn announce_if(&self, concerned: impl Fn(&Client) -> bool) {
        for client in self.clients() {
            if concerned(&client) {
                client.raise(signal::INFO);
            }
        }
    }

    /// Where clients can go: here, unless this server leaves, and to its peers.
    pub(crate) fn connect_urls(&self) -> Vec<String> {
        self.urls(&self.whereabouts, Node::client_urls)
    }

    /// The same for those on websockets.
    pub(crate) fn websocket_urls(&self) -> Vec<String> {
        self.urls(&self.websocket_whereabouts, Node::websocket_urls)
    }

    fn urls(&self, known: &Whereabouts, own: fn(&Node, &Settings) -> Vec<String>) -> Vec<String> {
        known.all(|| match self.cluster() {
            Some(node) if !self.lame_duck.is_cancelled() => own(node, &self.settings()),
            _ => Vec::new(),
        })
    }

    /// This server's part in the cluster, if there is one.
    pub(crate) fn cluster(&self) -> Option<&Arc<Node>> {
        self.cluster.get()
    }

    /// Joins a cluster; once, before anybody connects.
    pub(crate) fn join_cluster(&self, node: Arc<Node>) {
        self.accounts
            .watch(Arc::clone(&node.interest) as Arc<dyn InterestWatch>);
        let _ = self.cluster.set(node);
    }

    /// The publisher of what this server says itself.
    pub(crate) fn system_client(&self) -> &Arc<Client> {
        &self.system_client
    }

    /// All connections, in no order.
    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// The number of the next connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// INFO for one connection.
    pub(crate) fn info(&self, client: &Client, nonce: Option<String>) -> Info {
        let settings = self.settings();
        let ldm = self.lame_duck.is_cancelled();
        let security = &settings.security;
        let websocket = client
            .handshake()
            .filter(|handshake| handshake.websocket.is_some())
            .and(security.websocket.as_ref());
        let tls = match websocket {
            Some(door) => door.tls.as_ref(),
            None => security.tls.as_ref(),
        };
        let mixed = websocket.is_none() && security.allow_non_tls;
        let (host, port) = match (websocket, &settings.advertised) {
            (None, Some(told)) => (told.host.clone(), told.port(self.address.port())),
            (None, None) => (self.address.ip().to_string(), self.address.port()),
            (Some(_), _) => {
                let address = self.websocket_address.get().unwrap_or(&self.address);
                (address.ip().to_string(), address.port())
            }
        };
        // Who came by websocket is told of those.
        let connect_urls = match websocket {
            Some(_) => self.websocket_urls(),
            None => self.connect_urls(),
        };
        Info {
            server_id: self.id.clone(),
            server_name: self.name.clone(),
            version: protocol::VERSION,
            proto: protocol::PROTO,
            go: concat!("cupola-bus ", env!("CARGO_PKG_VERSION")),
            host,
            port,
            headers: settings.config.headers,
            auth_required: websocket
                .and_then(|door| door.users.as_ref())
                .unwrap_or(&settings.users)
                .required(),
            // Who has come by TLS where it is a choice is past choosing.
            tls_required: tls.is_some() && (!mixed || client.handshake().is_some_and(is_secured)),
            tls_verify: tls.is_some_and(|tls| tls.verifies),
            tls_available: tls.is_some() && mixed,
            max_payload: settings.limits.max_payload,
            client_id: client.id,
            client_ip: client.peer.ip().to_string(),
            nonce,
            cluster: self.cluster().map(|node| node.name().to_string()),
            connect_urls,
            ldm,
        }
    }

    /// Counts a connection in; `false` when there are too many, and it must be sent away.
    pub(crate) fn admit(&self, client: &Arc<Client>) -> bool {
        let max = self.settings.read().limits.max_connections;
        if self.connections.fetch_add(1, Ordering::AcqRel) >= max {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        // As many as like, until they say who they are.
        client.account().connect(None);
        self.clients.lock().insert(client.id, Arc::clone(client));
        true
    }

    /// There is a route: it is listed, but takes no client's place.
    pub(crate) fn admit_route(&self, route: &Arc<Client>) {
        self.clients.lock().insert(route.id, Arc::clone(route));
    }

    /// A route has ended; its subscriptions are the cluster's business.
    pub(crate) fn leave_route(&self, route: &Arc<Client>, end: &End) {
        match end {
            End::SlowConsumerPending | End::SlowConsumerMemory | End::SlowConsumerDeadline => {
                self.slow_routes.fetch_add(1, Ordering::Relaxed);
            }
            End::Stale => {
                self.stale_routes.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        if self.clients.lock().remove(&route.id).is_some() {
            self.past_routes.lock().add(&Traffic::of(route));
        }
    }

    /// A client has been let in.
    pub(crate) fn joined(&self, client: &Arc<Client>) {
        if std::mem::replace(&mut client.about().connected, true) {
            // A CONNECT that only changes options.
            return;
        }
        self.events.joined(self, client);
    }

    /// Counts a connection out: its subscriptions end, its numbers are kept.
    pub(crate) async fn leave(&self, client: &Arc<Client>, end: &End) {
        client.out().open = false;
        let account = client.account();
        let subscriptions = client.take_subscriptions();
        let last = Arc::new(Sample::last(client, &subscriptions, end));
        subscription::end_all(subscriptions, |sub| {
            if !account.remove(sub) {
                // A tap, which is in no list: it learns of its end from this.
                sub.end_after(0);
            }
        })
        .await;
        let slow = match end {
            End::SlowConsumerPending | End::SlowConsumerMemory => Some(&self.slow_pending),
            End::SlowConsumerDeadline => Some(&self.slow_deadline),
            _ => None,
        };
        if let Some(slow) = slow {
            slow.fetch_add(1, Ordering::Relaxed);
            account.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(end, End::Stale) {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        if self.clients.lock().remove(&client.id).is_some() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            let traffic = Traffic::of(client);
            if client.kind == Kind::Route {
                self.past_routes.lock().add(&traffic);
            } else {
                self.past.lock().add(&traffic);
                account.past.lock().add(&traffic);
            }
            account.disconnect();
        }
        if client.kind != Kind::Client {
            return;
        }
        self.monitor.closed.add(Arc::clone(&last));
        let was_in = client.about().connected;
        self.events.left(self, &account, last, end, was_in);
    }

    /// Cuts off those who hold most of the memory of all connections, if that is used up: first of those who
    /// are stuck, then of the others, and of other servers last. Called with no client's lock held.
    #[cold]
    pub(crate) fn relieve(&self) {
        // Whoever comes while somebody is at it can go on: it does not take long.
        let Some(_relieving) = self.relieving.try_lock() else {
            return;
        };
        let mut excess = self.memory.excess();
        if excess == 0 {
            return;
        }
        let mut holders: Vec<_> = self
            .clients()
            .into_iter()
            .map(|client| {
                let (stuck, bytes) = client.held();
                (client.kind == Kind::Client, stuck, bytes, client)
            })
            .collect();
        holders.sort_unstable_by_key(|(client, stuck, bytes, _)| (*client, *stuck, *bytes));
        let mut cut = 0;
        while excess > 0
            && let Some((_, _, bytes, client)) = holders.pop()
        {
            if bytes > 0 {
                client.cut_off(End::SlowConsumerMemory);
                excess = excess.saturating_sub(bytes);
                cut += 1;
            }
        }
        self.memory.note_cut(cut);
        let limit = self.memory.limit();
        tracing::warn!(
            cut,
            limit,
            "too much waits for all connections together: cut off who held most"
        );
    }

    /// Tells one client to look for another server.
    pub(crate) fn send_away(&self, client: &Arc<Client>) {
        let mut info = self.info(client, None);
        info.ldm = true;
        let mut pool = ChunkPool::default();
        client.send(&info.frame(), &mut pool);
        client.flush(&mut pool);
    }

    /// Has whoever runs the broker read its configuration again; `false` when nobody would.
    pub(crate) fn ask_for_reload(&self) -> bool {
        let asked = self
            .reload
            .read()
            .as_ref()
            .map(|reload| reload.try_send(()));
        // One that already waits is enough.
        !matches!(asked, None | Some(Err(TrySendError::Closed(()))))
    }

    /// Who reads the configuration again when a message asks for it.
    pub(crate) fn on_reload(&self, reload: mpsc::Sender<()>) {
        *self.reload.write() = Some(reload);
    }

    /// A connection by its number.
    pub(crate) fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.lock().get(&id).cloned()
    }

    /// What connections did that are gone.
    pub(crate) fn past(&self, kind: Kind) -> Traffic {
        match kind {
            Kind::Route => *self.past_routes.lock(),
            Kind::Client | Kind::System => *self.past.lock(),
        }
    }

    /// Connections given up because they did not answer: clients, and routes.
    pub(crate) fn stale_connections(&self) -> [u64; 2] {
        [&self.stale, &self.stale_routes].map(|count| count.load(Ordering::Relaxed))
    }

    /// Connections cut off because they did not keep up: clients, and routes.
    pub(crate) fn slow_consumers(&self) -> [u64; 2] {
        let [pending, deadline, routes] =
            [&self.slow_pending, &self.slow_deadline, &self.slow_routes]
                .map(|count| count.load(Ordering::Relaxed));
        [pending + deadline, routes]
    }

    /// Ends all connections.
    pub(crate) fn end_all(&self) {
        for client in self.clients() {
            client.end(End::Shutdown);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut traffic = *self.past.lock();
        let mut clients = self.clients();
        clients.retain(|client| client.kind == Kind::Client);
        for client in &clients {
            traffic.add(&Traffic::of(client));
        }
        Stats {
            connections: clients.len(),
            total_connections: self.last_id.load(Ordering::Relaxed),
            traffic,
            slow_consumers: self.slow_consumers().iter().sum(),
            moves: self.monitor.moves.load(Ordering::Relaxed),
            subscriptions: self
                .accounts
                .all()
                .iter()
                .map(|account| account.list.stats())
                .fold(SublistStats::default(), SublistStats::add)
                .without(self.events.own_subscriptions()),
        }
    }
}

impl Traffic {
    /// What a connection did so far.
    pub(crate) fn of(client: &Client) -> Self {
        let out = client.out();
        Traffic {
            in_msgs: client.in_messages.load(Ordering::Relaxed),
            in_bytes: client.in_bytes.load(Ordering::Relaxed),
            out_msgs: out.messages,
            out_bytes: out.bytes,
        }
    }

    pub(crate) fn add(&mut self, other: &Traffic) {
        self.in_msgs += other.in_msgs;
        self.in_bytes += other.in_bytes;
        self.out_msgs += other.out_msgs;
        self.out_bytes += other.out_bytes;
    }
}

fn is_secured(handshake: &Handshake) -> bool {
    handshake.tls.is_some()
}

/// A unique id of the form clients expect: 56 letters and digits, the first an N.
fn server_id() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut rng = rand::rng();
    let rest = (0..55).map(|_| char::from(ALPHABET[rng.random_range(0..32)]));
    std::iter::once('N').chain(rest).collect()
}
