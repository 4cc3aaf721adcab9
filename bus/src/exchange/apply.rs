//! Hangs a plan onto the accounts of a broker.

use std::collections::HashSet;
use std::sync::Arc;

use crate::account::{Account, Accounts, GLOBAL};
use crate::client::Client;
use crate::subscription::{Bridge, Special, Subscription};

use super::plan::{Plan, Planned};
use super::{Exchange, ServiceImport, StreamImport};

impl Plan {
    /// Puts the plan into force, in place of the one before. Accounts it does not name keep their
    /// connections, but take nothing from others any more.
    ///
    /// The shadows of subscriptions stay as they are: whoever owns them casts them anew.
    pub(crate) fn apply(self, accounts: &Accounts, own: &Arc<Client>) {
        let mut named: HashSet<Arc<str>> = HashSet::new();
        for planned in self.accounts {
            let account = accounts.get_or_create(&planned.account.name);
            named.insert(Arc::clone(&account.name));
            let exchange = planned.build(accounts, &account, own);
            replace(&account, exchange);
        }
        for account in accounts.all() {
            if !named.contains(&account.name) {
                replace(&account, Exchange::default());
            }
        }
        debug_assert!(accounts.get(GLOBAL).is_some(), "it is always there");
    }
}

/// Requests are taken by the new imports before they are no longer taken by the old ones.
fn replace(account: &Arc<Account>, exchange: Exchange) {
    for (_, sub) in &exchange.services {
        // Not by way of the account: other servers have imports of their own.
        account.list.insert(sub);
    }
    let old = account.replace_exchange(Arc::new(exchange));
    for (_, sub) in &old.services {
        account.list.remove(sub);
    }
}

impl Planned {
    fn build(self, accounts: &Accounts, account: &Arc<Account>, own: &Arc<Client>) -> Exchange {
        let streams = self.streams.into_iter().map(|stream| {
            Arc::new(StreamImport {
                exporter: accounts.get_or_create(&stream.exporter),
                pairing: stream.pairing,
                allow_trace: stream.allow_trace,
            })
        });
        let services = self.services.into_iter().map(|service| {
            let import = Arc::new(ServiceImport {
                importer: Arc::clone(account),
                exporter: accounts.get_or_create(&service.exporter),
                pairing: service.pairing,
                export: service.export,
                share: service.share,
            });
            let special = Special {
                bridge: Some(Bridge::Service(Arc::clone(&import))),
                ..Special::default()
            };
            let subject = &import.pairing.local;
            let sub = Subscription::new(Arc::clone(own), subject, b"", special);
            (import, Arc::new(sub))
        });
        Exchange {
            streams: streams.collect(),
            services: services.collect(),
            mappings: self.mappings,
            configured_mappings: self.account.mappings,
            exports: self.account.exports,
            limits: self.account.limits,
            trace: self
                .account
                .trace
                .filter(|trace| !trace.destination.is_empty())
                .map(Arc::new),
            expires: self.expires,
            token: self.token,
        }
    }
}
