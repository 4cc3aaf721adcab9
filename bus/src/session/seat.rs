//! Where a connection belongs: its user, its account and their limits, when it comes in and after a reload.

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::{Identity, Standing};
use crate::client::Shade;
use crate::delivery::Desk;
use crate::exchange::{Shadow, places};
use crate::permissions::OpenReplies;
use crate::protocol::Quoted;
use crate::sublist::Member as _;
use crate::subscription::{Bridge, Special, Subscription};
use crate::tap;

use super::command::{Talk, subscription};
use super::{End, Session};

/// Subscriptions that are looked at between two looks at the sockets.
const PART: usize = 1024;

impl Session {
    /// Makes the connection a user's; `None` where nobody needs to be one.
    pub(super) fn take_seat(&mut self, identity: Option<Arc<Identity>>) -> Result<(), End> {
        let accounts = &self.hub.accounts;
        let account = match &identity {
            Some(identity) => accounts.get_or_create(&identity.account),
            None => Arc::clone(accounts.global()),
        };
        let max = account.exchange().limits.max_connections;
        let old = self.link.client.account();
        if Arc::ptr_eq(&old, &account) {
            let most = max.and_then(|max| usize::try_from(max).ok());
            if most.is_some_and(|most| account.connections_everywhere() > most) {
                return Err(End::TooManyAccountConnections);
            }
        } else {
            if !account.connect(max) {
                return Err(End::TooManyAccountConnections);
            }
            old.disconnect();
            self.link.talk.join(account);
        }
        self.link.talk.become_somebody(identity);
        self.apply_limits();
        if self.link.talk.imports || self.link.client.casts_shadows() {
            for sub in self.link.client.subscriptions() {
                self.link.talk.cast(&sub);
            }
        }
        Ok(())
    }

    /// Takes the narrowest of the limits of server, account and user.
    pub(super) fn apply_limits(&mut self) {
        let limits = &self.link.talk.settings.limits;
        let exchange = self.link.talk.account.exchange();
        let identity = self.link.talk.identity.as_deref();
        let own = identity.map(|who| who.limits).unwrap_or_default();
        let payloads = [own.max_payload, exchange.limits.max_payload];
        let subs = [own.max_subscriptions, exchange.limits.max_subscriptions];
        let server = Some(limits.max_subscriptions).filter(|max| *max > 0);
        self.link.parser.rules.max_control_line = limits.max_control_line;
        self.link.parser.rules.max_payload = payloads
            .into_iter()
            .flatten()
            .fold(limits.max_payload, usize::min);
        self.link.talk.max_payload = self.link.parser.rules.max_payload;
        self.link.talk.max_subscriptions = subs
            .into_iter()
            .flatten()
            .filter_map(|max| usize::try_from(max).ok())
            .chain(server)
            .min();
        self.link.talk.mappings.clone_from(&exchange.mappings);
        self.link.talk.sampling.clone_from(&exchange.trace);
        self.link.talk.imports = !exchange.streams.is_empty();
        self.expires = identity.and_then(|who| who.until);
    }

    /// The settings have been replaced: it may have to go, to change over, or to give up subscriptions.
    pub(super) async fn apply_settings(&mut self) -> Result<(), End> {
        let had_rules = self.link.talk.has_rules();
        let settings = self.hub.settings();
        self.link
            .client
            .set_max_pending(settings.limits.max_pending);
        self.link
            .client
            .set_misses(!settings.limits.stall_producers);
        self.next_ping = self
            .next_ping
            .min(Instant::now() + settings.ping_interval(self.door));
        self.link.talk.settings = Arc::clone(&settings);
        // One that is still expected to say who it is does so under the new rules.
        if !self.link.parser.rules.connect_only {
            let identity = self.link.talk.identity.as_deref();
            let users = settings.users_of(self.door);
            match users.standing(identity, self.link.talk.anonymous) {
                Standing::Same => self.take_seat(self.link.talk.identity.clone())?,
                Standing::Now(identity) => self.take_seat(identity)?,
                Standing::Unknown => {
                    let identity = self.identify(&settings).await?;
                    self.take_seat(identity)?;
                    self.link.talk.options.forget_secrets();
                }
                Standing::Moved => return Err(End::Moved),
                Standing::Gone => return Err(End::Refused),
                Standing::Revoked => return Err(End::UserRevoked),
                Standing::AccountOver => return Err(End::AccountExpired),
            }
            if had_rules || self.link.talk.has_rules() {
                self.review_subscriptions().await;
            }
        }
        self.apply_limits();
        self.arm_timer();
        Ok(())
    }
}

impl Session {
    /// Looks at all subscriptions again, a few at a time: there may be very many.
    async fn review_subscriptions(&mut self) {
        let imports = self.link.talk.has_imports();
        let subs = self.link.client.subscriptions();
        for part in subs.chunks(PART) {
            {
                let mut desk = self.link.desk.lock();
                for sub in part {
                    self.link.talk.review(&mut desk, sub, imports);
                }
                desk.flush();
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Talk {
    /// Whether there is anything by which its subscriptions differ from what they say.
    fn has_rules(&self) -> bool {
        let permissions = |who: &Arc<Identity>| who.permissions.is_some();
        self.identity.as_ref().is_some_and(permissions) || self.has_imports()
    }

    fn has_imports(&self) -> bool {
        !self.account.exchange().streams.is_empty() || self.client.casts_shadows()
    }

    /// Takes on a user's rights, or everybody's.
    fn become_somebody(&mut self, identity: Option<Arc<Identity>>) {
        match identity {
            Some(identity) => self.become_user(identity),
            None => {
                self.client.track_replies(None);
                self.clear_identity();
            }
        }
    }

    /// Takes on a user's rights.
    pub(super) fn become_user(&mut self, identity: Arc<Identity>) {
        let granted = identity.permissions.as_ref();
        let answers = granted.and_then(|granted| granted.responses);
        self.client.track_replies(answers.map(OpenReplies::new));
        self.set_identity(identity);
    }

    /// Lists a subscription in the accounts it reaches into by imports.
    pub(super) fn cast(&self, sub: &Arc<Subscription>) {
        let exchange = self.account.exchange();
        let special = sub.special.as_deref();
        let shadows: Vec<Shade> = places(&exchange, sub.subject())
            .map(|(import, subject)| {
                let shadow = Shadow {
                    of: Arc::clone(sub),
                    account: Arc::clone(&self.account),
                    import: Arc::clone(import),
                };
                let special = Special {
                    queue: sub.queue().cloned(),
                    filter: special.and_then(|special| special.filter.clone()),
                    bridge: Some(Bridge::Shadow(shadow)),
                    ..Special::default()
                };
                let client = Arc::clone(&self.client);
                let sub = Subscription::new(client, &subject, sub.sid(), special);
                (Arc::clone(&import.exporter), Arc::new(sub))
            })
            .collect();
        self.client.cast(self.account.seed, sub, shadows);
    }

    /// Ends a subscription it may not have any more, or brings it up to date.
    fn review(&self, desk: &mut Desk, sub: &Arc<Subscription>, imports: bool) {
        let (subject, queue) = (sub.subject(), sub.queue().map(AsRef::as_ref));
        let permissions = self
            .identity
            .as_ref()
            .and_then(|who| who.permissions.as_ref());
        let is_tap = subject.starts_with(tap::PREFIX);
        let allowed = if is_tap {
            permissions.is_some_and(|granted| granted.may_tap(subject))
        } else {
            permissions.is_none_or(|granted| granted.may_subscribe(subject, queue))
        };
        if !allowed {
            {
                // Deliveries count under this lock.
                let _out = self.client.out();
                sub.end_after(0);
            }
            self.account.remove(sub);
            self.client.forget(self.account.seed, sub);
            let sid = Quoted(sub.sid());
            let what = subscription(subject, queue);
            self.refuse(desk, &format!("{what} (sid {sid})"));
            return;
        }
        if is_tap {
            self.hub.taps.review(sub, self.tap_filter());
            return;
        }
        let filtered = permissions.is_some_and(|granted| granted.needs_filter(subject, queue));
        let was_filtered = sub
            .special
            .as_ref()
            .is_some_and(|special| special.filter.is_some());
        let replaced = (filtered || was_filtered).then(|| self.replace_filter(sub, filtered));
        if imports {
            self.cast(replaced.as_ref().unwrap_or(sub));
        }
    }

    /// Has deliveries of a subscription checked against what its user is denied now.
    fn replace_filter(&self, sub: &Arc<Subscription>, filtered: bool) -> Arc<Subscription> {
        let special = Special {
            queue: sub.queue().cloned(),
            filter: self.identity.clone().filter(|_| filtered),
            ..Special::default()
        };
        let next = {
            // Deliveries count under this lock.
            let _out = self.client.out();
            Arc::new(sub.successor(special))
        };
        let account = &self.account;
        self.client.succeed(account.seed, sub, &next, || {
            account.insert(&next);
            account.remove(sub);
        });
        next
    }
}
