//! The room's one door.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web;
use anyhow::Context as _;
use cupola_component::{Check, Deps, Registrar};
use cupola_http::bearer::{Policy, TokenVerifier};
use cupola_http::{client, server};
use cupola_messages::logs;
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::api::{self, Figures, Shared};
use crate::archive::{Archive, Bounds};
use crate::config::Config;

/// The log service, ready to run.
#[derive(Debug)]
pub struct Room {
    config: Config,
    deps: Deps,
    listener: TcpListener,
    archive: Archive,
    lines: Counter,
    figures: Figures,
    check: Check,
}

/// Opens the socket and sets everything up; nothing is served yet.
///
/// # Errors
/// When the socket cannot be had.
pub async fn build(config: Config, mut deps: Deps) -> anyhow::Result<Room> {
    let listener = deps.listeners.take("http", config.address)?;
    let archive = Archive::new(Bounds {
        lines_per_app: config.lines_per_app,
        bytes_per_app: config.bytes_per_app,
        bytes_total: config.bytes_total,
    });
    let (lines, figures) = (Counter::default(), Figures::default());
    deps.metrics.register(|registry| {
        registry.register(
            "loggregator_lines",
            "Lines received from components",
            lines.clone(),
        );
        registry.register(
            "loggregator_streams",
            "Streams that are open",
            figures.open.clone(),
        );
        registry.register(
            "loggregator_lines_missed",
            "Lines that readers of streams were too slow for",
            figures.missed.clone(),
        );
    });
    let totals = archive.clone();
    deps.metrics.varz(move || {
        let (apps, bytes, evicted) = totals.totals();
        [
            ("apps".to_owned(), json!(apps)),
            ("bytes_kept".to_owned(), json!(bytes)),
            ("lines_evicted".to_owned(), json!(evicted)),
        ]
        .into_iter()
        .collect()
    });
    let check = deps.health.check("lines", "not subscribed yet");
    Ok(Room {
        config,
        deps,
        listener,
        archive,
        lines,
        figures,
        check,
    })
}

impl Room {
    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the server or the subscription fails for good.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            deps,
            listener,
            archive,
            lines,
            figures,
            check,
        } = self;
        let mut batches = deps.bus.subscribe(&logs::ALL).await?;
        check.pass();
        let kept = archive.clone();
        let receive = async move {
            while let Some(batch) = batches.next().await {
                lines.inc_by(batch.lines.len() as u64);
                kept.add(batch);
            }
        };

        let address = listener
            .local_addr()
            .context("a socket without an address")?;
        if !config.hosts.is_empty() {
            let registrar = Registrar::new(
                deps.bus.clone(),
                address,
                config.hosts.clone(),
                &format!("loggregator-{}", deps.index),
                deps.id.as_str(),
            );
            deps.tasks.spawn(registrar.run(shutdown.clone()));
        }

        let issuer = config.token_issuer.clone().unwrap_or_else(|| {
            format!(
                "{}/oauth/token",
                config.uaa_url.as_str().trim_end_matches('/')
            )
        });
        let policy = Policy::for_audience("cloud_controller").issued_by(issuer);
        let token_keys = config.uaa_url.join("/token_keys")?;
        let verifier =
            TokenVerifier::fetching(policy, token_keys, client::loopback("cupola-loggregator")?);
        let shared = web::Data::new(Shared {
            archive,
            access: Access::new(
                client::loopback("cupola-loggregator")?,
                config.cloud_controller_url.clone(),
            ),
            streams: Arc::new(Semaphore::new(config.streams.min(Semaphore::MAX_PERMITS))),
            figures,
            shutdown: shutdown.clone(),
        });
        let verifier = web::Data::new(verifier);
        let serve = server::serve(
            vec![listener],
            config.server,
            shutdown.clone(),
            move |app| {
                app.app_data(verifier.clone())
                    .app_data(shared.clone())
                    .configure(api::routes);
            },
        );
        tokio::select! {
            served = serve => served.context("the log server failed"),
            () = receive => anyhow::bail!("the subscription to log lines ended"),
        }
    }
}
