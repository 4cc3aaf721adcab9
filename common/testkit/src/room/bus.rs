//! A broker of ours, and a client on any broker.

use std::net::SocketAddr;
use std::time::Duration;

use cupola_component::{Bus, BusConfig};
use tokio_util::sync::CancellationToken;

const WITHIN: Duration = Duration::from_secs(30);

/// A broker of ours that lets everybody in, until the test ends.
pub async fn broker() -> SocketAddr {
    let config = cupola_bus::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..cupola_bus::Config::default()
    };
    let listeners = cupola_bus::Listeners {
        clients: None,
        monitor: None,
    };
    let broker = cupola_bus::build(config, listeners).await.unwrap();
    let address = broker.client_address().unwrap();
    tokio::spawn(broker.run(CancellationToken::new()));
    address
}

/// A client that is connected.
pub async fn connect(url: &str) -> Bus {
    let config = BusConfig {
        urls: vec![url.to_owned()],
        nkey_seed: None,
        user: None,
        password: None,
        inbox_prefix: "_INBOX.test".to_owned(),
    };
    cupola_component::install_crypto();
    let bus = Bus::connect(&config, "test").await.unwrap();
    bus.wait_connected(WITHIN).await.unwrap();
    bus
}
