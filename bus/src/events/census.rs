//! How many connections an account has at the other servers of the cluster, so that its limit is one for
//! all of them.

use serde::Deserialize;

use super::service::Request;
use crate::account::Account;
use crate::client::Kind;
use crate::hub::Hub;
use crate::session::End;

/// What another server tells of an account; the rest of the event is for people.
#[derive(Debug, Deserialize)]
struct Count {
    server: Teller,
    acc: String,
    #[serde(default)]
    conns: usize,
}

#[derive(Debug, Deserialize)]
struct Teller {
    id: String,
}

/// Takes over what another server has told. When there are too many now, those who came last go; the others
/// do the same, and who is sent away too many comes again.
pub(super) fn hear(hub: &Hub, told: &Request) {
    if told.from.kind != Kind::Route {
        return;
    }
    let Ok(count) = serde_json::from_slice::<Count>(&told.payload) else {
        tracing::debug!("a server tells of connections in a form that is not known");
        return;
    };
    let knows = |id: &str| {
        let node = hub.cluster();
        id != hub.id && node.is_some_and(|node| node.knows(id))
    };
    let Some(account) = hub.accounts.get(&count.acc) else {
        return;
    };
    if !knows(&count.server.id) {
        return;
    }
    account.set_elsewhere(&count.server.id, count.conns);
    close_excess(hub, &account);
}

fn close_excess(hub: &Hub, account: &Account) {
    let max = account.exchange().limits.max_connections;
    let Some(max) = max.and_then(|max| usize::try_from(max).ok()) else {
        return;
    };
    let over = account.connections_everywhere().saturating_sub(max);
    if over == 0 {
        return;
    }
    let mut clients = hub.clients();
    clients
        .retain(|client| client.kind == Kind::Client && std::ptr::eq(&*client.account(), account));
    clients.sort_unstable_by_key(|client| std::cmp::Reverse(client.id));
    for client in clients.iter().take(over) {
        client.end(End::TooManyAccountConnections);
    }
}
