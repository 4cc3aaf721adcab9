//! `/accstatz`: the accounts in numbers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::query::{BadRequest, Query};
use crate::hub::Traffic;

/// What is asked. As JSON it is the payload of a `$SYS.REQ.ACCOUNT.PING.STATZ` request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// These accounts only.
    pub(crate) accounts: Vec<String>,
    /// Accounts without connections as well.
    pub(crate) include_unused: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Accstatz {
    pub(crate) server_id: String,
    pub(crate) now: String,
    pub(crate) account_statz: Vec<AccountStat>,
}

/// One account.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccountStat {
    pub(crate) acc: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) conns: usize,
    pub(crate) leafnodes: usize,
    pub(crate) total_conns: usize,
    pub(crate) num_subscriptions: usize,
    pub(crate) sent: Flow,
    pub(crate) received: Flow,
    pub(crate) slow_consumers: u64,
}

/// Messages and bytes in one direction: all, and those of other servers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Flow {
    #[serde(flatten)]
    pub(crate) all: Volume,
    gateways: Volume,
    routes: Volume,
    leafs: Volume,
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Volume {
    pub(crate) msgs: u64,
    pub(crate) bytes: u64,
}

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        Ok(Options {
            accounts: Vec::new(),
            include_unused: query.flag("unused")?,
        })
    }

    /// Whether this account is to be told of.
    pub(crate) fn wants(&self, name: &str, connections: usize) -> bool {
        (self.accounts.is_empty() || self.accounts.iter().any(|wanted| wanted == name))
            && (self.include_unused || connections > 0)
    }
}

impl AccountStat {
    /// An account by name, what people call it, and its numbers; `routes` is the part of the traffic that routes have.
    pub(crate) fn new(
        name: &Arc<str>,
        label: &Arc<str>,
        connections: usize,
        subscriptions: usize,
        clients: Traffic,
        routes: Traffic,
        slow_consumers: u64,
    ) -> Self {
        let flow = |clients: Volume, routes: Volume| Flow {
            all: Volume {
                msgs: clients.msgs + routes.msgs,
                bytes: clients.bytes + routes.bytes,
            },
            routes,
            ..Flow::default()
        };
        AccountStat {
            acc: Arc::clone(name),
            name: Arc::clone(label),
            conns: connections,
            leafnodes: 0,
            total_conns: connections,
            num_subscriptions: subscriptions,
            sent: flow(clients.sent(), routes.sent()),
            received: flow(clients.received(), routes.received()),
            slow_consumers,
        }
    }
}

impl Traffic {
    /// What the server sent.
    pub(crate) fn sent(&self) -> Volume {
        Volume {
            msgs: self.out_msgs,
            bytes: self.out_bytes,
        }
    }

    /// What it received.
    pub(crate) fn received(&self) -> Volume {
        Volume {
            msgs: self.in_msgs,
            bytes: self.in_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use serde_json::json;

    #[test]
    fn routes_are_a_part_of_the_whole() {
        let traffic = Traffic {
            in_msgs: 1,
            out_msgs: 2,
            in_bytes: 10,
            out_bytes: 20,
        };
        let stat = AccountStat::new(&"A".into(), &"a".into(), 3, 4, traffic, traffic, 5);
        let none = json!({ "msgs": 0, "bytes": 0 });
        assert_eq!(
            serde_json::to_value(stat).unwrap(),
            json!({
                "acc": "A", "name": "a", "conns": 3, "leafnodes": 0, "total_conns": 3, "num_subscriptions": 4,
                "sent": { "msgs": 4, "bytes": 40, "gateways": none, "leafs": none,
                    "routes": { "msgs": 2, "bytes": 20 } },
                "received": { "msgs": 2, "bytes": 20, "gateways": none, "leafs": none,
                    "routes": { "msgs": 1, "bytes": 10 } },
                "slow_consumers": 5,
            })
        );
    }

    #[test]
    fn unused_accounts_are_told_of_when_asked() {
        let mut options = Options::default();
        assert!(options.wants("A", 1) && !options.wants("A", 0));
        options.include_unused = true;
        options.accounts = vec!["B".to_owned()];
        assert!(options.wants("B", 0) && !options.wants("A", 1));
    }
}
