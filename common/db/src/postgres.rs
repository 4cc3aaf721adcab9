//! Connecting to PostgreSQL: pure Rust, TLS by rustls, driven by the worker thread itself.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::BlockOn;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Runtime;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::conn::PgConn;
use crate::error::DbError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

thread_local! {
    static RUNTIME: OnceCell<Arc<Runtime>> = const { OnceCell::new() };
}

/// The single-threaded runtime of a worker thread: it drives the connection while a query runs and
/// sleeps otherwise.
#[derive(Debug)]
pub struct WorkerRuntime(Arc<Runtime>);

impl BlockOn for WorkerRuntime {
    fn block_on<F: Future>(&self, f: F) -> F::Output {
        self.0.block_on(f)
    }

    fn get_runtime() -> Self {
        Self(runtime().expect("the worker made its runtime before it connected"))
    }
}

fn runtime() -> std::io::Result<Arc<Runtime>> {
    RUNTIME.with(|cell| {
        if let Some(runtime) = cell.get() {
            return Ok(runtime.clone());
        }
        let made = Arc::new(
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        );
        Ok(cell.get_or_init(|| made).clone())
    })
}

pub(crate) fn connect(
    url: &str,
    ca_file: Option<&Path>,
    statement_limit: Duration,
) -> Result<PgConn, DbError> {
    let mut config: Config = url
        .parse()
        .map_err(|e| DbError::Url(format!("not a PostgreSQL url: {e}")))?;
    config
        .connect_timeout(CONNECT_TIMEOUT)
        .application_name("cupola");
    // A plain url means TLS, except towards this very machine.
    if config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(if is_local(&config) {
            SslMode::Disable
        } else {
            SslMode::Require
        });
    }
    let runtime = runtime().map_err(|e| DbError::Connect(format!("worker runtime: {e}")))?;
    let inner = runtime.block_on(async {
        tokio::time::timeout(CONNECT_TIMEOUT * 2, establish(&config, ca_file))
            .await
            .map_err(|_| DbError::Connect("no answer in time".into()))?
    })?;
    let mut conn = PgConn::from(inner);
    let limits = format!(
        "SET statement_timeout = {}; SET lock_timeout = 5000; \
         SET idle_in_transaction_session_timeout = 60000;",
        statement_limit.as_millis()
    );
    conn.batch_execute(&limits)
        .map_err(|e| DbError::Connect(format!("set limits: {e}")))?;
    Ok(conn)
}

async fn establish(config: &Config, ca_file: Option<&Path>) -> Result<AsyncPgConnection, DbError> {
    let failed = |e: tokio_postgres::Error| {
        let cause = std::error::Error::source(&e)
            .map(|s| format!(": {s}"))
            .unwrap_or_default();
        DbError::Connect(format!("{e}{cause}"))
    };
    let made = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    } else {
        let tls = MakeRustlsConnect::new(tls_config(ca_file)?);
        let (client, connection) = config.connect(tls).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    };
    made.map_err(|e| DbError::Connect(e.to_string()))
}

fn is_local(config: &Config) -> bool {
    !config.get_hosts().is_empty()
        && config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.is_loopback())
            }
            Host::Unix(_) => true,
        })
}

fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, DbError> {
    let mut roots = rustls::RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let failed = |e: String| DbError::Connect(format!("read {}: {e}", path.display()));
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))?
            {
                let certificate = certificate.map_err(|e| failed(e.to_string()))?;
                roots.add(certificate).map_err(|e| failed(e.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| DbError::Connect(format!("set up TLS: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
