//! The room as a whole: built from config and deps, run until it is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use anyhow::Context as _;
use cupola_component::{Deps, Health, Registrar};
use cupola_db::{Db, now};
use cupola_http::server::{self, Limits};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{BaseUrl, Config};
use crate::keyring::Keyring;
use crate::model::{MIGRATIONS, authorization_code, refresh_token, revocation};
use crate::password::Hasher;
use crate::refusal::Refusal;
use crate::seal::Seal;
use crate::state::Uaa;
use crate::{bootstrap, routes};

/// How often expired rows are removed and the signing keys looked after.
const UPKEEP: Duration = Duration::from_secs(300);

/// A UAA, ready to serve.
#[derive(Debug)]
pub struct Room {
    listener: TcpListener,
    limits: Limits,
    uaa: web::Data<Uaa>,
    registrar: Option<Registrar>,
    tasks: TaskTracker,
    health: Health,
}

/// Opens the database, brings it in line with the config and takes the socket `http`.
///
/// # Errors
/// When the database cannot be opened, the encryption key is not the one that it was written
/// with, or the address is taken.
pub async fn build(config: Config, mut deps: Deps) -> anyhow::Result<Room> {
    let seal = Arc::new(Seal::new(&config.encryption_key)?);
    let hasher = Hasher::new()?;
    let db = Db::open(config.database.clone(), MIGRATIONS)
        .await
        .context("cannot open the database of uaa")?;
    let issuer = BaseUrl::new(&config.issuer);
    // At the first start both take a while, one on each core.
    let (seeded, keyring) = tokio::join!(
        bootstrap::run(&db, &hasher, &seal, &config),
        Keyring::open(db.clone(), Arc::clone(&seal), &config, &issuer),
    );
    seeded.context("cannot bring users and clients in line with the config")?;
    let keyring = keyring.context("cannot read the signing keys")?;
    let listener = deps.listeners.take("http", config.listen)?;
    let address = listener.local_addr().context("the socket has no address")?;
    let registrar = registrar(&config, &deps, address);
    let uaa = web::Data::new(Uaa::new(&config, db, hasher, Arc::new(keyring)));
    tracing::info!(%address, issuer = %issuer, "uaa is ready");
    Ok(Room {
        listener,
        limits: config.http,
        uaa,
        registrar,
        tasks: deps.tasks,
        health: deps.health,
    })
}

fn registrar(config: &Config, deps: &Deps, address: SocketAddr) -> Option<Registrar> {
    let domain = config.domain.as_deref()?;
    let names = vec![format!("uaa.{domain}"), format!("login.{domain}")];
    let address = config.advertise.unwrap_or(address);
    Some(Registrar::new(
        deps.bus.clone(),
        address,
        names,
        "uaa",
        deps.id.as_str(),
    ))
}

// === impl Room ===

impl Room {
    /// Where the room listens.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then lets requests in flight finish.
    ///
    /// # Errors
    /// When the server cannot start.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        if let Some(registrar) = self.registrar {
            let shutdown = shutdown.clone();
            self.tasks.spawn(async move {
                if let Err(error) = registrar.run(shutdown).await {
                    tracing::warn!("uaa is not registered with the routers: {error}");
                }
            });
        }
        self.tasks.spawn(upkeep(
            self.uaa.clone().into_inner(),
            self.health,
            shutdown.clone(),
        ));
        let uaa = self.uaa;
        server::serve(vec![self.listener], self.limits, shutdown, move |config| {
            routes::configure(config, uaa.clone());
        })
        .await
        .context("the HTTP server of uaa failed")
    }
}

/// Removes what has expired and lets the signing keys take turns.
async fn upkeep(uaa: Arc<Uaa>, health: Health, shutdown: CancellationToken) {
    let check = health.check("database", "not used yet");
    check.pass();
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once; what there is to do was done by `build`.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match keep_up(&uaa).await {
            Ok(()) => check.pass(),
            Err(error) => {
                tracing::warn!(%error, "upkeep failed, will be tried again");
                check.fail("the last upkeep failed");
            }
        }
    }
}

async fn keep_up(uaa: &Uaa) -> Result<(), Refusal> {
    uaa.keyring.turn().await?;
    uaa.db
        .write::<_, Refusal, _>(|c| {
            let now = now();
            refresh_token::sweep(c, now)?;
            authorization_code::sweep(c, now)?;
            revocation::sweep(c, now)?;
            Ok(())
        })
        .await
}
