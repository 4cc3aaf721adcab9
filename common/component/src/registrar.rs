//! Keeps a component's own host names registered with the routers.

use std::net::SocketAddr;
use std::time::Duration;

use cupola_messages::router::{self, Registration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, BusError};

/// How often to register again; a router drops what it has not heard of for 120 s.
const REFRESH: Duration = Duration::from_secs(20);

/// Registers an address under host names: at start, every 20 s and whenever a router asks.
#[derive(Debug)]
pub struct Registrar {
    bus: Bus,
    registration: Registration,
}

impl Registrar {
    /// Will register `address` under `uris` as the component `component`, with the identity
    /// `instance`.
    #[must_use]
    pub fn new(
        bus: Bus,
        address: SocketAddr,
        uris: Vec<String>,
        component: &str,
        instance: &str,
    ) -> Self {
        let registration = Registration {
            host: address.ip().to_string(),
            port: address.port(),
            uris,
            tags: [("component".to_owned(), component.to_owned())].into(),
            private_instance_id: Some(instance.to_owned()),
            ..Registration::default()
        };
        Self { bus, registration }
    }

    /// Registers until `shutdown`, then unregisters.
    ///
    /// # Errors
    /// [`BusError::Subscribe`] when routers' calls cannot be heard.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BusError> {
        let mut routers = self.bus.subscribe(&router::START).await?;
        let mut connected = self.bus.connected();
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = refresh.tick() => {}
                Some(_) = routers.next() => {}
                Ok(()) = connected.changed() => {}
            }
            // A registration that fails is repeated at the next tick or reconnect.
            if let Err(error) = self
                .bus
                .publish(&router::REGISTER, &self.registration)
                .await
            {
                tracing::debug!("not registered with the routers: {error}");
            }
        }
        let _ = self
            .bus
            .publish(&router::UNREGISTER, &self.registration)
            .await;
        Ok(())
    }
}
