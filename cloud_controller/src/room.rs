//! The room: how it is built and how it runs.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Duration as Days;
use cupola_blobstore::Blobstore;
use cupola_component::{AppLog, Deps, Registrar};
use cupola_db::{Db, EmbeddedMigrations, Migrations, embed_migrations, now};
use cupola_http::bearer::Policy;
use cupola_http::signed_url::UrlSigner;
use cupola_http::{TokenVerifier, api_error, client, server};
use cupola_messages::logs::LogSource;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::controller::{Controller, Parts};
use crate::error::{Fail, chain};
use crate::model::{event, job};
use crate::sealed::Sealer;
use crate::seed::seed;
use crate::uaa::UaaClient;
use crate::{dispatch, routes};

/// How often what is too old is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// Days that ended jobs are kept for clients that poll.
const JOB_DAYS: i64 = 1;
/// How the controller calls itself towards UAA.
const AGENT: &str = "cupola-cloud-controller";

/// A cloud controller that is ready to run.
#[derive(Debug)]
pub struct Room {
    controller: Controller,
    verifier: TokenVerifier,
    listener: TcpListener,
    address: SocketAddr,
    instance: String,
    index: u32,
}

/// The migrations of the controller's database.
pub const MIGRATIONS: Migrations = Migrations::new(common).with_postgres(postgres);

fn common() -> EmbeddedMigrations {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations");
    ALL
}

fn postgres() -> EmbeddedMigrations {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations_postgres");
    ALL
}

/// Opens database and blobstore, brings both up to date and takes the socket `api`.
///
/// # Errors
/// When a part of the configuration cannot be used.
pub async fn build(config: Config, mut deps: Deps) -> anyhow::Result<Room> {
    let listener = deps
        .listeners
        .take("api", Some(config.address))
        .context("cannot listen for the API")?;
    let address = listener
        .local_addr()
        .context("the API's socket has no address")?;
    let sealer = Sealer::new(&config.secrets).context("the keys for secrets in rows")?;
    let signer = signer(&config).context("the key for signed URLs")?;
    let blobs = Blobstore::open(&config.blobstore).context("cannot open the blobstore")?;
    if let Some(folder) = &config.work_folder {
        clear(folder).with_context(|| format!("cannot use {}", folder.display()))?;
    }
    let db = Db::open(config.database.clone(), MIGRATIONS)
        .await
        .with_context(|| format!("cannot open {}", config.database.url))?;
    let seeds = config.clone();
    db.write::<_, Fail, _>(move |c| seed(c, &seeds))
        .await
        .context("the first rows")?;
    let owner = deps.id.as_str().to_owned();
    fail_orphaned_jobs(&db, &owner)
        .await
        .context("jobs of an earlier run")?;

    let http = if config.uaa.internal_base().starts_with("https:") {
        client::world(AGENT, None)
    } else {
        client::loopback(AGENT)
    };
    let http = http.context("cannot make a client for UAA")?;
    let keys_url = format!("{}/token_keys", config.uaa.internal_base());
    let keys_url = keys_url.parse().context("the address of UAA")?;
    let mut policy = Policy::for_audience(&config.uaa.audience);
    if let Some(issuer) = &config.uaa.issuer {
        policy = policy.issued_by(issuer);
    }
    let verifier = TokenVerifier::fetching(policy, keys_url, http.clone());

    let stopping = CancellationToken::new();
    let (log, sending) = AppLog::new(deps.bus.clone(), LogSource::Api, stopping.clone());
    deps.tasks.spawn(sending);
    let unpacking = Semaphore::new(config.uploads.concurrent.max(1));
    let controller = Controller::new(Parts {
        db,
        blobs,
        sealer,
        signer,
        bus: deps.bus,
        log,
        uaa: UaaClient::new(&config.uaa, http),
        known_users: Default::default(),
        dispatcher: Default::default(),
        owner,
        since: now(),
        tasks: deps.tasks,
        stopping,
        unpacking,
        config,
    });
    let seen = Arc::new(controller.clone());
    deps.metrics.varz(move || {
        let (deas, stagers) = seen.dispatcher.known();
        let keys = json!({"known_deas": deas, "known_stagers": stagers});
        keys.as_object().cloned().unwrap_or_default()
    });
    let (instance, index) = (deps.id.into_string(), deps.index);
    Ok(Room {
        controller,
        verifier,
        listener,
        address,
        instance,
        index,
    })
}

// === impl Room ===

impl Room {
    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes tokens that `verifier` accepts instead of UAA's, for tests.
    #[must_use]
    pub fn with_verifier(mut self, verifier: TokenVerifier) -> Self {
        self.verifier = verifier;
        self
    }

    /// Serves the API and carries out what it decides, until `shutdown`.
    ///
    /// # Errors
    /// When the API or the bus cannot be served.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let controller = self.controller;
        let stopping = controller.stopping.clone();
        dispatch::listen(&controller)
            .await
            .context("cannot listen on the bus")?;
        controller.tasks.spawn(dispatch::work(controller.clone()));
        controller.tasks.spawn(dispatch::watch(controller.clone()));
        controller.tasks.spawn(keep_house(controller.clone()));
        let registrar = Registrar::new(
            controller.bus.clone(),
            self.address,
            vec![format!("api.{}", controller.config.domain)],
            &format!("CloudController-{}", self.index),
            &self.instance,
        );
        let registered = stopping.clone();
        controller.tasks.spawn(async move {
            if let Err(error) = registrar.run(registered).await {
                tracing::error!(error = %chain(&error), "the API is not known to the routers");
            }
        });
        tracing::info!(api.address = %self.address, "the API is served");
        let limits = controller.config.http.clone();
        let all = routes::all(controller.clone(), self.verifier);
        let served = server::serve(vec![self.listener], limits, shutdown, all).await;
        // Requests in flight may still have given orders: the workers stop after the server.
        stopping.cancel();
        served.context("the API's server")
    }
}

fn signer(config: &Config) -> anyhow::Result<UrlSigner> {
    let key = |hex_text: &SecretString| -> anyhow::Result<SecretSlice<u8>> {
        Ok(hex::decode(hex_text.expose_secret())
            .context("not in hex")?
            .into())
    };
    let mut signer = UrlSigner::new(&key(&config.secrets.url_signing_key)?)?;
    for earlier in &config.secrets.earlier_url_signing_keys {
        signer = signer.also_accept(&key(earlier)?)?;
    }
    Ok(signer)
}

/// Makes the folder for uploads, and empties it of those that a process left that was killed.
fn clear(folder: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("upload-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

async fn fail_orphaned_jobs(db: &Db, owner: &str) -> Result<(), Fail> {
    let owner = owner.to_owned();
    let what = "the controller was restarted meanwhile; try again";
    let error = api_error::UNABLE_TO_PERFORM
        .with_all(&[&"The job", &what])
        .to_json();
    db.write(move |c| {
        job::fail_orphans(c, &owner, &error)?;
        Ok(())
    })
    .await
}

/// Forgets old events and jobs.
async fn keep_house(controller: Controller) {
    let mut period = interval(HOUSEKEEPING);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = controller.stopping.cancelled() => return,
            _ = period.tick() => {}
        }
        let days = i64::from(controller.config.event_days);
        let pruned = controller
            .write(move |c| {
                event::prune(c, now() - Days::days(days))?;
                job::prune(c, now() - Days::days(JOB_DAYS))?;
                Ok(())
            })
            .await;
        if let Err(error) = pruned {
            tracing::warn!(error = %chain(&error), "cannot forget old events");
        }
    }
}
