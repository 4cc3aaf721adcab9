//! Where a request can go: an address, whose it is, and how it fares.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use cupola_messages::router::Registration;
use http::HeaderValue;

use super::Moment;

/// A plain `host:port`. Endpoints register with the address of their container; a registrar may
/// give a name, which is then looked up at each dial.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address that can be dialled as it is.
    Ip(SocketAddr),
    /// A host name and port.
    Name(Box<str>, u16),
}

/// Whose endpoint it is. The same address under another identity is another tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `private_instance_id`; empty when the registrar has none.
    pub instance: Box<str>,
    /// The app; empty for the platform's own components.
    pub app: Box<str>,
}

/// One endpoint as its registration describes it. Immutable: a registration with other attributes
/// makes a new one that shares the [`Standing`].
pub struct Endpoint {
    /// Where to dial.
    pub address: Address,
    /// Whose it is.
    pub identity: Identity,
    /// Which copy of the app, as text; empty when unknown.
    pub index: Box<str>,
    /// Labels, sorted by name. A slice, for a map of one entry takes half a kilobyte.
    pub tags: Box<[(Box<str>, Box<str>)]>,
    /// What every pool, core and request shares about it.
    pub standing: Arc<Standing>,
    /// `X-CF-ApplicationID`, ready to send.
    pub app_header: Option<HeaderValue>,
    /// `X-CF-InstanceIndex`, ready to send.
    pub index_header: Option<HeaderValue>,
    /// `X-CF-InstanceID`, ready to send: the instance, or the address when it has no id.
    pub instance_header: Option<HeaderValue>,
}

/// How an endpoint fares, shared by all its routes: a mark set by one holds for all.
#[derive(Debug)]
pub struct Standing {
    id: u64,
    in_flight: AtomicU32,
    failed_until_ms: AtomicU64,
    retired: AtomicBool,
}

// === impl Address ===

impl Address {
    /// The address in a registration; nothing when it cannot be dialled.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        if host.is_empty() || host.len() > 255 || port == 0 {
            return None;
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Self::Ip(SocketAddr::new(ip, port)));
        }
        host.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            .then(|| Self::Name(host.to_ascii_lowercase().into(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(socket) => write!(f, "{socket}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl Identity ===

impl Identity {
    /// The identity that `registration` claims.
    #[must_use]
    pub fn of(registration: &Registration) -> Self {
        Self {
            instance: registration
                .private_instance_id
                .as_deref()
                .unwrap_or_default()
                .into(),
            app: registration.app.as_deref().unwrap_or_default().into(),
        }
    }

    /// Whether a message that claims `self` may remove an endpoint registered as `present`: what it
    /// leaves out it does not contradict.
    #[must_use]
    pub fn may_remove(&self, present: &Self) -> bool {
        let agrees = |ours: &str, theirs: &str| ours.is_empty() || ours == theirs;
        agrees(&self.instance, &present.instance) && agrees(&self.app, &present.app)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint in `registration`.
    pub(super) fn new(
        address: Address,
        identity: Identity,
        registration: &Registration,
        standing: Arc<Standing>,
    ) -> Self {
        let header = |text: &str| match text {
            "" => None,
            text => HeaderValue::from_str(text).ok(),
        };
        let index = registration
            .private_instance_index
            .as_deref()
            .unwrap_or_default();
        let instance_header = header(&identity.instance).or_else(|| header(&address.to_string()));
        Self {
            app_header: header(&identity.app),
            index_header: header(index),
            instance_header,
            index: index.into(),
            tags: registration
                .tags
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            address,
            identity,
            standing,
        }
    }

    /// Whether `registration` says nothing new about it.
    pub(super) fn is_described_by(&self, registration: &Registration) -> bool {
        *self.index
            == *registration
                .private_instance_index
                .as_deref()
                .unwrap_or_default()
            && self.tags.len() == registration.tags.len()
            && self
                .tags
                .iter()
                .zip(&registration.tags)
                .all(|(ours, theirs)| *ours.0 == **theirs.0 && *ours.1 == **theirs.1)
    }

    /// Which component registered it, for metrics.
    #[must_use]
    pub fn component(&self) -> Option<&str> {
        self.tags
            .iter()
            .find(|(name, _)| &**name == "component")
            .map(|(_, value)| &**value)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("identity", &self.identity)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            in_flight: AtomicU32::new(0),
            failed_until_ms: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// A number that no other address or identity ever has: the key of connection pools.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Requests that it is answering now, by this router.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it sits out after a failure.
    #[must_use]
    pub fn failed(&self, now: Moment) -> bool {
        self.failed_until_ms.load(Ordering::Relaxed) > now.as_millis()
    }

    /// Lets it sit out until `until`.
    pub fn mark_failed(&self, until: Moment) {
        self.failed_until_ms
            .store(until.as_millis(), Ordering::Relaxed);
    }

    /// Forgives a failure.
    pub fn clear_mark(&self) {
        self.failed_until_ms.store(0, Ordering::Relaxed);
    }

    /// Whether its registration is gone, so that its address may belong to someone else by now:
    /// nothing more may be sent there.
    #[must_use]
    pub fn retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Takes a place when fewer than `limit` are taken; 0 means no limit.
    pub(super) fn enter(&self, limit: u32) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if limit != 0 && before >= limit {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
