//! A client that wants to listen in on others.

use std::sync::Arc;

use crate::auth::Identity;
use crate::client::Enrolment;
use crate::delivery::Desk;
use crate::permissions::Permissions;
use crate::subject;
use crate::subscription::{Special, Subscription};
use crate::tap::{Options, Tap};

use super::command::{Talk, subscription};

impl Talk {
    /// `SUB $SYS.TAP.<subject> [options] sid`
    pub(super) fn subscribe_tap(
        &mut self,
        desk: &mut Desk,
        subject: &[u8],
        options: Option<&[u8]>,
        sid: &[u8],
    ) {
        if self.is_full(desk) {
            return;
        }
        let identity = self.identity();
        let permissions = identity.and_then(|identity| identity.permissions.as_ref());
        // A right to everything is no right to listen in: it must be given by name.
        if !permissions.is_some_and(|permissions| permissions.may_tap(subject)) {
            self.refuse(desk, &subscription(subject, options));
            return;
        }
        if !subject::is_valid(subject) {
            desk.send(&self.client, b"-ERR 'Invalid Subject'\r\n");
            return;
        }
        let Some(options) = options.map_or(Some(Options::default()), Options::parse) else {
            desk.send(&self.client, b"-ERR 'Invalid Tap Options'\r\n");
            return;
        };
        if !self.options.headers {
            desk.send(&self.client, b"-ERR 'taps need headers support'\r\n");
            return;
        }
        let filter = self.tap_filter();
        let own = self.account();
        let all = (self.hub.accounts.system()).is_some_and(|system| Arc::ptr_eq(&system, own));
        let account = (!all).then(|| Arc::clone(own));
        let sub = Subscription::new(Arc::clone(&self.client), subject, sid, Special::default());
        let sub = Arc::new(sub);
        let seed = own.seed;
        let mut fits = true;
        let enrolled = self.client.enrol(seed, &sub, |sub| {
            let tap = Tap::new(Arc::clone(sub), account, filter, options);
            fits = self.hub.taps.add(tap);
        });
        if !fits {
            self.client.forget(seed, &sub);
            desk.send(&self.client, b"-ERR 'maximum taps exceeded'\r\n");
        } else if enrolled != Enrolment::Closed {
            self.confirm(desk);
        }
    }

    /// Whose rules each message of a tap is checked against, when some are denied.
    pub(super) fn tap_filter(&self) -> Option<Arc<Identity>> {
        let denies = |who: &&Arc<Identity>| {
            let permissions = who.permissions.as_ref();
            permissions.is_some_and(Permissions::denies_subscriptions)
        };
        self.identity().filter(denies).cloned()
    }
}
