//! The room: config and deps in, a running router out.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use cupola_component::{AppLog, Deps};
use cupola_messages::logs::LogSource;
use cupola_messages::router;
use nix::sys::socket::{Backlog, setsockopt, sockopt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::access_log::QUEUE_BATCHES;
use crate::config::Config;
use crate::control::{AccessLines, Control, warm_up};
use crate::core::{Cores, Shared, Stage};
use crate::engine::hyper::HyperEngine;
use crate::registry::{Clock, Lifetimes, Registry};
use crate::routes_list::RoutesList;
use crate::stats::Stats;
use crate::varz::{Rates, Varz};

/// After how many idle seconds the kernel asks whether the other side is still there.
const KEEP_ALIVE_SECONDS: u32 = 60;

/// A router, ready to run.
#[derive(Debug)]
pub struct Room {
    config: Arc<Config>,
    deps: Deps,
    listener: TcpListener,
    routes_list: Option<TcpListener>,
    address: SocketAddr,
    registry: Arc<Registry>,
    clock: Clock,
    stats: Stats,
}

/// Takes the sockets and checks the config; nothing runs yet.
///
/// # Errors
/// When the config is unusable or a socket cannot be had.
pub async fn build(config: Config, mut deps: Deps) -> anyhow::Result<Room> {
    config.validate()?;
    let listener = deps.listeners.take("http", Some(config.address))?;
    tune(&listener).context("cannot set up the socket `http`")?;
    let address = listener
        .local_addr()
        .context("the socket `http` has no address")?;
    let routes_list = match deps.listeners.take("routes", config.routes_address) {
        Ok(listener) => Some(listener),
        Err(_) if config.routes_address.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    let registry = Registry::new(Lifetimes {
        stale_after: config.stale_after,
        keep_empty: config.keep_empty,
    });
    Ok(Room {
        stats: Stats::new(config.threads()),
        config: Arc::new(config),
        deps,
        listener,
        routes_list,
        address,
        registry: Arc::new(registry),
        clock: Clock::start(),
    })
}

// === impl Room ===

impl Room {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The route table.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// When the bus cannot be heard, or a core ends on its own.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            deps,
            listener,
            routes_list,
            address,
            registry,
            clock,
            stats,
        } = self;
        let health = deps.health.check("router", "waiting for registrations");
        let background = CancellationToken::new();
        let _background = background.clone().drop_guard();
        let control = Control {
            bus: deps.bus.clone(),
            registry: Arc::clone(&registry),
            clock,
            config: Arc::clone(&config),
            id: format!("{}-{}", deps.index, deps.id),
            host: match address.ip() {
                ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                ip => ip,
            },
            counts: Arc::default(),
        };

        // The log outlives the cores, whose last lines it takes.
        let log_shutdown = CancellationToken::new();
        let (log, send_log) =
            AppLog::new(deps.bus.clone(), LogSource::Router, log_shutdown.clone());
        let lines = AccessLines::new(log, deps.index);
        let varz = Varz {
            registry: Arc::clone(&registry),
            clock,
            stats: stats.clone(),
            counts: Arc::clone(&control.counts),
            tally: lines.tally(),
            rates: Arc::new(Mutex::new(Rates::new(Instant::now()))),
        };
        deps.metrics.varz({
            let varz = varz.clone();
            move || varz.document()
        });
        deps.metrics
            .register(|metrics| metrics.register_collector(Box::new(varz.clone())));
        let (batches, taken) = mpsc::channel(QUEUE_BATCHES);
        let take_lines = deps.tasks.spawn(lines.run(taken));
        let send_lines = deps.tasks.spawn(send_log);

        let (stage, stages) = watch::channel(Stage::Warming);
        let shared = Shared {
            config: Arc::clone(&config),
            registry: Arc::clone(&registry),
            clock,
            stats,
            stage: stages,
            lines: config.access_log.then_some(batches),
        };
        let cores =
            Cores::start::<HyperEngine>(&listener, &shared).context("cannot start cores")?;
        drop((listener, shared));
        let core_ended = cores.ended();

        // Both before anybody is asked: answers and greetings come at once.
        let messages = control.subscribe().await?;
        let greetings = deps.bus.serve(&router::GREET).await?;
        let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            deps.tasks
                .spawn(background.clone().run_until_cancelled_owned(task));
        };
        spawn(Box::pin({
            let control = control.clone();
            async move { control.obey(messages).await }
        }));
        spawn(Box::pin({
            let control = control.clone();
            async move { control.ask_on_connect().await }
        }));
        spawn(Box::pin({
            let control = control.clone();
            async move { control.prune().await }
        }));
        spawn(Box::pin({
            let control = control.clone();
            async move { control.answer_greetings(greetings).await }
        }));
        spawn(Box::pin(async move { varz.keep_rates().await }));
        if let Some(listener) = routes_list {
            let list = RoutesList::new(&config, Arc::clone(&registry), clock);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            spawn(Box::pin(list.serve(listener)));
        }

        let serve = async {
            warm_up(&control.bus, &registry, clock, &config).await;
            stage.send_replace(Stage::Settling);
            health.pass();
            tracing::info!("serving {address}");
            sleep(config.settle).await;
            stage.send_replace(Stage::Serving);
            std::future::pending::<()>().await
        };
        let failed = tokio::select! {
            () = shutdown.cancelled() => false,
            () = core_ended.cancelled() => true,
            () = serve => false,
        };

        health.fail("draining");
        if !failed && !config.drain_wait.is_zero() {
            stage.send_replace(Stage::Draining);
            sleep(config.drain_wait).await;
        }
        stage.send_replace(Stage::Closing);
        tokio::task::spawn_blocking(move || cores.join())
            .await
            .context("cores not joined")?;
        let _ = take_lines.await; // ends with the last core
        log_shutdown.cancel();
        let _ = send_lines.await;
        anyhow::ensure!(!failed, "a core has ended on its own");
        Ok(())
    }
}

/// Sets what accepted sockets inherit, so that it costs nothing per connection, and makes the queue of
/// connections that wait to be accepted as long as the kernel allows.
fn tune(listener: &TcpListener) -> nix::Result<()> {
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    setsockopt(listener, sockopt::KeepAlive, &true)?;
    setsockopt(listener, sockopt::TcpKeepIdle, &KEEP_ALIVE_SECONDS)?;
    nix::sys::socket::listen(listener, Backlog::MAXCONN)
}
