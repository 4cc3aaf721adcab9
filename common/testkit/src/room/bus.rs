//! A broker of ours, and a client on any broker.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use cupola_component::{Bus, BusConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const WITHIN: Duration = Duration::from_secs(30);

/// A broker of ours that lets everybody in, and can go away and come back at the same address. It
/// ends with the test that started it.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Broker {
    /// One that runs.
    pub async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            running: Some(run(socket).await),
        }
    }

    /// One that is not there yet, at an address where nobody else is.
    #[must_use]
    pub fn absent() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: free.local_addr().unwrap(),
            running: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for a client's config.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Starts it.
    pub async fn up(&mut self) {
        let socket = TcpListener::bind(self.address).unwrap();
        self.running = Some(run(socket).await);
    }

    /// Stops it, and waits until it is gone.
    pub async fn down(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        stop.cancel();
        let gone = tokio::time::timeout(WITHIN, task).await;
        gone.expect("the broker does not end").unwrap();
    }

    /// A client that is connected.
    pub async fn connect(&self) -> Bus {
        connect(&self.url()).await
    }
}

async fn run(socket: TcpListener) -> (CancellationToken, JoinHandle<()>) {
    let config = cupola_bus::Config {
        workers: Some(1),
        ..cupola_bus::Config::default()
    };
    let broker = cupola_bus::build(config, socket).await.unwrap();
    let stop = CancellationToken::new();
    let running = broker.run(stop.clone());
    let task = tokio::spawn(async move { running.await.unwrap() });
    (stop, task)
}

/// A client of any broker, connected.
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
