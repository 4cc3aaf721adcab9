//! What a subscription yields.

use std::marker::PhantomData;
use std::sync::Arc;

use async_nats::Subscriber;
use bytes::Bytes;
use cupola_messages::Message;
use futures_util::StreamExt as _;

use super::{Bus, BusError, Counters, encode};

/// A subscription as bytes.
#[derive(Debug)]
pub struct RawSubscription {
    pub(super) subscriber: Subscriber,
}

/// A message as bytes.
#[derive(Debug, Clone)]
pub struct RawMessage {
    /// Where it was said.
    pub subject: String,
    /// What was said.
    pub payload: Bytes,
    /// Where an answer is wanted, if one is.
    pub reply: Option<String>,
}

/// A typed subscription. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription<M> {
    raw: RawSubscription,
    counters: Arc<Counters>,
    payload: PhantomData<fn() -> M>,
}

/// Questions asked on a call. Dropping it stops hearing them.
#[derive(Debug)]
pub struct Requests<Q, A> {
    raw: RawSubscription,
    bus: Bus,
    payload: PhantomData<fn(Q) -> A>,
}

/// One question, with the way back to who asked it.
#[derive(Debug)]
pub struct Asked<Q, A> {
    /// What is asked.
    pub question: Q,
    reply: Option<String>,
    bus: Bus,
    answer: PhantomData<fn(A)>,
}

// === impl RawSubscription ===

impl RawSubscription {
    /// The next message; `None` when the connection is closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<RawMessage> {
        let message = self.subscriber.next().await?;
        Some(RawMessage {
            subject: message.subject.to_string(),
            payload: message.payload,
            reply: message.reply.map(|reply| reply.to_string()),
        })
    }
}

// === impl Subscription ===

impl<M: Message> Subscription<M> {
    pub(super) fn new(raw: RawSubscription, counters: &Arc<Counters>) -> Self {
        Self {
            raw,
            counters: Arc::clone(counters),
            payload: PhantomData,
        }
    }

    /// The next message of the right shape; others are counted, logged and skipped. `None` when
    /// the connection is closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<M> {
        loop {
            let message = self.raw.next().await?;
            match M::decode(&message.payload) {
                Ok(message) => return Some(message),
                Err(error) => self.counters.count_malformed(&message.subject, &error),
            }
        }
    }
}

// === impl Requests ===

impl<Q: Message, A: Message> Requests<Q, A> {
    pub(super) fn new(raw: RawSubscription, bus: Bus) -> Self {
        Self {
            raw,
            bus,
            payload: PhantomData,
        }
    }

    /// The next question of the right shape; others are counted, logged and skipped. `None` when
    /// the connection is closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<Asked<Q, A>> {
        loop {
            let message = self.raw.next().await?;
            match Q::decode(&message.payload) {
                Ok(question) => {
                    let bus = self.bus.clone();
                    return Some(Asked {
                        question,
                        reply: message.reply,
                        bus,
                        answer: PhantomData,
                    });
                }
                Err(error) => self
                    .bus
                    .counters()
                    .count_malformed(&message.subject, &error),
            }
        }
    }
}

// === impl Asked ===

impl<Q, A: Message> Asked<Q, A> {
    /// Whether whoever asked waits for an answer.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        self.reply.is_some()
    }

    /// Answers. Does nothing when no answer is wanted. May be called again for a call that takes
    /// several answers.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub async fn answer(&self, answer: &A) -> Result<(), BusError> {
        match &self.reply {
            Some(reply) => self.bus.send(reply, None, encode(reply, answer)?).await,
            None => Ok(()),
        }
    }
}
