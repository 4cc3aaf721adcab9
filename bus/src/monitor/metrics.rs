//! What Prometheus is told, and under which names.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::process;
use super::prometheus::{Kind, Page, Point};
use super::report::Report;
use crate::hub::Hub;

/// The page of a running broker.
pub(crate) fn page(hub: &Hub) -> String {
    let report = Report::new(hub);
    let varz = report.varz();
    let totals = report.totals();
    let mut page = Page::default();
    let info = [
        ("server_id", varz.server_id.as_str()),
        ("server_name", varz.server_name.as_str()),
        ("version", varz.version),
    ];
    page.many(
        Kind::Gauge,
        "cupola_bus_info",
        "What runs here; always 1.",
        [(&info[..], 1)],
    );
    let ready = u8::from(hub.monitor.health().code() == 200);
    let uptime = hub.started.elapsed().as_secs();
    for (name, help, number) in [
        ("ready", "Whether clients should come.", u64::from(ready)),
        ("uptime_seconds", "How long it has been running.", uptime),
        ("memory_bytes", "Resident memory of the process.", varz.mem),
        (
            "waiting_bytes",
            "What waits to be sent, or to be complete.",
            wide(hub.memory.waiting()),
        ),
        (
            "subscription_bytes",
            "What subscriptions take, about.",
            wide(hub.memory.subscriptions()),
        ),
        (
            "waiting_and_subscription_bytes_max",
            "What both may take together.",
            wide(hub.memory.limit()),
        ),
        ("connections", "Clients connected.", wide(varz.connections)),
        (
            "connections_max",
            "Clients that may be connected.",
            wide(varz.max_connections),
        ),
        ("routes", "Connections to other servers.", wide(varz.routes)),
        (
            "subscriptions",
            "Subscriptions of clients.",
            wide(varz.subscriptions),
        ),
        (
            "accounts_active",
            "Accounts with clients.",
            wide(totals.active_accounts),
        ),
        (
            "payload_max_bytes",
            "Largest message that is taken.",
            wide(varz.max_payload),
        ),
        (
            "pending_bytes",
            "What waits for clients to take it.",
            wide(totals.pending),
        ),
        (
            "start_time_seconds",
            "When it started, in seconds since 1970.",
            seconds(hub.started_at),
        ),
        (
            "config_load_time_seconds",
            "When the configuration was last read, in seconds since 1970.",
            seconds(hub.monitor.loaded()),
        ),
    ] {
        page.one(Kind::Gauge, &format!("cupola_bus_{name}"), help, number);
    }
    for (name, help, number) in [
        (
            "connections_total",
            "Connections ever.",
            varz.total_connections,
        ),
        (
            "slow_consumers_total",
            "Clients cut off as they did not keep up.",
            varz.slow_consumers,
        ),
        (
            "cut_for_memory_total",
            "Of those, clients cut off as all together held too much.",
            hub.memory.cut(),
        ),
        (
            "stale_connections_total",
            "Clients given up as they did not answer.",
            varz.stale_connections,
        ),
        (
            "stalls_total",
            "Times a publisher was made to wait for a receiver.",
            varz.stalled_clients,
        ),
        (
            "moves_total",
            "Times a connection went to live with another worker.",
            hub.monitor.moves.load(Ordering::Relaxed),
        ),
        (
            "events_lost_total",
            "Events and requests dropped as too many came at once.",
            hub.events.lost(),
        ),
    ] {
        page.one(Kind::Counter, &format!("cupola_bus_{name}"), help, number);
    }
    if let Some(used) = process::cpu_seconds() {
        page.one(
            Kind::Counter,
            "cupola_bus_cpu_seconds_total",
            "Processor time used.",
            used,
        );
    }
    let (clients, routes) = (totals.of_clients, totals.of_routes);
    let by_peer = |clients: u64, routes: u64| -> [Point<'static, u64>; 2] {
        [
            (&[("peer", "client")], clients),
            (&[("peer", "route")], routes),
        ]
    };
    for (name, help, points) in [
        (
            "received_messages_total",
            "Messages received.",
            by_peer(clients.in_msgs, routes.in_msgs),
        ),
        (
            "received_bytes_total",
            "Bytes of payloads and headers received.",
            by_peer(clients.in_bytes, routes.in_bytes),
        ),
        (
            "sent_messages_total",
            "Messages delivered.",
            by_peer(clients.out_msgs, routes.out_msgs),
        ),
        (
            "sent_bytes_total",
            "Bytes of payloads and headers delivered.",
            by_peer(clients.out_bytes, routes.out_bytes),
        ),
    ] {
        page.many(Kind::Counter, &format!("cupola_bus_{name}"), help, points);
    }
    accounts(&mut page, &report);
    requests(&mut page, hub);
    page.text()
}

fn accounts(page: &mut Page, report: &Report<'_>) {
    let stats = report.account_stats();
    let labels: Vec<_> = stats.iter().map(|stat| [("account", &*stat.acc)]).collect();
    let mut add = |kind, name: &str, help, numbers: Vec<u64>| {
        let points = labels.iter().map(|label| &label[..]).zip(numbers);
        page.many(kind, &format!("cupola_bus_account_{name}"), help, points);
    };
    let list = |number: fn(&super::AccountStat) -> u64| stats.iter().map(number).collect();
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    add(
        gauge,
        "connections",
        "Clients of the account.",
        list(|stat| wide(stat.conns)),
    );
    add(
        gauge,
        "subscriptions",
        "Subscriptions in the account.",
        list(|stat| wide(stat.num_subscriptions)),
    );
    add(
        counter,
        "received_messages_total",
        "Messages received from clients.",
        list(|stat| stat.received.all.msgs),
    );
    add(
        counter,
        "received_bytes_total",
        "Bytes received from clients.",
        list(|stat| stat.received.all.bytes),
    );
    add(
        counter,
        "sent_messages_total",
        "Messages delivered to clients.",
        list(|stat| stat.sent.all.msgs),
    );
    add(
        counter,
        "sent_bytes_total",
        "Bytes delivered to clients.",
        list(|stat| stat.sent.all.bytes),
    );
    add(
        counter,
        "slow_consumers_total",
        "Clients cut off as they did not keep up.",
        list(|stat| stat.slow_consumers),
    );
}

fn requests(page: &mut Page, hub: &Hub) {
    let requests = hub.monitor.requests();
    let labels: Vec<_> = requests
        .iter()
        .map(|(path, count)| ([("path", *path)], *count))
        .collect();
    page.many(
        Kind::Counter,
        "cupola_bus_monitor_requests_total",
        "Monitoring requests answered.",
        labels.iter().map(|(label, count)| (&label[..], *count)),
    );
}

fn seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
