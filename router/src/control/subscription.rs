//! `router.register` and `router.unregister`, in the order in which they were sent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cupola_component::{RawMessage, RawSubscription};
use cupola_messages::Message as _;
use cupola_messages::router::{self, Registration};

use super::Control;

impl Control {
    /// Subscribes both subjects at once, which is what keeps their order.
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub(crate) async fn subscribe(&self) -> anyhow::Result<RawSubscription> {
        Ok(self
            .bus
            .subscribe_raw(router::CONTROL_SUBJECT, None)
            .await?)
    }

    /// Obeys `messages` until the bus is closed for good.
    pub(crate) async fn obey(&self, mut messages: RawSubscription) {
        while let Some(message) = messages.next().await {
            self.hear(&message);
        }
    }

    /// Obeys one message. What does not parse is counted and dropped: it must not stop the others.
    pub(crate) fn hear(&self, message: &RawMessage) {
        let registers = message.subject == router::REGISTER.subject();
        if !registers && message.subject != router::UNREGISTER.subject() {
            return; // `router.start` of a sister, or a greeting
        }
        let count = |counter: &AtomicU64| counter.fetch_add(1, Relaxed);
        let registration = match Registration::decode(&message.payload) {
            Ok(registration) => registration,
            Err(error) => {
                count(&self.counts.malformed);
                tracing::debug!(subject = message.subject, "dropped a message: {error}");
                return;
            }
        };
        let now = self.clock.now();
        if registers {
            count(&self.counts.registers);
            match self.registry.register(&registration, now) {
                Ok(done) if done.evicted => {
                    count(&self.counts.evicted);
                    tracing::info!(
                        endpoint.host = registration.host,
                        endpoint.port = registration.port,
                        "address changed hands; its former routes are gone"
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    count(&self.counts.malformed);
                    tracing::debug!("registration refused: {error}");
                }
            }
        } else {
            count(&self.counts.unregisters);
            if let Err(error) = self.registry.unregister(&registration, now) {
                count(&self.counts.malformed);
                tracing::debug!("unregistration refused: {error}");
            }
        }
    }
}
