//! Delivery over routes: one copy to each server that wants a message, and what comes from one.
//!
//! A message travels one hop: what comes from a route goes to local subscribers only. For each queue group
//! one member gets it, drawn from all there are in the cluster; when that is one at another server, that
//! server is told the name of the group, and draws again among its own. Should the last of them just have
//! left, it hands the message on to a server that still has some, as nats-server does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::traced::Stays;
use super::{Courier, Desk};
use crate::account::Account;
use crate::client::{Client, Delivery};
use crate::cluster::frame;
use crate::cluster::parser::Queues;
use crate::hash::Dice;
use crate::parser::Publish;
use crate::sublist::{Group, Matches, Remote};
use crate::subscription::Subscription;

/// The servers one message goes to. Kept for its memory, empty between messages.
#[derive(Debug, Default)]
pub(super) struct Targets {
    list: Vec<Target>,
    /// Names of queue groups, with the place of their server in the list.
    queues: Vec<(usize, Arc<[u8]>)>,
    line: Vec<u8>,
}

#[derive(Debug)]
struct Target {
    peer: u32,
    route: Arc<Client>,
}

// === impl Targets ===

impl Targets {
    /// The place of the server that `sub` stands for.
    fn place(&mut self, sub: &Subscription) -> usize {
        let peer = sub.remote().map_or(0, |remote| remote.peer);
        let elder = sub.remote().and_then(|remote| remote.elder.as_ref());
        match self.list.iter().position(|target| target.peer == peer) {
            Some(at) => at,
            None => {
                let elder = elder.and_then(|elder| elder.in_use());
                let route = Arc::clone(elder.unwrap_or(&sub.client));
                self.list.push(Target { peer, route });
                self.list.len() - 1
            }
        }
    }
}

// === impl Courier ===

impl Courier<'_> {
    /// Delivers to queue groups here, and to all who listen at other servers.
    #[inline(never)]
    pub(super) fn deliver_in_cluster(
        &mut self,
        found: &Matches<Subscription>,
        remote: &Remote<Subscription>,
        targets: &mut Targets,
        dice: &mut Dice,
    ) -> usize {
        let mut count = 0;
        for sub in &remote.plain {
            if self.may_cross(sub) {
                targets.place(sub);
            }
        }
        for group in found.groups() {
            count += match remote.groups.get(&group.name) {
                Some(there) => usize::from(self.draw(group, there, targets, dice)),
                None => usize::from(self.deliver_to_one(group, dice)),
            };
        }
        for there in &remote.groups {
            if found.group(&there.name).is_none() {
                self.ask_one(there, targets, dice);
            }
        }
        count + self.forward_all(targets)
    }

    /// Delivers to one member of a group that has some here and some at other servers; whether it was one
    /// here. Where a member is does not matter: else those with publishers beside them would have all to do.
    fn draw(
        &mut self,
        here: &Group<Subscription>,
        there: &Group<Subscription>,
        targets: &mut Targets,
        dice: &mut Dice,
    ) -> bool {
        let elsewhere: usize = there.members.iter().map(weight).sum();
        if dice.below(here.members.len() + elsewhere) < here.members.len() {
            let delivered = self.deliver_to_one(here, dice);
            if !delivered {
                self.ask_one(there, targets, dice);
            }
            return delivered;
        }
        !self.ask_one(there, targets, dice) && self.deliver_to_one(here, dice)
    }

    /// Picks the server that serves a queue group, if any can be reached.
    fn ask_one(&self, group: &Group<Subscription>, targets: &mut Targets, dice: &mut Dice) -> bool {
        let total = group.members.iter().map(weight).sum();
        let mut drawn = dice.below(total);
        let chosen = group.members.iter().find(|sub| {
            let weight = weight(sub);
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        });
        // One whose connection has just ended would lose it for all of the group.
        let open = |sub: &&Arc<Subscription>| sub.client.out().open && self.may_cross(sub);
        let chosen = chosen
            .filter(open)
            .or_else(|| group.members.iter().find(open));
        let Some(sub) = chosen else { return false };
        let at = targets.place(sub);
        targets.queues.push((at, Arc::clone(&group.name)));
        true
    }

    /// Picks another server for a group that the one the message came from meant to be served here; that
    /// one itself only when there is no other, and none whose plain subscribers would get a second copy.
    fn pass_on(&self, name: &[u8], remote: &Remote<Subscription>, targets: &mut Targets) {
        let Some(group) = remote.groups.get(name) else {
            return;
        };
        let peer = |sub: &Arc<Subscription>| sub.remote().map(|remote| remote.peer);
        let fits = |sub: &&Arc<Subscription>| {
            sub.client.out().wire.is_some()
                && self.may_cross(sub)
                && !remote.plain.iter().any(|plain| peer(plain) == peer(sub))
        };
        let third = |sub: &&Arc<Subscription>| !Arc::ptr_eq(&sub.client, self.from);
        let members = || group.members.iter().filter(fits);
        if let Some(sub) = members().find(third).or_else(|| members().next()) {
            let at = targets.place(sub);
            targets.queues.push((at, Arc::clone(&group.name)));
        }
    }

    /// Whether those at another server may have the message, who have asked for more than they may have.
    #[inline]
    fn may_cross(&self, sub: &Subscription) -> bool {
        let special = sub.special.as_deref();
        special.is_none_or(|special| super::is_granted(special, self.message.subject))
    }

    /// Sends a copy to each server that is to have one; returns how many took it.
    fn forward_all(&mut self, targets: &mut Targets) -> usize {
        let mut count = 0;
        for at in 0..targets.list.len() {
            count += usize::from(self.forward(targets, at));
        }
        targets.list.clear();
        targets.queues.clear();
        count
    }

    fn forward(&mut self, targets: &mut Targets, at: usize) -> bool {
        let Targets { list, queues, line } = targets;
        let Some(Target { route, .. }) = list.get(at) else {
            return false;
        };
        let (headers, traces) = {
            let out = route.out();
            (out.headers, out.traces)
        };
        let marked = match self.mark(route, traces) {
            Ok(marked) => marked,
            Err(Stays) => return false,
        };
        let message = match &marked {
            Some((header_len, body)) => Publish {
                header_len: Some(*header_len),
                body,
                ..*self.message
            },
            None => *self.message,
        };
        let queues = queues
            .iter()
            .filter(|(place, _)| *place == at)
            .map(|(_, name)| &**name);
        line.clear();
        let body = frame::message(line, &self.account.name, &message, queues, headers);
        let size = body.len() - 2;
        match route.forward([line, body], size, self.pool) {
            Delivery::Refused => false,
            Delivery::Queued {
                flush, congested, ..
            } => {
                if flush {
                    self.touched.push(Arc::clone(route));
                }
                if congested {
                    *self.congested = Some(Arc::clone(route));
                }
                if self.pool.pressed {
                    self.unburden();
                }
                true
            }
        }
    }
}

// === impl Desk ===

impl Desk {
    /// Delivers what another server has passed on: to all plain subscribers here, and to one member of
    /// each of the named queue groups.
    pub(crate) fn relay(
        &mut self,
        account: &Arc<Account>,
        from: &Arc<Client>,
        message: &Publish<'_>,
        queues: Queues<'_>,
    ) -> usize {
        let Desk {
            hub,
            caches,
            pool,
            touched,
            work,
            congested,
            trace,
            dice,
            head,
            targets,
            renamed,
            crossings,
            ..
        } = self;
        if caches.len() <= account.index {
            caches.resize_with(account.index + 1, Default::default);
        }
        *work += 1;
        let Some(found) = caches[account.index].find(&account.list, message.subject, work) else {
            return 0;
        };
        *work += found.plain().len();
        if found.plain().is_empty() && queues.is_empty() {
            return 0;
        }
        head.write(message);
        let mut courier = Courier {
            hub,
            account,
            message,
            head,
            from,
            echo: true,
            pool,
            touched,
            work,
            congested,
            renamed,
            crossings,
            trace,
        };
        let mut count = 0;
        for sub in found.plain() {
            // A request has left for the other account where it was made.
            if !sub.is_service_import() {
                count += usize::from(courier.deliver(sub));
            }
        }
        for name in queues.iter() {
            let served = found
                .group(name)
                .is_some_and(|group| courier.deliver_to_one(group, dice));
            if served {
                count += 1;
            } else if let Some(remote) = found.remote() {
                courier.pass_on(name, remote, targets);
            }
        }
        if !targets.list.is_empty() {
            count += courier.forward_all(targets);
        }
        if !self.crossings.waiting.is_empty() {
            count += self.cross(account, from, message);
        }
        count
    }
}

/// How many members of a queue group a subscription of another server stands for.
fn weight(sub: &Arc<Subscription>) -> usize {
    sub.remote().map_or(1, |remote| {
        remote.weight.load(Ordering::Relaxed).max(1) as usize
    })
}
