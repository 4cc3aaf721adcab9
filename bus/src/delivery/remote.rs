//! Delivery over routes: one copy to each server that wants a message, and what comes from one.
//!
//! A message travels one hop: what comes from a route goes to local subscribers only. For each queue group
//! one member gets it, here if there is one that takes it, else at one other server, chosen by how many
//! members it has. That server is told the names of the groups it is to serve.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Courier, Desk};
use crate::account::Account;
use crate::client::{Client, Delivery};
use crate::cluster::frame;
use crate::cluster::parser::Queues;
use crate::hash::Dice;
use crate::parser::Publish;
use crate::sublist::{Group, Remote};
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
        match self.list.iter().position(|target| target.peer == peer) {
            Some(at) => at,
            None => {
                let route = Arc::clone(&sub.client);
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
        groups: &[Group<Subscription>],
        remote: &Remote<Subscription>,
        targets: &mut Targets,
        dice: &mut Dice,
    ) -> usize {
        let mut count = 0;
        for sub in &remote.plain {
            targets.place(sub);
        }
        for group in groups {
            if self.deliver_to_one(group, dice) {
                count += 1;
            } else if let Some(there) = remote.groups.iter().find(|there| there.name == group.name)
            {
                self.ask_one(there, targets, dice);
            }
        }
        for there in &remote.groups {
            if !groups.iter().any(|group| group.name == there.name) {
                self.ask_one(there, targets, dice);
            }
        }
        for at in 0..targets.list.len() {
            count += usize::from(self.forward(targets, at));
        }
        targets.list.clear();
        targets.queues.clear();
        count
    }

    /// Picks the server that serves a queue group.
    fn ask_one(&self, group: &Group<Subscription>, targets: &mut Targets, dice: &mut Dice) {
        let weight = |sub: &Subscription| {
            sub.remote().map_or(1, |remote| {
                remote.weight.load(Ordering::Relaxed).max(1) as usize
            })
        };
        let total = group.members.iter().map(|sub| weight(sub)).sum();
        let mut drawn = dice.below(total);
        let chosen = group.members.iter().find(|sub| {
            let weight = weight(sub);
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        });
        // One whose connection has just ended would lose it for all of the group.
        let open = |sub: &&Arc<Subscription>| sub.client.out().wire.is_some();
        let chosen = chosen
            .filter(open)
            .or_else(|| group.members.iter().find(open));
        if let Some(sub) = chosen {
            let at = targets.place(sub);
            targets.queues.push((at, Arc::clone(&group.name)));
        }
    }

    fn forward(&mut self, targets: &mut Targets, at: usize) -> bool {
        let Targets { list, queues, line } = targets;
        let Some(Target { route, .. }) = list.get(at) else {
            return false;
        };
        if let Some(trace) = self.trace.as_deref_mut()
            && !trace.passes(route)
        {
            return false;
        }
        let queues = queues
            .iter()
            .filter(|(place, _)| *place == at)
            .map(|(_, name)| &**name);
        let headers = route.out().headers;
        line.clear();
        let body = frame::message(line, &self.account.name, self.message, queues, headers);
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
            caches,
            pool,
            touched,
            congested,
            trace,
            dice,
            head,
            renamed,
            crossings,
            ..
        } = self;
        if caches.len() <= account.index {
            caches.resize_with(account.index + 1, Default::default);
        }
        let Some(found) = caches[account.index].find(&account.list, message.subject) else {
            return 0;
        };
        if found.plain().is_empty() && found.groups().is_empty() {
            return 0;
        }
        head.write(message);
        let mut courier = Courier {
            account,
            message,
            head,
            from,
            echo: true,
            pool,
            touched,
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
            if let Some(group) = found.groups().iter().find(|group| *group.name == *name) {
                count += usize::from(courier.deliver_to_one(group, dice));
            }
        }
        if !self.crossings.waiting.is_empty() {
            count += self.cross(account, from, message);
        }
        count
    }
}
