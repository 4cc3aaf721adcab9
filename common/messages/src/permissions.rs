//! What each role may say and hear on the bus, derived from the [`wire`](crate::wire) table.
//!
//! The same lists configure our own broker and a genuine nats-server.

use cupola_types::Role;

use crate::wire::{Kind, TABLE};

/// Subjects that one identity may publish to and subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Allowed for publishing; everything else is denied.
    pub publish: Vec<String>,
    /// Allowed for subscribing; everything else is denied.
    pub subscribe: Vec<String>,
    /// Whether it may answer, once, to the reply subject of a message it was sent.
    pub allow_responses: bool,
}

/// Where answers to the questions of this identity arrive. Each has a prefix of its own, so that
/// nobody hears another's answers.
#[must_use]
pub fn inbox_prefix(role: Role, id: &str) -> String {
    format!("_INBOX.{role}.{id}")
}

/// What the identity `id` of `role` may say and hear.
#[must_use]
pub fn permissions(role: Role, id: &str) -> Permissions {
    let publish = TABLE
        .iter()
        .filter(|e| e.from.contains(&role))
        .map(|e| e.subject.replace("{id}", "*"));
    let mut publish: Vec<String> = publish.collect();
    let own_inbox = format!("{}.>", inbox_prefix(role, id));
    // A word to oneself comes back when the broker has heard all that was said before it.
    publish.push(own_inbox.clone());
    let subscribe = TABLE
        .iter()
        .filter(|e| e.to.contains(&role))
        .map(|e| e.subject.replace("{id}", id));
    let mut subscribe: Vec<String> = subscribe.collect();
    if role == Role::Router {
        // One subscription, so that a register and the unregister after it keep their order.
        subscribe.push(crate::router::CONTROL_SUBJECT.to_owned());
    }
    subscribe.push(own_inbox);
    Permissions {
        publish,
        subscribe,
        allow_responses: TABLE
            .iter()
            .any(|e| e.kind == Kind::Request && e.to.contains(&role)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dea_hears_its_own_start_orders_and_no_other_dea_s() {
        let dea = permissions(Role::Dea, "d1");
        assert!(dea.subscribe.contains(&"dea.d1.start".to_owned()));
        assert!(
            !dea.subscribe
                .iter()
                .any(|s| s == "dea.*.start" || s == "dea.>" || s == ">")
        );
        assert!(
            !dea.publish
                .iter()
                .any(|s| s.ends_with(".start") && s.starts_with("dea.*"))
        );
    }

    #[test]
    fn only_the_controller_may_order_starts_and_stops() {
        for role in Role::ALL
            .into_iter()
            .filter(|r| *r != Role::CloudController)
        {
            let publish = permissions(role, "x").publish;
            for order in ["dea.*.start", "dea.stop", "staging.*.start", "dea.update"] {
                assert!(
                    !publish.contains(&order.to_owned()),
                    "{role} may publish {order}"
                );
            }
        }
        let controller = permissions(Role::CloudController, "x").publish;
        assert!(controller.contains(&"dea.*.start".to_owned()));
    }

    #[test]
    fn nobody_hears_another_s_answers_or_speaks_into_them() {
        for role in Role::ALL {
            let Permissions {
                publish, subscribe, ..
            } = permissions(role, "x");
            for subject in publish.into_iter().chain(subscribe) {
                if subject.starts_with("_INBOX") {
                    assert_eq!(subject, format!("_INBOX.{role}.x.>"));
                }
            }
        }
    }
}
