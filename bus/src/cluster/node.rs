//! This server's part in the cluster: its name, its routes, and what is decided about them.
//!
//! Lock order: `mesh`, then `routes`, then the shards of the interest; `urls` and `name` are leaves.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use rand::Rng as _;
use tokio::sync::{Notify, mpsc};

use super::credentials;
use super::dial::Cause;
use super::dialler::Errand;
use super::end::RouteEnd;
use super::info::{Gossip, Greeting, RouteInfo};
use super::interest::Interest;
use super::mesh::{Departure, Mesh, Settled, Welcome};
use super::rights::{RouteRights, Told};
use super::route::Route;
use super::urls::{self, PeerUrls};
use crate::client::Client;
use crate::config::{self, RouteUrl, SubjectRules};
use crate::hub::Hub;
use crate::protocol;
use crate::session::End;
use crate::settings::Settings;
use crate::subscription;

/// Peers to be dialled that nobody has taken on yet; more are heard of again.
const ERRANDS: usize = 256;
/// The version of the protocol between servers that has traces of messages go on. All earlier ones are
/// part of it: INFO may come at any time, and interest names an account.
const TRACES: i64 = 3;
const PROTO: i64 = TRACES;

/// This server's part in the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    id: Arc<str>,
    server_name: String,
    /// Where it listens for routes.
    pub(crate) listen: SocketAddr,
    /// Where it listens for clients …
    clients: SocketAddr,
    /// … as others would say it, …
    client_urls: Vec<String>,
    /// … and for websockets, if it does.
    websockets: Option<SocketAddr>,
    websocket_urls: Vec<String>,
    name: RwLock<Name>,
    pub(crate) interest: Arc<Interest>,
    mesh: Mutex<Mesh>,
    routes: Mutex<HashMap<u64, Arc<Route>>>,
    urls: Mutex<PeerUrls>,
    errands: mpsc::Sender<Errand>,
    errands_out: Mutex<Option<mpsc::Receiver<Errand>>>,
    /// Ids of peers that are being dialled because they were heard of.
    pursued: Mutex<HashSet<Box<str>>>,
    /// Rung when a peer has gone, or the settings have changed.
    pub(crate) changed: Notify,
    leaving: AtomicBool,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) routes: SocketAddr,
    pub(crate) clients: SocketAddr,
    pub(crate) websockets: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Name {
    text: Arc<str>,
    /// Whether it was made up.
    dynamic: bool,
}

/// Where a connection stands whose peer has said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the peer.
    pub(crate) number: u32,
    /// Set when there is another connection to it: how much had been heard of that one by now.
    pub(crate) spare: Option<u64>,
}

// === impl Node ===

impl Node {
    pub(crate) fn new(config: &config::Cluster, id: &str, server_name: &str, doors: Doors) -> Self {
        let (errands, errands_out) = mpsc::channel(ERRANDS);
        let name = match &config.name {
            Some(name) => Name {
                text: name.as_str().into(),
                dynamic: false,
            },
            None => Name {
                text: made_up_name().into(),
                dynamic: true,
            },
        };
        let id: Arc<str> = id.into();
        Node {
            server_name: server_name.to_owned(),
            listen: doors.routes,
            clients: doors.clients,
            client_urls: urls::of_listener(doors.clients),
            websockets: doors.websockets,
            websocket_urls: doors.websockets.map(urls::of_listener).unwrap_or_default(),
            name: RwLock::new(name),
            interest: Arc::new(Interest::new()),
            mesh: Mutex::new(Mesh::new(Arc::clone(&id))),
            id,
            routes: Mutex::default(),
            urls: Mutex::default(),
            errands,
            errands_out: Mutex::new(Some(errands_out)),
            pursued: Mutex::default(),
            changed: Notify::new(),
            leaving: AtomicBool::new(false),
        }
    }

    /// The name of the cluster.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.read().text)
    }

    /// Whether that name was made up.
    pub(crate) fn is_name_dynamic(&self) -> bool {
        self.name.read().dynamic
    }

    /// Where clients reach this server.
    pub(crate) fn client_urls(&self, settings: &Settings) -> Vec<String> {
        match &settings.advertised {
            Some(told) => vec![told.url(self.clients.port())],
            None => self.client_urls.clone(),
        }
    }

    /// Where clients on websockets reach it.
    pub(crate) fn websocket_urls(&self, settings: &Settings) -> Vec<String> {
        let door = settings.security.websocket.as_ref();
        match (
            door.and_then(|door| door.advertised.as_ref()),
            self.websockets,
        ) {
            (Some(told), Some(listening)) => vec![told.url(listening.port())],
            _ => self.websocket_urls.clone(),
        }
    }

    /// Connections to other servers, in no order.
    pub(crate) fn routes(&self) -> Vec<Arc<Route>> {
        self.routes.lock().values().cloned().collect()
    }

    /// A connection to another server, by its number.
    pub(crate) fn route(&self, id: u64) -> Option<Arc<Route>> {
        self.routes.lock().get(&id).cloned()
    }

    /// How many servers there are besides this one.
    pub(crate) fn peer_count(&self) -> usize {
        self.mesh.lock().len()
    }

    /// How many servers have ever joined; starts again after many.
    pub(crate) fn arrivals(&self) -> u32 {
        self.mesh.lock().arrivals()
    }

    pub(crate) fn knows(&self, peer: &str) -> bool {
        self.mesh.lock().knows(peer)
    }

    /// Where peers to be dialled come out; once.
    pub(super) fn take_errands(&self) -> Option<mpsc::Receiver<Errand>> {
        self.errands_out.lock().take()
    }

    /// An errand of gossip is over.
    pub(super) fn errand_done(&self, errand: &Errand) {
        if let Some(peer) = &errand.peer {
            self.pursued.lock().remove(peer);
        }
    }

    // --- what is said ---

    /// INFO for a new route.
    pub(crate) fn info(&self, hub: &Hub, gossip: Gossip) -> RouteInfo {
        let settings = hub.settings();
        let config = settings.config.cluster.as_ref();
        let name = self.name.read().clone();
        let permissions = config.and_then(|config| config.permissions.as_ref());
        let told = |rules: Option<&SubjectRules>| rules.map(Told::of);
        let nonce: [u8; 11] = rand::rng().random();
        let mut info = RouteInfo {
            server_id: self.id.to_string(),
            server_name: self.server_name.clone(),
            version: protocol::VERSION.to_owned(),
            proto: PROTO,
            go: concat!("cupola-bus ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: self.listen.ip().to_string(),
            port: self.listen.port(),
            headers: settings.config.headers,
            auth_required: config
                .is_some_and(|config| credentials::are_required(&config.authorization)),
            tls_required: settings.route_tls.is_some(),
            tls_verify: settings.route_tls.is_some(),
            max_payload: settings.limits.max_payload,
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            cluster: name.text.to_string(),
            cluster_dynamic: name.dynamic,
            lnoc: true,
            lnocu: true,
            gossip_mode: gossip as u8,
            import: told(permissions.and_then(|known| known.import.as_ref())),
            export: told(permissions.and_then(|known| known.export.as_ref())),
            ..RouteInfo::default()
        };
        if let Some(advertised) = &settings.route_advertised {
            let listening = self.listen.port();
            info.ip = format!("nats-route://{}/", advertised.url(listening));
            info.host.clone_from(&advertised.host);
            info.port = advertised.port(listening);
        }
        if !config.is_some_and(|config| config.no_advertise) {
            info.connect_urls = self.client_urls(&settings);
            info.ws_connect_urls = self.websocket_urls(&settings);
        }
        info
    }

    /// CONNECT for the peer of a URL.
    pub(crate) fn greeting(&self, hub: &Hub, url: &RouteUrl) -> Vec<u8> {
        let settings = hub.settings();
        let none = config::ClusterAuthorization::default();
        let own = settings.config.cluster.as_ref();
        let said = credentials::for_peer(url, own.map_or(&none, |own| &own.authorization));
        let name = self.name.read().clone();
        let greeting = Greeting {
            user: said.user,
            password: said.password,
            token: said.token,
            tls: settings.route_tls.is_some(),
            headers: settings.config.headers,
            id: &self.id,
            cluster: &name.text,
            dynamic: name.dynamic,
        };
        greeting.frame()
    }

    // --- the life of a route ---

    /// There is another connection.
    pub(crate) fn open(&self, hub: &Hub, route: &Arc<Route>) {
        hub.admit_route(&route.client);
        self.routes.lock().insert(route.id(), Arc::clone(route));
    }

    /// A peer has said who it is.
    ///
    /// # Errors
    /// It is not one to have a route with.
    pub(crate) fn introduce(
        &self,
        hub: &Hub,
        route: &Arc<Route>,
        mut info: RouteInfo,
    ) -> Result<Place, RouteEnd> {
        if *info.server_id == *self.id {
            return Err(RouteEnd::Own);
        }
        if !info.route_account.is_empty() {
            return Err(RouteEnd::Dedicated(info.route_account));
        }
        if info.server_id.is_empty() || info.server_id.contains(char::is_whitespace) {
            return Err(RouteEnd::Unknown);
        }
        self.agree(&info.cluster, info.cluster_dynamic, route.id())?;
        if info.server_name == self.server_name {
            return Err(RouteEnd::DuplicateName(info.server_name));
        }
        info.ip = urls::of_peer(&info, route.client.peer);
        {
            let mut out = route.client.out();
            out.headers &= info.headers;
            out.traces = info.proto >= TRACES;
        }
        {
            let mut about = route.client.about();
            about.name = Some(info.server_name.as_str().into());
            about.version = Some(info.version.as_str().into());
        }
        let info = route.set_info(info);
        let welcome = {
            let mut mesh = self.mesh.lock();
            let welcome = mesh.introduce(&info.server_id, route.id(), route.dialled);
            if let Welcome::First(_) = welcome {
                self.interest.join(&route.client);
            }
            welcome
        };
        match welcome {
            Welcome::Own => Err(RouteEnd::Own),
            Welcome::Refused => Err(RouteEnd::Crowded),
            Welcome::First(number) => {
                tracing::debug!("registering remote route {:?}", info.server_id);
                self.pass_on(route, &info);
                self.learn_urls(hub, &info);
                Ok(Place {
                    number,
                    spare: None,
                })
            }
            Welcome::Spare { number, active } => {
                tracing::debug!("detected duplicate remote route {:?}", info.server_id);
                let active = self.routes.lock().get(&active).cloned();
                let heard = active.map_or(0, |active| {
                    if route.is_configured() {
                        active.configured.store(true, Ordering::Relaxed);
                    }
                    active.ask();
                    active.heard()
                });
                Ok(Place {
                    number,
                    spare: Some(heard),
                })
            }
        }
    }

    /// A spare connection has waited long enough; `heard` is from its [`Place`]. Gives the one that it
    /// replaces, when that is alive: it is to be relieved in steps, see [`Node::relieve`].
    ///
    /// # Errors
    /// It must end.
    pub(crate) fn settle(
        &self,
        route: &Arc<Route>,
        heard: u64,
    ) -> Result<Option<Arc<Route>>, RouteEnd> {
        let Some(info) = route.info() else {
            return Ok(None);
        };
        let peer: Arc<str> = info.server_id.as_str().into();
        let mut mesh = self.mesh.lock();
        let routes = self.routes.lock();
        let active = mesh.active_of(&peer).and_then(|id| routes.get(&id));
        let alive = active.is_some_and(|active| active.heard() != heard);
        // It tells its interest by the one that it uses; there is always some of its own.
        let chosen = route.client.subscription_count() > 0
            && active.is_none_or(|active| active.client.subscription_count() == 0);
        match mesh.settle(&peer, route.id(), alive, chosen) {
            Settled::InUse => Ok(None),
            Settled::Ends => Err(RouteEnd::Duplicate(peer)),
            Settled::Replaces(old) => {
                self.interest.join(&route.client);
                let old = routes.get(&old).cloned();
                if let Some(old) = old.as_ref().filter(|_| !alive) {
                    self.interest.leave(&old.client);
                    old.client.end(End::Stale);
                }
                Ok(old.filter(|_| alive))
            }
        }
    }

    /// Takes back on a connection what the peer has been told by another one meanwhile. Gives how many
    /// PONGs it will have had when there is nothing on its way any more; then it ends.
    pub(crate) fn relieve(&self, old: &Route) -> u64 {
        self.interest.withdraw(&old.client);
        let answers = old.ask();
        old.client.raise(crate::client::signal::SETTLE);
        answers
    }

    /// Another connection to the same server, by which that has told what it listens to.
    pub(crate) fn elder_of(&self, route: &Route) -> Option<Arc<Client>> {
        let info = route.info()?;
        let ids = self.mesh.lock().lines(&info.server_id);
        let others: Vec<_> = {
            let routes = self.routes.lock();
            let others = ids.iter().filter(|id| **id != route.id());
            others.filter_map(|id| routes.get(id).cloned()).collect()
        };
        let mut clients = others.into_iter().map(|other| Arc::clone(&other.client));
        clients.find(|client| client.subscription_count() > 0)
    }

    /// A connection has ended.
    pub(crate) async fn close(&self, hub: &Hub, route: &Arc<Route>, end: &End) {
        hub.leave_route(&route.client, end);
        route.client.out().open = false;
        subscription::end_all(route.client.take_subscriptions(), |sub| {
            if let Some(remote) = sub.remote() {
                remote.account.remove(sub);
            }
        })
        .await;
        let info = route.info();
        let gone = {
            let mut mesh = self.mesh.lock();
            let departure = info.as_ref().map_or(Departure::Unused, |info| {
                mesh.part(&info.server_id, route.id())
            });
            self.interest.leave(&route.client);
            let mut routes = self.routes.lock();
            routes.remove(&route.id());
            if let Departure::Heir(heir) = departure
                && let Some(heir) = routes.get(&heir)
            {
                self.interest.join(&heir.client);
            }
            departure == Departure::Last
        };
        if let Some(info) = info.filter(|_| gone) {
            self.urls.lock().forget(&info.server_id);
            self.tell_clients(hub);
            for account in hub.accounts.all() {
                account.set_elsewhere(&info.server_id, 0);
            }
        }
        self.changed.notify_waiters();
    }

    /// The settings have been replaced, and each route looks at them: what crosses routes may have changed.
    pub(crate) fn apply_settings(&self, hub: &Hub, old: &Settings) {
        let settings = hub.settings();
        let permissions = |settings: &Settings| {
            let cluster = settings.config.cluster.as_ref();
            cluster.and_then(|cluster| cluster.permissions.clone())
        };
        if permissions(old) == permissions(&settings) {
            return;
        }
        self.interest.restrict(settings.route_rights.as_ref());
        let info = RouteInfo {
            nonce: String::new(),
            ..self.info(hub, Gossip::Default)
        };
        let frame = info.frame();
        // Others are still to be told who this is at all, and that by then.
        for route in self.routes().iter().filter(|it| it.info().is_some()) {
            route.say(&frame);
        }
    }

    /// Tells the peers that this server is about to go.
    pub(crate) fn leave(&self, hub: &Hub) {
        if self.leaving.swap(true, Ordering::AcqRel) {
            return;
        }
        let info = RouteInfo {
            ldm: true,
            nonce: String::new(),
            connect_urls: Vec::new(),
            ws_connect_urls: Vec::new(),
            ..self.info(hub, Gossip::Default)
        };
        let frame = info.frame();
        for route in self.routes() {
            route.say(&frame);
        }
    }

    // --- names ---

    /// Compares the names of both clusters; a made up one yields.
    pub(crate) fn agree(&self, theirs: &str, dynamic: bool, route: u64) -> Result<(), RouteEnd> {
        let taken = {
            let mut name = self.name.write();
            if theirs.is_empty() || *name.text == *theirs {
                return Ok(());
            }
            let yields = name.dynamic && (!dynamic || *name.text < *theirs);
            if !yields {
                return Err(RouteEnd::ClusterName {
                    theirs: theirs.to_owned(),
                    ours: name.text.to_string(),
                });
            }
            name.text = theirs.into();
            name.dynamic = dynamic;
            Arc::clone(&name.text)
        };
        tracing::info!("Cluster name is {taken}");
        // The others belong to a cluster of the old name; those that are in this one come back.
        for other in self.routes() {
            if other.id() != route {
                other.client.end(End::Route(RouteEnd::Renamed));
            }
        }
        Ok(())
    }

    /// The configuration names the cluster, differently perhaps; those who are there stay.
    pub(crate) fn rename(&self, name: &str) {
        let mut known = self.name.write();
        if *known.text != *name {
            tracing::info!("Cluster name is {name}");
        }
        *known = Name {
            text: name.into(),
            dynamic: false,
        };
    }

    /// A peer that was dialled because it was configured is not any more.
    pub(super) fn dismiss(&self, peer: &str) {
        let active = self.mesh.lock().active_of(peer);
        if let Some(route) = active.and_then(|id| self.route(id)) {
            route.client.end(End::Route(RouteEnd::Removed));
        }
    }

    // --- gossip ---

    /// Later news from a peer: of itself, or of another server.
    pub(crate) fn hear(&self, hub: &Hub, route: &Arc<Route>, info: RouteInfo) {
        let Some(known) = route.info() else { return };
        if known.server_id == info.server_id {
            self.learn_urls(hub, &info);
            // What a server says before it goes is not about what it exports.
            if known.export != info.export && !info.ldm {
                let rights = |info: &RouteInfo| RouteRights::told(info.export.as_ref());
                let (had, has) = (rights(&known), rights(&info));
                route.set_info(RouteInfo {
                    import: info.import,
                    export: info.export,
                    ..(*known).clone()
                });
                self.interest
                    .repeat(&route.client, had.as_ref(), has.as_ref());
            }
            return;
        }
        self.hear_of(hub, &info);
    }

    /// There is another server: dial it, unless somebody does already.
    fn hear_of(&self, hub: &Hub, info: &RouteInfo) {
        let settings = hub.settings();
        let Some(config) = &settings.config.cluster else {
            return;
        };
        if self.knows(&info.server_id)
            || !info.route_account.is_empty()
            || urls::is_configured(info, &config.routes)
        {
            return;
        }
        let Ok(url) = info.ip.parse::<RouteUrl>() else {
            tracing::warn!(
                "the route URL of server {:?} is not in order",
                info.server_id
            );
            return;
        };
        if !self.pursued.lock().insert(info.server_id.as_str().into()) {
            return;
        }
        let errand = Errand {
            url,
            cause: Cause::Gossip {
                retries: config.connect_retries,
            },
            gossip: info.gossip(),
            peer: Some(info.server_id.as_str().into()),
            joining: None,
        };
        if let Err(error) = self.errands.try_send(errand) {
            self.errand_done(&error.into_inner());
        }
    }

    /// Tells the other peers of a new one.
    fn pass_on(&self, route: &Arc<Route>, info: &RouteInfo) {
        let configured = route.is_configured();
        let heard_of = route.dialled && !configured;
        if (heard_of && route.gossip != Gossip::Override)
            || info.gossip() == Gossip::Disabled
            || info.port == 0
        {
            return;
        }
        let active: Vec<u64> = self.mesh.lock().active().collect();
        let others: Vec<_> = {
            let routes = self.routes.lock();
            let others = active.iter().filter(|id| **id != route.id());
            others.filter_map(|id| routes.get(id).cloned()).collect()
        };
        for other in others {
            let chosen = match route.dialled {
                true => configured,
                false => other.is_configured(),
            };
            let gossip = match (chosen, route.dialled) {
                (true, _) => Gossip::Override,
                (false, false) => Gossip::Disabled,
                (false, true) => Gossip::Default,
            };
            other.say(&info.passed_on(gossip).frame());
        }
    }

    fn learn_urls(&self, hub: &Hub, info: &RouteInfo) {
        self.urls.lock().learn(info);
        self.tell_clients(hub);
    }

    fn tell_clients(&self, hub: &Hub) {
        let settings = hub.settings();
        let quiet = settings
            .config
            .cluster
            .as_ref()
            .is_some_and(|config| config.no_advertise);
        if !quiet {
            let (clients, websockets) = self.urls.lock().all();
            hub.set_peer_urls(clients, websockets);
        }
    }
}

/// How often a silent peer is pinged.
pub(crate) fn ping_interval(hub: &Hub) -> Duration {
    /// So that a peer that is cut off is noticed in reasonable time.
    const LONGEST: Duration = Duration::from_secs(30);
    let settings = hub.settings();
    let config = settings.config.cluster.as_ref();
    let own = config.and_then(|config| config.ping_interval);
    own.unwrap_or_else(|| settings.limits.ping_interval.min(LONGEST))
}

/// A name nobody else has.
fn made_up_name() -> String {
    const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut rng = rand::rng();
    (0..22)
        .map(|_| char::from(ALPHABET[rng.random_range(0..36)]))
        .collect()
}
