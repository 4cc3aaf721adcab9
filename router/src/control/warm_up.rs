//! The start: a router that has just begun knows no route, and must not deny one for that.

use std::time::Duration;

use cupola_component::Bus;
use tokio::time::sleep;

use crate::config::Config;
use crate::registry::{Clock, Registry};

/// How often to look whether registrations have come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until the table can be trusted: the bus is there, everybody has been asked, registrations
/// have come and then none new for a moment; or nobody has spoken for `warm_up_limit`.
pub(crate) async fn warm_up(bus: &Bus, registry: &Registry, clock: Clock, config: &Config) {
    let mut connected = bus.connected();
    if connected.wait_for(|connected| *connected).await.is_err() {
        return;
    }
    let asked = clock.now();
    let quiet = config.warm_up_quiet;
    let limit = config.warm_up_limit;
    loop {
        let now = clock.now();
        let settled = registry.routes() > 0
            && now.since(registry.grown_at()) >= quiet
            && now.since(asked) >= quiet;
        if settled || now.since(asked) >= limit {
            let routes = registry.routes();
            tracing::info!(
                routes.total = routes,
                "table warm after {:?}",
                now.since(asked)
            );
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
