//! What secures the doors: certificates and the rules for websockets, compiled. A reload replaces it with
//! the other settings; connections that are there keep what they came with.

use std::sync::Arc;
use std::time::Duration;

use crate::access::AccessError;
use crate::auth::Users;
use crate::broker::BuildError;
use crate::config::{Config, Limits};
use crate::whereabouts::Advertised;
use crate::wire::tls::{Acceptor, Listener};
use crate::wire::websocket::Upgrader;

/// How connections become what the protocol is spoken over.
#[derive(Debug)]
pub(crate) struct Security {
    /// For clients; they come in clear when absent.
    pub(crate) tls: Option<Acceptor>,
    /// With `tls`: they may also come in clear.
    pub(crate) allow_non_tls: bool,
    pub(crate) websocket: Option<WebsocketDoor>,
    /// For monitoring over HTTPS.
    pub(crate) monitor: Option<Acceptor>,
    /// How long a client may take to say who it is, once it can.
    auth_timeout: Duration,
}

/// What is particular to websockets.
#[derive(Debug)]
pub(crate) struct WebsocketDoor {
    pub(crate) tls: Option<Acceptor>,
    pub(crate) upgrader: Arc<Upgrader>,
    /// For TLS and upgrade together.
    pub(crate) timeout: Duration,
    /// Who may come here, when that is not who may come elsewhere.
    pub(crate) users: Option<Users>,
    auth_timeout: Option<Duration>,
    /// Where clients are told to come.
    pub(crate) advertised: Option<Advertised>,
    /// How often a silent client is pinged, when that is not as elsewhere.
    pub(crate) ping_interval: Option<Duration>,
}

/// What a compressed websocket message may inflate to. Clients put several messages of the protocol into
/// one, large ones as well; as inflating goes on in small steps, this bounds work and not memory.
const INFLATED: (usize, usize) = (8, 64 << 20);

// === impl Security ===

impl Security {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Something is not in order.
    pub(crate) fn compile(config: &Config) -> Result<Self, BuildError> {
        let tls = config
            .tls
            .as_ref()
            .map(|tls| Acceptor::new(tls, Listener::Clients))
            .transpose()?;
        let limits = &config.limits;
        // With the default, who has used up the time for TLS must still have some for CONNECT.
        let auth_timeout = match &tls {
            Some(tls) if limits.auth_timeout == Limits::default().auth_timeout => {
                tls.timeout + Duration::from_secs(1)
            }
            _ => limits.auth_timeout,
        };
        Ok(Security {
            tls,
            allow_non_tls: config.allow_non_tls,
            websocket: WebsocketDoor::compile(config)?,
            monitor: config
                .tls
                .as_ref()
                .filter(|_| config.monitor_https.is_some())
                .map(|tls| Acceptor::new(tls, Listener::Monitors))
                .transpose()?,
            auth_timeout,
        })
    }

    /// How long a client may take to say who it is, once it can.
    pub(crate) fn auth_timeout(&self, websocket: bool) -> Duration {
        let own = self.websocket.as_ref().filter(|_| websocket);
        own.and_then(|own| own.auth_timeout)
            .unwrap_or(self.auth_timeout)
    }
}

// === impl WebsocketDoor ===

impl WebsocketDoor {
    fn compile(config: &Config) -> Result<Option<Self>, BuildError> {
        let Some(websocket) = &config.websocket else {
            return Ok(None);
        };
        let tls = websocket.tls.as_ref();
        let limits = &config.limits;
        Ok(Some(WebsocketDoor {
            tls: tls
                .map(|tls| Acceptor::new(tls, Listener::Clients))
                .transpose()
                .map_err(crate::wire::WebsocketConfigError::Tls)?,
            upgrader: Arc::new(Upgrader::new(websocket, inflated(limits))?),
            timeout: websocket.handshake_timeout,
            users: Users::of_websocket(config).map_err(AccessError::from)?,
            auth_timeout: websocket.auth_timeout,
            advertised: Advertised::read("advertise of websocket", websocket.advertise.as_deref())?,
            ping_interval: websocket.ping_interval,
        }))
    }
}

fn inflated(limits: &Limits) -> usize {
    let (times, most) = INFLATED;
    let one = limits.max_payload + limits.max_control_line;
    one.saturating_mul(times).min(most).max(one)
}
