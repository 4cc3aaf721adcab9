//! The bus, typed: publish, subscribe, ask and answer by [`Topic`] and [`Call`].
//!
//! The connection is kept for ever: when the broker goes away it is tried again at short, jittered
//! intervals, and subscriptions come back by themselves. While it is away, publishing fails at once
//! instead of waiting: a message is a hint, and a reconciler repeats what matters.

mod messages;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use bytes::Bytes;
use cupola_messages::{Call, Message, PayloadError, Topic};
use futures_util::StreamExt as _;
use prometheus_client::metrics::counter::Counter;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::metrics::Metrics;

pub use messages::{Asked, RawMessage, RawSubscription, Requests, Subscription};

/// How long a publish may wait for room in the connection's send queue.
const PUBLISH_WITHIN: Duration = Duration::from_secs(2);
/// Messages that wait for a subscriber before the newest are dropped: half a minute of a large
/// installation's registrations.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// Commands that wait for the connection; more than this many block the sender.
const SEND_QUEUE: usize = 2_048;
/// Most answers that one question collects.
const MAX_ANSWERS: usize = 4_096;

/// How to reach the bus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusConfig {
    /// Servers, such as `nats://127.0.0.1:4222`; any of them will do.
    pub urls: Vec<String>,
    /// Seed of this identity's nkey.
    #[serde(default)]
    pub nkey_seed: Option<SecretString>,
    /// User, where the servers want user and password.
    #[serde(default)]
    pub user: Option<String>,
    /// Password.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// Prefix of the subjects on which answers arrive.
    #[serde(default = "BusConfig::default_inbox_prefix")]
    pub inbox_prefix: String,
}

impl BusConfig {
    fn default_inbox_prefix() -> String {
        "_INBOX".to_owned()
    }
}

/// The bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The first connection could not be set up.
    #[error("cannot connect to the bus at {urls}")]
    Connect {
        /// Where.
        urls: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The broker is away.
    #[error("{subject}: the bus is not connected")]
    Disconnected {
        /// What was to be said or heard.
        subject: String,
    },
    /// The message was not sent.
    #[error("{subject}: not sent: {detail}")]
    Publish {
        /// What was to be said.
        subject: String,
        /// Why.
        detail: String,
    },
    /// The subscription was not made.
    #[error("{subject}: not subscribed: {detail}")]
    Subscribe {
        /// What was to be heard.
        subject: String,
        /// Why.
        detail: String,
    },
    /// Nobody listens where the question was asked.
    #[error("{subject}: nobody is there to answer")]
    NoResponders {
        /// What was asked.
        subject: String,
    },
    /// No answer came in time.
    #[error("{subject}: no answer within {within:?}")]
    Timeout {
        /// What was asked.
        subject: String,
        /// How long was waited.
        within: Duration,
    },
    /// The message could not be written or the answer not read.
    #[error("{subject}: unusable message")]
    Payload {
        /// Where.
        subject: String,
        /// Why.
        #[source]
        source: PayloadError,
    },
}

impl BusError {
    /// Whether the same may work a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, BusError::Payload { .. } | BusError::Connect { .. })
    }
}

/// A connection to the bus. Cheap to clone; all clones are one connection.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    connected: watch::Receiver<bool>,
    counters: Arc<Counters>,
}

/// What went wrong quietly.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    malformed: Counter,
    dropped: Counter,
    disconnects: Counter,
}

// === impl Bus ===

impl Bus {
    /// Connects as `name`. Returns at once; when no server answers yet, the connection is made as
    /// soon as one does.
    ///
    /// # Errors
    /// [`BusError::Connect`] when an address or the identity is unusable.
    pub async fn connect(config: &BusConfig, name: &str) -> Result<Self, BusError> {
        let (state, connected) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let on_event = {
            let counters = Arc::clone(&counters);
            let state = Arc::new(state);
            move |event| {
                let (counters, state) = (Arc::clone(&counters), Arc::clone(&state));
                async move { note(&event, &state, &counters) }
            }
        };
        let mut options = ConnectOptions::new()
            .name(name)
            .custom_inbox_prefix(&config.inbox_prefix)
            .event_callback(on_event)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ignore_discovered_servers()
            .connection_timeout(Duration::from_secs(2))
            .ping_interval(Duration::from_secs(10))
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .client_capacity(SEND_QUEUE)
            .read_buffer_capacity(16 * 1024)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                Backoff::pause(Duration::from_millis(20), Duration::from_millis(500), tries)
            });
        if let Some(seed) = &config.nkey_seed {
            options = options.nkey(seed.expose_secret().to_owned());
        }
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            options = options.user_and_password(user.clone(), password.expose_secret().to_owned());
        }
        let client =
            options
                .connect(&config.urls[..])
                .await
                .map_err(|source| BusError::Connect {
                    urls: config.urls.join(", "),
                    source,
                })?;
        Ok(Self {
            client,
            connected,
            counters,
        })
    }

    /// Whether the connection stands, and its changes.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Waits until the connection stands.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when it does not within `within`.
    pub async fn wait_connected(&self, within: Duration) -> Result<(), BusError> {
        let mut connected = self.connected.clone();
        match timeout(within, connected.wait_for(|up| *up)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(BusError::Timeout {
                subject: "connect".to_owned(),
                within,
            }),
        }
    }

    /// Largest payload that the broker takes, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        match self.client.max_payload() {
            0 => 1024 * 1024,
            limit => limit,
        }
    }

    /// Messages that came but were not of the subject's shape.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.counters.malformed.get()
    }

    /// Messages that a subscription of ours was too slow to take, at least so many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.get()
    }

    /// Says `message`. It is on its way when this returns; nothing tells whether it arrives.
    ///
    /// # Errors
    /// At once when the broker is away, and within two seconds when it does not take more.
    pub async fn publish<M: Message>(&self, topic: &Topic<M>, message: &M) -> Result<(), BusError> {
        let payload = encode(topic.subject(), message)?;
        self.send(topic.subject(), None, payload).await
    }

    /// Hears every message of `topic` from now on, again after each reconnect.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn subscribe<M: Message>(
        &self,
        topic: &Topic<M>,
    ) -> Result<Subscription<M>, BusError> {
        Ok(Subscription::new(
            self.subscribe_raw(topic.subject(), None).await?,
            &self.counters,
        ))
    }

    /// As [`subscribe`](Self::subscribe), but each message goes to one member of `group`.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn subscribe_group<M: Message>(
        &self,
        topic: &Topic<M>,
        group: &str,
    ) -> Result<Subscription<M>, BusError> {
        let raw = self.subscribe_raw(topic.subject(), Some(group)).await?;
        Ok(Subscription::new(raw, &self.counters))
    }

    /// Hears a subject as bytes: for subscriptions that span several topics.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn subscribe_raw(
        &self,
        subject: &str,
        group: Option<&str>,
    ) -> Result<RawSubscription, BusError> {
        let subject_owned = subject.to_owned();
        let subscribed = match group {
            Some(group) => {
                self.client
                    .queue_subscribe(subject_owned, group.to_owned())
                    .await
            }
            None => self.client.subscribe(subject_owned).await,
        };
        subscribed
            .map(|subscriber| RawSubscription { subscriber })
            .map_err(|error| BusError::Subscribe {
                subject: subject.to_owned(),
                detail: error.to_string(),
            })
    }

    /// Asks one question and takes the first answer.
    ///
    /// # Errors
    /// [`BusError::NoResponders`] at once when nobody listens, [`BusError::Timeout`] when nobody
    /// answers `within`.
    pub async fn request<Q: Message, A: Message>(
        &self,
        call: &Call<Q, A>,
        question: &Q,
        within: Duration,
    ) -> Result<A, BusError> {
        let mut answers = self
            .request_many(call, question, within, |a| !a.is_empty())
            .await?;
        answers.pop().ok_or_else(|| BusError::Timeout {
            subject: call.subject().to_owned(),
            within,
        })
    }

    /// Asks one question and collects answers until `enough` of them came or the time is over.
    /// Answers of the wrong shape are counted and left out.
    ///
    /// # Errors
    /// [`BusError::NoResponders`] at once when nobody listens.
    pub async fn request_many<Q: Message, A: Message>(
        &self,
        call: &Call<Q, A>,
        question: &Q,
        within: Duration,
        mut enough: impl FnMut(&[A]) -> bool,
    ) -> Result<Vec<A>, BusError> {
        let deadline = Instant::now() + within;
        let subject = call.subject();
        let payload = encode(subject, question)?;
        let inbox = self.client.new_inbox();
        let mut answers_in = self.subscribe_raw(&inbox, None).await?.subscriber;
        self.send(subject, Some(inbox), payload).await?;
        let mut answers = Vec::new();
        while answers.len() < MAX_ANSWERS && !enough(&answers) {
            let Ok(Some(message)) = timeout_at(deadline, answers_in.next()).await else {
                break;
            };
            if message.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
                return Err(BusError::NoResponders {
                    subject: subject.to_owned(),
                });
            }
            match A::decode(&message.payload) {
                Ok(answer) => answers.push(answer),
                Err(error) => self.counters.count_malformed(subject, &error),
            }
        }
        Ok(answers)
    }

    /// Hears the questions asked on `call`.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn serve<Q: Message, A: Message>(
        &self,
        call: &Call<Q, A>,
    ) -> Result<Requests<Q, A>, BusError> {
        self.serve_in(call, None).await
    }

    /// As [`serve`](Self::serve), but each question goes to one member of `group`.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn serve_group<Q: Message, A: Message>(
        &self,
        call: &Call<Q, A>,
        group: &str,
    ) -> Result<Requests<Q, A>, BusError> {
        self.serve_in(call, Some(group)).await
    }

    async fn serve_in<Q: Message, A: Message>(
        &self,
        call: &Call<Q, A>,
        group: Option<&str>,
    ) -> Result<Requests<Q, A>, BusError> {
        let raw = self.subscribe_raw(call.subject(), group).await?;
        Ok(Requests::new(raw, self.clone()))
    }

    /// Waits until the broker has heard everything said so far: until a word to ourselves, said last, has come
    /// back. That bytes have left would say little, as what others say may overtake them.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when it has not `within`, because it is away or slow; as
    /// [`publish`](Self::publish) when the word cannot be said.
    pub async fn flush(&self, within: Duration) -> Result<(), BusError> {
        let echoed = async {
            self.wait_connected(within).await?;
            let inbox = self.client.new_inbox();
            let mut echo = self.subscribe_raw(&inbox, None).await?.subscriber;
            self.send(&inbox, None, Bytes::new()).await?;
            Ok(echo.next().await.is_some())
        };
        match timeout(within, echoed).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) => Err(BusError::Timeout {
                subject: "flush".to_owned(),
                within,
            }),
        }
    }

    /// Shows what went wrong quietly among the process's metrics.
    pub(crate) fn register(&self, metrics: &Metrics) {
        let counters = &self.counters;
        metrics.register(|registry| {
            registry.register(
                "bus_messages_malformed",
                "Messages that were not of their subject's shape",
                counters.malformed.clone(),
            );
            registry.register(
                "bus_messages_dropped",
                "Messages that came faster than they were taken",
                counters.dropped.clone(),
            );
            registry.register(
                "bus_disconnects",
                "Times that the connection to the bus was lost",
                counters.disconnects.clone(),
            );
        });
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(crate) async fn send(
        &self,
        subject: &str,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), BusError> {
        if !*self.connected.borrow() {
            return Err(BusError::Disconnected {
                subject: subject.to_owned(),
            });
        }
        let to = subject.to_owned();
        let sent = async {
            match reply {
                Some(reply) => self.client.publish_with_reply(to, reply, payload).await,
                None => self.client.publish(to, payload).await,
            }
        };
        let failed = |detail| BusError::Publish {
            subject: subject.to_owned(),
            detail,
        };
        match timeout(PUBLISH_WITHIN, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the send queue is full".to_owned())),
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("connected", &*self.connected.borrow())
            .finish_non_exhaustive()
    }
}

// === impl Counters ===

impl Counters {
    pub(crate) fn count_malformed(&self, subject: &str, error: &PayloadError) {
        self.malformed.inc();
        let source = std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::warn!(
            bus.subject = subject,
            "skipping a malformed message: {error}: {source}"
        );
    }
}

fn encode<M: Message>(subject: &str, message: &M) -> Result<Bytes, BusError> {
    message
        .encode()
        .map(Bytes::from)
        .map_err(|source| BusError::Payload {
            subject: subject.to_owned(),
            source,
        })
}

fn note(event: &Event, state: &watch::Sender<bool>, counters: &Counters) {
    match event {
        Event::Connected => {
            tracing::info!("bus connected");
            state.send_replace(true);
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("bus disconnected");
            counters.disconnects.inc();
            state.send_replace(false);
        }
        Event::SlowConsumer(_) => {
            let dropped = counters.dropped.inc() + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(
                    "messages came faster than they were taken: {dropped} dropped so far"
                );
            }
        }
        Event::ServerError(error) => tracing::error!("the bus reports: {error}"),
        Event::ClientError(error) => tracing::warn!("bus client: {error}"),
        Event::LameDuckMode | Event::Draining => tracing::info!("bus: {event}"),
    }
}
