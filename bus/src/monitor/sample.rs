//! One connection at one moment: what sorting, filtering and reporting need, taken in one go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::client::Client;
use crate::hub::Traffic;
use crate::session::End;
use crate::sublist::Member as _;
use crate::subscription::Subscription;
use crate::wire::tls::Leaf;

/// Subscriptions of a closed connection that are remembered, and bytes of their names.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 2 << 10;
/// Bytes that are remembered of each thing a closed connection said of itself.
const SAID_BYTES: usize = 512;

/// A connection as it was when it was looked at, or when it ended.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) cid: u64,
    /// `nats`, `websocket`: how it speaks.
    pub(crate) transport: &'static str,
    pub(crate) peer: SocketAddr,
    pub(crate) start: SystemTime,
    /// When it last sent or was sent something.
    pub(crate) last: SystemTime,
    /// When it ended and why.
    pub(crate) stop: Option<(SystemTime, &'static str)>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) pending: usize,
    pub(crate) traffic: Traffic,
    pub(crate) subscriptions: usize,
    pub(crate) who: Who,
    pub(crate) tls: Option<Tls>,
    /// Subscriptions a closed connection had, or some of them.
    pub(crate) kept: Box<[Subscribed]>,
}

/// Who a connection says it is, and who it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) lang: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
    /// The user: a name, or a public nkey.
    pub(crate) user: Option<Arc<str>>,
    /// Who signed its JWT.
    pub(crate) issuer_key: Option<Arc<str>>,
    /// Its account; absent as long as it has not been let in.
    pub(crate) account: Option<Arc<str>>,
    /// What people call that.
    pub(crate) label: Option<Arc<str>>,
}

/// A certificate, by its names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Certificate {
    subject: String,
    spki_sha256: String,
    cert_sha256: String,
}

/// How a connection is encrypted.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    /// Name of the cipher suite, as Go writes it.
    pub(crate) cipher: Arc<str>,
    /// What the client has shown, when it was asked to.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Subscribed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_tag: Option<Arc<str>>,
    pub(crate) subject: String,
    #[serde(rename = "qgroup", skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    pub(crate) sid: String,
    pub(crate) msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) max: u64,
    pub(crate) cid: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands references out"
)]
pub(crate) fn is_zero(value: &u64) -> bool {
    *value == 0
}

// === impl Sample ===

impl Sample {
    /// A connection as it is now. Takes its locks one after the other, each for a moment.
    pub(crate) fn of(client: &Client) -> Self {
        let who = {
            let about = client.about();
            let known = about
                .identity
                .as_ref()
                .map(|who| Arc::from(who.name.as_str()));
            Who {
                name: about.name.clone(),
                lang: about.lang.clone(),
                version: about.version.clone(),
                issuer_key: about
                    .identity
                    .as_ref()
                    .and_then(|who| who.issuer_key.as_deref().map(Arc::from)),
                user: known.or_else(|| about.claims.clone()),
                account: Some(Arc::clone(&about.account.name)),
                label: Some(about.account.label()),
            }
        };
        let (pending, delivered) = {
            let out = client.out();
            (out.pending, out.active())
        };
        let handshake = client.handshake();
        let tls = handshake.and_then(|it| it.tls.as_ref()).map(|tls| Tls {
            version: tls.version,
            cipher: tls.cipher_suite.as_str().into(),
            certificate: handshake
                .and_then(|it| it.peer.as_ref())
                .map(|leaf| Arc::new(Certificate::of(leaf))),
        });
        Sample {
            cid: client.id,
            transport: match handshake.and_then(|it| it.websocket.as_ref()) {
                Some(_) => "websocket",
                None => "nats",
            },
            peer: client.peer,
            start: client.started,
            last: delivered.max(client.active.get()).max(client.started),
            stop: None,
            rtt: client.rtt(),
            pending,
            traffic: Traffic::of(client),
            subscriptions: client.subscription_count(),
            who,
            tls,
            kept: Box::default(),
        }
    }

    /// A connection at its end, with the subscriptions it had.
    pub(crate) fn last(client: &Client, had: &[Arc<Subscription>], end: &End) -> Self {
        let mut sample = Self::of(client);
        sample.stop = Some((SystemTime::now(), end.reason()));
        sample.pending = 0;
        sample.subscriptions = had.len();
        let account = Arc::clone(&client.account().name);
        let mut room = KEPT_BYTES;
        sample.kept = had
            .iter()
            .take(KEPT)
            .map_while(|sub| {
                let queue = sub.queue().map_or(0, |queue| queue.len());
                room = room.checked_sub(sub.subject().len() + sub.sid().len() + queue)?;
                Some(Subscribed::of(sub).within(&account))
            })
            .collect();
        if end.is_refusal() {
            sample.who.account = None;
            sample.who.label = None;
            // Not the user that those are who say nothing.
            sample.who.user = client.about().claims.clone();
        }
        let who = &mut sample.who;
        for said in [
            &mut who.name,
            &mut who.lang,
            &mut who.version,
            &mut who.user,
        ] {
            if let Some(text) = said.as_deref().filter(|text| text.len() > SAID_BYTES) {
                *said = Some(text[..text.floor_char_boundary(SAID_BYTES)].into());
            }
        }
        sample
    }

    /// Since when nothing has happened, at `now` or when it ended.
    pub(crate) fn idle(&self, now: SystemTime) -> Duration {
        since(self.end(now), self.last)
    }

    /// How long it has lived, at `now` or when it ended.
    pub(crate) fn uptime(&self, now: SystemTime) -> Duration {
        since(self.end(now), self.start)
    }

    fn end(&self, now: SystemTime) -> SystemTime {
        self.stop.map_or(now, |(at, _)| at)
    }
}

/// Time past; none when clocks were set back.
fn since(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

// === impl Certificate ===

impl Certificate {
    fn of(leaf: &Leaf) -> Self {
        Certificate {
            subject: leaf.subject.clone(),
            spki_sha256: leaf.spki_sha256.clone(),
            cert_sha256: leaf.cert_sha256.clone(),
        }
    }
}

// === impl Subscribed ===

impl Subscribed {
    /// A subscription as it is now, without its account.
    pub(crate) fn of(sub: &Subscription) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Subscribed {
            account: None,
            account_tag: None,
            subject: text(sub.subject()),
            queue: sub.queue().map(|queue| text(queue)),
            sid: text(sub.sid()),
            msgs: sub.delivered(),
            max: sub.max(),
            cid: sub.client.id,
        }
    }

    /// The same, with the account it is in.
    pub(crate) fn within(self, account: &Arc<str>) -> Self {
        Subscribed {
            account: Some(Arc::clone(account)),
            account_tag: Some(Arc::clone(account)),
            ..self
        }
    }
}
