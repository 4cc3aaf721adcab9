//! Answers from the running broker. Everything here works on what it copies out under short locks, one at
//! a time; no message ever waits for an answer to be made.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::absent::{Gatewayz, Jsz, Leafz};
use super::accountz::{self, Accountz};
use super::accstatz::{self, AccountStat, Accstatz};
use super::connz::{self, Connz, State};
use super::human;
use super::process;
use super::query::{BadRequest, shorten};
use super::routez::{self, Route, Routez};
use super::sample::{Sample, Subscribed};
use super::subsz::{self, Subsz, Tally};
use super::varz::{AllTraffic, ClusterOptions, Nothing, PerKind, Varz, WebsocketOptions};
use crate::account::Account;
use crate::client::{Client, Kind};
use crate::hub::{Hub, Traffic};
use crate::protocol;
use crate::subject;
use crate::sublist::Member as _;
use crate::subscription::Subscription;
use crate::wire::tls::Acceptor;

/// Subscriptions in one answer at most, over all its connections, and bytes of their names.
const LISTED: usize = 1 << 18;
const LISTED_BYTES: usize = 32 << 20;

/// Makes answers, all of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    hub: &'a Hub,
    now: SystemTime,
}

/// What connections do, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) clients: usize,
    pub(crate) routes: usize,
    /// What clients did, including those that are gone.
    pub(crate) of_clients: Traffic,
    pub(crate) of_routes: Traffic,
    pub(crate) active_accounts: usize,
    /// Bytes that wait for clients.
    pub(crate) pending: usize,
}

/// What may still be listed in an answer.
#[derive(Debug)]
struct Room {
    subscriptions: usize,
    bytes: usize,
}

/// One account in numbers.
#[derive(Clone, Copy, Debug, Default)]
struct InAccount {
    clients: usize,
    traffic: Traffic,
}

// === impl Report ===

impl<'a> Report<'a> {
    pub(crate) fn new(hub: &'a Hub) -> Self {
        Report {
            hub,
            now: SystemTime::now(),
        }
    }

    fn id(&self) -> String {
        self.hub.id.clone()
    }

    fn now(&self) -> String {
        human::time(self.now)
    }

    /// All connections in numbers.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            of_clients: self.hub.past(Kind::Client),
            of_routes: self.hub.past(Kind::Route),
            ..Totals::default()
        };
        let mut accounts = std::collections::HashSet::new();
        for client in self.hub.clients() {
            let traffic = Traffic::of(&client);
            if client.kind == Kind::Route {
                totals.routes += 1;
                totals.of_routes.add(&traffic);
            } else {
                totals.clients += 1;
                totals.pending += client.out().pending;
                totals.of_clients.add(&traffic);
                accounts.insert(client.account().index);
            }
        }
        totals.active_accounts = accounts.len();
        totals
    }

    /// `/varz`.
    pub(crate) fn varz(&self) -> Varz {
        let hub = self.hub;
        let settings = hub.settings();
        let limits = &settings.limits;
        let facts = &hub.monitor.facts;
        // What clients are told.
        let info = hub.info(hub.system_client(), None);
        let stats = hub.stats();
        let totals = self.totals();
        let cores = process::cores();
        let http = facts.http.or(facts.https);
        let door = settings.security.websocket.as_ref();
        Varz {
            server_id: self.id(),
            server_name: hub.name.clone(),
            version: protocol::VERSION,
            proto: protocol::PROTO,
            go: concat!("cupola-bus ", env!("CARGO_PKG_VERSION")),
            host: hub.address.ip().to_string(),
            port: hub.address.port(),
            // Also where those who say nothing are let in as somebody.
            auth_required: info.auth_required
                || settings.config.authorization.no_auth_user.is_some(),
            tls_required: info.tls_required,
            tls_verify: info.tls_verify,
            connect_urls: info.connect_urls,
            ws_connect_urls: hub.websocket_urls(),
            max_connections: limits.max_connections,
            max_subscriptions: limits.max_subscriptions,
            ping_interval: human::nanos(limits.ping_interval),
            ping_max: limits.ping_max,
            http_host: http.map(|at| at.ip().to_string()).unwrap_or_default(),
            http_port: facts.http.map_or(0, |at| at.port()),
            http_base_path: facts.base_path.clone(),
            https_port: facts.https.map_or(0, |at| at.port()),
            auth_timeout: limits.auth_timeout.as_secs_f64(),
            max_control_line: limits.max_control_line,
            max_payload: limits.max_payload,
            max_pending: limits.max_pending,
            cluster: ClusterOptions {
                tls_cert_not_after: settings
                    .route_tls
                    .as_ref()
                    .and_then(|tls| tls.acceptor.not_after()),
                ..facts.cluster(hub)
            },
            gateway: Nothing {},
            leaf: Nothing {},
            mqtt: Nothing {},
            websocket: WebsocketOptions {
                tls_cert_not_after: door.and_then(|door| door.tls.as_ref()?.not_after()),
                ..facts.websocket(hub.websocket_address.get())
            },
            jetstream: Nothing {},
            tls_timeout: facts.tls_timeout,
            write_deadline: human::nanos(limits.write_deadline),
            start: human::time(hub.started_at),
            now: self.now(),
            uptime: human::elapsed(hub.started.elapsed()),
            mem: process::resident_bytes(),
            cores,
            gomaxprocs: cores,
            cpu: hub.monitor.load.percent(),
            connections: totals.clients,
            total_connections: stats.total_connections,
            routes: totals.routes,
            remotes: totals.routes,
            leafnodes: 0,
            traffic: AllTraffic::new(totals.of_clients, totals.of_routes),
            slow_consumers: stats.slow_consumers,
            stale_connections: hub.stale_connections().iter().sum(),
            stalled_clients: hub.monitor.stalls.load(Ordering::Relaxed),
            subscriptions: stats.subscriptions.len,
            http_req_stats: hub.monitor.requests(),
            config_load_time: human::time(hub.monitor.loaded()),
            tags: settings.config.server_tags.clone(),
            system_account: hub.accounts.system().map(|it| it.name.to_string()),
            slow_consumer_stats: PerKind::of(hub.slow_consumers()),
            stale_connection_stats: PerKind::of(hub.stale_connections()),
            tls_cert_not_after: settings.security.tls.as_ref().and_then(Acceptor::not_after),
        }
    }

    /// `/connz`.
    ///
    /// # Errors
    /// The order cannot be had.
    pub(crate) fn connz(&self, options: &connz::Options) -> Result<Connz, BadRequest> {
        options.check()?;
        let in_account = |name: Option<&str>| options.acc.is_empty() || name == Some(&options.acc);
        let mut total = 0;
        let mut samples = Vec::new();
        if options.state != State::Closed {
            for client in self.hub.clients() {
                if client.kind != Kind::Client || !in_account(Some(&client.account().name)) {
                    continue;
                }
                total += 1;
                let wanted = options.cid == 0 || options.cid == client.id;
                let has = |filter: &[u8]| hears(&client, filter);
                if wanted && options.subject_filter().is_none_or(has) {
                    samples.push(Arc::new(Sample::of(&client)));
                }
            }
        }
        if options.state != State::Open {
            let mut closed = self.hub.monitor.closed.all();
            closed.retain(|sample| in_account(sample.who.account.as_deref()));
            total += closed.len();
            closed.retain(|sample| {
                let had = |filter: &[u8]| {
                    let mut subs = sample.kept.iter();
                    subs.any(|sub| subject::overlaps(sub.subject.as_bytes(), filter))
                };
                options.subject_filter().is_none_or(had)
            });
            samples.append(&mut closed);
        }
        let page = connz::select(samples, options, self.now)?;
        let mut room = Room::new();
        Ok(Connz::new(
            &self.hub.id,
            &page,
            total,
            options,
            self.now,
            |sample| match self.hub.client(sample.cid) {
                Some(client) if sample.stop.is_none() => listed(&client, &mut room),
                _ => sample.kept.to_vec(),
            },
        ))
    }

    /// `/subsz`.
    ///
    /// # Errors
    /// Nobody can publish to the test subject.
    pub(crate) fn subsz(&self, options: &subsz::Options) -> Result<Subsz, BadRequest> {
        options.check()?;
        let accounts = match options.acc.as_str() {
            "" => self.hub.accounts.all(),
            name => self.hub.accounts.get(name).into_iter().collect(),
        };
        let by_account = self.by_account();
        let mut tally = Tally::default();
        for account in &accounts {
            tally.add(&self.tally(account, &by_account));
        }
        let page = options.page();
        let (mut total, mut list, mut room) = (0, Vec::new(), Room::new());
        if options.subscriptions {
            let mut clients = self.hub.clients();
            clients.sort_unstable_by_key(|client| client.id);
            for client in clients.iter().filter(|client| client.kind == Kind::Client) {
                let account = client.account();
                if !accounts.iter().any(|wanted| Arc::ptr_eq(wanted, &account)) {
                    continue;
                }
                let mut subs = client.subscriptions();
                subs.retain(|sub| options.wants(sub.subject()));
                subs.sort_unstable_by(|a, b| a.by_sid(b));
                for sub in subs {
                    if total >= page.offset && list.len() < page.limit && room.has_for(&sub) {
                        list.push(Subscribed::of(&sub).within(&account.name));
                    }
                    total += 1;
                }
            }
        }
        Ok(Subsz {
            server_id: self.id(),
            now: self.now(),
            stats: tally.stats(),
            total,
            offset: page.offset,
            limit: page.limit,
            subscriptions_list: list,
        })
    }

    /// `/routez`.
    pub(crate) fn routez(&self, options: routez::Options) -> Routez {
        let mut routes: Vec<_> = self
            .hub
            .clients()
            .into_iter()
            .filter(|client| client.kind == Kind::Route)
            // Who has not said who he is may be anybody yet.
            .filter(|client| {
                let route = self.hub.cluster().and_then(|node| node.route(client.id));
                route.is_some_and(|route| route.info().is_some())
            })
            .collect();
        routes.sort_unstable_by_key(|route| route.id);
        let mut room = Room::new();
        let routes: Vec<_> = routes
            .iter()
            .map(|route| {
                let mut told = self.route(route);
                if options.lists() {
                    told.list(listed(route, &mut room), options);
                }
                told
            })
            .collect();
        Routez {
            server_id: self.id(),
            server_name: self.hub.name.clone(),
            now: self.now(),
            num_routes: routes.len(),
            routes,
        }
    }

    fn route(&self, route: &Client) -> Route {
        let sample = Sample::of(route);
        let known = self.hub.cluster().and_then(|node| node.route(route.id));
        let info = known.as_ref().and_then(|route| route.info());
        Route {
            rid: sample.cid,
            remote_id: info
                .as_ref()
                .map_or_else(String::new, |info| info.server_id.clone()),
            did_solicit: known.as_ref().is_some_and(|route| route.dialled),
            is_configured: known.as_ref().is_some_and(|route| route.is_configured()),
            remote_name: sample.who.name.as_deref().unwrap_or_default().to_owned(),
            ip: sample.peer.ip().to_string(),
            port: sample.peer.port(),
            start: human::time(sample.start),
            last_activity: human::time(sample.last),
            rtt: known
                .as_ref()
                .map(|route| route.rtt())
                .filter(|rtt| !rtt.is_zero())
                .map(human::exact),
            uptime: human::elapsed(sample.uptime(self.now)),
            idle: human::elapsed(sample.idle(self.now)),
            pending_size: sample.pending,
            in_msgs: sample.traffic.in_msgs,
            out_msgs: sample.traffic.out_msgs,
            in_bytes: sample.traffic.in_bytes,
            out_bytes: sample.traffic.out_bytes,
            subscriptions: sample.subscriptions,
            import: info.as_ref().and_then(|info| info.import.clone()),
            export: info.as_ref().and_then(|info| info.export.clone()),
            compression: "off",
            ..Route::default()
        }
    }

    /// `/accountz`.
    ///
    /// # Errors
    /// There is no such account.
    pub(crate) fn accountz(&self, options: &accountz::Options) -> Result<Accountz, BadRequest> {
        let mut answer = Accountz {
            server_id: self.id(),
            now: self.now(),
            system_account: self.hub.accounts.system().map(|it| Arc::clone(&it.name)),
            accounts: Vec::new(),
            account_detail: None,
        };
        if options.account.is_empty() {
            let accounts = self.hub.accounts.all();
            answer.accounts = accounts.iter().map(|it| Arc::clone(&it.name)).collect();
            answer.accounts.sort_unstable();
        } else {
            answer.account_detail = Some(self.account(&options.account)?);
        }
        Ok(answer)
    }

    /// One account in detail.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn account(&self, name: &str) -> Result<accountz::Account, BadRequest> {
        let account = self.hub.accounts.get(name);
        let account = account.ok_or_else(|| BadRequest::NoAccount(shorten(name)))?;
        let by_account = self.by_account();
        let stats = self.tally(&account, &by_account).stats();
        let system = self.hub.accounts.system();
        let exchange = account.exchange();
        let now = self.now.duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        let expired = exchange.expires.is_some_and(|at| at <= now);
        Ok(accountz::Account {
            account_name: Arc::clone(&account.name),
            update_time: human::time(account.created),
            is_system: system.is_some_and(|system| Arc::ptr_eq(&system, &account)),
            expired,
            complete: true,
            jetstream_enabled: false,
            leafnode_connections: 0,
            client_connections: by_account.get(&account.index).map_or(0, |it| it.clients),
            subscriptions: stats.num_subscriptions,
            mappings: accountz::mappings(&exchange),
            exports: exchange.exports.iter().map(accountz::Export::of).collect(),
            imports: accountz::Import::all(&exchange),
            issuer_key: exchange.token.as_ref().map(|it| it.issuer().to_owned()),
            name_tag: account.label(),
            sublist_stats: stats,
        })
    }

    /// `/accstatz`.
    pub(crate) fn accstatz(&self, options: &accstatz::Options) -> Accstatz {
        let mut stats = self.account_stats();
        stats.retain(|stat| options.wants(&stat.acc, stat.conns));
        Accstatz {
            server_id: self.id(),
            now: self.now(),
            account_statz: stats,
        }
    }

    /// All accounts in numbers, by name.
    pub(crate) fn account_stats(&self) -> Vec<AccountStat> {
        let by_account = self.by_account();
        let mut accounts = self.hub.accounts.all();
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let stat = |account: &Arc<Account>| {
            let here = by_account.get(&account.index).copied().unwrap_or_default();
            AccountStat::new(
                &account.name,
                &account.label(),
                here.clients,
                self.tally(account, &by_account).subscriptions,
                here.traffic,
                Traffic::default(),
                account.slow_consumers.load(Ordering::Relaxed),
            )
        };
        accounts.iter().map(stat).collect()
    }

    /// `/gatewayz`.
    pub(crate) fn gatewayz(&self) -> Gatewayz {
        Gatewayz::new(self.id(), self.now())
    }

    /// `/leafz`.
    pub(crate) fn leafz(&self) -> Leafz {
        Leafz::new(self.id(), self.now())
    }

    /// `/jsz`.
    pub(crate) fn jsz(&self) -> Jsz {
        Jsz::new(self.id(), self.now())
    }

    /// The clients of each account in numbers, by its index.
    fn by_account(&self) -> HashMap<usize, InAccount> {
        let mut sums: HashMap<usize, InAccount> = HashMap::new();
        for account in self.hub.accounts.all() {
            sums.entry(account.index).or_default().traffic = *account.past.lock();
        }
        for client in self.hub.clients() {
            if client.kind == Kind::Client {
                let sum = sums.entry(client.account().index).or_default();
                sum.clients += 1;
                sum.traffic.add(&Traffic::of(&client));
            }
        }
        sums
    }

    /// The subscriptions of one account in numbers. Every message is a look-up; only those that miss the
    /// caches are counted as such, as they are slow anyway.
    fn tally(&self, account: &Account, by_account: &HashMap<usize, InAccount>) -> Tally {
        let own = self.hub.events.own_subscriptions_in(account);
        let list = account.list.stats().without(own);
        let caches = self.hub.monitor.caches(Some(account.index));
        let published = by_account
            .get(&account.index)
            .map_or(0, |it| it.traffic.in_msgs);
        Tally {
            subscriptions: list.len,
            inserts: list.inserts,
            removes: list.removes,
            matches: published.max(caches.misses),
            misses: caches.misses,
            cached: caches.entries,
            fanout: caches.fanout,
            max_fanout: caches.max_fanout,
        }
    }
}

/// Whether a client has a subscription that may get something that `filter` gets.
fn hears(client: &Client, filter: &[u8]) -> bool {
    let subs = client.subscriptions();
    subs.iter()
        .any(|sub| subject::overlaps(sub.subject(), filter))
}

/// The first subscriptions of a client, in the order of their sids, as far as there is room.
fn listed(client: &Client, room: &mut Room) -> Vec<Subscribed> {
    let mut subs = client.subscriptions();
    subs.sort_unstable_by(|a, b| a.by_sid(b));
    subs.iter()
        .take_while(|sub| room.has_for(sub))
        .map(|sub| Subscribed::of(sub))
        .collect()
}

// === impl Room ===

impl Room {
    fn new() -> Self {
        Room {
            subscriptions: LISTED,
            bytes: LISTED_BYTES,
        }
    }

    /// Whether one more can be listed; takes its room. Once one could not, none can.
    fn has_for(&mut self, sub: &Subscription) -> bool {
        let queue = sub.queue().map_or(0, |queue| queue.len());
        let bytes = sub.subject().len() + sub.sid().len() + queue;
        if self.subscriptions == 0 || self.bytes < bytes {
            self.subscriptions = 0;
            return false;
        }
        self.subscriptions -= 1;
        self.bytes -= bytes;
        true
    }
}
